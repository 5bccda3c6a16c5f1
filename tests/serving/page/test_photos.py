"""Photos dropped on the page: captioned as they come, asked about, and said so where they cannot be used."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from seetell.serving.limits import Limits
from seetell.tasks.model import Model
from tests.serving.conftest import SlowEngine, jpeg
from tests.serving.page.conftest import PHONE, WIDE, Open, playwright

expect = playwright.expect


@pytest.mark.parametrize("screen", [WIDE, PHONE], ids=["wide", "phone"])
def test_drop_caption_ask(visit: Open, model: Model, screen: dict[str, Any]) -> None:
    seen = visit(screen)
    page = seen.page
    expect(page.get_by_text("Drop photos here")).to_be_visible()
    seen.drop(("one.png", jpeg(1)), ("two.png", jpeg(2)))
    for name, seed in (("one.png", 1), ("two.png", 2)):
        expect(seen.photo(name)).to_contain_text(model.caption(jpeg(seed), language="en").text)
    expect(page.get_by_role("status").filter(has_text="2 of 2 photos captioned")).to_be_visible()
    seen.photo("two.png").get_by_role("button").click()
    page.get_by_label("Question about this photo").fill("is there a dog?")
    page.get_by_role("button", name="Ask", exact=True).click()
    answer = model.ask(jpeg(2), "is there a dog?", top=3)
    told = page.locator(".answers li")
    expect(told).to_contain_text(f"{answer.answer} {round(100 * answer.confidence)}% confident")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "the page is too wide"
    page.get_by_role("button", name="Close").click()
    expect(seen.photo("two.png").get_by_role("button")).to_be_focused()


def test_a_chosen_file_is_asked_about_at_once(visit: Open, model: Model) -> None:
    seen = visit()
    file = {"name": "chosen.png", "mimeType": "image/png", "buffer": jpeg(3)}
    seen.page.get_by_label("Choose photos").set_input_files(file)
    expect(seen.page.get_by_role("heading", name="chosen.png")).to_be_visible()
    expect(seen.page.get_by_role("complementary")).to_contain_text(model.caption(jpeg(3)).text)


def test_a_chosen_folder_is_read_to_its_depth_and_without_what_is_no_photo(
    visit: Open, model: Model, tmp_path: Path
) -> None:
    deep = tmp_path / "holiday" / "day 2"
    deep.mkdir(parents=True)
    (tmp_path / "holiday" / "beach.png").write_bytes(jpeg(1))
    (deep / "山.png").write_bytes(jpeg(2))
    (deep / "notes.txt").write_text("sunny")
    (deep / "film.mp4").write_bytes(b"moving")
    seen = visit()
    choose = seen.page.get_by_label("Choose a folder")
    choose.set_input_files(tmp_path / "holiday")
    for name, seed in (("beach.png", 1), ("山.png", 2)):
        expect(seen.photo(name)).to_contain_text(model.caption(jpeg(seed)).text)
    expect(seen.page.locator("li.cell")).to_have_count(2)
    expect(seen.page.get_by_text("2 files that are no photos were left out.")).to_be_visible()
    # Photos that are there already are not gone when another folder is added, with none in it.
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "notes.txt").write_text("rain")
    seen.page.get_by_label("Add a folder").set_input_files(tmp_path / "empty")
    expect(seen.page.get_by_text("1 file that is no photo was left out.")).to_be_visible()
    expect(seen.page.locator("li.cell")).to_have_count(2)


def test_a_broken_photo_stands_alone(visit: Open, model: Model) -> None:
    seen = visit()
    whole = jpeg(4)
    seen.drop(("cut.png", whole[:40]), ("note.txt", b"not a photo"), ("good.png", whole))
    expect(seen.photo("good.png")).to_contain_text(model.caption(whole).text)
    expect(seen.photo("cut.png")).to_contain_text("cut off")
    expect(seen.photo("note.txt")).to_contain_text("This file is not an image.")
    expect(seen.page.get_by_role("status").filter(has_text="2 could not be used")).to_be_visible()
    # It would say the same once more.
    expect(seen.page.get_by_role("button", name="Try again")).to_have_count(0)
    seen.photo("note.txt").get_by_role("button", name="Remove").click()
    expect(seen.photo("note.txt")).to_have_count(0)


def test_a_photo_too_large_is_not_sent(visit: Open) -> None:
    seen = visit(server={"limits": {"photo_bytes": 1000}})
    # What the browser can read it makes smaller instead.
    seen.drop(("large.heic", b"\0" * 1001))
    expect(seen.photo("large.heic")).to_contain_text("too large")
    assert not any("page/hold" in url for url in seen.requests)
    expect(seen.page.get_by_role("button", name="Try again")).to_have_count(0)
    seen.photo("large.heic").locator("button.photo").click()
    expect(seen.page.locator("figcaption")).to_contain_text("too large")
    expect(seen.page.get_by_role("button", name="Try again")).to_have_count(0)


def test_a_full_queue_is_waited_for(visit: Open, model: Model, engine: SlowEngine) -> None:
    seen = visit(server={"limits": {"queue": 1, "max_wait_s": 0.0}, "workers": 1})
    engine.go.clear()
    seen.drop(*((f"{seed}.png", jpeg(seed)) for seed in range(4)))
    expect(seen.page.get_by_text("server busy, again in").first).to_be_visible()
    engine.go.set()
    for seed in range(4):
        expect(seen.photo(f"{seed}.png")).to_contain_text(model.caption(jpeg(seed)).text)


def test_what_the_server_refuses_can_be_tried_again(visit: Open, model: Model, engine: SlowEngine) -> None:
    seen = visit(server={"limits": {"deadline_s": 1.0}})
    engine.go.clear()
    seen.drop(("late.png", jpeg(6)))
    expect(seen.photo("late.png")).to_contain_text("The server took too long.")
    engine.go.set()
    seen.photo("late.png").get_by_role("button", name="Try again").click()
    expect(seen.photo("late.png")).to_contain_text(model.caption(jpeg(6)).text)


def test_a_server_that_goes_and_comes_back(visit: Open, model: Model) -> None:
    seen = visit()
    expect(seen.page.locator("header")).to_contain_text(model.name)
    seen.page.context.set_offline(True)
    seen.drop(("early.png", jpeg(7)))
    expect(seen.page.get_by_role("alert").filter(has_text="does not answer")).to_be_visible()
    seen.page.context.set_offline(False)
    expect(seen.photo("early.png")).to_contain_text(model.caption(jpeg(7)).text)
    expect(seen.page.get_by_text("does not answer")).to_have_count(0)


def test_a_key_is_asked_for_and_kept_for_the_visit(visit: Open, model: Model) -> None:
    seen = visit(server={"keys": ["open-sesame"]})
    page = seen.page
    page.get_by_label("API key").fill("wrong")
    page.keyboard.press("Enter")
    expect(page.get_by_text("The server does not know this key.")).to_be_visible()
    page.get_by_label("API key").fill("open-sesame")
    page.get_by_role("button", name="Open").click()
    seen.drop(("one.png", jpeg(1)))
    expect(seen.photo("one.png")).to_contain_text(model.caption(jpeg(1)).text)
    page.reload()
    expect(seen.photo("one.png")).to_contain_text(model.caption(jpeg(1)).text)
    assert page.evaluate("Object.values(localStorage).every(kept => !kept.includes('sesame'))")


def test_a_key_that_cannot_be_sent_locks_nobody_out(visit: Open) -> None:
    seen = visit(server={"keys": ["open-sesame"]})
    page = seen.page
    for wrong in ("sésame", "芝麻开门", "sesame→"):
        page.get_by_label("API key").fill(wrong)
        page.keyboard.press("Enter")
        expect(page.get_by_text("The server does not know this key.")).to_be_visible()
    # As a tab of an earlier page may have kept one.
    page.evaluate("sessionStorage.setItem('seetell.key', '芝麻开门')")
    page.reload()
    page.get_by_label("API key").fill("open-sesame")
    page.keyboard.press("Enter")
    expect(page.get_by_text("Drop photos here")).to_be_visible()


def test_a_server_that_refuses_the_page_says_why(visit: Open) -> None:
    seen = visit()
    answer = {"error": {"type": "forbidden", "message": "without a key only localhost", "param": None}}
    seen.page.route("**/v1/page", lambda route: route.fulfill(status=403, json=answer))
    seen.page.reload()
    banner = seen.page.get_by_role("alert").filter(has_text="without a key only localhost")
    expect(banner).to_be_visible()
    asked = len([url for url in seen.requests if url.endswith("/v1/page")])
    seen.page.wait_for_timeout(1500)
    assert len([url for url in seen.requests if url.endswith("/v1/page")]) == asked, "it is not asked again"


def test_limits_of_the_server_and_page_agree() -> None:
    """Base64 grows a photo by a third; the largest photo allowed has to fit into a body."""
    assert Limits().photo_bytes * 4 / 3 + 1000 < Limits().body_bytes
