"""The HTML page: all there, nothing fetched, nothing from a file taken for markup."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Iterable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from seetell.core.errors import ImageError, StorageError
from seetell.core.results import Answer, Caption, Classification, Failure, RankedLabel
from seetell.data.records import CaptionRecord, LabelRecord, QuestionRecord
from seetell.evaluation.html_report import html_report, write_html_report
from seetell.evaluation.predictors import Predictors
from seetell.evaluation.runner import Evaluation, evaluate_captions, evaluate_labels, evaluate_questions

EVIL = "<script>alert(\"x\")</script> & 'quoted'"
VOID = {"meta", "img", "br", "line", "rect", "circle", "polygon", "polyline"}


class Page(HTMLParser):
    """What is on a page; fails on tags that do not close in order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)
        self.close()
        assert self.open == [], f"not closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.text += data

    def pictures(self) -> list[Image.Image]:
        sources = [str(attributes["src"]) for tag, attributes in self.tags if tag == "img"]
        return [Image.open(io.BytesIO(base64.b64decode(one.partition(",")[2]))) for one in sources]


@pytest.fixture
def photos(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"{number} <b>&.png" for number in range(6)]
    for number, path in enumerate(paths):
        Image.new("RGB", (700 - 100 * number, 300), (40 * number, 0, 255)).save(path)
    return paths


def answered(photos: list[Path], bad: Path | None = None) -> Evaluation:
    def ask(pairs: Iterable[tuple[Path, str]]) -> Iterator[Any]:
        for photo, _ in pairs:
            if photo == bad:
                yield Failure(str(photo), ImageError("truncated", f"{photo}: ends too early {EVIL}"))
            else:
                yield Answer(EVIL if photos.index(photo) % 2 else "no", 0.25, (), False, "m", "fp32")

    records = [
        QuestionRecord(photo, f"what? {EVIL}", ("no", EVIL + "!"), number, number)
        for number, photo in enumerate(photos)
    ]
    return evaluate_questions(Predictors(EVIL, "fp32", ask=ask), records, target_accuracy=50)


def test_everything_is_inside_and_nothing_of_it_is_markup(photos: list[Path]) -> None:
    text = html_report(answered(photos, bad=photos[3]))
    page = Page(text)
    assert {tag for tag, _ in page.tags}.isdisjoint({"script", "link", "iframe", "object", "a"})
    assert "<script" not in text and 'alert("x")' not in text
    assert page.text.count(EVIL) >= 1 + 5 * 2, "the model, and of every photo the question and an answer"
    for _, attributes in page.tags:
        for name in ("src", "href"):
            assert str(attributes.get(name, "data:")).startswith("data:")
        assert not any(name.startswith("on") for name in attributes)
    assert "default-src 'none'" in text
    assert "exact match" in page.text and "50.0" in page.text
    assert "ends too early" in page.text
    assert text.count("<svg") == 2


def test_photos_are_shown_small(photos: list[Path]) -> None:
    pictures = Page(html_report(answered(photos))).pictures()
    assert len(pictures) == 6
    assert {max(one.size) for one in pictures} <= set(range(200, 321))
    # In their own shape.
    assert any(abs(one.width / one.height - 700 / 300) < 0.02 for one in pictures)


def test_a_photo_that_has_gone_since_leaves_a_gap(photos: list[Path]) -> None:
    found = answered(photos)
    photos[0].unlink()
    photos[1].write_bytes(b"no photo")
    page = Page(html_report(found))
    assert page.text.count("not there") == 2
    assert len(page.pictures()) == 4


def test_a_name_that_is_no_text(tmp_path: Path, photos: list[Path]) -> None:
    odd = tmp_path / "\udcff.png"
    try:
        odd.write_bytes(photos[0].read_bytes())
    except OSError:
        pytest.skip("this file system takes names that are text only")
    path = tmp_path / "report.html"
    write_html_report(path, answered([odd, *photos]))
    assert "\\udcff" in path.read_text(encoding="utf-8")


def test_labels_and_what_was_taken_for_what(photos: list[Path]) -> None:
    ranking = (RankedLabel("cat", 0.75), RankedLabel(EVIL, 0.25))

    def classify(paths: Iterable[Path]) -> Iterator[Any]:
        return (Classification("cat", 0.75, ranking, "m", "fp32") for _ in paths)

    records = [LabelRecord(photo, "cat" if number < 4 else EVIL) for number, photo in enumerate(photos)]
    page = Page(html_report(evaluate_labels(Predictors("m", "fp32", classify=classify), records)))
    assert "taken for" in page.text and EVIL in page.text
    assert "66.7" in page.text


def test_captions_have_no_chart_of_confidence(photos: list[Path]) -> None:
    def caption(paths: Iterable[Path]) -> Iterator[Any]:
        return (Caption(f"a photo of {path.stem[0]}", -1.0, "en", "m", "fp32") for path in paths)

    records = [
        CaptionRecord(photo, tuple((f"a photo of {number % 4} {EVIL}", "en") for _ in range(5)), number)
        for number, photo in enumerate(photos)
    ]
    text = html_report(evaluate_captions(Predictors("m", "fp32", caption=caption), records, "en"))
    page = Page(text)
    assert "<svg" not in text
    assert "CIDEr-D" in page.text and "(+2)" in page.text


def test_bars_stay_in_their_frame(photos: list[Path]) -> None:
    for share in re.findall(r"(?:width|left):([\d.-]+)%", html_report(answered(photos))):
        assert 0 <= float(share) <= 100


def test_the_page_is_written_whole_or_not_at_all(tmp_path: Path, photos: list[Path]) -> None:
    found = answered(photos)
    path = tmp_path / "reports" / "report.html"
    write_html_report(path, found)
    assert path.read_text(encoding="utf-8") == html_report(found), "the same figures, the same page"
    with pytest.raises(StorageError):
        write_html_report(photos[0] / "report.html", found)
