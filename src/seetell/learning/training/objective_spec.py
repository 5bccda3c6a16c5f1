"""What a recipe says of one objective."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

ObjectiveName = Literal[
    "contrastive",
    "matching",
    "masked_language",
    "captioning",
    "answer_list",
    "answer_text",
    "labels",
]


class ObjectiveSpec(BaseModel):
    """One entry of a recipe's ``objectives``.

    weight: factor on the loss.
    share: the part of the batch's texts it uses, drawn at random each step; less is faster.
    label_smoothing: as in Szegedy et al. 2016, section 7; not used by ``matching``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: ObjectiveName
    weight: float = Field(default=1.0, gt=0)
    share: float = Field(default=1.0, gt=0, le=1)
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
