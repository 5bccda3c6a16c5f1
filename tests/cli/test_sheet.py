"""The contact sheet: everything in one file, and no name in it can do anything."""

from __future__ import annotations

import base64
import io
import os
import re
import sys
from pathlib import Path

import pytest
from PIL import Image

from seetell.cli.sheet import write_sheet
from seetell.core.results import Hit


def test_a_sheet_holds_everything(tmp_path: Path) -> None:
    photo = tmp_path / "large.png"
    Image.new("RGB", (1200, 600), "red").save(photo)
    page = tmp_path / "sheet.html"
    write_sheet(page, "红色 & red", [Hit(1, str(photo), 0.5)])
    text = page.read_text(encoding="utf-8")
    assert "红色 &amp; red" in text
    assert not re.findall(r"(?:src|href)=\"(?!data:)", text), "nothing is fetched"
    [data] = re.findall(r"base64,([^\"]+)", text)
    image = Image.open(io.BytesIO(base64.b64decode(data)))
    assert image.size == (480, 240)


@pytest.mark.skipif(sys.platform == "win32", reason="such names are not allowed there")
def test_names_are_text(tmp_path: Path) -> None:
    photo = tmp_path / 'a"><script>alert(1)<.png'
    Image.new("RGB", (8, 8)).save(photo)
    page = tmp_path / "sheet.html"
    write_sheet(page, "</title><script>", [Hit(1, str(photo), 0.5), Hit(2, str(photo), float("nan"))])
    assert "<script" not in page.read_text(encoding="utf-8")


def test_no_hits(tmp_path: Path) -> None:
    write_sheet(tmp_path / "sheet.html", "nothing", [])
    assert "<figure>" not in (tmp_path / "sheet.html").read_text()


def test_a_photo_that_has_gone_leaves_a_gap(tmp_path: Path) -> None:
    there, gone, damaged = (tmp_path / f"{name}.png" for name in ("there", "gone", "damaged"))
    Image.new("RGB", (8, 8)).save(there)
    damaged.write_bytes(there.read_bytes()[:40])
    page = tmp_path / "sheet.html"
    write_sheet(page, "x", [Hit(n, str(one), 0.5) for n, one in enumerate((gone, there, damaged), 1)])
    figures = re.findall("<figure>.*?</figure>", page.read_text(encoding="utf-8"), re.DOTALL)
    assert ["<img" in one for one in figures] == [False, True, False]
    assert "this photo is not there any more" in figures[0] and f"1. {gone}" in figures[0]
    assert "the file is cut off" in figures[2]


@pytest.mark.skipif(sys.platform != "linux", reason="such names are not allowed elsewhere")
def test_a_name_that_is_no_text(tmp_path: Path) -> None:
    photo = tmp_path / os.fsdecode(b"caf\xe9\n.png")
    Image.new("RGB", (8, 8)).save(photo)
    write_sheet(tmp_path / "sheet.html", os.fsdecode(b"caf\xe9"), [Hit(1, str(photo), 0.5)])
    assert "caf\\udce9" in (tmp_path / "sheet.html").read_text(encoding="utf-8")
