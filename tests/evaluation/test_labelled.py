"""Labelled photos before they are measured: names, and an even part."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seetell.core.errors import DataError
from seetell.data.records import LabelRecord
from seetell.evaluation.labelled import evenly, read_label_names, with_names


def photos(*labels: str) -> list[LabelRecord]:
    return [LabelRecord(Path(f"{place}.jpg"), label) for place, label in enumerate(labels)]


@given(st.lists(st.sampled_from("abc"), max_size=20), st.integers(1, 25))
def test_a_part_is_as_even_as_the_labels_allow(labels: list[str], limit: int) -> None:
    records = photos(*labels)
    kept = evenly(records, limit)
    assert len(kept) == min(limit, len(records))
    assert kept == [record for record in records if record in kept], "the given order"
    counts = Counter(record.label for record in kept)
    for label, total in Counter(labels).items():
        # A label has fewer than another only if it has no more.
        assert counts[label] == total or counts[label] >= max(counts.values()) - 1
        own = [record for record in records if record.label == label]
        assert [record for record in kept if record.label == label] == own[: counts[label]]
    assert evenly(records, None) == records


def test_labels_become_words() -> None:
    found = with_names(photos("golden_retriever", "a  b_", "Tench"))
    assert [record.label for record in found] == ["golden retriever", "a b", "Tench"]


def test_names_are_used_as_given() -> None:
    found = with_names(photos("n01", "n02", "n01"), {"n01": " 丁鲷 ", "n02": "car_side", "n03": "unused"})
    assert [record.label for record in found] == ["丁鲷", "car_side", "丁鲷"]


def test_labels_that_cannot_be_told_apart_are_refused() -> None:
    with pytest.raises(DataError, match="'n01', 'n02' are all called 'dog'"):
        with_names(photos("n01", "n02"), {"n01": "dog", "n02": "dog"})
    with pytest.raises(DataError, match="'car_side', 'car side'"):
        with_names(photos("car_side", "car side"))
    with pytest.raises(DataError, match="1 labels have no name, 'n02'"):
        with_names(photos("n01", "n02"), {"n01": "dog"})


@pytest.mark.parametrize("content", ["[]", '{"n01": 3}', '{"n01": " "}', '{"n01": null}', "{", "\udc80"])
def test_a_file_of_names_that_is_none(tmp_path: Path, content: str) -> None:
    path = tmp_path / "names.json"
    path.write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(DataError, match=r"names\.json"):
        read_label_names(path)
    with pytest.raises(DataError, match="cannot be read"):
        read_label_names(tmp_path / "gone.json")


def test_a_file_of_names(tmp_path: Path) -> None:
    path = tmp_path / "names.json"
    path.write_text(json.dumps({"tench": "丁鲷"}), encoding="utf-8")
    assert read_label_names(path) == {"tench": "丁鲷"}
