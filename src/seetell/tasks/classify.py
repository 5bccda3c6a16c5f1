"""``classify``: the label that fits a photo best, from any list (zero-shot) or the model's own."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from seetell.core.results import Classification, RankedLabel
from seetell.runtime.generation.probabilities import softmax
from seetell.tasks import embed
from seetell.tasks.context import Context, Seen, distinct_labels, require, unit
from seetell.tasks.fitting import Fitting, fitting_of
from seetell.tasks.heads import head_probabilities

_REMEMBERED = 8


def available(context: Context) -> bool:
    """Whether the model can classify in any way."""
    return zero_shot(context) or has_head(context)


def zero_shot(context: Context) -> bool:
    """Whether it can choose from any list."""
    return embed.available(context) and context.has("text_encoder", "text_embeds")


def has_head(context: Context) -> bool:
    """Whether it has labels of its own."""
    return bool(context.manifest.labels) and context.has("image_encoder", "label_logits")


class LabelVectors:
    """Vectors of label lists, the last few kept: classifying a stream asks for the same ones again."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._lock = threading.Lock()
        self._known: OrderedDict[tuple[str, ...], NDArray[np.float32]] = OrderedDict()

    def of(self, labels: tuple[str, ...], templates: tuple[str, ...]) -> NDArray[np.float32]:
        """float32[len(labels), S], unit length: per label the mean of its prompts' unit vectors, made unit
        length again (prompt ensembling: Radford et al. 2021, section 3.1.4)."""
        key = (*labels, "\0", *templates)
        with self._lock:
            if key in self._known:
                self._known.move_to_end(key)
                return self._known[key]
        prompts = [template.replace("{}", label) for label in labels for template in templates]
        embeds = embed.text_embeds(self._context, prompts).reshape(len(labels), len(templates), -1)
        vectors = unit(embeds.mean(axis=1))
        with self._lock:
            self._known[key] = vectors
            while len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)
        return vectors


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
        self._vectors: NDArray[np.float32] | None = None
        self._judges: list[Fitting] = []
        self._labels: tuple[str, ...]
        if labels is None:
            require(context, has_head(context), "labels of its own", "give the labels to choose from")
            self._labels = context.manifest.labels
            return
        require(context, zero_shot(context), "space shared with texts", "leave labels out to use its own")
        self._labels = distinct_labels(labels)
        chosen = context.language(language, self._labels)
        templates = context.manifest.prompts.get("classify", {}).get(chosen) or ("{}",)
        self._vectors = vectors.of(self._labels, templates)
        fitted = context.manifest.score.labels.get(chosen)
        self._judges = [
            judge
            for one in self._vectors
            if (judge := fitting_of(context, vectors, fitted, chosen, one, templates)) is not None
        ]

    @property
    def texts(self) -> tuple[str, ...]:
        """What the caller gave to choose from; nothing where the model chooses among its own."""
        return () if self._vectors is None else self._labels

    @property
    def image_outputs(self) -> tuple[str, ...]:
        return ("label_logits",) if self._vectors is None else ("image_embeds",)

    def answer(self, seen: Seen, questions: Sequence[str]) -> list[Classification]:
        if self._vectors is None:
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
