"""A model's verbs as the functions that data preparation takes: what scores captions and what writes them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal

from seetell.core.errors import InputError, TaskUnavailable
from seetell.core.results import Failure
from seetell.data.preparing.scoring import Captioner, Scorer

if TYPE_CHECKING:
    from seetell.tasks.api import AnyModel

# Photos embedded before their texts are, all at once.
_AT_ONCE = 64

Pair = tuple[bytes, Sequence[str]]


def scorer_of(model: AnyModel, by: Literal["auto", "similarity", "matching"]) -> Scorer:
    """Cosine similarity where the model embeds, else its matching head's probability; or the one asked for.

    Raises TaskUnavailable for a model that can do neither.
    """
    embeds, matches = "embed" in model.tasks, "match" in model.tasks
    if by == "matching" or (by == "auto" and not embeds):
        if not matches:
            raise TaskUnavailable(f"{model.name} cannot say how well a text matches a photo")
        return Scorer(model.name, _identity(model), "matching", lambda pairs: _matching(model, pairs))
    if not embeds:
        raise TaskUnavailable(f"{model.name} has no similarity of photos and texts; try --score-by matching")
    return Scorer(model.name, _identity(model), "similarity", lambda pairs: _similarity(model, pairs))


def captioner_of(model: AnyModel) -> Captioner:
    """The model's captions in its first language. Raises TaskUnavailable for a model that writes none."""
    if "caption" not in model.tasks:
        raise TaskUnavailable(f"{model.name} writes no captions; name one that does with --caption-model")

    def write(photos: Iterable[bytes]) -> Iterator[tuple[str, str] | Failure]:
        for found in model.stream("caption", photos):
            yield found if isinstance(found, Failure) else (found.text, found.language)

    return Captioner(model.name, _identity(model), write)


def _identity(model: AnyModel) -> str:
    """Changes with the model and with what it runs in."""
    return f"{model.name}:{model.precision}:{model.answers_identity}"


def _similarity(model: AnyModel, pairs: Iterable[Pair]) -> Iterator[Sequence[float] | Failure]:
    waiting = iter(pairs)
    while group := list(islice(waiting, _AT_ONCE)):
        photos: list[Any] = list(model.stream("embed_images", [photo for photo, _ in group]))
        texts = model.embed_texts([text for _, said in group for text in said])
        row = 0
        for (_, said), vector in zip(group, photos, strict=True):
            own = texts[row : row + len(said)]
            row += len(said)
            yield vector if isinstance(vector, Failure) else [float(value) for value in own @ vector]


def _matching(model: AnyModel, pairs: Iterable[Pair]) -> Iterator[Sequence[float] | Failure]:
    for photo, said in pairs:
        try:
            found = model.match(photo, list(said))
        except InputError as error:
            yield Failure("<bytes>", error)
            continue
        scores = [one.similarity if one.probability is None else one.probability for one in found]
        yield [float("-inf") if score is None else score for score in scores]
