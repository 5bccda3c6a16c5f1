"""What a model's bundle says that the model itself does not know."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from seetell.bundle.manifest import (
    AnswerCalibration,
    ChatSpec,
    DataTerms,
    GenerationDefaults,
    ScoreSpec,
    Source,
    TextSpec,
)
from seetell.core.errors import ExportError
from seetell.media.preprocess import ImageSpec


class BundleFacts(BaseModel):
    """Fields as in the manifest.

    image, text: None for a model without that side. score: None takes the model's own, with
    ``calibration`` where there is one. notes: heading -> paragraphs of the model card, which has no
    other way of knowing what a model cannot do.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    version: str = "1"
    licence: str
    languages: tuple[str, ...] = ()
    image: ImageSpec | None = None
    text: TextSpec | None = None
    chat: ChatSpec | None = None
    prompts: dict[str, dict[str, tuple[str, ...]]] = {}
    generation: GenerationDefaults = GenerationDefaults()
    score: ScoreSpec | None = None
    calibration: AnswerCalibration = AnswerCalibration()
    notes: dict[str, tuple[str, ...]] = {}
    answers: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    data: tuple[DataTerms, ...] = ()
    source: Source = Source()

    def having(self, *changes: Mapping[str, Any], where: Path) -> BundleFacts:
        """The same with what ``changes`` say in its place, the last of them before the others.

        Raises ExportError naming ``where`` and the key that is wrong.
        """
        merged = self.model_dump()
        for change in changes:
            merged.update(change)
        try:
            return BundleFacts.model_validate(merged)
        except ValidationError as error:
            fault = error.errors()[0]
            key = ".".join(str(part) for part in fault["loc"])
            raise ExportError(f"{where}: bundle.{key}: {fault['msg']}") from error
