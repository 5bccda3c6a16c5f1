"""With the keyboard alone, in both languages, in the dark, and for screen readers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from seetell.tasks.model import Model
from tests.serving.conftest import jpeg
from tests.serving.page.conftest import PHONE, WIDE, Open, playwright

expect = playwright.expect
AXE = Path(__file__).resolve().parents[3] / "web" / "node_modules" / "axe-core" / "axe.min.js"


def test_with_the_keyboard_alone(visit: Open, model: Model) -> None:
    seen = visit()
    page = seen.page
    seen.drop(*((f"{seed}.png", jpeg(seed)) for seed in range(4)))
    expect(page.get_by_role("status").filter(has_text="4 of 4 photos captioned")).to_be_visible()
    page.keyboard.press("/")
    expect(page.get_by_label("Search the photos")).to_be_focused()
    page.keyboard.type("a dog")
    expect(page.locator(".results .score")).to_have_count(4)
    page.keyboard.press("Escape")
    expect(page.locator(".results")).to_have_count(0)
    # From the search over the buttons that add photos, take their captions elsewhere and remove them to the
    # photos: one stop for all of them.
    for _ in range(7):
        page.keyboard.press("Tab")
    expect(seen.photo("0.png").get_by_role("button")).to_be_focused()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("End")
    page.keyboard.press("ArrowLeft")
    expect(seen.photo("2.png").get_by_role("button")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="2.png")).to_be_visible()
    for _ in range(8):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == "question":
            break
    page.keyboard.type("is there a dog?")
    page.keyboard.press("Enter")
    expect(page.locator(".answers li")).to_contain_text(model.ask(jpeg(2), "is there a dog?", top=3).answer)
    page.keyboard.press("Escape")
    expect(seen.photo("2.png").get_by_role("button")).to_be_focused()
    page.keyboard.press("Delete")
    expect(page.locator("li.cell")).to_have_count(3)
    expect(page.locator("button.photo:focus")).to_have_count(1)


def test_on_a_phone_the_photo_covers_the_page(visit: Open) -> None:
    seen = visit(PHONE)
    page = seen.page
    seen.drop(("0.png", jpeg(0)), ("1.png", jpeg(1)))
    seen.photo("1.png").get_by_role("button").tap()
    expect(page.get_by_role("dialog", name="Selected photo")).to_be_visible()
    expect(page.get_by_role("button", name="Close")).to_be_focused()
    # What is covered cannot be reached.
    reached = set()
    for _ in range(12):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("!!document.activeElement.closest('main, header')"))
    assert reached == {False}


def test_chinese_is_remembered(visit: Open, model: Model) -> None:
    seen = visit()
    page = seen.page
    seen.drop(("0.png", jpeg(0)))
    expect(seen.photo("0.png")).to_contain_text(model.caption(jpeg(0), language="en").text)
    page.get_by_role("button", name="中文").click()
    expect(seen.photo("0.png")).to_contain_text(model.caption(jpeg(0), language="zh").text)
    expect(page.get_by_role("button", name="中文")).to_have_attribute("aria-pressed", "true")
    assert page.evaluate("document.documentElement.lang") == "zh-CN"
    page.reload()
    expect(seen.photo("0.png")).to_contain_text(model.caption(jpeg(0), language="zh").text)
    page.get_by_role("button", name="全部移除").click()
    expect(page.get_by_text("把照片拖到这里")).to_be_visible()


def test_a_chinese_browser_is_spoken_to_in_chinese(visit: Open) -> None:
    seen = visit(PHONE, locale="zh-CN")
    expect(seen.page.get_by_text("把照片拖到这里")).to_be_visible()


def brightness(page: Any) -> float:
    colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
    return sum(int(part) for part in colour.strip("rgb()").split(",")) / (3 * 255)


def test_dark_as_the_system_or_as_chosen(visit: Open) -> None:
    assert brightness(visit(color_scheme="light").page) > 0.9
    page = visit(color_scheme="dark").page
    assert brightness(page) < 0.2
    page.get_by_label("Colours").select_option("Light")
    assert brightness(page) > 0.9
    page.reload()
    assert brightness(page) > 0.9


@pytest.mark.skipif(not AXE.exists(), reason="needs `npm ci` in web/")
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("screen", [WIDE, PHONE], ids=["wide", "phone"])
def test_axe_finds_nothing(visit: Open, screen: dict[str, Any], scheme: str) -> None:
    """axe-core's rules (WCAG 2.2 A and AA, and good practice) on the page in each of its states."""
    seen = visit(screen, color_scheme=scheme)
    page = seen.page
    expect(page.get_by_role("button", name="coffee")).to_be_visible()
    page.evaluate(AXE.read_text(encoding="utf-8"))

    def faults() -> list[str]:
        found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
        return [json.dumps([one["id"], one["help"], one["nodes"][0]["html"][:200]]) for one in found]

    assert faults() == []
    seen.drop(("0.png", jpeg(0)), ("1.png", jpeg(1)), ("note.txt", b"no photo"))
    expect(page.get_by_role("status").filter(has_text="2 of 3 photos captioned")).to_be_visible()
    assert faults() == []
    page.get_by_label("Search the photos").fill("a red dog -grass")
    expect(page.locator(".results .score")).to_have_count(3 - 1)
    seen.photo("1.png").get_by_role("button").click()
    expect(page.locator(".effects li")).to_have_count(3)
    page.get_by_role("button", name="Show where").click()
    expect(page.locator("canvas.heat")).to_be_visible()
    page.get_by_label("Answer", exact=True).select_option("One of these")
    page.get_by_label("One of these").fill("red, blue")
    page.get_by_label("Question about this photo").fill("is there a dog?")
    page.keyboard.press("Enter")
    expect(page.locator(".answers strong")).to_be_visible()
    assert faults() == []
