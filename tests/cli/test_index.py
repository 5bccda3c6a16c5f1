"""``seetell index``, and ``seetell search`` in what it made, with a made-up model that knows colours."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

lancedb = pytest.importorskip("lancedb", reason="the extra `search` is not installed")


def test_index_and_search(seetell: Any, fake: Any, photos: Path) -> None:
    result = seetell("index", photos, "--json")
    assert result.status == 0, result.err
    (line,) = result.lines
    place = photos.with_name("photos.index")
    assert line.pop("photos_per_s") > 0
    assert line == {
        "index": str(place),
        "added": 3,
        "updated": 0,
        "moved": 0,
        "removed": 0,
        "unchanged": 0,
        "failed": 0,
        "photos": 3,
    }
    (photos / "green.png").rename(photos / "grass.png")
    (photos / "red.png").unlink()
    Image.new("RGB", (9, 9), "yellow").save(photos / "new.png")
    (photos / "broken.jpg").write_bytes(b"")
    result = seetell("index", photos)
    assert result.status == 1
    assert result.out.split("\t")[0] == str(place)
    assert "1 added, 1 moved, 1 removed" in result.out
    assert "broken.jpg: the file is empty" in result.err
    result = seetell("search", "something green", "--in", place, "--json", "-k", "2")
    assert [line["photo"] for line in result.lines] == [str(photos / "grass.png"), str(photos / "new.png")]
    result = seetell("search", "--image", photos / "blue.png", "--in", place, "--where", "path like '%new%'")
    assert result.out.split("\t")[1] == str(photos / "new.png")


def test_what_is_not_wanted(seetell: Any, fake: Any, photos: Path) -> None:
    Image.new("RGB", (9, 9), "yellow").save(photos / "yellow.png")
    seetell("index", photos, "--index", photos.with_name("i"))
    wanted = seetell("search", "red", "--in", photos.with_name("i"), "--json").lines
    less = seetell("search", "red -green", "--in", photos.with_name("i"), "--json").lines
    yellow = str(photos / "yellow.png")
    assert [line["photo"] for line in wanted].index(yellow) == 1
    score = {line["photo"]: line["score"] for line in less}
    assert score[yellow] < wanted[1]["score"]
    assert seetell("search", '-"green things"', "--in", photos).status == 2


def test_forgetting(seetell: Any, fake: Any, photos: Path) -> None:
    seetell("index", photos)
    (line,) = seetell("index", photos, "--remove", "--json").lines
    assert line == {"index": str(photos.with_name("photos.index")), "removed": 3}
    assert seetell("search", "red", "--in", photos.with_name("photos.index"), "--json").lines == []


def test_commands_that_cannot_be_meant(seetell: Any, fake: Any, photos: Path) -> None:
    for arguments, words in (
        ((photos, photos), "--index DIR"),
        (("/",), "--index DIR"),
        ((photos / "none",), "no such folder"),
        ((photos / "red.png",), "no such folder"),
    ):
        result = seetell("index", *arguments)
        assert result.status == 2, arguments
        assert words in result.err
        assert result.err.count("\n") == 1
    result = seetell("search", "red", "--in", photos, "--where", "width > 3")
    assert (result.status, "needs an index" in result.err) == (2, True)
    seetell("index", photos)
    result = seetell("search", "red", "--in", photos.with_name("photos.index"), "--where", "with > 3")
    assert (result.status, "the columns are" in result.err) == (2, True)
    assert result.err.count("\n") == 1


def test_without_lancedb(seetell: Any, fake: Any, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lancedb", None)
    result = seetell("index", photos)
    assert result.status == 2
    assert "pip install 'seetell[search]'" in result.err
    assert seetell("search", "green", "--in", photos, "-k", "1").out.startswith(
        "1\t" + str(photos / "green.png")
    )


def test_captions_duplicates_and_a_check(seetell: Any, fake: Any, photos: Path) -> None:
    (photos / "again.png").write_bytes((photos / "red.png").read_bytes())
    result = seetell("index", photos, "--caption", "--duplicates", "--check", "--json")
    assert result.status == 0, result.err
    update, group, check = result.lines
    assert update["added"] == 4
    assert "4 photos captioned" in result.err
    assert {Path(path).name for path in group["photos"]} == {"again.png", "red.png"}
    assert check["check"]["recall_by_photo"] == check["check"]["recall_by_text"] == 1.0
    place = photos.with_name("photos.index")
    # The made-up captions say how large a photo is.
    (best, *_) = seetell("search", "30", "--hybrid", "--in", place, "--json").lines
    assert best["photo"] == str(photos / "blue.png")
    again = seetell("search", "red", "--rerank", "--in", place, "--json", "-k", "1").lines
    assert [line["score"] for line in again] == [0.5]
    assert seetell("search", "red", "--hybrid", "--in", photos).status == 2
