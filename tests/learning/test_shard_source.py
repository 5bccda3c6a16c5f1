"""Training on prepared shards: every sample once an epoch, mixed, and found again by the step alone."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seetell.core.errors import DataError, ImageError, RecipeError, UsageError
from seetell.data.shards import open_shards
from seetell.learning.augmentation import Augmentation
from seetell.learning.orders import ShardOrder
from seetell.learning.photos import PhotoCache
from seetell.learning.samples import ShardSamples, Wanted
from seetell.learning.sources import Row, SampleSource
from tests.learning.shard_folder import write_shards

COUNT = 34
ALL = Wanted(("en", "zh"), 2, 1, labels=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_shards(tmp_path_factory.mktemp("data"), COUNT)


def source(
    folder: Path, wanted: Wanted = ALL, window: int = 3, limit: int | None = None, **changes: Any
) -> SampleSource:
    samples = ShardSamples(open_shards(folder, "train"), wanted, window=window, limit=limit)
    space = {label: number for number, label in enumerate(samples.labels)}
    settings: dict[str, Any] = {"batch_size": 5, "rule": Augmentation(), "seed": (1, 0)}
    return SampleSource(samples, wanted, label_space=space, **{**settings, **changes})


def shown(rows: list[Row]) -> list[tuple[Any, ...]]:
    return [(row.photo, row.captions, row.questions, row.tags, row.label, row.rng.random()) for row in rows]


def numbers(rows: list[Row]) -> list[int]:
    return [int(row.photo.name.partition(".")[0]) for row in rows if not isinstance(row.photo, Path)]


@given(
    counts=st.lists(st.integers(0, 9), min_size=1, max_size=9).filter(any),
    window=st.integers(1, 10),
    seed=st.integers(0, 3),
)
def test_every_sample_comes_once_an_epoch_and_a_window_at_a_time(
    counts: list[int], window: int, seed: int
) -> None:
    order = ShardOrder(np.array(counts), window, 1, (seed,))
    everything = sorted((shard, one) for shard, count in enumerate(counts) for one in range(count))
    for epoch in range(2):
        found = [one for step in range(order.count) for one in order.places(epoch * order.count + step)]
        assert sorted(found) == everything
        # No more shards are in play at once than the window has: each shard's samples end before those of
        # the next window begin.
        places = {shard: [i for i, (one, _) in enumerate(found) if one == shard] for shard, _ in found}
        for place in range(order.count):
            assert sum(own[0] <= place <= own[-1] for own in places.values()) <= window


@given(
    data=st.data(),
    counts=st.lists(st.integers(0, 9), min_size=1, max_size=9).filter(any),
    window=st.integers(1, 10),
    seed=st.integers(0, 3),
)
def test_no_sample_comes_twice_in_a_step_where_there_are_enough(
    data: st.DataObject, counts: list[int], window: int, seed: int
) -> None:
    batch_size = data.draw(st.integers(1, sum(counts)))
    order = ShardOrder(np.array(counts), window, batch_size, (seed,))
    everything = sorted((shard, one) for shard, count in enumerate(counts) for one in range(count))
    steps = [order.places(step) for step in range(-(-3 * order.count // batch_size))]
    assert all(len(set(places)) == batch_size for places in steps)
    found = [one for places in steps for one in places]
    for epoch in range(3):
        assert sorted(found[epoch * order.count : (epoch + 1) * order.count]) == everything
    # Whatever was drawn before.
    assert ShardOrder(np.array(counts), window, batch_size, (seed,)).places(len(steps) - 1) == steps[-1]


def test_epochs_and_seeds_have_orders_of_their_own() -> None:
    counts = np.full(12, 10)
    found = {
        tuple(order.places(epoch))
        for order in (ShardOrder(counts, 4, 120, (0,)), ShardOrder(counts, 4, 120, (1,)))
        for epoch in range(2)
    }
    assert len(found) == 4


def test_what_the_samples_hold_is_what_was_prepared(folder: Path) -> None:
    train = source(folder)
    assert train.num_photos == COUNT - 4 == len(open_shards(folder, "train"))
    rows = [row for step in range(train.num_photos // 5) for row in train.draw(step)]
    assert sorted(numbers(rows)) == list(range(COUNT - 4))
    cache = PhotoCache(min_size=32, budget_bytes=10**7)
    for row, number in zip(rows, numbers(rows), strict=True):
        assert cache.read(row.photo).shape[1] == 64 + number
        expected = {} if number % 5 == 0 else {"en": 2, "zh": 1}
        assert Counter(language for _, language in row.captions) == expected
        assert len({text for text, _ in row.captions}) == len(row.captions)
        assert all(str(number) in text for text, _ in row.captions)
        asked = number % 2 == 0 or number % 5 == 0
        assert [question for question, _ in row.questions] == (
            [f"which thing is in number {number}?"] if asked else []
        )
        assert row.tags == ((f"thing {number}", "a dog") if asked else ())
        assert row.label == (number % 2 if number % 3 == 0 else None)


def test_samples_without_what_is_taught_are_passed_over(folder: Path) -> None:
    captions = source(folder, Wanted(("en",)))
    assert captions.num_photos == sum(number % 5 != 0 for number in range(COUNT - 4))
    asked = source(folder, Wanted(questions_per_photo=2))
    assert asked.num_photos == sum(number % 2 == 0 or number % 5 == 0 for number in range(COUNT - 4))
    assert all(row.questions and not row.captions for row in asked.draw(0))
    assert source(folder, Wanted(("en",)), limit=7).num_photos == 7
    with pytest.raises(RecipeError, match="no photos left"):
        source(folder, Wanted(("fr",)))


@pytest.mark.parametrize("steps", [[0, 3, 3, 40, 1, 7], [7, 40, 0]])
def test_a_step_is_the_same_whatever_was_read_before(folder: Path, steps: list[int]) -> None:
    in_order = source(folder)
    expected = {step: shown(in_order.draw(step)) for step in range(41)}
    other = source(folder)
    for step in steps:
        assert shown(other.draw(step)) == expected[step]


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        ("missing", "missing; prepare"),
        ("cut", "should have"),
        ("other", "should have"),
        ("no sidecar", r"\.parquet: missing"),
        ("broken sidecar", "not a parquet file"),
    ],
)
def test_a_shard_that_is_not_what_it_was_is_named(
    folder: Path, tmp_path: Path, harm: str, message: str
) -> None:
    copy = tmp_path / "shards"
    shutil.copytree(folder, copy)
    shard, sidecar = copy / "train-000001.tar", copy / "train-000001.parquet"
    match harm:
        case "missing":
            shard.unlink()
        case "cut":
            shard.write_bytes(shard.read_bytes()[:-5000])
        case "other":
            shutil.copyfile(copy / "train-000007.tar", shard)
        case "no sidecar":
            sidecar.unlink()
        case "broken sidecar":
            sidecar.write_bytes(b"rubbish")
    with pytest.raises(DataError, match=message) as found:
        source(copy)
    assert "train-000001" in str(found.value) and "\n" not in str(found.value)


def test_a_shard_that_changes_under_a_run_is_named(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "shards"
    shutil.copytree(folder, copy)
    train = source(copy)
    rows = train.draw(0)
    for shard in copy.glob("train-*.tar"):
        shard.write_bytes(b"\0" * shard.stat().st_size)
    with pytest.raises(DataError, match=r"train-\d+\.tar: sample \d: damaged"):
        train.draw(1)
    with pytest.raises(ImageError, match=r"^\S+train-\d+\.tar:\d{4}\.jpg: [^<]+$"):
        PhotoCache(min_size=8, budget_bytes=0).read(rows[0].photo)


def test_folders_without_the_split(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"which split.*dev, train"):
        open_shards(folder)
    with pytest.raises(
        UsageError, match=r"no split 'val'; it has: dev, train.*seetell prepare .* --val 0\.1"
    ):
        open_shards(folder, "val")
    with pytest.raises(DataError, match="no prepared data"):
        open_shards(tmp_path, "train")
