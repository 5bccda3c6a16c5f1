"""The captions leave the page: as a CSV, as JSON, and copied."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from seetell.tasks.model import Model
from tests.serving.conftest import jpeg
from tests.serving.page.conftest import PHONE, WIDE, Open, Visit, playwright

expect = playwright.expect
NAMES = ['=1+1, "so".png', "山.png"]


def dropped(visit: Open, screen: dict[str, Any] = WIDE, **options: Any) -> Visit:
    seen = visit(screen, **options)
    seen.drop((NAMES[0], jpeg(1)), (NAMES[1], jpeg(2)), ("note.txt", b"no photo"))
    expect(seen.page.get_by_role("status").filter(has_text="1 could not be used")).to_be_visible()
    expect(seen.page.get_by_role("status").filter(has_text="2 of 3 photos captioned")).to_be_visible()
    return seen


def saved(seen: Visit, kind: str) -> bytes:
    with seen.page.expect_download() as caught:
        seen.page.get_by_role("button", name=f"Save as {kind}").click()
    assert caught.value.suggested_filename == f"captions.{kind.lower()}"
    return Path(caught.value.path()).read_bytes()


@pytest.mark.parametrize("screen", [WIDE, PHONE], ids=["wide", "phone"])
def test_captions_as_csv_and_json(visit: Open, model: Model, screen: dict[str, Any]) -> None:
    seen = dropped(visit, screen)
    captions = [model.caption(jpeg(seed)) for seed in (1, 2)]
    written = saved(seen, "CSV")
    assert written.startswith(b"\xef\xbb\xbf"), "or a spreadsheet takes it for another encoding"
    rows = list(csv.DictReader(io.StringIO(written.decode("utf-8-sig"), newline="")))
    assert list(rows[0]) == ["photo", "language", "text", "confidence", "unsure", "guess", "error"]
    # A name that a spreadsheet would compute is a text to it.
    assert [row["photo"] for row in rows] == [f"'{NAMES[0]}", NAMES[1], "note.txt"]
    assert [row["text"].removeprefix("'") for row in rows] == [*(one.text for one in captions), ""]
    assert [row["error"] for row in rows] == ["", "", "not_an_image"]
    told = json.loads(saved(seen, "JSON"))
    assert [one["photo"] for one in told] == [*NAMES, "note.txt"]
    assert [one["text"] for one in told] == [*(one.text for one in captions), None]
    assert told[0]["language"] == "en" and told[0]["unsure"] is captions[0].unsure


@pytest.mark.parametrize("modern", [True, False], ids=["clipboard", "the old way"])
def test_captions_are_copied(visit: Open, model: Model, modern: bool) -> None:
    seen = dropped(visit, permissions=["clipboard-read", "clipboard-write"])
    page = seen.page
    if not modern:
        # As where the page comes from another machine without HTTPS.
        page.evaluate("() => { navigator.clipboard.writeText = () => Promise.reject(new DOMException('')); }")
    page.get_by_role("button", name="Copy captions").click()
    expect(page.get_by_role("status").filter(has_text="Copied.")).to_be_visible()
    copied = page.evaluate("navigator.clipboard.readText()")
    want = [f"{name}\t{model.caption(jpeg(seed)).text}" for name, seed in zip(NAMES, (1, 2), strict=True)]
    assert copied.replace("\r\n", "\n") == "\n".join(want)
