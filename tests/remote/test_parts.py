"""Answers as servers write them, choices, photos as they are sent, and work in order."""

from __future__ import annotations

import base64
import io
import json
import math
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from PIL import Image

from seetell.core.errors import RemoteError
from seetell.remote.answers import Said, read_answer, read_tokens
from seetell.remote.ordered import in_order
from seetell.remote.photos import data_url
from seetell.remote.prompts import PROMPTS, chosen, with_choices
from tests.remote.stand_in import said


def read(reply: Any) -> Said:
    return read_answer(json.loads(reply.body), "http://here/v1")


def test_an_answer() -> None:
    found = read(said(" A red\nkite. ", log_probs=[math.log(0.5), math.log(0.8)]))
    assert (found.text, found.cut) == ("A red kite.", False)
    assert found.probability == pytest.approx(0.4)
    assert found.score == pytest.approx(math.log(0.4) / 2)
    found = read(said("A red", finish="length"))
    assert found.cut and found.probability is None and found.score is None


@pytest.mark.parametrize(
    "content",
    [
        [{"type": "text", "text": "a red "}, {"type": "text", "text": "kite"}],
        [{"type": "output_text", "text": "a red kite"}, {"type": "other"}, "noise"],
        "<think>Is it red?\nYes.</think>\n\na red kite",
    ],
    ids=["parts", "other parts", "a thought"],
)
def test_ways_to_write_it(content: Any) -> None:
    assert read(said(content)).text == "a red kite"


def test_of_a_thought_no_probability_is_claimed() -> None:
    assert read(said("<think>hm</think>yes", log_probs=[-0.1])).probability is None


@pytest.mark.parametrize(
    ("log_probs", "probability"),
    [
        (None, None),
        ({}, None),
        ({"content": None}, None),
        ({"content": []}, None),
        ({"content": [{"token": "a"}]}, None),
        ({"content": [{"token": "a", "logprob": "x"}]}, None),
        ({"content": ["a"]}, None),
        ({"content": [{"token": "a", "logprob": 0.01}]}, 1.0),
        ("nonsense", None),
    ],
)
def test_probabilities_that_are_none(log_probs: Any, probability: float | None) -> None:
    choice = {"message": {"content": "a"}, "logprobs": log_probs}
    assert read_answer({"choices": [choice]}, "x").probability == probability


@pytest.mark.parametrize(
    ("document", "kind", "word"),
    [
        ({}, "bad_answer", "no answer in its answer"),
        ({"choices": []}, "bad_answer", "no answer in its answer"),
        ({"choices": None, "error": {"message": "x"}}, "bad_answer", "no answer in its answer"),
        ({"choices": ["x"]}, "bad_answer", "no answer in its answer"),
        ({"choices": [{"message": None}]}, "bad_answer", "no answer in its answer"),
        ({"choices": [{"message": {"content": " \n"}}]}, "bad_answer", "empty answer"),
        ({"choices": [{"message": {"content": 3}}]}, "bad_answer", "empty answer"),
        (
            {"choices": [{"message": {"content": None, "refusal": "I cannot"}}]},
            "declined",
            "would not answer",
        ),
        ({"choices": [{"message": {}, "finish_reason": "content_filter"}]}, "declined", "would not answer"),
        ({"choices": [{"message": {}, "finish_reason": "length"}]}, "bad_answer", "allow more"),
        (
            {"choices": [{"message": {"content": "<think>so"}, "finish_reason": "length"}]},
            "bad_answer",
            "allow",
        ),
    ],
)
def test_what_is_no_answer(document: Any, kind: str, word: str) -> None:
    with pytest.raises(RemoteError, match=word) as caught:
        read_answer(document, "http://here/v1")
    assert caught.value.kind == kind and not caught.value.ends


