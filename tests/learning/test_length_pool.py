"""Texts of like length in one step: the same photos, texts and views as without, with less padding."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seetell.data.records import CaptionRecord
from seetell.learning.augmentation import Augmentation
from seetell.learning.length_pool import LengthPool
from seetell.learning.sources import Row, SampleSource
from tests.learning.record_sources import of_captions


def captions(count: int, batch_size: int) -> SampleSource:
    """Five captions a photo, as long as people's: most of 8 to 14 words, a few of more than 20."""
    random = np.random.default_rng(0)
    records = [
        CaptionRecord(
            Path(f"{number}.jpg"),
            tuple((" ".join(["word"] * max(3, round(random.lognormal(2.35, 0.35)))), "en") for _ in range(5)),
            number,
        )
        for number in range(count)
    ]
    return of_captions(records, batch_size=batch_size, rule=Augmentation(), seed=(0, 0), languages=("en",))


def lengths(texts: Sequence[str]) -> list[int]:
    return [len(text.split()) for text in texts]


def shown(rows: list[Row]) -> list[tuple[Any, ...]]:
    return [(row.photo, row.captions, row.rng.random()) for row in rows]


def padding_share(batches: list[list[Row]]) -> float:
    lengths = [[len(row.captions[0][0].split()) for row in rows] for rows in batches]
    places = sum(max(one) * len(one) for one in lengths)
    return 1 - sum(map(sum, lengths)) / places


@given(count=st.integers(1, 40), batch_size=st.integers(1, 9), pool=st.integers(2, 6), seed=st.integers(0, 2))
def test_the_steps_of_an_epoch_hold_what_they_hold_without(
    count: int, batch_size: int, pool: int, seed: int
) -> None:
    plain, pooled = (
        captions(count, batch_size),
        LengthPool(captions(count, batch_size), pool, (seed,), lengths),
    )
    for epoch in range(2):
        steps = range(-(-epoch * count // batch_size), -(-(epoch + 1) * count // batch_size))
        expected = [one for step in steps for one in shown(plain.draw(step))]
        batches = [shown(pooled.draw(step)) for step in steps]
        assert all(len(batch) == batch_size for batch in batches)
        assert sorted(map(str, expected)) == sorted(str(one) for batch in batches for one in batch)


@pytest.mark.parametrize("steps", [[0, 5, 5, 1], [9, 0, 9]])
def test_a_step_is_the_same_whatever_was_drawn_before(steps: list[int]) -> None:
    expected = {step: shown(LengthPool(captions(50, 8), 4, (0,), lengths).draw(step)) for step in steps}
    pooled = LengthPool(captions(50, 8), 4, (0,), lengths)
    for step in steps:
        assert shown(pooled.draw(step)) == expected[step]


def test_padding_is_a_fraction_of_what_it_was() -> None:
    plain, pooled = captions(1024, 32), LengthPool(captions(1024, 32), 16, (0,), lengths)
    before = padding_share([plain.draw(step) for step in range(32)])
    batches = [pooled.draw(step) for step in range(32)]
    after = padding_share(batches)
    print(f"padding: {before:.0%} of the places before, {after:.0%} after")
    assert after < 0.3 * before
    # Short and long batches take turns.
    longest = [max(len(row.captions[0][0]) for row in rows) for rows in batches]
    assert longest[:16] != sorted(longest[:16])
