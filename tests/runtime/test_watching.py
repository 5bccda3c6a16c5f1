"""What is told about a text while it is written is what it begins with, and no less than could be known."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seetell.runtime.generation import Generated, GenerationOptions, generate
from seetell.runtime.generation.beams import Beams, certain_starts
from tests.runtime.test_generation import EOS, START, VOCAB, decoder_of, memories, with_bias
from tests.runtime.toy import ToyEngine

Told = list[list[tuple[int, ...]]]


def watched(
    engine: ToyEngine, options: GenerationOptions, photos: int = 3, **more: Any
) -> tuple[list[Generated], Told]:
    """The texts, and all that was told about each."""
    told: Told = [[] for _ in range(photos)]

    def watch(photo: int, ids: tuple[int, ...]) -> bool:
        told[photo].append(ids)
        return True

    tokens, mask = memories(photos)
    found = generate(decoder_of(engine), tokens, mask, [START], options, watch=watch, **more)
    return [several[0] for several in found], told


def whole(text: Generated) -> tuple[int, ...]:
    return (*text.ids, EOS)[: text.length]


@given(
    seed=st.integers(0, 10_000),
    beams=st.integers(1, 5),
    length_penalty=st.sampled_from([1.0, 1.0, 0.0, 2.0, -1.0]),
    repetition_penalty=st.sampled_from([1.0, 1.3, 0.7]),
    max_tokens=st.integers(1, 14),
    end=st.sampled_from([0.0, 2.0, 5.0]),
    sure=st.sampled_from([1.0, 4.0]),
    count=st.integers(1, 2),
)
def test_what_is_told_is_a_beginning_that_grows(
    seed: int,
    beams: int,
    length_penalty: float,
    repetition_penalty: float,
    max_tokens: int,
    end: float,
    sure: float,
    count: int,
) -> None:
    def engine() -> ToyEngine:
        made = with_bias(ToyEngine(VOCAB, seed=seed), EOS, end)
        made.out = made.out * sure
        return made

    options = GenerationOptions(
        beams=beams,
        max_tokens=max_tokens,
        length_penalty=length_penalty,
        repetition_penalty=repetition_penalty,
    )
    texts, told = watched(engine(), options, count=count)
    plain = generate(decoder_of(engine()), *memories(3), [START], options, count=count)
    assert texts == [several[0] for several in plain]
    for text, starts in zip(texts, told, strict=True):
        for earlier, later in pairwise(starts):
            assert later[: len(earlier)] == earlier
        assert all(whole(text)[: len(one)] == one for one in starts)


@pytest.mark.parametrize("seed", range(3))
def test_without_beams_every_token_is_told(seed: int) -> None:
    texts, told = watched(ToyEngine(VOCAB, seed=seed), GenerationOptions(max_tokens=10))
    for text, starts in zip(texts, told, strict=True):
        assert starts == [whole(text)[: length + 1] for length in range(text.length)]


@pytest.mark.parametrize("beams", [2, 5])
def test_what_all_beams_share_is_told_before_the_end(beams: int) -> None:
    halfway = []
    for seed in range(4):
        texts, told = watched(ToyEngine(VOCAB, seed=seed), GenerationOptions(beams=beams, max_tokens=14))
        halfway += [
            len(starts[len(starts) // 2]) / text.length for text, starts in zip(texts, told, strict=True)
        ]
    assert np.mean(halfway) > 0.2


def beams_of(*texts: tuple[list[int], float], ended: bool) -> Beams:
    """Beams of one photo, each with its score."""
    made = Beams.empty(1, len(texts), 8)
    for place, (tokens, score) in enumerate(texts):
        made.tokens[0, place, : len(tokens)] = tokens
        made.scores[0, place] = score
        made.length[0, place] = len(tokens)
        made.ended[0, place] = ended
    return made


def certain(running: Beams, finished: Beams, **options: Any) -> list[int]:
    step = int(running.length[0, 0]) - 1
    return certain_starts(running, finished, step, GenerationOptions(max_tokens=8, beams=2, **options))[
        0
    ].tolist()


NONE = Beams.empty(1, 2, 8)


def test_what_is_certain_is_what_may_still_win_agrees_on() -> None:
    running = beams_of(([7, 8, 9, 1], -4.0), ([7, 8, 1, 9], -400.0), ended=False)
    # Far behind, but the other could come to be worse yet.
    assert certain(running, NONE) == [7, 8]
    # -4 over 8 tokens, the longest there may be, is -0.5: the first may overtake -1, the second cannot.
    finished = beams_of(([7, 8, EOS], -1.0), ([5, EOS], -2.0), ended=True)
    assert certain(running, finished) == [7, 8]
    assert certain(running, beams_of(([7, 6, EOS], -1.0), ended=True)) == [7]
    # Not even the first can.
    assert certain(running, beams_of(([6, EOS], -0.5), ([7, EOS], -0.6), ended=True)) == [6, EOS]
    # Without a penalty on length its sum counts.
    assert certain(running, beams_of(([6, EOS], -3.9), ended=True), length_penalty=0.0) == [6, EOS]
    assert certain(running, beams_of(([6, EOS], -4.1), ended=True), length_penalty=0.0) == []


def test_a_finished_text_that_the_others_begin_with_ends_what_is_certain() -> None:
    """Zeros stand behind a finished text, and 0 is a token like others."""
    running = beams_of(([7, 0, 0, 0], -0.1), ([7, 0, 0, 1], -0.2), ended=False)
    assert certain(running, beams_of(([7, 0], -1.0), ended=True)) == [7, 0]


@pytest.mark.parametrize("beams", [1, 4])
def test_a_text_that_is_done_is_told_whole_while_others_are_written(beams: int) -> None:
    engine = ToyEngine(VOCAB, seed=5)
    texts, told = watched(engine, GenerationOptions(max_tokens=20, beams=beams), photos=8)
    steps = max(map(len, told))
    early = [place for place, starts in enumerate(told) if len(starts) < steps - 1]
    assert early
    assert all(told[place][-1] == whole(texts[place]) for place in early)


@pytest.mark.parametrize("beams", [1, 4])
def test_a_text_nobody_waits_for_is_left(beams: int) -> None:
    options = GenerationOptions(max_tokens=20, min_tokens=20, beams=beams)
    tokens, mask = memories(3)
    asked = [0, 0, 0]

    def watch(photo: int, ids: tuple[int, ...]) -> bool:
        asked[photo] += 1
        return photo != 1 or asked[photo] < 4

    engine = ToyEngine(VOCAB, seed=5)
    found = generate(decoder_of(engine), tokens, mask, [START], options, watch=watch)
    plain = generate(decoder_of(ToyEngine(VOCAB, seed=5)), tokens, mask, [START], options)
    assert [found[0], found[2]] == [plain[0], plain[2]]
    assert asked[1] == 4
    assert len(found[1][0].ids) <= 4
    assert engine.calls["text_decoder"] == 20

    engine = ToyEngine(VOCAB, seed=5)
    generate(decoder_of(engine), tokens, mask, [START], options, watch=lambda *_: False)
    assert engine.calls["text_decoder"] == 1
