"""The verbs over a server: what it is asked, what its answers become, and what goes on when one fails."""

from __future__ import annotations

import io
import math
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import seetell
from seetell.core.errors import ImageError, InputError, RemoteError, TaskUnavailable, TextError, UsageError
from seetell.core.results import Alternative, Answer, Caption, Classification, Failure, RankedLabel
from seetell.remote import client
from seetell.runtime.generation import GenerationOptions
from seetell.tasks.api import AnyModel
from seetell.tasks.remote import RemoteModel
from tests.remote.stand_in import KEY, Asked, Reply, StandIn, failed, said, standing_in

NAME = "openai:big-model"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setattr(client, "_FIRST_PAUSE_S", 0.001)
    with standing_in() as stand_in:
        yield stand_in


@pytest.fixture
def remote(server: StandIn) -> RemoteModel:
    return seetell.load(NAME, base_url=server.base_url)


@pytest.fixture
def one_by_one(server: StandIn) -> RemoteModel:
    return seetell.load(NAME, base_url=server.base_url, batch_size=1)


def by_colour(asked: Asked) -> Reply:
    """An answer that tells which photo it is of."""
    with Image.open(io.BytesIO(asked.photo)) as image:
        red, green, blue = np.asarray(image).reshape(-1, 3).mean(axis=0).round(-1).astype(int)
    return said(f"{red} {green} {blue}")


@pytest.fixture
def grey(tmp_path: Path) -> list[Path]:
    """Ten photos from black to white."""
    paths = []
    for step in range(10):
        paths.append(tmp_path / f"grey{step}.png")
        Image.new("RGB", (8, 8), (20 * step,) * 3).save(paths[-1])
    return paths


def test_it_is_a_model_like_any(remote: RemoteModel) -> None:
    model: AnyModel = remote
    assert (model.name, model.precision, model.device, model.batch_size) == (NAME, "remote", "remote", 4)
    assert model.tasks == {"ask", "caption", "classify"}
    assert model.languages == ("en", "zh") and model.labels == () and model.writes_answers
    assert model.identity == f"{NAME} at {remote._client.base_url}"
    assert KEY not in f"{model!r} {vars(remote)} {vars(remote._client)}"
    with remote as same:
        assert same is remote


def test_a_caption(server: StandIn, remote: RemoteModel, photos: list[Path]) -> None:
    server.replies = [
        said("A red kite.\n", log_probs=[-0.2, -0.4]),
        said("一只红色的风筝。", finish="length"),
    ]
    assert remote.caption(photos[0]) == Caption("A red kite.", pytest.approx(-0.3), "en", NAME, "remote")
    found = remote.caption(photos[0], language="zh", max_tokens=3)
    assert found == Caption("一只红色的风筝。", None, "zh", NAME, "remote", cut=True)
    first, second = server.asked
    assert (first.rule, first.text) == (None, "Describe this photo in one sentence.")
    assert second.text == "请描述这张照片，只用一句话。"
    assert (first.fields["model"], first.fields["temperature"], first.fields["max_tokens"]) == (
        "big-model",
        0,
        1000,
    )
    assert second.fields["max_tokens"] == 3
    assert remote.captions(photos[0], 1)[0].text == "a red kite"
    assert str(remote.usage) == "3 answers, 300 + 21 tokens, 1 cut at the limit of tokens"


def test_a_question(server: StandIn, one_by_one: RemoteModel, photos: list[Path]) -> None:
    server.replies = [said("Red.", log_probs=[math.log(0.9)]), said("红色。"), said("red")]
    found = one_by_one.ask(photos[0], "what colour is it?", min_confidence=0.95)
    sure = pytest.approx(0.9)
    assert found == Answer("Red", sure, (Alternative("Red", sure),), True, NAME, "remote")
    assert one_by_one.ask(photos[0], "什么颜色？", min_confidence=0.9) == Answer(
        "红色", None, (), False, NAME, "remote"
    )
    assert [one.answer for one in one_by_one.ask(photos[:2], ["what?", "why?"])] == ["red", "a red kite"]
    english, chinese, *_ = server.asked
    assert english.text == "what colour is it?" and "a few words" in str(english.rule)
    assert chinese.text == "什么颜色？" and "几个字" in str(chinese.rule)


