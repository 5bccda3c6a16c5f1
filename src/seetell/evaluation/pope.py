"""POPE (Li et al. 2023): does a model see objects that are not there? Questions to answer with yes or no.

Half of the questions are about objects on the photo, half about others: chosen at random, the most frequent
of the set (popular), or those most often seen together with what is there (adversarial). The reference is
https://github.com/AoiDragon/POPE: its files are read as they are, answers are read and scored as it does, and
questions are built by its procedure, though not with its random numbers.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from seetell.core.errors import DataError, UsageError
from seetell.core.files import atomic_write_text
from seetell.data.documents import photo_in, text_field
from seetell.evaluation.bootstrap import Bootstrap, Estimate, Weights, estimates
from seetell.evaluation.objects import ObjectRecord, json_lines

SETTINGS = ("random", "popular", "adversarial")
PER_PHOTO = 3
"""Objects that are there and objects that are not, of each photo."""
PHOTOS = 500

_NO = frozenset({"No", "not", "no"})


@dataclass(frozen=True, slots=True)
class PopeQuestion:
    """``label``: whether yes is right."""

    photo: Path
    text: str
    label: bool


def read_pope(path: Path, images: Path) -> list[PopeQuestion]:
    """Read a published file, one ``{"image", "text", "label": "yes" or "no"}`` per line. Raises DataError."""
    lines = json_lines(path)
    if lines is None:
        raise DataError(f'{path}: no POPE file; its lines are {{"image", "text", "label"}}')
    found = []
    for number, entry in lines:
        where = f"{path}: line {number}"
        label = text_field(entry, "label", where).strip()
        if label not in {"yes", "no"}:
            raise DataError(f"{where}: 'label' is yes or no, not {label!r}")
        photo = photo_in(images, text_field(entry, "image", where), where)
        found.append(PopeQuestion(photo, text_field(entry, "text", where).strip(), label == "yes"))
    return found


def write_pope(path: Path, questions: Sequence[PopeQuestion], images: Path) -> None:
    """Write questions as a published file, photos named relative to the folder ``images``.

    Raises DataError for a photo outside it, StorageError when the disk refuses.
    """
    lines = []
    for number, question in enumerate(questions):
        try:
            name = question.photo.relative_to(images).as_posix()
        except ValueError as error:
            raise DataError(f"{question.photo}: lies outside the image folder {images}") from error
        label = "yes" if question.label else "no"
        entry = {"question_id": number, "image": name, "text": question.text, "label": label}
        lines.append(json.dumps(entry, ensure_ascii=False))
    atomic_write_text(path, "\n".join(lines) + "\n")


def build_pope(
    records: Sequence[ObjectRecord],
    setting: str,
    *,
    per_photo: int = PER_PHOTO,
    photos: int = PHOTOS,
    seed: int = 0,
) -> list[PopeQuestion]:
    """Questions about photos with at least ``per_photo`` objects, at most ``photos`` of them drawn at random.

    Frequencies are counted over the photos drawn. Where a photo shows nearly everything there may be fewer
    questions with no for an answer. The same seed asks about the same photos in every setting.

    Raises UsageError for an unknown setting, DataError when no photo has enough objects.
    """
    if setting not in SETTINGS:
        raise UsageError(f"POPE: there is no setting {setting!r}; choose from {', '.join(SETTINGS)}")
    enough = [record for record in records if len(record.objects) >= per_photo]
    if not enough:
        raise DataError(f"POPE: none of {len(records)} photos has {per_photo} objects or more")
    drawn = random.Random(seed)
    chosen = enough if len(enough) <= photos else drawn.sample(enough, photos)
    frequency = Counter(name for record in chosen for name in record.objects)
    together = _seen_together(chosen)
    # By name where equally frequent, so that the order of the photos decides nothing.
    popular = sorted(frequency, key=lambda name: (-frequency[name], name))
    found = []
    for record in chosen:
        absent = [name for name in popular if name not in record.objects]
        at_random = drawn.sample(absent, len(absent))
        used: set[str] = set()
        for present in record.objects[:per_photo]:
            found.append(PopeQuestion(record.photo, question_text(present), True))
            if setting == "adversarial":
                near = together[present]
                order = [*sorted(near, key=lambda name: (-near[name], name)), *at_random]
            else:
                order = popular if setting == "popular" else at_random
            free = (name for name in order if name not in record.objects and name not in used)
            missing = next(free, None)
            if missing is not None:
                used.add(missing)
                found.append(PopeQuestion(record.photo, question_text(missing), False))
    return found


def question_text(name: str) -> str:
    """The published question, with "an" before a vowel."""
    article = "an" if name[:1].lower() in "aeio" else "a"
    return f"Is there {article} {name} in the image?"


def says_yes(answer: str) -> bool:
    """As the reference reads an answer: no if its first sentence has the word no, No or not, else yes."""
    first = answer.partition(".")[0].replace(",", "")
    return _NO.isdisjoint(first.split(" "))


def is_clear(answer: str) -> bool:
    """Whether an answer says yes or no at all; the reference takes anything else for a yes."""
    words = answer.lower().replace(",", " ").replace(".", " ").split()
    return not {"yes", "no", "not"}.isdisjoint(words)


def score_pope(
    said_yes: Sequence[bool | None],
    labels: Sequence[bool],
    photos: Sequence[Hashable],
    bootstrap: Bootstrap | None = None,
) -> dict[str, Estimate]:
    """accuracy, precision, recall and f1 of yes, and yes_ratio, in 0..100; intervals resample photos.

    ``said_yes`` None is an input that failed, and wrong. A figure that nothing is counted in (precision where
    nothing was answered with yes) is 0. Raises UsageError for lists that do not fit.
    """
    if not labels or not len(said_yes) == len(labels) == len(photos):
        raise UsageError(
            f"{len(said_yes)} answers, {len(labels)} labels, {len(photos)} photos; give all of each"
        )
    places: dict[Hashable, int] = {}
    photo = np.array([places.setdefault(one, len(places)) for one in photos])
    counts = np.zeros((len(places), 5))  # true yes, false yes, true no, false no, said yes
    for place, said, label in zip(photo, said_yes, labels, strict=True):
        taken_for = (not label) if said is None else said
        counts[
            place, {(True, True): 0, (True, False): 1, (False, False): 2, (False, True): 3}[taken_for, label]
        ] += 1
        counts[place, 4] += said is True

    def statistic(weights: Weights) -> dict[str, NDArray[np.float64]]:
        true_yes, false_yes, true_no, false_no, yes = (weights @ counts).T
        total = true_yes + false_yes + true_no + false_no
        return {
            "accuracy": _percent(true_yes + true_no, total),
            "precision": _percent(true_yes, true_yes + false_yes),
            "recall": _percent(true_yes, true_yes + false_no),
            "f1": _percent(2 * true_yes, 2 * true_yes + false_yes + false_no),
            "yes_ratio": _percent(yes, total),
        }

    return estimates(len(places), statistic, Bootstrap() if bootstrap is None else bootstrap)


def _percent(part: NDArray[np.float64], whole: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.divide(100 * part, whole, out=np.zeros_like(whole), where=whole > 0))


def _seen_together(records: Sequence[ObjectRecord]) -> dict[str, Counter[str]]:
    found: dict[str, Counter[str]] = {}
    for record in records:
        for name in record.objects:
            found.setdefault(name, Counter()).update(other for other in record.objects if other != name)
    return found


def setting_of(path: Path) -> str:
    """``coco_pope_popular.json`` -> ``popular``; the file's name where it says none."""
    return next((one for one in SETTINGS if one in path.stem.lower()), path.stem.replace(".", "_"))


def unique_pairs(questions: Iterable[PopeQuestion]) -> list[tuple[Path, str]]:
    """What must be asked: the questions with yes for an answer are the same in all settings."""
    return list(dict.fromkeys((question.photo, question.text) for question in questions))
