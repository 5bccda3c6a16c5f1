"""``classify``: the label that fits a photo best, from any list (zero-shot) or the model's own."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from seetell.core.results import Classification, RankedLabel
from seetell.runtime.generation.probabilities import softmax
from seetell.tasks import embed
from seetell.tasks.context import Context, Seen, distinct_labels, require
from seetell.tasks.fitting import Fitting, fitting_of
from seetell.tasks.heads import head_probabilities
from seetell.tasks.label_vectors import LabelVectors


def available(context: Context) -> bool:
    """Whether the model can classify in any way."""
    return zero_shot(context) or has_head(context)


def zero_shot(context: Context) -> bool:
    """Whether it can choose from any list."""
    return embed.available(context) and context.has("text_encoder", "text_embeds")


def has_head(context: Context) -> bool:
    """Whether it has labels of its own."""
    return bool(context.manifest.labels) and context.has("image_encoder", "label_logits")


class Classifier:
    """Classifies every photo by the same labels: softmax(scale * cosine), or as the head was taught.

    Where the bundle says how probable it is that a label fits, it may be that none does.

    Raises UsageError for an empty list or a label given twice; TaskUnavailable when ``labels`` is None and
    the model has none of its own.
    """

    def __init__(
        self,
        context: Context,
        vectors: LabelVectors,
        labels: Sequence[str] | str | None = None,
        *,
        language: str | None = None,
    ) -> None:
        self._context = context
        self._of_labels = vectors
        self._zero_shot = labels is not None
        self._labels: tuple[str, ...]
        if labels is None:
            require(context, has_head(context), "labels of its own", "give the labels to choose from")
            self._labels = context.manifest.labels
            return
        require(context, zero_shot(context), "space shared with texts", "leave labels out to use its own")
        self._labels = distinct_labels(labels)
        self._language = context.language(language, self._labels)
        prompts = context.manifest.prompts.get("classify", {})
        self._templates = prompts.get(self._language) or ("{}",)

    # When the first photo has been let in, and not before: a policy may refuse the labels.
    @cached_property
    def _vectors(self) -> NDArray[np.float32]:
        return self._of_labels.of(self._labels, self._templates)

    @cached_property
    def _judges(self) -> list[Fitting]:
        fitted = self._context.manifest.score.labels.get(self._language)
        judges = (
            fitting_of(self._context, self._of_labels, fitted, self._language, one, self._templates)
            for one in self._vectors
        )
        return [judge for judge in judges if judge is not None]

    @property
    def texts(self) -> tuple[str, ...]:
        """What the caller gave to choose from; nothing where the model chooses among its own."""
        return self._labels if self._zero_shot else ()

    @property
    def image_outputs(self) -> tuple[str, ...]:
        return ("image_embeds",) if self._zero_shot else ("label_logits",)

    def answer(self, seen: Seen, questions: Sequence[str]) -> list[Classification]:
        if not self._zero_shot:
            logits = seen.outputs["label_logits"].astype(np.float64)
            return [self._result(row) for row in head_probabilities(self._context, logits)]
        scale = np.exp(self._context.manifest.score.logit_scale)
        logits = scale * (seen.embeds @ self._vectors.T).astype(np.float64)
        return [self._result(row, photo) for row, photo in zip(softmax(logits), seen.embeds, strict=True)]

    def _result(
        self, probabilities: NDArray[np.float64], photo: NDArray[np.float32] | None = None
    ) -> Classification:
        order = np.argsort(-probabilities, kind="stable")
        ranking = tuple(RankedLabel(self._labels[one], float(probabilities[one])) for one in order)
        none_probability, none = None, False
        if photo is not None and self._judges:
            judge = self._judges[order[0]]
            chance = float(judge.chances(photo[None])[0])
            none_probability, none = 1 - chance, chance < judge.fitted.nothing_below
        return Classification(
            label=ranking[0].label,
            probability=ranking[0].probability,
            ranking=ranking,
            model=self._context.manifest.name,
            precision=self._context.engine.precision,
            none_probability=none_probability,
            none=none,
        )
