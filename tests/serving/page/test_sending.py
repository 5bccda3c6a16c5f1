"""What the page sends of a photo: what the model can use of it, upright, and once."""

from __future__ import annotations

import base64
import io
import json

import numpy as np
import pytest
from PIL import Image

from seetell.bundle.tokenizer import Tokenizer
from seetell.serving.app import App
from seetell.serving.limits import Limits
from seetell.serving.model_pool import Source
from seetell.tasks.model import Model
from tests.runtime.toy import SIZE, ToyEngine, make_manifest
from tests.serving.conftest import jpeg, listening
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

    def photos(self) -> list[str]:
        """The addresses that photos were sent to, one way or the other."""
        return [path for path, body in self.bodies() if path == "v1/page/hold" or b"data:" in body]

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
    (path, body), (asked, said) = sent.bodies()
    assert (path, asked) == ("v1/page/hold", "v1/page/read")
    assert json.loads(said).keys() == {"photo", "language"} and len(said) < 200
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
    paths = sorted(path for path, _ in sent.bodies())
    assert paths == ["v1/page/hold"] * 2 + ["v1/page/read"] * 2, "its caption and its vector come together"
    assert jpeg(1) in [body for _, body in sent.bodies()], "a small one goes as it is"
    file = large(kind="PNG")
    assert len(file) > 2 * max(len(body) for _, body in sent.bodies())
    seen.photo("large.png").get_by_role("button").click()
    page.get_by_role("button", name="Similar photos").click()
    expect(page.locator(".results .score")).to_have_count(1)
    page.get_by_label("Search the photos").fill("red dog")
    expect(page.locator(".results .score")).to_have_count(2)
    asked(seen, "is there a dog?", "what is it?")
    page.get_by_role("button", name="中文").click()
    expect(seen.photo("small.png")).to_contain_text(model.caption(jpeg(1), language="zh").text)
    assert sent.photos() == ["v1/page/hold"] * 2
    seen.kept(2)
    page.reload()
    expect(seen.photo("small.png")).to_contain_text(model.caption(jpeg(1), language="zh").text)
    again = Sent(seen)
    page.get_by_label("关于这张照片的问题").fill("有狗吗？")
    page.keyboard.press("Enter")
    expect(page.locator(".answers strong")).to_have_count(1)
    assert [path for path, _ in again.bodies()] == ["v1/ask"] and again.photos() == [], "nor after a reload"


def asked(seen: Visit, *questions: str) -> None:
    for count, question in enumerate(questions, seen.page.locator(".answers strong").count() + 1):
        seen.page.get_by_label("Question about this photo").fill(question)
        seen.page.keyboard.press("Enter")
        expect(seen.page.locator(".answers strong")).to_have_count(count)


def test_a_server_that_was_started_anew_is_sent_the_photo_again(
    visit: Open, model: Model, tokenizer: Tokenizer
) -> None:
    def app() -> App:
        engine = ToyEngine(tokenizer.vocab_size)  # the first server puts its model away as it ends
        again = Model(make_manifest(engine), tokenizer, engine)
        return App([Source("toy", 1, lambda: again)], limits=Limits(drain_s=0.0))

    with listening(app()) as address:
        seen = visit(address=address)
        seen.drop(("1.png", jpeg(1)))
        asked(seen, "is there a dog?")
    sent = Sent(seen)
    with listening(app(), int(address.rpartition(":")[2])):
        asked(seen, "what is it?", "is it red?")
        want = model.ask(jpeg(1), "is it red?", top=3)
        expect(seen.page.locator(".answers li").first).to_contain_text(want.answer)
        assert sent.photos() == ["v1/page/hold"], "once, for all that is asked from then on"


def test_two_pages_that_take_each_others_room_are_both_answered(visit: Open, model: Model) -> None:
    server = {"limits": {"held_bytes": len(jpeg(1)) + len(jpeg(2)) - 1}}
    one = visit(server=server)
    other = visit(address=one.address)
    one.drop(("1.png", jpeg(1)))
    asked(one, "is there a dog?")
    other.drop(("2.png", jpeg(2)))
    asked(other, "is there a dog?")
    sent = [Sent(one), Sent(other)]
    asked(one, "what is it?")
    asked(other, "what is it?")
    for seen, seed in ((one, 1), (other, 2)):
        want = model.ask(jpeg(seed), "what is it?", top=3)
        expect(seen.page.locator(".answers li").first).to_contain_text(want.answer)
    assert [page.photos() for page in sent] == [["v1/page/hold"]] * 2
    # One that is taken away is not held any longer: there is room for the other's.
    one.page.get_by_role("button", name="Remove", exact=True).click()
    expect(one.page.get_by_text("Drop photos here")).to_be_visible()
    asked(other, "is it red?")
    assert sent[1].photos() == ["v1/page/hold"]


def test_a_photo_that_there_is_no_room_for_comes_with_each_question(visit: Open, model: Model) -> None:
    seen = visit(server={"limits": {"held_bytes": 10}})
    seen.drop(("1.png", jpeg(1)))
    expect(seen.photo("1.png")).to_contain_text(model.caption(jpeg(1)).text)
    sent = Sent(seen)
    asked(seen, "what is it?")
    assert sent.photos()[-1] == "v1/ask"
    want = model.ask(jpeg(1), "what is it?", top=3)
    expect(seen.page.locator(".answers li").first).to_contain_text(want.answer)


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
    assert not any("page/hold" in url for url in seen.requests)


def test_too_many_bytes_are_made_fewer(visit: Open, model: Model) -> None:
    seen = visit(server={"limits": {"photo_bytes": 3000}})
    seen.drop(("long.png", jpeg(1) + b"\0" * 3000))
    expect(seen.page.get_by_role("status").filter(has_text="1 of 1 photos captioned")).to_be_visible()
