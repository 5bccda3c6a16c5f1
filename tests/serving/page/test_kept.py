"""A reload keeps the photos, in this browser only and until they are removed; Back closes the opened one."""

from __future__ import annotations

from typing import Any

import pytest

from seetell.tasks.model import Model
from tests.serving.conftest import jpeg
from tests.serving.page.conftest import PHONE, WIDE, Open, Visit, playwright

expect = playwright.expect


def reads(seen: Visit) -> int:
    return len([url for url in seen.requests if "/v1/page/read" in url or "/v1/caption" in url])


def captioned(seen: Visit, count: int) -> None:
    said = f"{count} of {count} photos captioned"
    expect(seen.page.get_by_role("status").filter(has_text=said)).to_be_visible()


def test_a_reload_keeps_the_photos_and_asks_nothing_anew(visit: Open, model: Model) -> None:
    seen = visit()
    page = seen.page
    seen.drop(("b.png", jpeg(1)), ("a.png", jpeg(2)), ("note.txt", b"no photo"))
    expect(page.get_by_role("status").filter(has_text="1 could not be used")).to_be_visible()
    expect(page.get_by_text("Kept in this browser until you remove them")).to_be_visible()
    seen.kept(2)
    asked = reads(seen)
    assert asked == 3
    page.reload()
    for name, seed in (("b.png", 1), ("a.png", 2)):
        expect(seen.photo(name)).to_contain_text(model.caption(jpeg(seed)).text)
    # In their order, without what is no photo, and as well found as before.
    assert [cell.inner_text() for cell in page.locator(".cell .file").all()] == ["b.png", "a.png"]
    page.get_by_label("Search the photos").fill("red dog")
    expect(page.locator(".results .score")).to_have_count(2)
    assert reads(seen) == asked, "what was said of them is kept, too"
    page.get_by_role("button", name="Clear").click()
    seen.photo("b.png").get_by_role("button").click()
    page.get_by_label("Question about this photo").fill("is there a dog?")
    page.keyboard.press("Enter")
    expect(page.locator(".answers li")).to_contain_text(model.ask(jpeg(1), "is there a dog?", top=3).answer)


def test_what_is_removed_stays_removed(visit: Open) -> None:
    seen = visit()
    page = seen.page
    seen.drop(*((f"{seed}.png", jpeg(seed)) for seed in range(3)))
    captioned(seen, 3)
    seen.photo("1.png").get_by_role("button").click()
    page.get_by_role("button", name="Remove", exact=True).click()
    seen.kept(2)
    page.reload()
    captioned(seen, 2)
    expect(seen.photo("1.png")).to_have_count(0)
    page.get_by_role("button", name="Remove all").click()
    expect(page.get_by_text("Drop photos here")).to_be_visible()
    seen.kept(0)
    page.reload()
    expect(page.get_by_text("Drop photos here")).to_be_visible()
    seen.kept(0)


def test_another_model_looks_anew(visit: Open, model: Model) -> None:
    seen = visit()
    seen.drop(("a.png", jpeg(1)))
    captioned(seen, 1)
    seen.kept(1)

    def other(route: Any) -> None:
        answer = route.fetch()
        route.fulfill(response=answer, json={**answer.json(), "files": "others"})

    seen.page.route("**/v1/page", other)
    asked = reads(seen)
    seen.page.reload()
    expect(seen.photo("a.png")).to_contain_text(model.caption(jpeg(1)).text)
    captioned(seen, 1)
    assert reads(seen) == asked + 1


def test_a_browser_that_keeps_nothing_is_told_of(visit: Open, model: Model) -> None:
    seen = visit()
    page = seen.page
    page.add_init_script("indexedDB.open = () => { throw new DOMException('', 'SecurityError'); }")
    page.reload()
    expect(page.get_by_text("Drop photos here")).to_be_visible()
    seen.drop(("a.png", jpeg(1)))
    expect(seen.photo("a.png")).to_contain_text(model.caption(jpeg(1)).text)
    expect(page.get_by_text("This browser keeps no photos")).to_be_visible()


@pytest.mark.parametrize("screen", [WIDE, PHONE], ids=["wide", "phone"])
def test_back_closes_the_photo_and_forward_opens_it(visit: Open, screen: dict[str, Any]) -> None:
    seen = visit(screen)
    page = seen.page
    seen.drop(("0.png", jpeg(0)), ("1.png", jpeg(1)))
    captioned(seen, 2)
    opened = page.locator(".details h2")
    seen.photo("0.png").get_by_role("button").click()
    expect(opened).to_have_text("0.png")
    page.go_back()
    expect(opened).to_have_count(0)
    expect(page.locator("li.cell")).to_have_count(2)
    page.go_forward()
    expect(opened).to_have_text("0.png")
    # Closed on the page, it leaves nothing behind that Back would have to pass.
    page.get_by_role("button", name="Close").click()
    expect(opened).to_have_count(0)
    seen.photo("1.png").get_by_role("button").click()
    expect(opened).to_have_text("1.png")
    page.reload()
    expect(opened).to_have_text("1.png")
    page.go_back()
    expect(opened).to_have_count(0)
    assert page.evaluate("history.state") is None
