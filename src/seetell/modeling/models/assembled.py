"""What every assembled model tells those who export, check and describe it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Annotated, ClassVar

from pydantic import BaseModel, Field
from torch import nn

from seetell.bundle.manifest import ScoreSpec

# Blocks of a stack. Far above any model there is: a number from a foreign file must not keep us building.
Depth = Annotated[int, Field(ge=0, le=1000)]


@dataclass(frozen=True, slots=True)
class ModelLimits:
    """Sizes that inputs and lists must fit.

    image_size: (height, width) in pixels of a photo, None for a model without images; the largest where
        photos may differ in size. vocab_size, context_length: None for a model without text.
    num_answers, num_labels: sizes of the classification heads, 0 for none.
    """

    image_size: tuple[int, int] | None = None
    vocab_size: int | None = None
    context_length: int | None = None
    num_answers: int = 0
    num_labels: int = 0


class AssembledModel(nn.Module, ABC):
    """A model with a frozen configuration that rebuilds it: ``type(model)(model.config)``."""

    family: ClassVar[str]
    config: BaseModel

    @property
    @abstractmethod
    def limits(self) -> ModelLimits:
        """What fits this model."""

    @property
    def score(self) -> ScoreSpec:
        """How its similarities become probabilities; the manifest's default where it has none."""
        return ScoreSpec()
