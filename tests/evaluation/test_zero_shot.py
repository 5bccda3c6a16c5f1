"""Zero-shot classification scores."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seetell.core.errors import UsageError
from seetell.evaluation.zero_shot import score_labels

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
