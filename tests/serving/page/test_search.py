"""Searching on the page: the photos dropped, the server's index, similar photos, and why."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from seetell.search.photo_index import PhotoIndex
from seetell.search.query import NEGATIVE_WEIGHT
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
    """All of it as it is at one moment."""
    cells = seen.page.locator(".results .name").evaluate_all(
        "all => all.map(one => ['.file', '.score'].map(part => one.querySelector(part)?.textContent ?? ''))"
    )
    return [(name, said.split()[-1] if said else "") for name, said in cells]


def same(found: list[tuple[str, str]], want: list[tuple[str, str]]) -> bool:
    """One unit in the last place may differ: numpy and the browser add in another order."""
    return [name for name, _ in found] == [name for name, _ in want] and all(
        mine and abs(float(mine) - float(other)) < 0.011
        for (_, mine), (_, other) in zip(found, want, strict=True)
    )


def comes_to_show(seen: Visit, want: list[tuple[str, str]]) -> bool:
    """Whether it comes to show that within some seconds."""
    for _ in range(100):
        if same(shown(seen), want):
            return True
        seen.page.wait_for_timeout(100)
    return False


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
        assert comes_to_show(seen, ranked(model, text))
    seen.page.get_by_role("button", name="Clear").click()
    expect(seen.page.locator(".results")).to_have_count(0)
    expect(seen.page.locator("li.cell")).to_have_count(5)


@pytest.mark.parametrize(
    "text", ["a dog -grass", "a dog −grass –“two men”", "“a dog -grass”", "－grass a dog - 5"]
)
def test_what_is_not_wanted_counts_as_on_the_command_line(
    visit: Open, model: Model, tmp_path: Path, text: str
) -> None:
    for seed in SEEDS:
        (tmp_path / f"{seed}.png").write_bytes(jpeg(seed))
    index = PhotoIndex(None, model)
    index.add(tmp_path)
    want = [(Path(hit.photo).name, f"{hit.score:.2f}") for hit in index.search(text, k=5)]
    seen = dropped(visit)
    seen.page.get_by_label("Search the photos").fill(text)
    expect(seen.page.locator(".results .score")).to_have_count(5)
    assert comes_to_show(seen, want)


def test_similar_photos(visit: Open, model: Model) -> None:
    seen = dropped(visit)
    seen.photo("2.png").get_by_role("button").click()
    seen.page.get_by_role("button", name="Similar photos").click()
    expect(seen.page.get_by_role("status").filter(has_text="the most like 2.png first")).to_be_visible()
    assert comes_to_show(seen, ranked(model, seed=2))


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


@pytest.mark.parametrize("screen", [WIDE, PHONE], ids=["wide", "phone"])
def test_where_it_matched_is_shown_on_the_photo(visit: Open, screen: dict[str, Any]) -> None:
    seen = dropped(visit, screen)
    page = seen.page
    page.get_by_label("Search the photos").fill("red dog grass")
    expect(page.locator(".results .score")).to_have_count(5)
    seen.photo("1.png").get_by_role("button").click()
    page.get_by_role("button", name="Show where").click()
    over, photo = page.locator("figure canvas.heat"), page.locator("figure img")
    expect(over).to_be_in_viewport(ratio=0.9)
    assert over.bounding_box() == photo.bounding_box(), "one lies on the other"
    said = over.get_attribute("aria-label")
    assert said and page.locator(".why").inner_text().count(said) == 1
    # Of the photo's shape, so that both are laid out alike; what counts most stays clear.
    seen.until("document.querySelector('canvas.heat').width === 600")
    found = page.evaluate(
        """() => {
            const over = document.querySelector('canvas.heat'), photo = document.querySelector('figure img');
            const {data} = over.getContext('2d').getImageData(0, 0, over.width, over.height);
            let [least, most] = [255, 0];
            for (let i = 3; i < data.length; i += 4) {
                least = Math.min(least, data[i]);
                most = Math.max(most, data[i]);
            }
            return [over.width / over.height - photo.naturalWidth / photo.naturalHeight, least, most,
                    getComputedStyle(over).objectFit,
                    getComputedStyle(photo).objectFit];
        }"""
    )
    assert abs(found[0]) < 0.01 and found[1] < 30 < 100 < found[2] and found[3] == found[4] == "contain"
    page.get_by_role("button", name="Hide where").click()
    expect(over).to_have_count(0)
    # It is about a text: for another it is no longer shown.
    page.get_by_role("button", name="Show where").click()
    expect(over).to_be_visible()
    if screen is WIDE:
        page.get_by_label("Search the photos").fill("red dog")
        expect(over).to_have_count(0)


@pytest.mark.parametrize(
    ("text", "words", "without"),
    [
        (
            "the red dog is on a grass -bus -“two men”",
            ["red", "dog", "grass"],
            ["the dog is on a grass", "the red is on a grass", "the red dog is on a"],
        ),
        ("一只狗在草地上 -bus -“two men”", ["狗", "草地"], ["一只在草地上", "一只狗在上"]),
    ],
)
def test_why_leaves_out_words_that_say_nothing_and_marks_unwanted_ones(
    visit: Open, model: Model, text: str, words: list[str], without: list[str]
) -> None:
    seen = dropped(visit)
    page = seen.page
    page.get_by_label("Search the photos").fill(text)
    expect(page.locator(".results .score")).to_have_count(5)
    seen.photo("1.png").get_by_role("button").click()
    rows = page.locator(".effects li")
    expect(rows).to_have_count(len(words) + 2)
    assert [row.locator("span").first.inner_text() for row in rows.all()] == [
        *words,
        "bus not wanted",
        "two men not wanted",
    ]
    assert [one.inner_text() for one in rows.locator("s").all()] == ["bus", "two men"]
    photo = model.embed_images([jpeg(1)])[0]
    wanted, away = text.split(" -bus")[0], ["bus", "two men"]

    def score(wanted: str, unwanted: list[str]) -> float:
        vector = model.embed_texts([wanted])[0]
        if unwanted:
            mean = model.embed_texts(unwanted).mean(axis=0)
            vector = vector - NEGATIVE_WEIGHT * mean / np.linalg.norm(mean)
        return float(vector @ photo / np.linalg.norm(vector))

    whole = score(wanted, away)
    rest = [*(score(one, away) for one in without), score(wanted, away[1:]), score(wanted, away[:1])]
    for row, one in zip(rows.all(), rest, strict=True):
        written = float(row.locator(".score").inner_text().replace("−", "-"))
        assert written == pytest.approx(whole - one, abs=0.006)


def test_how_well_it_fits_is_a_bar(visit: Open, model: Model) -> None:
    seen = dropped(visit)
    seen.page.get_by_label("Search the photos").fill("red dog")
    expect(seen.page.locator(".results .score")).to_have_count(5)
    scores = sorted(model.embed_images([jpeg(one) for one in SEEDS]) @ model.embed_texts(["red dog"])[0])[
        ::-1
    ]
    seen.until("document.querySelector('.results meter').value > 0")
    bars = seen.page.locator(".results meter").evaluate_all("all => all.map(one => [one.value, one.max])")
    for (value, most), score in zip(bars, scores, strict=True):
        assert value == pytest.approx(max(0.0, score), abs=0.01) and most == pytest.approx(
            scores[0], abs=0.01
        )
    # The number is there for who asks: in the bar's title, and for screen readers.
    first = seen.page.locator(".results .score").first
    assert first.get_attribute("title") == f"similarity {scores[0]:.2f}"
    assert first.locator(".unseen").bounding_box()["width"] <= 1


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
    assert comes_to_show(seen, ranked(model, "a dog"))
    expect(page.locator(".results").get_by_text("In the server's index")).to_have_count(5)
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


def test_a_photo_of_the_index_that_takes_long_says_so(visit: Open, model: Model, tmp_path: Path) -> None:
    (tmp_path / "1.png").write_bytes(jpeg(1))
    place = tmp_path / "photos.index"
    PhotoIndex(place, model).add(tmp_path / "1.png")
    page = visit(server={"index": ServedIndex(place)}).page
    waiting: list[Any] = []
    page.route("**/v1/page/photo*edge=1600*", lambda route: waiting.append(route))
    page.get_by_label("Search the photos").fill("a dog")
    cell = page.locator(".results .cell")
    expect(cell).to_contain_text("In the server's index")
    cell.get_by_role("button").click()
    expect(cell).to_contain_text("opening…")
    waiting[0].continue_()
    expect(page.get_by_role("heading", name="1.png")).to_be_visible()
    expect(cell).to_contain_text(model.caption(jpeg(1)).text)


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
