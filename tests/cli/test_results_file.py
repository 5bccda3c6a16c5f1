"""``--out``: a CSV that spreadsheets open right, JSON lines, whole or not at all; and ``--quiet``."""

from __future__ import annotations

import csv
import dataclasses
import importlib
import io
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from seetell.core.results import Answer, Caption, Classification, Match
from tests.cli.test_process import needs_posix, start


def rows(path: Path) -> list[dict[str, str]]:
    """The rows as a spreadsheet has them."""
    data = path.read_bytes()
    assert data.startswith(b"\xef\xbb\xbf"), "the mark by which spreadsheets know UTF-8"
    return list(csv.DictReader(io.StringIO(data.decode("utf-8-sig"), newline="")))


def test_captions_for_a_spreadsheet(seetell: Any, fake: Any, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "captions.csv"
    result = seetell("caption", photos, "--language", "en,zh", "--out", out)
    assert (result.status, result.err) == (0, f"{out}: written\n")
    assert len(result.out.splitlines()) == 6
    assert [(Path(row["photo"]).name, row["language"], row["text"]) for row in rows(out)] == [
        ("blue.png", "en", "a photo of 30 by 8"),
        ("blue.png", "zh", "一张30乘8的照片"),
        ("green.png", "en", "a photo of 20 by 8"),
        ("green.png", "zh", "一张20乘8的照片"),
        ("red.png", "en", "a photo of 10 by 8"),
        ("red.png", "zh", "一张10乘8的照片"),
    ]
    assert rows(out)[0] == {
        "photo": str(photos / "blue.png"),
        "language": "en",
        "text": "a photo of 30 by 8",
        "confidence": "",
        "unsure": "false",
        "guess": "",
        "score": "-0.5",
        "cut": "false",
        "model": "fake",
        "precision": "fp32",
        "error": "",
    }


def test_what_failed_has_a_row_and_is_told_once(
    seetell: Any, fake: Any, photos: Path, tmp_path: Path
) -> None:
    (photos / "broken.png").write_bytes(b"")
    out = tmp_path / "captions.csv"
    result = seetell("caption", photos, "--language", "zh，en", "--out", out)
    assert (result.status, result.err.count("error: ")) == (1, 1)
    failed = [row for row in rows(out) if row["error"]]
    assert [row["photo"] for row in failed] == [str(photos / "broken.png")]
    assert "the file is empty" in failed[0]["error"] and failed[0]["text"] == ""
    assert len(rows(out)) == 7


@pytest.mark.parametrize(
    "words",
    [
        ("caption", "PHOTOS", "--count", "2"),
        ("ask", "PHOTOS", "what?"),
        ("match", "PHOTOS", "a dog", "a cat"),
        ("classify", "PHOTOS", "--labels", "dog,cat"),
    ],
    ids=lambda words: words[0],
)
def test_lines_are_those_that_programs_are_given(
    seetell: Any, fake: Any, photos: Path, tmp_path: Path, words: tuple[str, ...]
) -> None:
    (photos / "broken.png").write_bytes(b"")
    out = tmp_path / "new" / "results.jsonl"
    command = [photos if word == "PHOTOS" else word for word in words]
    printed = seetell(*command, "--json", "--out", out)
    assert printed.status == 1
    assert len(printed.lines) > 3
    assert [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()] == printed.lines


def test_parts_of_a_result_share_a_cell(seetell: Any, fake: Any, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "r.csv"
    seetell("ask", photos / "red.png", "what?", "--answers", "red kite,dog,cat", "--out", out)
    (row,) = rows(out)
    assert row["alternatives"] == "red kite 0.3333; dog 0.3333; cat 0.3333"
    assert (row["question"], row["answer"], row["abstained"]) == ("what?", "red kite", "false")
    seetell("classify", photos / "red.png", "--labels", "狗，猫", "--out", out)
    assert [(row["label"], row["ranking"]) for row in rows(out)] == [("狗", "狗 0.5; 猫 0.5")]
    seetell("match", photos / "red.png", "a dog", "a cat", "--out", out)
    assert [(row["text"], row["probability"], row["similarity"]) for row in rows(out)] == [
        ("a dog", "0.5", "0.25"),
        ("a cat", "0.5", "0.25"),
    ]


def test_every_field_has_a_column() -> None:
    """``photo`` and ``question`` are the command's own."""
    for command, result in (
        ("caption", Caption),
        ("ask", Answer),
        ("match", Match),
        ("classify", Classification),
    ):
        columns = importlib.import_module(f"seetell.cli.{command}").COLUMNS
        fields = [field.name for field in dataclasses.fields(result)]
        assert sorted({*columns} - {"photo", "question"}) == sorted(fields)


def test_no_text_is_a_formula(seetell: Any, fake: Any, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "r.csv"
    seetell("match", photos / "red.png", '=HYPERLINK("x")', "@A1", "two\nlines, and a comma", "--out", out)
    assert [row["text"] for row in rows(out)] == [
        """'=HYPERLINK("x")""",
        "'@A1",
        "two\nlines, and a comma",
    ]


@pytest.mark.skipif(sys.platform != "linux", reason="file names are bytes on Linux only")
def test_names_that_are_no_text(seetell: Any, fake: Any, photos: Path, tmp_path: Path) -> None:
    odd = photos / os.fsdecode(b"caf\xe9.png")
    Image.new("RGB", (8, 8)).save(odd)
    for name in ("r.jsonl", "r.csv"):
        assert seetell("caption", odd, "--out", tmp_path / name).status == 0
    assert json.loads((tmp_path / "r.jsonl").read_text(encoding="utf-8"))["photo"] == str(odd)
    assert rows(tmp_path / "r.csv")[0]["photo"].endswith("caf\\udce9.png")


@pytest.mark.parametrize("name", ["results.txt", "results", "results.xlsx"])
def test_an_ending_that_is_neither(seetell: Any, fake: Any, photos: Path, tmp_path: Path, name: str) -> None:
    result = seetell("caption", photos, "--out", tmp_path / name)
    assert (result.status, result.out, fake.calls) == (2, "", [])
    assert result.err == (
        f"error: --out {tmp_path / name}: the ending says what to write; name a file .csv or .jsonl\n"
    )


def test_a_place_that_cannot_be_written_is_said_first(seetell: Any, fake: Any, photos: Path) -> None:
    result = seetell("caption", photos, "--out", photos / "red.png" / "captions.csv")
    assert (result.status, result.out, fake.calls) == (1, "", [])
    assert "error: cannot write" in result.err


def test_the_old_file_stays_where_the_command_cannot_go_on(
    seetell: Any, fake: Any, photos: Path, tmp_path: Path
) -> None:
    out = tmp_path / "labels.csv"
    out.write_text("old")
    assert seetell("classify", photos, "--out", out).status == 2
    assert (out.read_text(), sorted(os.listdir(tmp_path))) == ("old", ["labels.csv", "photos"])


@needs_posix
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_run_that_is_stopped_leaves_the_old_file(
    photos: Path, tmp_path: Path, number: signal.Signals
) -> None:
    out = tmp_path / "captions.csv"
    out.write_text("old")
    process = start("caption", *[photos] * 50, "--out", out)
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(number)
    process.communicate(timeout=300)
    assert process.returncode == 128 + number
    assert (out.read_text(), sorted(os.listdir(tmp_path))) == ("old", ["captions.csv", "photos"])


def test_quiet(seetell: Any, fake: Any, photos: Path, tmp_path: Path) -> None:
    (photos / "broken.png").write_bytes(b"")
    (photos / "raw.nef").write_bytes(b"x")
    out = tmp_path / "captions.csv"
    kept = seetell("caption", photos, "--quiet", "--out", out)
    said = f"error: {photos / 'broken.png'}: the file is empty\n3 done, 1 failed\n"
    assert (kept.status, kept.out, kept.err) == (1, "", said)
    assert len(rows(out)) == 4
    for more in ((), ("--json",)):
        printed = seetell("caption", photos, "--quiet", *more)
        assert (printed.status, len(printed.out.splitlines())) == (1, 4 if more else 3)
        assert "skipped" not in printed.err
    assert "skipped 1 file" in seetell("caption", photos).err


def test_errors_of_a_quiet_command_for_programs_are_said(
    seetell: Any, fake: Any, photos: Path, tmp_path: Path
) -> None:
    """They would be on standard output, where nothing is printed."""
    result = seetell("caption", photos / "gone.png", "--quiet", "--json", "--out", tmp_path / "r.jsonl")
    assert (result.status, result.out) == (1, "")
    assert "gone.png" in result.err