@pytest.mark.parametrize(
    ("usage", "tokens"),
    [
        ({"prompt_tokens": 3, "completion_tokens": 0}, (3, 0)),
        ({"prompt_tokens": 3}, None),
        ({"prompt_tokens": -3, "completion_tokens": 1}, None),
        ({"prompt_tokens": "3", "completion_tokens": 1}, None),
        ([], None),
    ],
)
def test_counts_of_tokens(usage: Any, tokens: tuple[int, int] | None) -> None:
    assert read_tokens({"usage": usage}) == tokens


@pytest.mark.parametrize(
    ("text", "choice", "exact"),
    [
        ("cat", "cat", True),
        ("Cat.", "cat", True),
        ("- “black  CAT”", "black cat", True),
        ("It is a cat.", "cat", False),
        ("a black cat", "black cat", False),
        ("a cat or a dog", None, False),
        ("concatenation", None, False),
        ("a bird", None, False),
        ("是狗。", "狗", False),
        ("C++", "c++", True),
    ],
)
def test_which_choice_is_meant(text: str, choice: str | None, exact: bool) -> None:
    assert chosen(text, ["cat", "black cat", "dog", "狗", "c++"]) == (choice, exact)


def test_every_language_has_its_words() -> None:
    for prompts in PROMPTS.values():
        for prompt in (prompts.answers, prompts.classify):
            assert with_choices(prompt, ["a {x}", "b\nc"]).endswith("\na {x}\nb c")
        assert "{" not in prompts.caption + prompts.ask


@pytest.mark.parametrize(
    ("size", "sent"), [((300, 200), (300, 200)), ((4000, 1000), (512, 128)), ((30, 9000), (2, 512))]
)
def test_photos_are_sent_small_and_bare(size: tuple[int, int], sent: tuple[int, int]) -> None:
    pixels = np.zeros((size[1], size[0], 3), np.uint8)
    pixels[:, :, 0] = 200
    kind, _, data = data_url(pixels, 512).partition(",")
    with Image.open(io.BytesIO(base64.b64decode(data))) as image:
        assert (kind, image.format, image.size) == ("data:image/jpeg;base64", "JPEG", sent)
        assert not image.getexif() and "icc_profile" not in image.info
        assert image.getpixel((0, 0))[0] == pytest.approx(200, abs=3)  # type: ignore[index]


def test_the_largest_photo_that_is_sent() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (1024, 1024, 3), np.uint8)
    assert len(data_url(noise, 1024)) < 2_000_000


def test_work_is_done_side_by_side_and_given_in_order() -> None:
    lock, running, most = threading.Lock(), [0], [0]

    def work(item: int, stop: threading.Event) -> int:
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        time.sleep(0.02 if item % 3 else 0.06)
        with lock:
            running[0] -= 1
        return item * item

    assert list(in_order(range(20), work, 3)) == [one * one for one in range(20)]
    assert 1 < most[0] <= 3


def test_an_endless_stream_is_read_no_further_than_need_be() -> None:
    taken = []

    def items() -> Iterator[int]:
        for number in range(1_000_000):
            taken.append(number)
            yield number

    found = in_order(items(), lambda item, stop: item, 2)
    assert [next(found) for _ in range(5)] == [0, 1, 2, 3, 4]
    found.close()  # type: ignore[attr-defined]
    assert len(taken) <= 5 + 4 * 2


def test_who_goes_away_is_not_kept_waiting() -> None:
    begun, stopped = threading.Event(), threading.Event()

    def work(item: int, stop: threading.Event) -> int:
        if item == 0:
            assert begun.wait(30)
        if item == 1:
            begun.set()
            assert stop.wait(30)
            stopped.set()
        return item

    found = in_order(range(10), work, 2)
    assert next(found) == 0
    found.close()  # type: ignore[attr-defined]
    assert stopped.wait(10)


def test_an_error_of_the_work_comes_through() -> None:
    def work(item: int, stop: threading.Event) -> float:
        return 1 / (item - 2)

    found = in_order(range(5), work, 2)
    assert [next(found), next(found)] == [-0.5, -1.0]
    with pytest.raises(ZeroDivisionError):
        next(found)
