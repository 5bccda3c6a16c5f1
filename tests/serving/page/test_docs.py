"""``/docs`` in a browser: its examples can be tried, with one's own photo too, and nothing else is loaded."""

from __future__ import annotations

import json

from seetell.tasks.model import Model
from tests.serving.conftest import jpeg
from tests.serving.page.conftest import Open, playwright

expect = playwright.expect


def test_an_example_is_tried(visit: Open, model: Model) -> None:
    seen = visit(server={"keys": ["k"], "root_path": "/photos"})
    page = seen.page
    page.goto(f"{seen.address}/photos/docs")
    page.get_by_label("Key").fill("k")
    entry = page.locator("details", has_text="Describe a photo")
    entry.locator("summary").click()
    entry.get_by_role("button", name="Send").click()
    expect(entry.locator("output")).to_contain_text('200\n{\n "text":')
    photo = {"name": "mine.png", "mimeType": "image/png", "buffer": jpeg(3)}
    entry.get_by_label("Your photo").set_input_files(photo)
    entry.get_by_role("button", name="Send").click()
    expect(entry.locator("output")).to_contain_text(
        json.dumps(model.caption(jpeg(3)).text, ensure_ascii=False)
    )
    ready = page.locator("details", has_text="/ready")
    ready.locator("summary").click()
    ready.get_by_role("button", name="Send").click()
    expect(ready.locator("output")).to_contain_text('"ready"')
    assert {url for url in seen.requests if not url.startswith(seen.address)} == set()
