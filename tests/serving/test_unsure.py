"""Captions that the model is unsure of, over HTTP: said so, and never streamed before they are judged."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx2
import openai
import pytest

from seetell.bundle.tokenizer import Tokenizer
from seetell.tasks.model import Model
from tests.runtime.toy import make_manifest
from tests.serving.conftest import SlowEngine, data_url, jpeg
from tests.serving.test_chat import asked

# Of this model some captions are sure and some are not.
FITTED = {"bias": 4.0, "log_prob_weight": 2.0, "match_weight": 3.0, "unsure_below": 0.88}


@pytest.fixture
def model(engine: SlowEngine, tokenizer: Tokenizer) -> Model:
    manifest = make_manifest(
        engine,
        score={"captions": {"en": FITTED, "zh": {**FITTED, "unsure_below": 1.0}}},
        prompts={"unsure": {"en": ("a room", "a dog outside"), "zh": ("一个男人",)}},
    )
    return Model(manifest, tokenizer, engine, batch_size=8)


@pytest.fixture
def ai(client: httpx2.Client) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{client.base_url}/v1", api_key="any", max_retries=0) as made:
        yield made


def test_the_caption_is_told_with_its_confidence(client: httpx2.Client, model: Model) -> None:
    for seed in range(8):
        want = model.caption(jpeg(seed))
        got = client.post("/v1/caption", json={"photo": data_url(jpeg(seed))}).json()
        assert (got["text"], got["unsure"], got["guess"]) == (want.text, want.unsure, want.guess)
        assert got["confidence"] == pytest.approx(want.confidence)


@pytest.mark.parametrize("beams", [1, 3])
def test_a_chat_says_that_it_is_unsure(ai: openai.OpenAI, model: Model, beams: int) -> None:
    own: dict[str, Any] = {"extra_body": {"beams": beams}}
    options = model.generation_options(beams=beams)
    captions = [model.caption(jpeg(seed), options=options) for seed in range(8)]
    assert {one.unsure for one in captions} == {True, False}
    said = "\n".join(f"I am not sure; perhaps {one.text}" if one.unsure else one.text for one in captions)
    messages = asked("Describe these", *range(8))
    plain = ai.chat.completions.create(model="toy", messages=messages, **own)
    assert plain.choices[0].message.content == said
    stream = ai.chat.completions.create(model="toy", messages=messages, stream=True, **own)
    pieces = [chunk.choices[0].delta.content or "" for chunk in stream]
    assert "".join(pieces) == said
    # A line comes whole: what was told of it before could not be taken back.
    assert len([piece for piece in pieces if piece]) == 8


def test_in_chinese(ai: openai.OpenAI) -> None:
    answer = ai.chat.completions.create(model="toy", messages=asked("描述这张图片", 1))
    assert answer.choices[0].message.content == "我不确定，也许是一个男人"
