"""Photos of the page and of the server's index are found in one list, by one measure, with one end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from seetell.search.photo_index import PhotoIndex
from seetell.serving.photo_index_api import ServedIndex
from seetell.tasks.model import Model
from tests.search.test_chances import model_of
from tests.serving.conftest import jpeg
from tests.serving.page.conftest import PHONE, WIDE, Open, Visit, playwright

expect = playwright.expect
OWN, INDEXED = range(6), range(6, 14)


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Of the index, and of all photos, those of the page among them."""
    for seeds, name in ((INDEXED, "indexed"), ((*OWN, *INDEXED), "all")):
        (tmp_path / name).mkdir()
        for seed in seeds:
            (tmp_path / name / f"{seed}.png").write_bytes(jpeg(seed))
    return tmp_path / "indexed", tmp_path / "all"


def judged(model: Model, folder: Path, text: str) -> list[tuple[str, float]]:
    """Every photo and how probable it is that it fits, the most probable first."""
    index = PhotoIndex(None, model)
    index.add(folder)
    hits = index.search(text, k=100, min_probability=0)
    found = [(Path(hit.photo).name, hit.probability) for hit in hits if hit.probability is not None]
    return sorted(found, key=lambda one: -one[1])


def opened(visit: Open, model: Model, folders: tuple[Path, Path], screen: dict[str, Any] = WIDE) -> Visit:
    place = folders[0].parent / "photos.index"
    PhotoIndex(place, model).add(folders[0])
    seen = visit(screen, server={"index": ServedIndex(place)})
    seen.drop(*((f"{seed}.png", jpeg(seed)) for seed in OWN))
    expect(seen.page.get_by_role("status").filter(has_text="6 of 6 photos captioned")).to_be_visible()
    return seen


def shown(seen: Visit) -> list[tuple[str, str]]:
    cells = seen.page.locator(".results .name").evaluate_all(
        "all => all.map(one => ['.file', '.score'].map(part => one.querySelector(part).textContent))"
    )
    return [(name, said.split()[-1]) for name, said in cells]


def search(seen: Visit, text: str, count: int) -> list[tuple[str, str]]:
    seen.page.get_by_label("Search the photos").fill(text)
    expect(seen.page.locator(".results .score")).to_have_count(count)
    return shown(seen)


def near(found: list[tuple[str, str]], want: list[tuple[str, float]]) -> bool:
    """The page rounds to a percent; photos that are as good as equally probable may change places."""
    chance = dict(want)
    return sorted(name for name, _ in found) == sorted(chance) and all(
        abs(float(said.rstrip("%")) - 100 * chance[name]) < 0.6 and abs(chance[name] - other) < 1e-4
        for (name, said), (_, other) in zip(found, want, strict=True)
    )


