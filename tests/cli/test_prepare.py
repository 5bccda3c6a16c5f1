"""``seetell prepare``: what it prints, its statuses, and the models it scores and captions with."""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from seetell.core.errors import BundleNotFound
from seetell.data.shards import open_shards
from tests.broken_files import photo_pixels
from tests.cli.conftest import Seetell
from tests.cli.fake_model import FakeModel

COLOURS = {"red": (220, 30, 30), "green": (30, 220, 30), "blue": (30, 30, 220)}


class MatchingOnly(FakeModel):
    tasks = frozenset({"match", "caption"})


class Blind(FakeModel):
    tasks = frozenset({"ask"})


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Nine photos, red, green and blue in turn; every third caption names the wrong colour."""
    folder = tmp_path / "heap"
    folder.mkdir()
    with open(folder / "photos.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["filepath", "title"])
        for n in range(9):
            name, colour = list(COLOURS.items())[n % 3]
            image = Image.fromarray(photo_pixels(n))
            Image.blend(Image.new("RGB", image.size, colour), image, 0.4).save(folder / f"{n}.png")
            said = name if n < 6 else list(COLOURS)[(n + 1) % 3]
            writer.writerow([f"{n}.png", f"the {said} one, number {n}"])
    return folder / "photos.csv"


@pytest.fixture
def scoring(monkeypatch: pytest.MonkeyPatch) -> dict[str, FakeModel]:
    """Models by name, as `load` opens them."""
    models: dict[str, FakeModel] = {"builtin": FakeModel(), "matching": MatchingOnly(), "blind": Blind()}

    def load(source: Any = None, **options: Any) -> FakeModel:
        if source not in models:
            raise BundleNotFound(f"{source}: no such model")
        return models[source]

    monkeypatch.setattr("seetell.tasks.model.load", load)
    return models


def test_a_summary_for_programs_and_for_people(seetell: Seetell, table: Path, tmp_path: Path) -> None:
    done = seetell("prepare", table, tmp_path / "out", "--json", "--workers", 1)
    assert done.status == 0
    [summary] = done.lines
    assert summary["photos"] == {"read": 9, "kept": 9}
    assert summary["source_format"] == "table" and summary["splits"]["data"]["samples"] == 9
    assert summary["report"] == str(tmp_path / "out" / "report.html")
    again = seetell("prepare", table, tmp_path / "out", "--workers", 1)
    assert again.status == 0
    assert "photos kept\t9" in again.out.splitlines()
    assert "nothing has changed" in again.err and "report.html" in again.err
    assert again.err.splitlines()[-1] == f"next: seetell train --from builtin --data {tmp_path}/out out-run"
    assert len(open_shards(tmp_path / "out")) == 9


def test_photos_are_kept_apart_to_validate_on(seetell: Seetell, table: Path, tmp_path: Path) -> None:
    done = seetell("prepare", table, tmp_path / "out", "--val", 0.3, "--workers", 1, "--json")
    counts = {split: part["samples"] for split, part in done.lines[0]["splits"].items()}
    assert counts.keys() == {"train", "val"} and sum(counts.values()) == 9
    refused = seetell("prepare", table, tmp_path / "other", "--val", 10)
    assert refused.status == 2 and "--val: a share of the photos between 0 and 1, as in 0.1" in refused.err


def test_thresholds_reach_the_checks(seetell: Seetell, table: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert seetell("prepare", table, out, "--min-edge", 61).status == 1
    assert "nothing is left of it" in seetell("prepare", table, out, "--min-edge", 61).err
    for options, reason in [
        (("--max-aspect", 1.1), "extreme_aspect"),
        (("--min-contrast", 200), "blank"),
        (("--min-words", 9), "no_text"),
        (("--max-words", 2), "no_text"),
        (("--languages", "zh"), "no_text"),
        (("--boilerplate", "^the red,number 4"), "no_text"),
    ]:
        done = seetell("prepare", table, tmp_path / reason / options[0], "--keep-silent", *options)
        page = next((tmp_path / reason).glob("*/report.html")).read_text(encoding="utf-8")
        assert done.status in (0, 1) and f'id="{reason}"' in page, options


def test_what_went_is_counted_on_the_terminal(seetell: Seetell, table: Path, tmp_path: Path) -> None:
    done = seetell("prepare", table, tmp_path / "out", "--min-words", 9, "--workers", 1)
    said = f"{table}: nothing is left of it: no_text 9, too_short 9; as in 'too_short x1'; more in {tmp_path}"
    assert said in done.err and done.err.count("\n") == 1
    table.write_text(table.read_text().replace("\n", "\n../", 1).replace("\n1", "\nmissing/1"))
    done = seetell("prepare", table, tmp_path / "some", "--workers", 1)
    assert {"photos kept\t7", "  unreadable\t1", "broken entries\t1"} <= set(done.out.splitlines())
    (table.parent / "moved").mkdir()
    for photo in table.parent.glob("*.png"):
        photo.rename(table.parent / "moved" / photo.name)
    table.write_text(table.read_text().replace(".png", ".jpg"))
    done = seetell("prepare", table, tmp_path / "none", "--workers", 1)
    assert "nothing is left of it: unreadable 8; as in 'missing: " in done.err
    assert f"tried '{table.parent}/missing/1.jpg'" in done.err and "--images" in done.err


def test_a_broken_source_and_wrong_usage(seetell: Seetell, table: Path, tmp_path: Path) -> None:
    for arguments, status, said in [
        ((tmp_path / "none", tmp_path / "out"), 1, "no such file"),
        ((table, table.parent), 1, "holds"),
        ((table, tmp_path / "out", "--min-score", 0.5), 2, "--score-model"),
        ((table, tmp_path / "out", "--capfilt"), 2, "--score-model"),
        ((table, tmp_path / "out", "--caption-model", "x"), 2, "--capfilt"),
        ((table, tmp_path / "out", "--photo-column", "x"), 2, "'filepath', 'title'"),
        ((table, tmp_path / "out", "--images", tmp_path / "none"), 2, "is no folder"),
        ((table, tmp_path / "out", "--format", "docx"), 2, "docx"),
        ((table, tmp_path / "out", "--min-words", 5, "--max-words", 2), 2, "--min-words"),
    ]:
        done = seetell("prepare", *arguments)
        assert (done.status, said in done.err) == (status, True), done.err
        assert done.out == ""


def test_scores_by_similarity(
    seetell: Seetell, table: Path, tmp_path: Path, scoring: dict[str, FakeModel]
) -> None:
    done = seetell(
        "prepare", table, tmp_path / "out", "--score-model", "builtin", "--min-score", 0.7, "--json"
    )
    [summary] = done.lines
    assert summary["dropped_captions"] == {"low_score": 3}
    assert {s.key for s, _ in open_shards(tmp_path / "out").read()} == {f"{n}.png" for n in range(6)}
    part = seetell(
        "prepare", table, tmp_path / "part", "--score-model", "builtin", "--keep-fraction", 0.5, "--json"
    )
    assert part.lines[0]["captions"]["kept"] in (4, 5)


def test_scores_by_matching(
    seetell: Seetell, table: Path, tmp_path: Path, scoring: dict[str, FakeModel]
) -> None:
    done = seetell("prepare", table, tmp_path / "out", "--score-model", "matching", "--json")
    assert done.lines[0]["captions"] == {"read": 9, "kept": 9}
    [first, *_] = open_shards(tmp_path / "out").read_refs()
    assert first[0].captions
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "scored by fake, matching" in page
    forced = seetell(
        "prepare", table, tmp_path / "x", "--score-model", "matching", "--score-by", "similarity"
    )
    assert forced.status == 2 and "--score-by matching" in forced.err
    blind = seetell("prepare", table, tmp_path / "x", "--score-model", "blind")
    assert blind.status == 2 and "how well a text matches" in blind.err
    unknown = seetell("prepare", table, tmp_path / "x", "--score-model", "unknown")
    assert unknown.status == 1 and "no such model" in unknown.err


def test_capfilt(seetell: Seetell, table: Path, tmp_path: Path, scoring: dict[str, FakeModel]) -> None:
    options = ("--score-model", "builtin", "--capfilt")
    assert seetell("prepare", table, tmp_path / "out", *options).status == 2
    done = seetell("prepare", table, tmp_path / "out", *options, "--min-score", 0.6, "--json")
    [summary] = done.lines
    assert summary["generated"]["written"] == 9
    assert summary["photos"]["kept"] == 9, "a written caption stands in for a wrong one"
    blind = seetell(
        "prepare", table, tmp_path / "x", *options, "--min-score", 0.6, "--caption-model", "blind"
    )
    assert blind.status == 2 and "writes no captions" in blind.err


def test_a_missing_extra_is_named(
    seetell: Seetell, table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    done = seetell("prepare", table, tmp_path / "out")
    assert done.status == 2
    assert done.err.count("\n") == 1 and "[prepare]'" in done.err
    assert not (tmp_path / "out").exists()


def test_what_is_skipped_is_said(seetell: Seetell, tmp_path: Path) -> None:
    heap = tmp_path / "heap"
    for n, name in enumerate(("a.png", "b.png", ".trashed-1-c.png", "@eaDir/a.png")):
        (heap / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(photo_pixels(n)).save(heap / name)
        (heap / name).with_suffix(".txt").write_text(f"a picture of noise, number {n}")
    done = seetell("prepare", heap, tmp_path / "out", "--json", "--workers", 1)
    assert (done.lines[0]["photos"]["read"], done.lines[0]["skipped"]) == (2, 2)
    said = "skipped 1 hidden photo and 1 hidden or system folder; what is named outright is taken"
    assert said in done.err.splitlines()
    again = seetell("prepare", heap, tmp_path / "out", "--workers", 1)
    assert said in again.err.splitlines() and "nothing has changed" in again.err
