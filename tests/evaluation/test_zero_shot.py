"""Zero-shot classification scores."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seetell.core.errors import ImageError, UsageError
from seetell.core.results import Failure
from seetell.data.records import LabelRecord
from seetell.evaluation.predictors import Predictors
from seetell.evaluation.runner import evaluate_labels
from seetell.evaluation.zero_shot import classify_by_prompts, score_labels, wilson_interval

LABELS = list("abcdefgh")


@given(st.lists(st.tuples(st.sampled_from(LABELS), st.permutations(LABELS)), min_size=1, max_size=30))
def test_scores_are_those_of_counting(photos: list[tuple[str, list[str]]]) -> None:
    labels, rankings = [label for label, _ in photos], [ranking for _, ranking in photos]
    found = score_labels(rankings, labels)
    first = [ranking[0] == label for label, ranking in photos]
    five = [label in ranking[:5] for label, ranking in photos]
    assert found.scores["top_1"].value == pytest.approx(100 * sum(first) / len(first))
    assert found.scores["top_5"].value == pytest.approx(100 * sum(five) / len(five))
    assert [one.label for one in found.per_class] == sorted(set(labels))
    for one in found.per_class:
        own = [right for right, label in zip(first, labels, strict=True) if label == one.label]
        assert one.n_images == len(own)
        assert one.top_1 == pytest.approx(100 * sum(own) / len(own))
    mean = sum(one.top_1 for one in found.per_class) / len(found.per_class)
    assert found.scores["mean_per_class"].value == pytest.approx(mean)


def test_a_frequent_label_does_not_hide_a_rare_one() -> None:
    found = score_labels([["cat", "dog"]] * 10, ["cat"] * 9 + ["dog"])
    assert found.scores["top_1"].value == 90
    assert found.scores["mean_per_class"].value == 50
    assert found.scores["top_5"].value == 100


VECTORS = {
    "a cat": (1, 0, 0),
    "the cat": (0.6, 0.8, 0),
    "a dog": (0, 0, 1),
    "the dog": (0, 0.6, 0.8),
}


def embed_texts(texts: Sequence[str]) -> Any:
    return np.array([VECTORS[text] for text in texts], dtype=np.float32)


def embed_images(photos: Iterable[Path]) -> Iterator[Any]:
    for photo in photos:
        if photo.name == "broken":
            yield Failure("broken", ImageError("truncated", "broken: ends too early"))
        else:
            yield np.array((1, 0, 0) if photo.name == "cat" else (0, 0, 1), dtype=np.float32)


def test_prompts_are_averaged() -> None:
    classify = classify_by_prompts(
        embed_images, embed_texts, ["cat", "dog"], ["a {}", "the {}"], scale=3.0, model="m"
    )
    cat, broken, dog = classify([Path("cat"), Path("broken"), Path("dog")])
    assert isinstance(broken, Failure)
    # The mean of (1, 0, 0) and (0.6, 0.8, 0) has this cosine to the photo, that of the dogs has 0.
    expected = 1 / (1 + math.exp(-3 * 1.6 / math.hypot(1.6, 0.8)))
    assert (cat.label, cat.model) == ("cat", "m")
    assert cat.probability == pytest.approx(expected)
    assert [one.label for one in dog.ranking] == ["dog", "cat"]
    assert sum(one.probability for one in dog.ranking) == pytest.approx(1)
    records = [
        LabelRecord(Path(name), name if name != "broken" else "cat") for name in ("cat", "broken", "dog")
    ]
    found = evaluate_labels(Predictors("m", "fp32", classify=classify), records)
    assert found.zero_shot is not None
    assert found.zero_shot.scores["top_1"].value == pytest.approx(200 / 3)


@pytest.mark.parametrize(
    ("labels", "templates"),
    [([], ["{}"]), (["cat", "cat"], ["{}"]), (["cat"], []), (["cat"], ["a photo"])],
)
def test_prompts_that_cannot_be_meant(labels: list[str], templates: list[str]) -> None:
    with pytest.raises(UsageError):
        classify_by_prompts(embed_images, embed_texts, labels, templates)


@pytest.mark.parametrize(
    # Newcombe (1998), table I, method 3: the score interval without continuity correction.
    ("right", "total", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_the_interval_of_a_share(right: int, total: int, low: float, high: float) -> None:
    assert wilson_interval(right, total) == pytest.approx((100 * low, 100 * high), abs=0.01)
    mirrored = wilson_interval(total - right, total)
    assert mirrored == pytest.approx((100 - 100 * high, 100 - 100 * low), abs=0.01)


def test_what_was_taken_for_what() -> None:
    said = [["cat"], ["cat"], ["dog"], ["dog"], [], ["cow"]]
    labels = ["dog", "dog", "cat", "dog", "cat", "cat"]
    found = [(one.label, one.said, one.n_images) for one in score_labels(said, labels).confused]
    assert found == [("dog", "cat", 2), ("cat", "cow", 1), ("cat", "dog", 1)]


def test_a_photo_that_failed_is_wrong() -> None:
    found = score_labels([["cat"], []], ["cat", "cat"])
    assert (found.scores["top_1"].value, found.scores["top_5"].value) == (50, 50)


def test_intervals_hold_the_value_and_are_stable() -> None:
    labels = ["cat", "dog"] * 50
    rankings = [["cat", "dog"]] * 50 + [["dog", "cat"]] * 50
    found = score_labels(rankings, labels)
    assert found == score_labels(rankings, labels)
    top = found.scores["top_1"]
    assert 38 < top.low < top.value == 50 < top.high < 62


@pytest.mark.parametrize(("rankings", "labels"), [([], []), ([["a"]], []), ([["a"]], ["a", "b"])])
def test_lists_that_do_not_fit_are_refused(rankings: list[list[str]], labels: list[str]) -> None:
    with pytest.raises(UsageError):
        score_labels(rankings, labels)
