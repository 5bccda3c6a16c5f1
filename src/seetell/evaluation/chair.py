"""CHAIR (Rohrbach et al. 2018): objects that a caption names and the photo does not show.

The reference is https://github.com/LisaAnne/Hallucination (utils/chair.py). CHAIRi is the share of all
objects named that are not there, CHAIRs the share of captions that name such an object. An object is there if
it is annotated or if a person's caption names it. Its rules for COCO are kept: pairs of words that are one
object (``hot dog`` is no dog), a baby animal is the animal and no person, a passenger train no passenger, and
beside a toilet a seat is none to sit on.

Different from the reference: it puts every word in the singular with the package ``pattern``; here the
plurals of the words that are looked for are recognised, which needs no package. Blanks around a synonym in
the list are dropped, where the reference then never finds it. Objects whose own name is a pair of words are
found too where the rules do not list them. In the 35,000 English captions of Flickr8k, with the published
list and TextBlob's copy of pattern's rules, the reference finds 47,520 objects; this finds them all and 93
more (bus, canoes, ties), which those rules put into a singular that is no word.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from seetell.core.errors import DataError, UsageError
from seetell.evaluation.bootstrap import Bootstrap, Estimate, Weights, estimates

# fmt: off
_PAIRS = (
    "motor bike", "motor cycle", "air plane", "traffic light", "street light", "traffic signal",
    "stop light", "fire hydrant", "stop sign", "parking meter", "suit case", "sports ball", "baseball bat",
    "baseball glove", "tennis racket", "wine glass", "hot dog", "cell phone", "mobile phone", "teddy bear",
    "hair drier", "potted plant", "laptop computer", "home plate",
)
_ANIMALS = (
    "bird", "cat", "dog", "horse", "sheep", "cow", "elephant", "bear", "zebra", "giraffe", "animal", "cub",
)
# fmt: on
_READ_AS = {
    **{pair: pair for pair in _PAIRS},
    **{f"{age} {animal}": animal for age in ("baby", "adult") for animal in _ANIMALS},
    **{f"passenger {vehicle}": vehicle for vehicle in ("jet", "train")},
    "bow tie": "tie",
    "toilet seat": "toilet",
}
_IRREGULAR = {
    "man": "men",
    "woman": "women",
    "child": "children",
    "person": "people",
    "mouse": "mice",
    "goose": "geese",
    "ox": "oxen",
    "calf": "calves",
    "knife": "knives",
    "sheep": "sheep",
    "scarf": "scarves",
    "loaf": "loaves",
}
# "dog's" is a dog, and "five o'clock" no clock.
_WORD = re.compile(r"[^\W_]+(?:-[^\W_]+|['’](?!(?:s|d|m|ll|re|ve|t)\b)[^\W_]+)*|[^\w\s]|_")


class Vocabulary:
    """Which words name which objects.

    Args:
        groups: of each object all the words for it, its own name first. Where a word stands in two groups the
            later one has it.

    Raises UsageError when there is no word at all.
    """

    def __init__(self, groups: Iterable[Sequence[str]]) -> None:
        self._object_of: dict[str, str] = {}
        for group in groups:
            words = [" ".join(word.lower().split()) for word in group]
            self._object_of.update({word: words[0] for word in words if word})
        if not self._object_of:
            raise UsageError("CHAIR: no words for any object")
        own = {name: name for name in self._object_of.values() if name.count(" ") == 1}
        self._pairs = {**own, **_READ_AS}
        known = {*self._object_of, *(part for pair in self._pairs for part in pair.split()), "toilet", "seat"}
        self._singular = {many: one for one in known for many in _plurals(one) if many not in known}

    def object_named(self, name: str) -> str | None:
        """The object that an annotation's name or one of its words means."""
        return self._object_of.get(" ".join(name.lower().split()))

    def mentions(self, caption: str) -> list[tuple[str, str]]:
        """Every (word, object) that an English caption names, in its order; twice if it is named twice."""
        words = [self._singular.get(word, word) for word in _WORD.findall(caption.lower())]
        read = list(self._joined(words))
        if "toilet" in read:
            read = [word for word in read if word != "seat"]
        return [(word, self._object_of[word]) for word in read if word in self._object_of]

    def _joined(self, words: Sequence[str]) -> Iterator[str]:
        at = 0
        while at < len(words):
            pair = self._pairs.get(" ".join(words[at : at + 2]))
            yield words[at] if pair is None else pair
            at += 1 if pair is None else 2


