"""The contact sheet: everything in one file, and no name in it can do anything."""

from __future__ import annotations

import base64
import io
import json
import os
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from seetell.cli.sheet import sheet_file, write_sheet
from seetell.core.errors import UsageError
from seetell.core.results import Hit


def test_a_sheet_holds_everything(tmp_path: Path) -> None:
    photo = tmp_path / "large.png"
    Image.new("RGB", (1200, 600), "red").save(photo)
    page = tmp_path / "sheet.html"
    write_sheet(page, "红色 & red", [Hit(1, str(photo), 0.5)])
    text = page.read_text(encoding="utf-8")
    assert "红色 &amp; red" in text
    assert not re.findall(r"src=\"(?!data:)", text), "nothing is fetched"
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
    assert "<figure>" not in (tmp_path / "sheet.html").read_text(encoding="utf-8")


def test_a_photo_that_has_gone_leaves_a_gap(tmp_path: Path) -> None:
    there, gone, damaged = (tmp_path / f"{name}.png" for name in ("there", "gone", "damaged"))
    Image.new("RGB", (8, 8)).save(there)
    damaged.write_bytes(there.read_bytes()[:40])
    page = tmp_path / "sheet.html"
    write_sheet(page, "x", [Hit(n, str(one), 0.5) for n, one in enumerate((gone, there, damaged), 1)])
    figures = re.findall("<figure>.*?</figure>", page.read_text(encoding="utf-8"), re.DOTALL)
    assert ["<img" in one for one in figures] == [False, True, False]
    assert "this photo is not there any more" in figures[0] and str(gone) in figures[0]
    assert ["href" in one for one in figures] == [False, True, True]
    assert "the file is cut off" in figures[2]


@pytest.mark.skipif(sys.platform != "linux", reason="such names are not allowed elsewhere")
def test_a_name_that_is_no_text(tmp_path: Path) -> None:
    photo = tmp_path / os.fsdecode(b"caf\xe9\n.png")
    Image.new("RGB", (8, 8)).save(photo)
    write_sheet(tmp_path / "sheet.html", os.fsdecode(b"caf\xe9"), [Hit(1, str(photo), 0.5)])
    assert "caf\\udce9" in (tmp_path / "sheet.html").read_text(encoding="utf-8")


def links(page: Path) -> list[str]:
    """What the page leads to, each once, in order."""
    return list(dict.fromkeys(re.findall(r'href="([^"]*)"', page.read_text(encoding="utf-8"))))


def texts(page: Path) -> list[list[str]]:
    """The lines under each picture."""
    figures = re.findall("<figure>.*?</figure>", page.read_text(encoding="utf-8"), re.DOTALL)
    return [re.findall("<div>(.*?)</div>", figure) for figure in figures]


@pytest.mark.skipif(sys.platform == "win32", reason="such names are not allowed there")
def test_links_lead_to_the_photos_from_where_the_page_lies(tmp_path: Path) -> None:
    names = ("a b#1?.png", "javascript:alert(1).png", "50%.png", "猫.png")
    (tmp_path / "photos").mkdir()
    for name in names:
        Image.new("RGB", (8, 8)).save(tmp_path / "photos" / name)
    page = tmp_path / "pages" / "sheet.html"
    write_sheet(page, "x", [Hit(1, str(tmp_path / "photos" / name), 0.5) for name in names])
    assert links(page) == [
        "../photos/a%20b%231%3F.png",
        "../photos/javascript%3Aalert%281%29.png",
        "../photos/50%25.png",
        "../photos/%E7%8C%AB.png",
    ]


@pytest.mark.parametrize("name", ["sheet.jpg", "sheet", "sheet.html.png"])
def test_a_name_that_is_no_pages(tmp_path: Path, name: str) -> None:
    (tmp_path / "sheet.jpg").write_bytes(b"a photo")
    with pytest.raises(UsageError, match=r"name a file \.html"), sheet_file(tmp_path / name, "x"):
        pass
    assert (tmp_path / "sheet.jpg").read_bytes() == b"a photo"


@pytest.mark.parametrize(
    "words",
    [
        ("search", "red", "--in", "PHOTOS"),
        ("caption", "PHOTOS"),
        ("ask", "PHOTOS", "what?"),
        ("classify", "PHOTOS", "--labels", "a,b"),
    ],
    ids=lambda words: words[0],
)
def test_a_photo_is_not_replaced_by_a_page(
    seetell: Any, fake: Any, photos: Path, words: tuple[str, ...]
) -> None:
    before = (photos / "red.png").read_bytes()
    command = [photos if word == "PHOTOS" else word for word in words]
    result = seetell(*command, "--sheet", photos / "red.png")
    assert (result.status, result.out, fake.calls) == (2, "", [])
    assert (photos / "red.png").read_bytes() == before


def test_a_sheet_of_captions(seetell: Any, fake: Any, photos: Path, tmp_path: Path) -> None:
    (photos / "broken.png").write_bytes(b"")
    page = tmp_path / "captions.html"
    result = seetell("caption", photos, "--language", "en,zh", "--sheet", page)
    assert (result.status, f"{page}: written" in result.err) == (1, True)
    assert texts(page) == [
        ["a photo of 30 by 8", "一张30乘8的照片"],
        [],
        ["a photo of 20 by 8", "一张20乘8的照片"],
        ["a photo of 10 by 8", "一张10乘8的照片"],
    ]
    assert links(page) == ["photos/blue.png", "photos/green.png", "photos/red.png"]
    assert "the file is empty" in page.read_text(encoding="utf-8")


def test_sheets_of_answers_and_of_labels(seetell: Any, fake: Any, photos: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    seetell("ask", photos / "red.png", "what <b>colour?", "--answers", "yes,no", "--sheet", page, "--quiet")
    assert texts(page) == [["yes 50%", "no 50%"]]
    assert "<h1>what &lt;b&gt;colour?</h1>" in page.read_text(encoding="utf-8")
    questions = tmp_path / "questions.jsonl"
    questions.write_text(
        "".join(
            json.dumps({"photo": f"photos/{name}", "question": question}) + "\n"
            for name, question in (("red.png", "what?"), ("red.png", "who?"), ("blue.png", "what?"))
        )
    )
    assert seetell("ask", "--questions", questions, "--top", "1", "--sheet", page).status == 0
    assert texts(page) == [["what?", "red 100%", "who?", "red 100%"], ["what?", "red 100%"]]
    seetell("classify", photos / "red.png", "--labels", "dog,cat", "--sheet", page)
    assert texts(page) == [["dog 50%", "cat 50%"]]


def test_a_table_and_a_page_at_once(seetell: Any, fake: Any, photos: Path, tmp_path: Path) -> None:
    page, out = tmp_path / "page.html", tmp_path / "captions.csv"
    result = seetell("caption", photos, "--sheet", page, "--out", out, "--quiet")
    assert (result.status, result.out, result.err) == (0, "", "")
    assert len(texts(page)) == 3 and len(out.read_text(encoding="utf-8").splitlines()) == 4
    page.unlink()
    out.unlink()
    # One that cannot be written leaves none of the other.
    assert seetell("caption", photos, "--sheet", tmp_path / "page.png", "--out", out).status == 2
    assert sorted(one.name for one in tmp_path.iterdir()) == ["photos"]
