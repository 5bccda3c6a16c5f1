"""``--val``: nothing that is validated on was learned from, and the same photos always lie on one side."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from seetell.core.errors import DataError, UsageError
from seetell.data.cleaning.limits import Limits
from seetell.data.preparing.run import PrepareOptions, prepare
from seetell.data.shards import open_shards
from tests.data.preparing.heap import jpeg, tree

FIFTH = PrepareOptions(workers=1, val=0.2)


def write(folder: Path, photos: dict[str, bytes], **fields: Any) -> Path:
    """A table of photos, each with three captions and two questions, in the given order."""
    folder.mkdir()
    lines = []
    for name, data in photos.items():
        (folder / name).write_bytes(data)
        said = [
            {"caption": f"{way} view of thing {name.removesuffix('.jpg')}"}
            for way in ("a", "another", "one more")
        ]
        asked = [{"question": f"{what} is in {name}?", "answer": "a thing"} for what in ("what", "which")]
        lines += [{"image": name, **fields, **one} for one in (*said, *asked)]
    table = folder / "photos.jsonl"
    table.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    return table


def sides(out: Path) -> dict[str, dict[str, str]]:
    """Split -> hash of each photo in it -> its name."""
    found: dict[str, dict[str, str]] = {}
    for split in json.loads((out / "prepared.json").read_bytes())["splits"]:
        for sample, _ in open_shards(out, split).read_refs():
            with open(sample.photo.path, "rb") as file:
                file.seek(sample.photo.offset)
                found.setdefault(split, {})[str(hash(file.read(sample.photo.size_bytes)))] = sample.key
    return found


def test_what_looks_alike_stays_together_with_all_that_is_said(tmp_path: Path) -> None:
    photos = {f"{n:03}.jpg": jpeg(n) for n in range(40)}
    photos |= {f"copy-{n:03}.jpg": jpeg(n, quality=70) for n in range(40)}
    photos |= {f"large-{n:03}.jpg": jpeg(n, quality=80) for n in range(40)}
    table = write(tmp_path / "heap", photos)
    kept = replace(FIFTH, limits=Limits(near_distance=None))
    summary = prepare(table, tmp_path / "out", kept)
    assert summary["photos"]["kept"] == 120
    names = {split: {key[-7:] for key in side.values()} for split, side in sides(tmp_path / "out").items()}
    assert names.keys() == {"train", "val"}
    assert not names["train"] & names["val"]
    assert {split: part["samples"] for split, part in summary["splits"].items()} == {
        split: 3 * len(side) for split, side in names.items()
    }
    for split in names:
        for sample, _ in open_shards(tmp_path / "out", split).read_refs():
            assert (len(sample.captions), len(sample.questions)) == (3, 2)
            assert sample.split == split
    assert "--val 0.2" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")


def test_the_side_is_the_contents_and_not_the_names_or_the_order(tmp_path: Path) -> None:
    data = [jpeg(n) for n in range(60)]
    prepare(write(tmp_path / "one", {f"{n:03}.jpg": data[n] for n in range(60)}), tmp_path / "a", FIFTH)
    backwards = {f"z{60 - n}.jpg": data[n] for n in reversed(range(60))}
    prepare(write(tmp_path / "two", backwards, split="train"), tmp_path / "b", FIFTH)
    one, two = sides(tmp_path / "a"), sides(tmp_path / "b")
    assert {split: set(side) for split, side in one.items()} == {
        split: set(side) for split, side in two.items()
    }
    assert 6 <= len(one["val"]) <= 18  # about a fifth of 60
    # More photos move none of them.
    more = {f"{n:03}.jpg": jpeg(n) for n in range(90)}
    prepare(write(tmp_path / "three", more), tmp_path / "c", FIFTH)
    three = sides(tmp_path / "c")
    assert all(set(one[split]) <= set(three[split]) for split in one)
    prepare(tmp_path / "one" / "photos.jsonl", tmp_path / "again", FIFTH)
    assert tree(tmp_path / "a").keys() == tree(tmp_path / "again").keys()


@pytest.mark.parametrize("share", [0.001, 0.999])
def test_either_side_has_a_photo(tmp_path: Path, share: float) -> None:
    table = write(tmp_path / "heap", {f"{n}.jpg": jpeg(n) for n in range(5)})
    summary = prepare(table, tmp_path / "out", PrepareOptions(workers=1, val=share))
    counts = {split: part["samples"] for split, part in summary["splits"].items()}
    assert counts == ({"train": 4, "val": 1} if share < 0.5 else {"train": 1, "val": 4})


def test_other_splits_stay_and_one_for_validation_is_enough(tmp_path: Path) -> None:
    photos = {f"{n}.jpg": jpeg(n) for n in range(20)}
    table = write(tmp_path / "heap", photos, split="train")
    lines = table.read_text(encoding="utf-8")
    other = json.dumps({"image": "0.jpg", "split": "test", "caption": "a view for testing"})
    table.write_text(f"{lines}\n{other}".replace('"0.jpg", "split": "train"', '"0.jpg", "split": "test"'))
    summary = prepare(table, tmp_path / "out", FIFTH)
    assert summary["splits"]["test"]["samples"] == 1
    assert summary["splits"]["train"]["samples"] + summary["splits"]["val"]["samples"] == 19
    table.write_text(lines.replace('"0.jpg", "split": "train"', '"0.jpg", "split": "dev"'))
    with pytest.raises(UsageError, match=r"^--val: the source has a split to validate on already, 'dev'; "):
        prepare(table, tmp_path / "other", FIFTH)
    table.write_text(lines.replace('"train"', '"test"'))
    with pytest.raises(UsageError, match=r"^--val: takes photos of train, and the source has test alone"):
        prepare(table, tmp_path / "other", FIFTH)
    assert not (tmp_path / "other").exists()


def test_what_cannot_be_divided_says_so(tmp_path: Path) -> None:
    for share in (0.0, 1.0, 10.0):
        with pytest.raises(UsageError, match="--val: a share of the photos between 0 and 1"):
            PrepareOptions(val=share)
    table = write(tmp_path / "heap", {"a.jpg": jpeg(1), "b.jpg": jpeg(1, quality=70)})
    with pytest.raises(DataError, match="--val: the photos that stay all look alike"):
        prepare(table, tmp_path / "out", replace(FIFTH, limits=Limits(near_distance=None)))


def test_another_share_is_other_data(tmp_path: Path) -> None:
    table = write(tmp_path / "heap", {f"{n}.jpg": jpeg(n) for n in range(20)})
    whole = prepare(table, tmp_path / "out", PrepareOptions(workers=1))
    assert list(whole["splits"]) == ["data"]
    divided = prepare(table, tmp_path / "out", replace(FIFTH, overwrite=True))
    assert list(divided["splits"]) == ["train", "val"]
    assert prepare(table, tmp_path / "out", FIFTH)["unchanged"]
