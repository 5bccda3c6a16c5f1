"""What is kept comes back, and a cache that fails is done without."""

from __future__ import annotations

from pathlib import Path

import pytest

from seetell.core.kept import keep, read_kept


def test_what_is_kept_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "new" / "one.json"
    assert read_kept(path) is None
    keep(path, {"rate": 1.5, "name": "照片"})
    assert read_kept(path) == {"rate": 1.5, "name": "照片"}
    keep(path, {"rate": 2})
    assert read_kept(path) == {"rate": 2}
    assert [one.name for one in path.parent.iterdir()] == ["one.json"]


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b"\xff\xfe", b"null", b"3"])
def test_damage_is_nothing(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "one.json"
    path.write_bytes(damage)
    assert read_kept(path) is None


def test_no_place_and_one_that_cannot_be_written(tmp_path: Path) -> None:
    keep(None, {"a": 1})
    assert read_kept(None) is None
    (tmp_path / "file").write_text("in the way")
    keep(tmp_path / "file" / "one.json", {"a": 1})
    assert read_kept(tmp_path / "file" / "one.json") is None
