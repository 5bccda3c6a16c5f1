"""A policy sees every input before and every result after, and can refuse or replace either."""

from __future__ import annotations

import dataclasses
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from seetell.bundle.manifest import CaptionConfidence
from seetell.bundle.tokenizer import Tokenizer
from seetell.core.errors import InputError
from seetell.core.results import Caption, Failure
from seetell.tasks.policy import Request
from tests.runtime.toy import ToyEngine
from tests.tasks.conftest import MakeModel


class Watcher:
    """Notes what it sees; refuses photos and texts by name, on the way in or out."""

    def __init__(self, *, refuse_in: str = "\0", refuse_out: str = "\0") -> None:
        self.refuse_in, self.refuse_out = refuse_in, refuse_out
        self.entered: list[Request] = []
        self.shapes: list[tuple[int, ...] | None] = []
        self.left: list[tuple[Request, Any]] = []
        self._lock = threading.Lock()

    def enter(self, request: Request, image: NDArray[np.uint8] | None) -> None:
        with self._lock:
            self.entered.append(request)
            self.shapes.append(None if image is None else image.shape)
        if self.refuse_in in f"{request.photo} {request.texts}":
            raise InputError("refused at the door")

    def exit(self, request: Request, result: Any) -> Any:
        with self._lock:
            self.left.append((request, result))
        if self.refuse_out in f"{request.photo} {request.texts}":
            raise InputError("refused on the way out")
        return dataclasses.replace(result, text="replaced") if isinstance(result, Caption) else result


@pytest.mark.parametrize(
    ("call", "verb", "texts"),
    [
        (lambda m, p: m.caption(p), "caption", ()),
        (
            lambda m, p: m.caption(p, options=m.generation_options(prompt="a dog", max_tokens=9)),
            "caption",
            ("a dog",),
        ),
        (lambda m, p: m.captions(p, 2), "caption", ()),
        (lambda m, p: m.ask(p, "is it red?"), "ask", ("is it red?",)),
        (lambda m, p: m.match(p, ["a", "b"]), "match", ("a", "b")),
        (lambda m, p: m.classify(p, ["a", "b"]), "classify", ("a", "b")),
        (lambda m, p: m.classify(p, "cat"), "classify", ("cat",)),
        (lambda m, p: m.embed_images(p), "embed", ()),
        (lambda m, p: m.embed_texts(["a", "b"]), "embed", ("a", "b")),
        (lambda m, p: m.features(p), "features", ()),
        (lambda m, p: m.fill(p, "a [MASK]"), "fill", ("a [MASK]",)),
    ],
)
def test_every_verb_passes_the_policy(
    make_model: MakeModel, photos: list[Path], call: Any, verb: str, texts: tuple[str, ...]
) -> None:
    watcher = Watcher()
    call(make_model(policy=watcher), photos[0])
    photo = None if verb == "embed" and texts else photos[0]
    assert watcher.entered == [Request(verb, photo, texts)]
    assert watcher.shapes == [None if photo is None else (24, 32, 3)]
    assert [request for request, _ in watcher.left] == watcher.entered


def test_what_leaves_may_be_replaced(make_model: MakeModel, photos: list[Path]) -> None:
    model = make_model(policy=Watcher())
    assert model.caption(photos[0]).text == "replaced"
    assert {one.text for one in model.caption(photos)} == {"replaced"}


@pytest.mark.parametrize("side", ["refuse_in", "refuse_out"])
def test_refusing_one_photo(make_model: MakeModel, photos: list[Path], side: str) -> None:
    watcher = Watcher(**{side: "photo03"})
    model = make_model(policy=watcher, batch_size=4)
    with pytest.raises(InputError, match="refused"):
        model.caption(photos)
    results = list(model.stream("caption", photos))
    assert [place for place, one in enumerate(results) if isinstance(one, Failure)] == [3]
    assert results[3].photo == str(photos[3])


def test_refusing_texts(make_model: MakeModel, photos: list[Path]) -> None:
    model = make_model(policy=Watcher(refuse_in="secret"))
    for call in (
        lambda: model.ask(photos[0], "the secret?"),
        lambda: model.embed_texts(["fine", "secret"]),
        lambda: model.match(photos[0], ["secret"]),
    ):
        with pytest.raises(InputError, match="door"):
            call()


@pytest.mark.parametrize(
    "call",
    [
        lambda m, p: m.caption(p),
        lambda m, p: m.ask(p, "is it red?"),
        lambda m, p: m.match(p, ["a dog", "a cat"]),
        lambda m, p: m.classify(p, ["dog", "cat"]),
        lambda m, p: m.embed_images(p),
        lambda m, p: m.embed_texts(["a dog"]),
        lambda m, p: m.fill(p, "a [MASK]"),
    ],
)
def test_what_is_refused_is_refused_before_anything_is_computed(
    make_model: MakeModel, photos: list[Path], tokenizer: Tokenizer, call: Any
) -> None:
    engine = ToyEngine(tokenizer.vocab_size)
    sure = CaptionConfidence(
        bias=0.0, log_prob_weight=1.0, match_weight=1.0, contrast_weight=1.0, unsure_below=0.5
    )
    model = make_model(
        engine,
        policy=Watcher(refuse_in=""),
        prompts={"unsure": {"en": ("a room",)}},
        score={"captions": {"en": sure}},
    )
    with pytest.raises(InputError, match="refused at the door"):
        call(model, photos[0])
    assert not engine.calls
