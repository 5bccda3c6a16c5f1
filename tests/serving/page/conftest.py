"""The page in a real Chromium, in front of a server with the toy model."""

from __future__ import annotations

import base64
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from seetell.tasks.model import Model
from tests.serving.conftest import Serve

playwright = pytest.importorskip("playwright.sync_api")

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
WIDE = {"viewport": {"width": 1280, "height": 800}}
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}

# A name and the bytes.
File = tuple[str, bytes]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """No longer than one file's tests: Playwright keeps an event loop going in the thread that started it, in
    which other tests could start none."""
    if CHROMIUM is None:
        pytest.skip("needs Chromium")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@dataclass
class Visit:
    """One person's visit. page: Playwright's. wrong: what the page did that it must never do."""

    page: Any
    address: str
    requests: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def watch(self) -> None:
        def requested(request: Any) -> None:
            self.requests.append(request.url)
            if not request.url.startswith((f"{self.address}/", f"blob:{self.address}/", "data:")):
                self.wrong.append(f"a request to {request.url}")

        def said(message: Any) -> None:
            # A refused request is said there, too; that is no fault of the page.
            if message.type == "error" and "Failed to load resource" not in message.text:
                self.wrong.append(message.text)

        self.page.context.on("request", requested)
        self.page.on("console", said)
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))

    def drop(self, *files: File) -> None:
        """Drop files on the page as a hand does."""
        coded = [[name, base64.b64encode(data).decode()] for name, data in files]
        transfer = self.page.evaluate_handle(
            """files => {
                const transfer = new DataTransfer();
                for (const [name, coded] of files) {
                    const bytes = Uint8Array.from(atob(coded), c => c.charCodeAt(0));
                    const kind = /[.](png|jpeg)$/.exec(name);
                    const type = kind ? `image/${kind[1]}` : 'text/plain';
                    transfer.items.add(new File([bytes], name, {type}));
                }
                return transfer;
            }""",
            coded,
        )
        self.page.dispatch_event("main", "drop", {"dataTransfer": transfer})

    def until(self, what: str) -> None:
        """Wait for a condition in JavaScript. Playwright's own way evaluates it inside the page from the
        second time on, which the page's Content-Security-Policy forbids."""
        for _ in range(100):
            if self.page.evaluate(what):
                return
            self.page.wait_for_timeout(100)
        raise AssertionError(f"it did not come to be: {what}")

    def kept(self, count: int) -> None:
        """Wait until the browser keeps so many photos, each with what was said of it. A moment passes between
        what the page shows and what is kept, and a reload in it would cut that short."""
        self.until(
            f"""new Promise(done => indexedDB.open('seetell').onsuccess = opened => {{
                const database = opened.target.result;
                const photos = database.transaction('photos').objectStore('photos');
                photos.getAll().onsuccess = ({{target: {{result}}}}) => {{
                    const whole = one => one.vector && Object.keys(one.captions).length;
                    database.close();
                    done(result.length === {count} && result.every(whole));
                }};
            }})"""
        )

    def photo(self, name: str) -> Any:
        return self.page.locator("li.cell", has_text=name)


Open = Callable[..., Visit]


@pytest.fixture
def visit(browser: Any, serve: Serve, model: Model) -> Iterator[Open]:
    """``visit(screen, address=None, server={}, **context)``: the page, opened. What it must never do is
    checked at the end."""
    contexts: list[Any] = []
    visits: list[Visit] = []

    def start(
        screen: dict[str, Any] = WIDE,
        *,
        address: str | None = None,
        server: dict[str, Any] | None = None,
        **options: Any,
    ) -> Visit:
        address = address or str(serve(**(server or {})).base_url).rstrip("/")
        context = browser.new_context(**screen | {"locale": "en-GB"} | options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(10_000)
        visited = Visit(page, address)
        visits.append(visited)
        visited.watch()
        page.goto(address)
        return visited

    yield start
    for context in contexts:
        context.close()
    assert [one.wrong for one in visits if one.wrong] == []
