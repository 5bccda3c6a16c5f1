"""Which requests may run together, for each verb: those with the same model and the same options."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from seetell.serving.batching import Lane
from seetell.tasks.model import Model

# Rows of texts embedded together.
_TEXTS = 64


def photo_lane(model: Model, verb: str, **options: Any) -> Lane:
    """Items are photos; for ``ask``, (photo, question) pairs. Results are those of the facade's verb."""

    def run(items: list[Any]) -> Iterable[Any]:
        return model.stream(verb, items, **options)

    key = (id(model), verb, *sorted((name, _hashable(value)) for name, value in options.items()))
    return Lane("embed" if verb == "embed_images" else verb, key, model.batch_size, run)


def text_lane(model: Model) -> Lane:
    """Items are texts, results their vectors float32[S]."""

    def run(items: list[Any]) -> Iterable[Any]:
        return list(model.embed_texts(items))

    return Lane("embed", (id(model), "embed_texts"), _TEXTS, run)


def _hashable(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
