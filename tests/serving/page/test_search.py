"""Searching on the page: the photos dropped, the server's index, similar photos, and why."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from seetell.search.photo_index import PhotoIndex
from seetell.serving.photo_index_api import ServedIndex
from seetell.tasks.model import Model
from tests.serving.conftest import jpeg
from tests.serving.page.conftest import PHONE, WIDE, Open, Visit, playwright

expect = playwright.expect
SEEDS = range(5)


def ranked(model: Model, text: str | None = None, seed: int | None = None) -> list[tuple[str, str]]:
    """The names of the photos, best first, and how well they fit, as the page writes it."""
    vectors = model.embed_images([jpeg(one) for one in SEEDS])
    query = model.embed_texts([text])[0] if text is not None else vectors[seed or 0]
    scores = vectors @ query
    return [
        (f"{one}.png", f"{scores[one]:.2f}")
        for one in np.argsort(-scores)
        if text is not None or one != (seed or 0)
    ]


def shown(seen: Visit) -> list[tuple[str, str]]:
    cells = seen.page.locator(".results .name").all()
    return [
        (cell.locator(".file").inner_text(), cell.locator(".score").inner_text().split()[-1])
        for cell in cells
    ]


def same(found: list[tuple[str, str]], want: list[tuple[str, str]]) -> bool:
    """One unit in the last place may differ: numpy and the browser add in another order."""
    return [name for name, _ in found] == [name for name, _ in want] and all(
        abs(float(mine) - float(other)) < 0.011 for (_, mine), (_, other) in zip(found, want, strict=True)
    )


def dropped(visit: Open, screen: dict[str, Any] = WIDE, **options: Any) -> Visit:
    seen = visit(screen, **options)
    seen.drop(*((f"{seed}.png", jpeg(seed)) for seed in SEEDS))
    expect(seen.page.get_by_role("status").filter(has_text="5 of 5 photos captioned")).to_be_visible()
    return seen


@pytest.mark.parametrize("screen", [WIDE, PHONE], ids=["wide", "phone"])
def test_search_as_you_type(visit: Open, model: Model, screen: dict[str, Any]) -> None:
    seen = dropped(visit, screen)
    box = seen.page.get_by_label("Search the photos")
    for text in ("a dog", "a dog on the grass"):
        box.fill("")
        box.press_sequentially(text)
        expect(seen.page.get_by_role("status").filter(has_text=f"the best fit for “{text}”")).to_be_visible()
        expect(seen.page.locator(".results .score")).to_have_count(5)
        seen.page.wait_for_timeout(600)
        assert same(shown(seen), ranked(model, text))
    seen.page.get_by_role("button", name="Clear").click()
    expect(seen.page.locator(".results")).to_have_count(0)
    expect(seen.page.locator("li.cell")).to_have_count(5)


def test_what_is_not_wanted_counts_as_on_the_command_line(visit: Open, model: Model, tmp_path: Path) -> None:
    for seed in SEEDS:
        (tmp_path / f"{seed}.png").write_bytes(jpeg(seed))
    index = PhotoIndex(None, model)
    index.add(tmp_path)
    want = [(Path(hit.photo).name, f"{hit.score:.2f}") for hit in index.search("a dog -grass", k=5)]
    seen = dropped(visit)
    seen.page.get_by_label("Search the photos").fill("a dog -grass")
    seen.page.wait_for_timeout(1000)
    assert same(shown(seen), want)


def test_similar_photos(visit: Open, model: Model) -> None:
    seen = dropped(visit)
    seen.photo("2.png").get_by_role("button").click()
    seen.page.get_by_role("button", name="Similar photos").click()
    expect(seen.page.get_by_role("status").filter(has_text="the most like 2.png first")).to_be_visible()
    assert same(shown(seen), ranked(model, seed=2))


def test_why_it_matched(visit: Open, model: Model) -> None:
    seen = dropped(visit)
    page = seen.page
    page.get_by_label("Search the photos").fill("red dog grass")
    expect(page.locator(".results .score")).to_have_count(5)
    seen.photo("1.png").get_by_role("button").click()
    words = page.locator(".effects li")
    expect(words).to_have_count(3)
    photo = model.embed_images([jpeg(1)])[0]
    whole, *without = model.embed_texts(["red dog grass", "dog grass", "red grass", "red dog"]) @ photo
    for row, word, rest in zip(words.all(), ("red", "dog", "grass"), without, strict=True):
        expect(row).to_contain_text(word)
        written = float(row.locator(".score").inner_text().replace("−", "-"))
        assert written == pytest.approx(whole - rest, abs=0.006)
    page.get_by_role("button", name="Show where").click()
    expect(page.locator("canvas.heat")).to_be_visible()
    assert page.locator("canvas.heat").get_attribute("aria-label")
    page.get_by_role("button", name="Hide where").click()
    expect(page.locator("canvas.heat")).to_have_count(0)


def test_the_index_is_searched_and_its_photos_opened(visit: Open, model: Model, tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    folder.mkdir()
    for seed in SEEDS:
        (folder / f"{seed}.png").write_bytes(jpeg(seed))
    place = tmp_path / "photos.index"
    PhotoIndex(place, model).add(folder)
    seen = visit(server={"index": ServedIndex(place), "keys": ["k"]})
    page = seen.page
    page.get_by_label("API key").fill("k")
    page.keyboard.press("Enter")
    page.get_by_label("Search the photos").fill("a dog")
    expect(page.get_by_role("heading", name="In the server's index (5 photos)")).to_be_visible()
    assert same(shown(seen), ranked(model, "a dog"))
    seen.until("[...document.querySelectorAll('.results img')].filter(i => i.naturalWidth).length === 5")
    best = ranked(model, "a dog")[0][0]
    page.locator(".results .photo").first.click()
    expect(page.get_by_role("heading", name=best)).to_be_visible()
    expect(page.locator("figcaption")).not_to_be_empty()


def test_a_small_picture_that_failed_is_asked_for_again(visit: Open, model: Model, tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    folder.mkdir()
    for seed in SEEDS:
        (folder / f"{seed}.png").write_bytes(jpeg(seed))
    place = tmp_path / "photos.index"
    PhotoIndex(place, model).add(folder)
    seen = visit(server={"index": ServedIndex(place)})
    page = seen.page
    page.route("**/v1/page/photo*", lambda route: route.abort())
    page.get_by_label("Search the photos").fill("a dog")
    expect(page.locator(".results .score")).to_have_count(5)
    page.wait_for_timeout(500)
    page.unroute("**/v1/page/photo*")
    page.get_by_role("button", name="Clear").click()
    expect(page.locator(".results")).to_have_count(0)
    page.get_by_label("Search the photos").fill("a dog")
    seen.until("[...document.querySelectorAll('.results img')].filter(i => i.naturalWidth).length === 5")


def test_where_a_photo_the_browser_cannot_show_fits_is_not_known(visit: Open) -> None:
    seen = dropped(visit)
    page = seen.page
    page.get_by_label("Search the photos").fill("red dog grass")
    expect(page.locator(".results .score")).to_have_count(5)
    seen.photo("1.png").get_by_role("button").click()
    page.evaluate(
        "() => { HTMLImageElement.prototype.decode ="
        " () => Promise.reject(new DOMException('', 'EncodingError')); }"
    )
    page.get_by_role("button", name="Show where").click()
    expect(page.locator(".why .error")).to_have_text(
        "This kind of image is not read; convert it to JPEG or PNG."
    )
    expect(page.get_by_role("button", name="Show where")).to_be_enabled()


def test_a_photo_that_is_gone_is_marked(visit: Open, model: Model, tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    folder.mkdir()
    for seed in SEEDS:
        (folder / f"{seed}.png").write_bytes(jpeg(seed))
    place = tmp_path / "photos.index"
    PhotoIndex(place, model).add(folder)
    best, second = (name for name, _ in ranked(model, "a dog")[:2])
    (folder / best).unlink()
    seen = visit(server={"index": ServedIndex(place)})
    page = seen.page
    page.get_by_label("Search the photos").fill("a dog")
    expect(page.locator(".results .score")).to_have_count(5)
    gone = page.locator(".results .cell", has_text="No longer where it was indexed")
    expect(gone).to_have_count(1)
    expect(gone.locator(".file")).to_have_text(best)
    assert gone.locator("button.photo").get_attribute("aria-disabled") == "true"
    # Choosing it does nothing, and no picture of it is asked for.
    gone.locator("button.photo").click(force=True)
    seen.until("[...document.querySelectorAll('.results img')].filter(i => i.naturalWidth).length === 4")
    assert not [url for url in seen.requests if "page/photo" in url and best in url]
    assert page.locator(".results .error").count() == 0
    seen.photo(second).get_by_role("button").click()
    expect(page.get_by_role("heading", name=second)).to_be_visible()


@pytest.mark.parametrize("path", ["/photos", "/photos/"])
def test_the_page_lies_below_a_prefix(visit: Open, model: Model, path: str) -> None:
    seen = visit(server={"root_path": "/photos"})
    seen.page.goto(f"{seen.address}{path}")
    before = len(seen.requests)
    seen.drop(("1.png", jpeg(1)))
    expect(seen.page.get_by_role("status").filter(has_text="1 of 1 photos captioned")).to_be_visible()
    asked = [url.removeprefix(seen.address) for url in seen.requests[before:] if "/v1/" in url]
    assert asked and all(url.startswith("/photos/v1/") for url in asked)


def test_what_is_doubtful_about_a_text_is_shown(visit: Open, model: Model, tmp_path: Path) -> None:
    (tmp_path / "1.png").write_bytes(jpeg(1))
    place = tmp_path / "photos.index"
    PhotoIndex(place, model).add(tmp_path / "1.png")
    page = visit(server={"index": ServedIndex(place)}).page
    box = page.get_by_label("Search the photos")
    box.fill("собака")
    expect(page.get_by_role("note")).to_contain_text("no Cyrillic letters")
    box.fill("a dog")
    expect(page.get_by_role("note")).to_have_count(0)
