"""The base of every schema that is read from a file."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Strict(BaseModel):
    """A frozen schema that refuses keys it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True)