def test_given_answers(server: StandIn, one_by_one: RemoteModel, photos: list[Path]) -> None:
    half = math.log(0.5)
    server.replies = [
        said("Yes.", log_probs=[half]),
        said("No, it is not.", log_probs=[half]),
        said("perhaps"),
    ]
    asked = {"question": "is it red?", "answers": ["yes", "no"]}
    first, second, third = one_by_one.stream("ask", photos[:3], **asked)
    assert (first.answer, first.confidence) == ("yes", pytest.approx(0.5))
    assert (second.answer, second.confidence) == ("no", None), "what is probable is the sentence"
    assert isinstance(third, Failure) and "said 'perhaps', which is none of the choices" in str(third.error)
    assert str(server.asked[0].rule).endswith("\nyes\nno")


def test_labels(server: StandIn, remote: RemoteModel, photos: list[Path]) -> None:
    server.replies = [said("dog", log_probs=[math.log(0.25)]), said("猫")]
    quarter = pytest.approx(0.25)
    found = remote.classify(photos[0], ["cat", "dog"])
    assert found == Classification("dog", quarter, (RankedLabel("dog", quarter),), NAME, "remote")
    assert remote.classify(photos[:1], ["猫", "狗"])[0].probability is None
    assert server.asked[0].text.endswith("\ncat\ndog") and "哪一行" in server.asked[1].text
    remote.classify(photos[0], ["a red kite", "x"], language="zh")
    assert "哪一行" in server.asked[2].text


@pytest.mark.parametrize(
    ("call", "kind", "word"),
    [
        (lambda m, p: m.match(p, ["a"]), TaskUnavailable, "cannot match; it can: ask, caption, classify"),
        (lambda m, p: m.embed_images(p), TaskUnavailable, "cannot embed"),
        (lambda m, p: m.stream("embed_images", [p]), TaskUnavailable, "cannot embed;"),
        (lambda m, p: m.stream("features", [p]), TaskUnavailable, "cannot features"),
        (lambda m, p: m.embed_texts(["a"]), TaskUnavailable, "cannot embed"),
        (lambda m, p: m.fitting("a", np.zeros(3)), TaskUnavailable, "cannot embed"),
        (lambda m, p: m.count_tokens("a"), TaskUnavailable, "counts tokens"),
        (lambda m, p: m.classify(p), TaskUnavailable, "no labels of its own"),
        (lambda m, p: m.classify(p, ["a", "a"]), UsageError, "twice: a"),
        (lambda m, p: m.caption(p, language="fr"), UsageError, "'fr'.*en, zh"),
        (
            lambda m, p: m.caption(p, beams=3),
            UsageError,
            "no generation options beams; there are: max_tokens",
        ),
        (lambda m, p: m.caption(p, options=GenerationOptions(beams=3)), UsageError, "there are: max_tokens"),
        (lambda m, p: m.caption(p, max_tokens=0), UsageError, "max_tokens"),
        (lambda m, p: m.stream("caption", [p], on_text=print), UsageError, "on_text; there are: language"),
        (lambda m, p: m.captions(p), UsageError, "one caption for a photo, not 5"),
        (lambda m, p: m.ask(p, ""), TextError, "question is empty"),
        (lambda m, p: m.ask(p, "what?", answers=[]), UsageError, "at least one answer"),
        (lambda m, p: m.ask(p, "what?", min_confidence=2), UsageError, "min_confidence"),
        (lambda m, p: m.ask(p, "what?", top=0), UsageError, "top"),
        (lambda m, p: list(m.stream("ask", [p])), UsageError, "pairs"),
        (lambda m, p: m.stream("describe", [p]), UsageError, "caption"),
        (lambda m, p: m.stream("caption", "p.jpg"), UsageError, "list"),
    ],
)
def test_calls_that_cannot_be_meant(
    server: StandIn, remote: RemoteModel, photos: list[Path], call: Any, kind: type[Exception], word: str
) -> None:
    with pytest.raises(kind, match=word) as caught:
        call(remote, photos[0])
    assert "\n" not in str(caught.value)
    assert server.asked == [], "before any work"


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({}, "where is its server"),
        ({"base_url": "nowhere"}, "base_url: give an address"),
        ({"base_url": "http://x.test/v1"}, "SEETELL_OFFLINE is set"),
        ({"base_url": "http://localhost/v1", "patience_s": 0}, "patience_s"),
        ({"base_url": "http://localhost/v1", "photo_px": 0}, "photo_px"),
        ({"base_url": "http://localhost/v1", "batch_size": 0}, "batch_size"),
        ({"base_url": "http://localhost/v1", "prices": (1,)}, "two numbers"),
    ],
)
def test_models_that_cannot_be_opened(options: dict[str, Any], word: str) -> None:
    with pytest.raises(UsageError, match=word):
        seetell.load(NAME, **options)


