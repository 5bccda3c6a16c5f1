"""The pictures of the page in docs/page.md, taken anew: after the page or the built-in model has changed.

    python benchmarks/page_pictures.py docs

Serves the built-in model with an index of the sample photos, drives an installed Chromium (Playwright, of the
extra ``test``; fonts for Chinese are needed for one button), and writes page-wide.jpg, page-search.jpg and
page-phone.jpg. Look at them, and at what the docs say beside them.
"""

from __future__ import annotations

import argparse
import io
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import Page, sync_playwright

FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update")
ROOT = Path(__file__).resolve().parents[1]
SAMPLES = sorted((ROOT / "src" / "seetell" / "samples").glob("*.jpg"))
WIDE: dict[str, Any] = {"viewport": {"width": 1280, "height": 860}, "color_scheme": "light"}
PHONE: dict[str, Any] = {
    "viewport": {"width": 390, "height": 844},
    "color_scheme": "dark",
    "has_touch": True,
    "is_mobile": True,
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path)
    out = parser.parse_args().out
    with tempfile.TemporaryDirectory() as folder:
        index = str(Path(folder) / "photos.index")
        seetell = [sys.executable, "-m", "seetell"]
        subprocess.run([*seetell, "index", str(SAMPLES[0].parent), "--index", index], check=True)
        command = [*seetell, "serve", "--index", index, "--port", "0", "--json"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as server:
            try:
                assert server.stdout is not None
                take(json.loads(server.stdout.readline())["address"], out)
            finally:
                server.terminate()


def take(address: str, out: Path) -> None:
    """Take all of them of the page at this address."""
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=list(FLAGS))
        for name, screen, show in (
            ("wide", WIDE, answered),
            ("search", WIDE, searched),
            ("phone", PHONE, asked_on_a_phone),
        ):
            page = browser.new_context(locale="en-GB", **screen).new_page()
            page.goto(address)
            page.get_by_label("Choose photos").set_input_files(SAMPLES)
            page.get_by_text(f"{len(SAMPLES)} of {len(SAMPLES)} photos captioned").wait_for(timeout=120_000)
            show(page)
            page.wait_for_timeout(1000)
            Image.open(io.BytesIO(page.screenshot())).convert("RGB").save(
                out / f"page-{name}.jpg", quality=82, optimize=True
            )
        browser.close()


def choose(page: Page, name: str) -> None:
    page.locator("li.cell", has_text=name).locator("button.photo").click()


def ask(page: Page, question: str) -> None:
    page.get_by_label("Question about this photo").fill(question)
    page.keyboard.press("Enter")
    page.locator(".answers strong").first.wait_for()


def answered(page: Page) -> None:
    """Five photos, and a question about one of them."""
    choose(page, "chelsea.jpg")
    ask(page, "what animal is this?")


def searched(page: Page) -> None:
    """A search, why the best one fits, and where."""
    page.get_by_label("Search the photos").fill("a man with a camera -cat")
    page.locator(".results .score").first.wait_for()
    choose(page, "camera.jpg")
    page.get_by_role("button", name="Show where").click()
    page.locator("canvas.heat").wait_for()


def asked_on_a_phone(page: Page) -> None:
    """A photo and the answer to a question about it."""
    choose(page, "coffee.jpg")
    ask(page, "what colour is the cup?")


if __name__ == "__main__":
    main()
