"""The page before a photo is on it: samples to try, and what the server's index holds."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from seetell.media.formats import PHOTO_SUFFIXES
from seetell.search.photo_index import PhotoIndex
from seetell.serving.photo_index_api import ServedIndex
from seetell.tasks.model import Model
from tests.serving.conftest import jpeg
from tests.serving.page.conftest import PHONE, WIDE, Open, playwright

expect = playwright.expect
ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize("screen", [WIDE, PHONE], ids=["wide", "phone"])
def test_a_sample_is_tried_with_a_click(visit: Open, model: Model, screen: dict[str, Any]) -> None:
    seen = visit(screen, server={"keys": ["k"]})
    page = seen.page
    page.get_by_label("API key").fill("k")
    page.keyboard.press("Enter")
    samples = page.get_by_role("group", name="No photo at hand? Try one of these:").get_by_role("button")
    expect(samples).to_have_count(5)
    seen.until("[...document.querySelectorAll('.samples img')].filter(i => i.naturalWidth).length === 5")
    page.get_by_role("button", name="coffee").click()
    expect(page.get_by_role("heading", name="coffee.jpg")).to_be_visible()
    expect(page.locator("figcaption")).not_to_be_empty()
    expect(samples).to_have_count(0)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "the page is too wide"


def test_the_start_shows_what_the_index_holds(visit: Open, model: Model, tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    folder.mkdir()
    for seed in range(10):
        (folder / f"{seed}.png").write_bytes(jpeg(seed))
    place = tmp_path / "photos.index"
    PhotoIndex(place, model).add(folder)
    (folder / "3.png").unlink()
    page = (seen := visit(server={"index": ServedIndex(place)})).page
    index = page.get_by_role("region", name="In the server's index (10 photos)")
    expect(index).to_be_visible()
    seen.until("[...document.querySelectorAll('.index img')].filter(i => i.naturalWidth).length >= 7")
    shown = [cell.inner_text() for cell in index.locator(".file").all()]
    assert 7 <= len(shown) <= 8 and "3.png" not in shown
    # One that is chosen becomes one of the page.
    index.get_by_role("button").nth(1).click()
    expect(page.get_by_role("heading", name=shown[1])).to_be_visible()
    expect(index).to_have_count(0)
    page.get_by_role("button", name="Remove all").click()
    page.get_by_label("Search the photos").fill("red dog")
    expect(page.locator(".results")).to_be_visible()
    expect(page.get_by_text("Drop photos here")).to_have_count(0)


def test_folders_are_listed_as_the_server_lists_them() -> None:
    source = (ROOT / "web" / "src" / "files.ts").read_text(encoding="utf-8")
    pattern = re.search(r"^const PHOTO =\s*/(.+)/i;$", source, re.MULTILINE)
    assert pattern is not None
    taken = re.compile(pattern[1], re.IGNORECASE)
    assert [name for name in sorted(PHOTO_SUFFIXES) if not taken.search(f"A{name.upper()}")] == []
    assert not any(taken.search(name) for name in ("a.txt", "a.mp4", "a.xhif", "jpg", "a.svg", "a.jpg.txt"))


def test_a_chosen_folder_has_photos_of_rare_names(visit: Open, model: Model, tmp_path: Path) -> None:
    (tmp_path / "a.jfif").write_bytes(jpeg(1))
    (tmp_path / "b.HIF").write_bytes(jpeg(2))
    seen = visit()
    seen.page.get_by_label("Choose a folder").set_input_files(tmp_path)
    for name, seed in (("a.jfif", 1), ("b.HIF", 2)):
        expect(seen.photo(name)).to_contain_text(model.caption(jpeg(seed)).text)
