"""A change to the weights of a run's model before they are written, and what the bundle says of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from seetell.modeling.facts import BundleFacts
from seetell.modeling.models.assembled import AssembledModel


@dataclass(frozen=True, slots=True)
class Adjustment:
    """move: changes a model in place. told: in a few words, without the places of folders."""

    move: Callable[[AssembledModel], None]
    told: str

    def __call__(self, model: AssembledModel) -> None:
        self.move(model)

    def described(self, facts: BundleFacts) -> BundleFacts:
        """The facts of a bundle whose weights were changed so."""
        source = facts.source.model_copy(update={"recipe": f"{facts.source.recipe}, {self.told}"})
        return facts.model_copy(update={"source": source})


def short_name(source: str) -> str:
    """What a model is called in a bundle: a folder's name, not where it lies."""
    return Path(source).name if Path(source).exists() else source