def test_a_name_is_needed_and_an_address_goes_with_one() -> None:
    with pytest.raises(UsageError, match="which model"):
        seetell.load("openai: ", base_url="http://localhost/v1")
    with pytest.raises(UsageError, match="base_url goes with"):
        seetell.load("builtin", base_url="http://localhost/v1")


def test_where_the_server_is_may_stand_in_the_environment(
    server: StandIn, monkeypatch: pytest.MonkeyPatch, photos: list[Path]
) -> None:
    monkeypatch.setenv("SEETELL_BASE_URL", server.base_url)
    assert seetell.load(NAME).caption(photos[0]).text == "a red kite"
    assert seetell.load(NAME, offline=False, base_url="http://x.test").name == NAME


def test_how_a_server_is_asked_may_stand_in_the_environment(
    server: StandIn, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    photo = tmp_path / "wide.png"
    Image.new("RGB", (200, 100), "red").save(photo)
    monkeypatch.setenv("SEETELL_PHOTO_PX", "50")
    monkeypatch.setenv("SEETELL_BATCH_SIZE", "2")
    monkeypatch.setenv("SEETELL_PRICES", "0.5,1")
    model = seetell.load(NAME, base_url=server.base_url)
    assert (model.batch_size, model.usage.cost) == (2, 0)
    model.caption(photo)
    with Image.open(io.BytesIO(server.asked[0].photo)) as sent:
        assert sent.size == (50, 25)
    for name, value in (("PATIENCE", "soon"), ("PRICES", "cheap")):
        with monkeypatch.context() as only, pytest.raises(UsageError, match=value):
            only.setenv(f"SEETELL_{name}", value)
            seetell.load(NAME, base_url=server.base_url)


def test_photos_are_made_smaller_and_tell_no_place(server: StandIn, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # on its side
    exif[0x010F] = "a camera"
    exif.get_ifd(0x8825).update({1: "N", 2: (52.0, 30.0, 0.0)})
    photo = tmp_path / "where.jpg"
    Image.new("RGB", (3000, 1500), "red").save(photo, exif=exif, icc_profile=b"x" * 200, comment=b"a comment")
    assert b"a camera" in photo.read_bytes()
    seetell.load(NAME, base_url=server.base_url, photo_px=300).caption(photo)
    sent = server.asked[0].photo
    with Image.open(io.BytesIO(sent)) as image:
        assert image.size == (150, 300), "upright"
        assert not image.getexif() and not {"icc_profile", "comment", "exif"} & set(image.info)
    assert b"a camera" not in sent and b"Exif" not in sent
    assert b"where" not in str(server.asked[0].fields).encode(), "nor what it is called"


def test_results_keep_their_order_and_few_are_asked_at_once(
    server: StandIn, remote: RemoteModel, grey: list[Path]
) -> None:
    def slow(asked: Asked) -> Reply:
        reply = by_colour(asked)
        time.sleep(0.08 if b'"0 0 0"' in reply.body else 0.01)
        return reply

    server.otherwise = slow
    found = list(remote.stream("caption", grey))
    assert [one.text for one in found] == [f"{20 * step} {20 * step} {20 * step}" for step in range(10)]
    assert 1 < server.most_at_once <= 4
    one = seetell.load(NAME, base_url=server.base_url, batch_size=1)
    server.most_at_once = 0
    assert one.caption(grey) == found and server.most_at_once == 1


def test_one_array_filled_again_is_another_photo(server: StandIn, remote: RemoteModel) -> None:
    server.otherwise = by_colour
    frame = np.zeros((8, 8, 3), np.uint8)

    def frames() -> Iterator[Any]:
        for step in range(6):
            frame[:] = 20 * step
            yield frame

    assert [one.text.split()[0] for one in remote.stream("caption", frames())] == [
        "0",
        "20",
        "40",
        "60",
        "80",
        "100",
    ]


def test_one_photo_fails_and_the_others_are_kept(
    server: StandIn, remote: RemoteModel, grey: list[Path]
) -> None:
    def picky(asked: Asked) -> Reply:
        reply = by_colour(asked)
        return failed(400, "image is too dark") if b'"0 0 0"' in reply.body else reply

    server.otherwise = picky
    photos = [grey[0], "nosuch.jpg", *grey[1:3]]
    first, second, *others = remote.stream("caption", photos)
    assert isinstance(first, Failure) and first.photo == str(grey[0])
    assert isinstance(first.error, RemoteError) and first.error.kind == "refused"
    assert isinstance(second, Failure) and isinstance(second.error, ImageError)
    assert [one.text for one in others] == ["20 20 20", "40 40 40"]
    with pytest.raises(RemoteError, match="too dark"):
        remote.caption(photos)


def test_what_ends_it_all_is_told_once(server: StandIn, remote: RemoteModel, grey: list[Path]) -> None:
    server.otherwise = failed(401, "who are you?")
    with pytest.raises(RemoteError, match="who are you"):
        list(remote.stream("caption", [*grey, *grey]))
    assert len(server.asked) <= 8, "the others were not asked about"


def test_what_was_answered_before_the_end_is_kept(
    server: StandIn, remote: RemoteModel, grey: list[Path]
) -> None:
    held = threading.Event()

    def budget(asked: Asked) -> Reply:
        reply = by_colour(asked)
        if b'"20 20 20"' in reply.body:
            return failed(402, "nothing left")
        if b'"40 40 40"' in reply.body:  # under way when that came
            held.wait(0.3)
        return reply

    server.otherwise = budget
    found = []
    with pytest.raises(RemoteError, match="nothing left"):
        found.extend(one for one in _noted(remote.stream("caption", grey[:3]), found))
    texts = [one if isinstance(one, str) else one.text for one in found]
    assert texts == ["0 0 0", "failed: nothing left", "40 40 40"]


def _noted(stream: Iterator[Any], found: list[Any]) -> Iterator[Any]:
    for one in stream:
        found.append("failed: nothing left" if isinstance(one, Failure) else one)
    yield from ()


def test_who_breaks_off_is_not_kept_waiting(server: StandIn, remote: RemoteModel, grey: list[Path]) -> None:
    never, black = threading.Event(), said("0 0 0")
    # Which of those asked about at once comes first to the server is chance.
    server.otherwise = lambda asked: said("first") if by_colour(asked) == black else Reply(wait=never)
    stream = remote.stream("caption", grey)
    assert next(stream).text == "first"
    started = time.monotonic()
    stream.close()  # type: ignore[attr-defined]
    assert time.monotonic() - started < 20
    never.set()
    assert len(server.asked) <= 1 + 2 * 4


class Watcher:
    """Refuses one photo at the door and replaces what leaves."""

    def __init__(self) -> None:
        self.entered: list[Any] = []

    def enter(self, request: Any, image: Any) -> None:
        self.entered.append((request.verb, request.texts, image.shape))
        if image.max() == 0:
            raise InputError("refused at the door")

    def exit(self, request: Any, result: Any) -> Any:
        return Caption("replaced", None, "en", NAME, "remote") if isinstance(result, Caption) else result


def test_a_policy_sees_a_photo_before_it_leaves(server: StandIn, grey: list[Path]) -> None:
    watcher = Watcher()
    model = seetell.load(NAME, base_url=server.base_url, policy=watcher, batch_size=1)
    first, second = model.stream("caption", grey[:2])
    assert isinstance(first, Failure) and "at the door" in str(first.error)
    assert second.text == "replaced" and len(server.asked) == 1
    model.ask(grey[1], "what?")
    server.otherwise = said("a")
    model.classify(grey[1], ["a", "b"])
    assert watcher.entered[1:] == [
        ("caption", (), (8, 8, 3)),
        ("ask", ("what?",), (8, 8, 3)),
        ("classify", ("a", "b"), (8, 8, 3)),
    ]
