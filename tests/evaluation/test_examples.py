"""Which predictions are shown."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from seetell.evaluation.examples import Example, best_and_worst


def example(photo: int, score: float, confidence: float | None = None) -> Example:
    return Example(Path(f"{photo}.jpg"), score, "said", ("wanted",), "verdict", None, confidence)


examples = st.lists(
    st.builds(example, st.integers(0, 5), st.sampled_from([0.0, 0.5, 1.0]), st.none() | st.floats(0, 1)),
    max_size=30,
)


@given(examples, st.integers(1, 6))
def test_the_best_are_better_than_the_worst_and_none_is_both(rows: list[Example], shown: int) -> None:
    found = best_and_worst("vqa", rows, shown)
    assert len(found.best) <= shown and len(found.worst) <= shown
    if found.best and found.worst:
        assert min(one.score for one in found.best) > max(one.score for one in found.worst)
    assert bool(found.best) == (len({row.score for row in rows}) > 1)
    assert list(found.best) == sorted(found.best, key=lambda one: (-one.score, -(one.confidence or 0)))
    assert list(found.worst) == sorted(found.worst, key=lambda one: (one.score, -(one.confidence or 0)))


def test_every_photo_once_before_any_twice() -> None:
    rows = [example(1, 1.0, 0.9), example(1, 1.0, 0.8), example(2, 1.0, 0.1), example(3, 0.0, 0.5)]
    assert [one.photo.stem for one in best_and_worst("vqa", rows, 2).best] == ["1", "2"]
    assert [one.photo.stem for one in best_and_worst("vqa", rows, 3).best] == ["1", "1", "2"]


def test_the_wrong_one_it_was_surest_of_comes_first() -> None:
    rows = [example(1, 0.0, 0.2), example(2, 0.0, 0.9), example(3, 1.0, 0.5)]
    assert [one.photo.stem for one in best_and_worst("vqa", rows).worst] == ["2", "1"]
