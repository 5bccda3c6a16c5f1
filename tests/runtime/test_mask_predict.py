"""Mask-predict and filling: what is written, what is left alone, and how often the model is asked."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from seetell.core.errors import EngineError, UsageError
from seetell.runtime.generation import MaskedLanguage
from seetell.runtime.generation.mask_predict import _lowest
from seetell.runtime.generation.probabilities import log_softmax
from tests.runtime.toy import CONTEXT, DIM, PATCHES, ToyEngine

VOCAB, PAD, EOS, MASK, LEAD = 40, 0, 3, 4, 8
SPECIAL = tuple(range(10))


def photos(count: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=(count, PATCHES, DIM)).astype(np.float32)


def masked(engine: Any, tokens: NDArray[np.float32]) -> MaskedLanguage:
    return MaskedLanguage(
        engine,
        tokens,
        np.ones(tokens.shape[:2], np.bool_),
        mask_id=MASK,
        pad_id=PAD,
        eos_id=EOS,
        never=SPECIAL,
        context_length=CONTEXT,
    )


def log_probs_of(engine: ToyEngine, tokens: NDArray[np.float32], row: list[int]) -> NDArray[np.float64]:
    found = engine.run(
        "fusion_encoder",
        {
            "input_ids": np.array([row]),
            "attention_mask": np.ones((1, len(row)), np.bool_),
            "image_tokens": tokens[None],
            "image_mask": np.ones((1, PATCHES), np.bool_),
        },
        ["token_logits"],
    )
    log_probs = log_softmax(found["token_logits"][0], "fusion_encoder")
    log_probs[:, list(SPECIAL)] = -np.inf
    return log_probs


@given(
    seed=st.integers(0, 5),
    lengths=st.lists(st.integers(1, 12), min_size=1, max_size=4, unique=True),
    iterations=st.integers(1, 5),
    prompt=st.lists(st.integers(10, VOCAB - 1), max_size=3),
)
def test_all_words_are_written_and_nothing_else(
    seed: int, lengths: list[int], iterations: int, prompt: list[int]
) -> None:
    engine = ToyEngine(VOCAB, seed=seed)
    found = masked(engine, photos(2, seed)).write(
        [LEAD, *prompt], lengths, iterations=iterations, count=len(lengths)
    )
    for texts in found:
        assert sorted(one.length for one in texts) == sorted(lengths)
        assert all(len(one.ids) == one.length and not set(one.ids) & set(SPECIAL) for one in texts)
        scores = [one.score for one in texts]
        assert scores == sorted(scores, reverse=True)
        assert all(np.isfinite(score) and score <= 0 for score in scores)
    assert engine.calls["fusion_encoder"] <= iterations


def test_one_pass_is_the_likeliest_word_everywhere() -> None:
    engine = ToyEngine(VOCAB, seed=1)
    tokens = photos(1)
    (only,) = masked(engine, tokens).write([LEAD], [5], iterations=1)[0]
    log_probs = log_probs_of(engine, tokens[0], [LEAD, *[MASK] * 5, EOS])[1:6]
    assert list(only.ids) == log_probs.argmax(axis=1).tolist()
    assert only.log_prob == pytest.approx(log_probs.max(axis=1).sum(), abs=1e-4)


def test_the_second_pass_rewrites_the_least_certain_half_given_the_rest() -> None:
    engine = ToyEngine(VOCAB, seed=1)
    tokens = photos(1)
    first = log_probs_of(engine, tokens[0], [LEAD, *[MASK] * 6, EOS])[1:7]
    again = np.argsort(first.max(axis=1), kind="stable")[:3]
    row = np.array([LEAD, *first.argmax(axis=1), EOS])
    row[again + 1] = MASK
    second = log_probs_of(engine, tokens[0], row.tolist())[1:7]
    expected = first.argmax(axis=1)
    expected[again] = second[again].argmax(axis=1)
    scores = first.max(axis=1)
    scores[again] = second[again].max(axis=1)
    (found,) = masked(engine, tokens).write([LEAD], [6], iterations=2)[0]
    assert list(found.ids) == expected.tolist()
    assert found.score == pytest.approx(scores.mean(), abs=1e-4)


def test_photos_together_are_photos_alone() -> None:
    engine, tokens = ToyEngine(VOCAB, seed=3), photos(8)
    lengths = [3, 5, 8, 9, 12]
    together = masked(engine, tokens).write([LEAD], lengths)
    row = [LEAD, 12, MASK, 15, MASK, EOS]
    filled = masked(engine, tokens).fill(row, top=3)
    assert max(count for _, count in engine.rows) <= 32, "rows are run in bounded chunks"
    for photo in range(8):
        alone = masked(engine, tokens[photo : photo + 1])
        assert alone.write([LEAD], lengths)[0][0].ids == together[photo][0].ids
        assert [one.ids for one in alone.fill(row, top=3)[0]] == [one.ids for one in filled[photo]]


def test_filling_one_mask_gives_the_likeliest_words_in_order() -> None:
    engine, tokens = ToyEngine(VOCAB, seed=2), photos(2)
    row = [LEAD, 12, MASK, 15, EOS]
    for photo, ways in enumerate(masked(engine, tokens).fill(row, top=4)):
        log_probs = log_probs_of(engine, tokens[photo], row)[2]
        expected = np.argsort(-log_probs)[:4]
        assert [one.words for one in ways] == [(int(word),) for word in expected]
        assert [one.score for one in ways] == pytest.approx(log_probs[expected].tolist(), abs=1e-4)
        assert all(one.ids == (LEAD, 12, one.words[0], 15, EOS) for one in ways)


@given(st.lists(st.sampled_from([MASK, MASK, 11, 12, 13]), min_size=1, max_size=7), st.integers(1, 4))
def test_filling_touches_only_masks(words: list[int], top: int) -> None:
    engine, row = ToyEngine(VOCAB), [LEAD, *words, EOS]
    if MASK not in row:
        with pytest.raises(UsageError, match="no mask"):
            masked(engine, photos(1)).fill(row, top=top)
        return
    (ways,) = masked(engine, photos(1)).fill(row, top=top)
    assert len({one.ids for one in ways}) == top
    for one in ways:
        for before, after in zip(row, one.ids, strict=True):
            assert after == before if before != MASK else after not in SPECIAL
        assert len(one.words) == row.count(MASK)
        assert np.isfinite(one.score)
    assert engine.calls["fusion_encoder"] == row.count(MASK)


def test_more_ways_than_words() -> None:
    (ways,) = masked(ToyEngine(VOCAB), photos(1)).fill([LEAD, MASK, EOS], top=1000)
    assert len(ways) == VOCAB - len(SPECIAL)


def test_too_long_a_text_is_refused() -> None:
    with pytest.raises(UsageError, match=str(CONTEXT)):
        masked(ToyEngine(VOCAB), photos(1)).write([LEAD], [CONTEXT - 1])


def test_a_diverged_model_is_an_error() -> None:
    engine = ToyEngine(VOCAB)
    engine.out[:] = np.nan
    with pytest.raises(EngineError, match="fusion_encoder"):
        masked(engine, photos(1)).write([LEAD], [4])


def test_lowest_marks_exactly_as_many_as_asked() -> None:
    values = np.array([[0.5, -1.0, -1.0, np.inf], [np.inf, np.inf, 0.0, 1.0]])
    np.testing.assert_array_equal(
        _lowest(values, np.array([1, 2])), [[False, True, False, False], [False, False, True, True]]
    )