def read_synonyms(path: Path) -> Vocabulary:
    """The published list: a line for each object, its name first, then other words. Raises DataError."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8") from error
    groups = [[word.strip() for word in line.split(",") if word.strip()] for line in text.splitlines()]
    if not any(groups):
        raise DataError(f"{path}: no words in it; write one line for each object: name, synonym, ...")
    return Vocabulary(group for group in groups if group)


@dataclass(frozen=True, slots=True)
class CaptionObjects:
    """What a caption names: words for objects that are there, and for others, each with its object.

    ``n_true``: objects on the photo.
    """

    there: tuple[tuple[str, str], ...]
    hallucinated: tuple[tuple[str, str], ...]
    n_true: int


def caption_objects(vocabulary: Vocabulary, caption: str, true: Collection[str]) -> CaptionObjects:
    """Compare a caption's objects with those that are there (``true``, by their groups' names)."""
    named = vocabulary.mentions(caption)
    return CaptionObjects(
        tuple(one for one in named if one[1] in true),
        tuple(one for one in named if one[1] not in true),
        len(set(true)),
    )


def true_objects(
    vocabulary: Vocabulary, annotated: Iterable[str], captions: Iterable[str], where: str
) -> frozenset[str]:
    """The objects that are there: annotated, or named by a person.

    Raises DataError for an annotated object that no word of the vocabulary means; ``where`` names the photo.
    """
    found = {one for caption in captions for _, one in vocabulary.mentions(caption)}
    for name in annotated:
        meant = vocabulary.object_named(name)
        if meant is None:
            raise DataError(f"{where}: the object {name!r} is not among the synonyms; add a line for it")
        found.add(meant)
    return frozenset(found)


def score_chair(
    captions: Sequence[CaptionObjects | None], bootstrap: Bootstrap | None = None
) -> dict[str, Estimate]:
    """``chair_i``, ``chair_s`` (lower is better) and ``object_recall``, in 0..100, with intervals.

    ``object_recall`` is the share of the objects there that were named: naming nothing hallucinates nothing.
    None stands for a photo that failed. It counts as a caption that names one object, and wrongly.

    Raises UsageError for no captions.
    """
    if not captions:
        raise UsageError("CHAIR: no captions to look at")
    rows = np.array([_counts(one) for one in captions], dtype=np.float64)

    def statistic(weights: Weights) -> dict[str, NDArray[np.float64]]:
        named, wrong, bad, found, true = (weights @ rows).T
        total = weights.sum(axis=1)
        return {
            "chair_i": _percent(wrong, named),
            "chair_s": _percent(bad, total),
            "object_recall": _percent(found, true),
        }

    return estimates(len(rows), statistic, Bootstrap() if bootstrap is None else bootstrap)


def _counts(one: CaptionObjects | None) -> tuple[int, int, int, int, int]:
    if one is None:
        return (1, 1, 1, 0, 1)
    wrong = len(one.hallucinated)
    return (len(one.there) + wrong, wrong, wrong > 0, len({name for _, name in one.there}), one.n_true)


def _percent(part: NDArray[np.float64], whole: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.divide(100 * part, whole, out=np.zeros_like(whole), where=whole > 0))


def _plurals(phrase: str) -> Iterator[str]:
    """The plural of an English word, of a phrase that of its last word."""
    first, blank, last = phrase.rpartition(" ")
    for ending, irregular in _IRREGULAR.items():
        # policeman -> policemen, but human -> humans.
        if last == ending or (
            ending in {"man", "woman", "child"} and last.endswith(ending) and last != "human"
        ):
            yield first + blank + last[: len(last) - len(ending)] + irregular
    if last.endswith(("s", "x", "z", "ch", "sh")):
        yield phrase + "es"
    elif last.endswith("y") and last[-2:-1] not in "aeiou":
        yield phrase[:-1] + "ies"
    elif last.endswith("o"):
        yield phrase + "es"
    yield phrase + "s"
