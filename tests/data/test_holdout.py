"""Held-out photos: whole photos, disjoint, by the rule given."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seetell.core.errors import DataError, UsageError
from seetell.data.holdout import Holdout, split_holdout, split_labelled_holdout
from seetell.data.records import LabelRecord, QuestionRecord


def record(photo_id: int | str, number: int = 0) -> QuestionRecord:
    return QuestionRecord(Path(f"{photo_id}.png"), "what?", ("a",), number, photo_id)


RULES = st.one_of(
    st.integers(2, 12).flatmap(
        lambda modulo: st.integers(0, modulo - 1).map(lambda left: Holdout(modulo=modulo, remainder=left))
    ),
    st.floats(0.01, 0.99).map(lambda part: Holdout(last_fraction=part)),
)


@given(photo_ids=st.lists(st.integers(0, 50), max_size=60), rule=RULES)
def test_every_question_lands_on_one_side_with_its_photo(photo_ids: list[int], rule: Holdout) -> None:
    records = [record(photo_id, number) for number, photo_id in enumerate(photo_ids)]
    kept, held = split_holdout(records, rule)
    assert sorted(one.question_id for one in kept + held) == list(range(len(records)))
    assert not {one.photo_id for one in kept} & {one.photo_id for one in held}


@given(counts=st.lists(st.integers(0, 40), max_size=4), rule=RULES)
def test_every_label_gives_its_share_of_labelled_photos(counts: list[int], rule: Holdout) -> None:
    records = [
        LabelRecord(Path(f"{label}/{number}.jpg"), str(label))
        for label, count in enumerate(counts)
        for number in range(count)
    ]
    kept, held = split_labelled_holdout(records, rule)
    assert sorted(kept + held, key=records.index) == records
    for label, count in enumerate(counts):
        own = [record for record in held if record.label == str(label)]
        share = rule.last_fraction if rule.modulo is None else 1 / rule.modulo
        assert share is not None and abs(len(own) - share * count) <= 1


def test_by_remainder() -> None:
    kept, held = split_holdout([record(number) for number in range(30)], Holdout(modulo=10, remainder=9))
    assert [one.photo_id for one in held] == [9, 19, 29]
    assert len(kept) == 27


def test_the_last_fraction_goes_by_number_not_by_place_or_spelling() -> None:
    records = [record(photo_id) for photo_id in (100, 9, "20", 3, 7, 1, 2, 4, 5, 6)]
    _, held = split_holdout(records, Holdout(last_fraction=0.2))
    assert [one.photo_id for one in held] == [100, "20"]


@pytest.mark.parametrize(
    "rule",
    [
        {},
        {"modulo": 10},
        {"remainder": 1},
        {"modulo": 10, "remainder": 10},
        {"modulo": 1, "remainder": 0},
        {"modulo": 10, "remainder": 9, "last_fraction": 0.1},
        {"modulo": 10, "last_fraction": 0.1},
        {"last_fraction": 0.0},
        {"last_fraction": 1.0},
        {"last_fraction": float("nan")},
    ],
)
def test_half_a_rule_or_two_are_refused(rule: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="holdout"):
        Holdout(**rule)


def test_photos_without_numbers_cannot_be_held_out() -> None:
    with pytest.raises(DataError, match="'cat'"):
        split_holdout([record("cat")], Holdout(last_fraction=0.5))
