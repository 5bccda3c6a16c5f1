"""Which requests may run together, for each verb: those with the same model and the same options."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from seetell.runtime.generation import GenerationOptions
from seetell.serving.batching import Lane
from seetell.tasks.api import AnyModel
from seetell.tasks.remarks import is_cut

# Rows of texts embedded together.
_TEXTS = 64


def photo_lane(model: AnyModel, verb: str, **options: Any) -> Lane:
    """Items are photos; for ``ask``, (photo, question) pairs. Results are those of the facade's verb."""

    def run(items: list[Any]) -> Iterable[Any]:
        return model.stream(verb, items, **options)

    key = (id(model), verb, *sorted((name, _hashable(value)) for name, value in options.items()))
    return Lane("embed" if verb == "embed_images" else verb, key, model.batch_size, run)


@dataclass(frozen=True, slots=True)
class Watched:
    """A photo whose caption is told while it is written: ``tell`` is given what is certain of it, and answers
    whether it is still waited for. Called in a worker's thread."""

    photo: bytes
    tell: Callable[[str], bool]


def caption_lane(model: AnyModel, language: str | None, options: GenerationOptions) -> Lane:
    """Items are photos, watched ones among them; results are captions."""

    def run(items: list[Any]) -> Iterable[Any]:
        watched = {place: one.tell for place, one in enumerate(items) if isinstance(one, Watched)}
        photos = [one.photo if isinstance(one, Watched) else one for one in items]
        if not watched:
            return model.stream("caption", photos, language=language, options=options)

        def on_text(place: int, text: str) -> bool:
            return place not in watched or watched[place](text)

        return model.stream("caption", photos, language=language, options=options, on_text=on_text)

    return Lane("caption", (id(model), "caption", language, options), model.batch_size, run)


def text_lane(model: AnyModel) -> Lane:
    """Items are texts; results their vectors float32[S], how many tokens were read, and whether not all."""

    def run(items: list[Any]) -> Iterable[Any]:
        cut = [is_cut(text, model) for text in items]
        return zip(model.embed_texts(items), model.count_tokens(items), cut, strict=True)

    return Lane("embed", (id(model), "embed_texts"), _TEXTS, run)


def _hashable(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
