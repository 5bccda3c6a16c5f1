"""What a command's results may be kept in besides being printed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol


class Keeper(Protocol):
    """Takes up results as they are printed, to be kept in the file ``path``."""

    path: Path

    def result(self, fields: Mapping[str, Any], cells: Sequence[str]) -> None:
        """A result: its fields for programs, its cells for people; the first cell names the input."""

    def failure(self, name: str, fields: Mapping[str, Any], error: BaseException) -> None:
        """An input that could not be used, with what ``--json`` prints of it."""
