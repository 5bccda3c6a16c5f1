"""What the page sends of a photo: what the model can use of it, upright, and once."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from PIL import Image

from seetell.tasks.model import Model
from tests.runtime.toy import SIZE
from tests.serving.conftest import jpeg
from tests.serving.page.conftest import Open, Visit, playwright

expect = playwright.expect
UPRIGHT, TURNED = 1, 6
ORIENTATION = 0x0112


def large(orientation: int = UPRIGHT, kind: str = "JPEG") -> bytes:
    """Four colours, 1200 x 800 as it is stored; turned to the right by a camera held upright."""
    corners = np.array([[[220, 30, 30], [30, 200, 30]], [[30, 30, 220], [230, 230, 40]]], np.uint8)
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    exif[0x010F] = "Somebody's camera"
    buffer = io.BytesIO()
    picture = Image.fromarray(corners).resize((1200, 800), Image.Resampling.NEAREST)
    if kind == "PNG":  # which would say four colours in a few bytes
        noise = np.random.default_rng(0).integers(0, 9, (800, 1200, 3), np.uint8)
        picture = Image.fromarray(np.asarray(picture) - noise)
    picture.save(buffer, kind, **({"exif": exif, "quality": 95} if kind == "JPEG" else {}))
    return buffer.getvalue()


class Sent:
    """What is sent from now on. Playwright does not see the bodies that are files."""

    def __init__(self, seen: Visit) -> None:
        self._page = seen.page
        self._page.evaluate(
            """() => {
                const send = window.fetch;
                window.sent = [];
                window.fetch = async (path, options) => {
                    if (options.body) {
                        const bytes = new Uint8Array(await new Response(options.body).arrayBuffer());
                        const coded = btoa(Array.from(bytes, one => String.fromCharCode(one)).join(''));
                        window.sent.push([path, coded]);
                    }
                    return send(path, options);
                };
            }"""
        )

    def bodies(self) -> list[tuple[str, bytes]]:
        """The address, without what is said in it, and the body."""
        sent = self._page.evaluate("window.sent")
        return [(path.partition("?")[0], base64.b64decode(coded)) for path, coded in sent]


@pytest.mark.parametrize(("orientation", "size"), [(UPRIGHT, (64, 43)), (TURNED, (43, 64))])
def test_a_large_photo_is_made_smaller_and_upright(
    visit: Open, orientation: int, size: tuple[int, int]
) -> None:
    seen = visit()
    sent = Sent(seen)
    photo = large(orientation)
    seen.drop(("large.jpeg", photo))
    expect(seen.page.get_by_role("status").filter(has_text="1 of 1 photos captioned")).to_be_visible()
    ((path, body),) = sent.bodies()
    assert path == "v1/page/read"
    got = Image.open(io.BytesIO(body))
    assert (got.format, got.size, max(got.size)) == ("JPEG", size, 4 * SIZE)
    assert not got.getexif(), "what the camera wrote stays here"
    want = Image.open(io.BytesIO(photo)).convert("RGB")
    if orientation == TURNED:
        want = want.transpose(Image.Transpose.ROTATE_270)
    near = np.abs(np.asarray(got, int) - np.asarray(want.resize(size), int)).mean()
    assert near < 6


def test_a_photo_is_sent_once_and_its_file_never(visit: Open, model: Model) -> None:
    seen = visit()
    page = seen.page
    sent = Sent(seen)
    seen.drop(("large.png", large(kind="PNG")), ("small.png", jpeg(1)))
    expect(page.get_by_role("status").filter(has_text="2 of 2 photos captioned")).to_be_visible()
    assert [path for path, _ in sent.bodies()] == ["v1/page/read"] * 2, (
        "its caption and its vector come together"
    )
    assert jpeg(1) in [body for _, body in sent.bodies()], "a small one goes as it is"
    seen.photo("large.png").get_by_role("button").click()
    page.get_by_role("button", name="Similar photos").click()
    expect(page.locator(".results .score")).to_have_count(1)
    page.get_by_label("Search the photos").fill("red dog")
    expect(page.locator(".results .score")).to_have_count(2)
    photos = [path for path, body in sent.bodies() if b"data:" in body or path == "v1/page/read"]
    assert photos == ["v1/page/read"] * 2, "the vectors that are here are compared"
    page.get_by_label("Question about this photo").fill("is there a dog?")
    page.keyboard.press("Enter")
    expect(page.locator(".answers strong")).to_be_visible()
    file = large(kind="PNG")
    assert len(file) > 2 * max(len(body) for _, body in sent.bodies())


def test_a_large_photo_that_is_cut_off_is_told_so(visit: Open) -> None:
    """The browser would show, and send, what there is of it."""
    seen = visit()
    seen.drop(("cut.jpeg", large()[:6000]))
    expect(seen.photo("cut.jpeg")).to_contain_text("The file is cut off; copy it again.")


def test_a_file_that_has_gone_is_told_so(visit: Open) -> None:
    """And the page does not take it for the server's fault, and ask for ever."""
    seen = visit()
    seen.page.evaluate(
        "() => { Blob.prototype.arrayBuffer = () => Promise.reject(new DOMException('', 'NotFoundError')); }"
    )
    seen.drop(("gone.png", jpeg(1)))
    expect(seen.photo("gone.png")).to_contain_text("The file cannot be read any more.")
    expect(seen.page.get_by_role("button", name="Try again")).to_have_count(0)
    assert not any("page/read" in url for url in seen.requests)


def test_too_many_bytes_are_made_fewer(visit: Open, model: Model) -> None:
    seen = visit(server={"limits": {"photo_bytes": 3000}})
    seen.drop(("long.png", jpeg(1) + b"\0" * 3000))
    expect(seen.page.get_by_role("status").filter(has_text="1 of 1 photos captioned")).to_be_visible()