class TestProbable:
    """A model that says how probable it is that a text fits a photo."""

    @pytest.fixture
    def model(self) -> Model:
        return model_of(hit_below=float(np.median([chance for _, chance in self.all_of(model_of())])))

    @pytest.fixture(autouse=True)
    def _folders(self, folders: tuple[Path, Path]) -> None:
        return None

    @staticmethod
    def all_of(model: Model) -> list[tuple[str, float]]:
        (text,) = model.embed_texts(["a dog"])
        fitting = model.fitting("a dog", text)
        assert fitting is not None
        every = model.embed_images([jpeg(seed) for seed in (*OWN, *INDEXED)])
        names = [f"{seed}.png" for seed in (*OWN, *INDEXED)]
        found = list(zip(names, fitting.chances(every, every).tolist(), strict=True))
        return sorted(found, key=lambda one: -one[1])

    @pytest.mark.parametrize("screen", [WIDE, PHONE], ids=["wide", "phone"])
    def test_one_list_by_probability_that_ends_where_the_model_says(
        self, visit: Open, model: Model, folders: tuple[Path, Path], screen: dict[str, Any]
    ) -> None:
        every = judged(model, folders[1], "a dog")
        least = model.manifest.score.search["en"].hit_below
        likely = [one for one in every if one[1] >= least]
        assert 0 < len(likely) < len(every)
        kinds = {int(name.removesuffix(".png")) in OWN for name, _ in likely}
        assert kinds == {True, False}, "both are among them"
        seen = opened(visit, model, folders, screen)
        assert near(search(seen, "a dog", len(likely)), likely)
        of_index = seen.page.locator(".results .cell", has_text="In the server's index")
        assert of_index.count() == len([name for name, _ in likely if int(name.split(".")[0]) in INDEXED])
        bars = seen.page.locator(".results meter").evaluate_all("all => all.map(one => [one.value, one.max])")
        assert [value for value, _ in bars] == pytest.approx([chance for _, chance in likely], abs=1e-3)
        assert {most for _, most in bars} == {1}
        assert seen.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        # The rest is there for who wants it.
        seen.page.get_by_role("button", name="Show those that hardly fit, too").click()
        expect(seen.page.locator(".results .score")).to_have_count(14)
        assert near(shown(seen), every)
        expect(seen.page.get_by_role("button", name="Show those that hardly fit, too")).to_have_count(0)
        # For another text it is left out anew.
        search(seen, "a do", seen.page.locator(".results .score").count())
        assert near(search(seen, "a dog", len(likely)), likely)
        # No probability is known of photos like another.
        seen.photo("1.png").get_by_role("button").click()
        seen.page.get_by_role("button", name="Similar photos").click()
        expect(seen.page.locator(".results .score")).to_have_count(13)
        expect(seen.page.locator(".results .probable")).to_have_count(0)

    def test_a_photo_of_the_index_that_was_chosen_is_there_once(
        self, visit: Open, model: Model, folders: tuple[Path, Path]
    ) -> None:
        seen = opened(visit, model, folders)
        found = search(seen, "a dog", 7)
        name = next(name for name, _ in found if int(name.split(".")[0]) in INDEXED)
        seen.photo(name).get_by_role("button").click()
        expect(seen.page.get_by_role("heading", name=name)).to_be_visible()
        expect(seen.page.locator("figcaption")).not_to_be_empty()
        expect(seen.page.locator(".results .cell", has_text=name)).to_have_count(1)
        expect(seen.photo(name).get_by_text("In the server's index")).to_have_count(0)
        seen.page.wait_for_timeout(1000)
        assert shown(seen) == found, "and fits as well as before"


class TestNothing:
    """A model for which nothing fits."""

    @pytest.fixture
    def model(self) -> Model:
        return model_of(nothing_below=1.0)

    def test_where_nothing_fits_the_page_says_so(
        self, visit: Open, model: Model, folders: tuple[Path, Path]
    ) -> None:
        seen = opened(visit, model, folders)
        page = seen.page
        page.get_by_label("Search the photos").fill("a dog")
        expect(page.get_by_role("status").filter(has_text="Nothing here fits “a dog”.")).to_be_visible()
        expect(page.locator(".results .cell")).to_have_count(0)
        page.get_by_role("button", name="Show the nearest all the same").click()
        expect(page.locator(".results .score")).to_have_count(14)
        assert near(shown(seen), judged(model, folders[1], "a dog"))

    def test_the_start_still_shows_what_the_index_holds(
        self, visit: Open, model: Model, folders: tuple[Path, Path]
    ) -> None:
        place = folders[0].parent / "photos.index"
        PhotoIndex(place, model).add(folders[0])
        page = visit(server={"index": ServedIndex(place)}).page
        expect(page.locator(".index .cell")).to_have_count(8)


def test_without_probabilities_one_list_goes_by_similarity(
    visit: Open, model: Model, folders: tuple[Path, Path]
) -> None:
    seen = opened(visit, model, folders)
    index = PhotoIndex(None, model)
    index.add(folders[1])
    want = [(Path(hit.photo).name, hit.score) for hit in index.search("a dog", k=100)]
    found = search(seen, "a dog", 14)
    assert [name for name, _ in found] == [name for name, _ in want]
    assert [float(said) for _, said in found] == pytest.approx([score for _, score in want], abs=0.006)
    expect(seen.page.get_by_role("button", name="Show those that hardly fit, too")).to_have_count(0)


def test_photos_that_come_while_one_looks_are_found(
    visit: Open, model: Model, folders: tuple[Path, Path]
) -> None:
    seen = opened(visit, model, folders)
    search(seen, "a dog", 14)
    seen.drop(("20.png", jpeg(20)), ("21.png", jpeg(21)))
    expect(seen.page.locator(".results .score")).to_have_count(16)
    # And those taken away are not, at once.
    seen.photo("20.png").get_by_role("button").click()
    seen.page.get_by_role("button", name="Remove", exact=True).click()
    expect(seen.page.locator(".results .score")).to_have_count(15)
    expect(seen.photo("20.png")).to_have_count(0)
