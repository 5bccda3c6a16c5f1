"""Decoding over the toy engine: cache, scores, early ends, ranking, and models that diverge."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from seetell.bundle.manifest import GraphSpec
from seetell.core.errors import BundleInvalid, EngineError, UsageError
from seetell.runtime.generation import GenerationOptions, TextDecoder, answer_log_probs, generate
from seetell.runtime.generation.probabilities import best, log_softmax
from tests.runtime.toy import CONTEXT, DIM, ToyEngine

VOCAB, EOS, START = 40, 3, 5


def decoder_of(engine: ToyEngine) -> TextDecoder:
    return TextDecoder(engine, engine.graphs["text_decoder"], eos_id=EOS, context_length=CONTEXT)


def memories(count: int, seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    draw = np.random.default_rng(seed)
    mask = draw.random((count, 6)) < 0.8
    mask[:, 0] = True
    return draw.normal(size=(count, 6, DIM)).astype(np.float32), mask


def full_log_probs(
    engine: ToyEngine, memory: NDArray[np.float32], mask: NDArray[np.bool_], ids: list[int]
) -> NDArray[np.float64]:
    """float64[T, V] after each of ``ids``, in one pass without a cache."""
    decoder = decoder_of(engine)
    logits, _ = decoder.run(
        np.array([ids]), np.ones((1, len(ids)), np.bool_), decoder.memory(memory[None]), mask[None]
    )
    return log_softmax(logits[0], "text_decoder")


@pytest.mark.parametrize("beams", [1, 4])
@pytest.mark.parametrize("seed", range(4))
def test_cached_decoding_is_full_decoding(seed: int, beams: int) -> None:
    engine = ToyEngine(VOCAB, seed=seed)
    tokens, mask = memories(8, seed)
    options = GenerationOptions(max_tokens=10, beams=beams)
    for photo, several in enumerate(generate(decoder_of(engine), tokens, mask, [START, 9], options)):
        written = [*several[0].ids, EOS][: several[0].length]
        log_probs = full_log_probs(engine, tokens[photo], mask[photo], [START, 9, *written[:-1]])[1:]
        expected = sum(log_probs[place, word] for place, word in enumerate(written))
        assert several[0].log_prob == pytest.approx(expected, abs=1e-4)
        assert several[0].score == pytest.approx(expected / len(written), abs=1e-4)
        if beams == 1:
            assert written == log_probs.argmax(axis=1).tolist()


@pytest.mark.parametrize("beams", [1, 3])
def test_eight_together_are_eight_alone(beams: int) -> None:
    engine = ToyEngine(VOCAB, seed=2)
    tokens, mask = memories(8)
    options = GenerationOptions(max_tokens=12, beams=beams, min_tokens=2, repetition_penalty=1.3)
    together = generate(decoder_of(engine), tokens, mask, [START], options, count=beams)
    for photo in range(8):
        row = slice(photo, photo + 1)
        alone = generate(decoder_of(engine), tokens[row], mask[row], [START], options, count=beams)
        assert [one.ids for one in alone[0]] == [one.ids for one in together[photo]]


def with_bias(engine: ToyEngine, token: int, amount: float) -> ToyEngine:
    original = engine._text_decoder

    def biased(**inputs: Any) -> Any:
        found = original(**inputs)
        found["logits"][..., token] += amount
        return found

    engine._text_decoder = biased  # type: ignore[method-assign]
    return engine


@pytest.mark.parametrize("beams", [1, 3])
def test_decoding_stops_when_everything_has_ended(beams: int) -> None:
    engine = with_bias(ToyEngine(VOCAB), EOS, 50.0)
    found = generate(decoder_of(engine), *memories(5), [START], GenerationOptions(max_tokens=30, beams=beams))
    assert all(several[0].ids == () and several[0].length == 1 for several in found)
    assert engine.calls["text_decoder"] <= 3
    assert engine.calls["decoder_memory"] == 1


def test_finished_rows_are_left_out() -> None:
    """Rows shrink as photos finish, and a straggler still gets its own text."""
    engine = ToyEngine(VOCAB, seed=5)
    tokens, mask = memories(8)
    generate(decoder_of(engine), tokens, mask, [START], GenerationOptions(max_tokens=20))
    rows = [count for role, count in engine.rows if role == "text_decoder"]
    assert rows[0] == 8
    assert rows == sorted(rows, reverse=True)
    assert rows[-1] < 8


@pytest.mark.parametrize("beams", [1, 3])
def test_min_tokens_holds_even_against_a_model_that_wants_to_end(beams: int) -> None:
    engine = with_bias(ToyEngine(VOCAB), EOS, 50.0)
    options = GenerationOptions(max_tokens=9, min_tokens=4, beams=beams)
    for several in generate(decoder_of(engine), *memories(3), [START], options, count=beams):
        assert all(len(one.ids) >= 4 for one in several)
        assert all(np.isfinite(one.log_prob) for one in several)


def test_more_texts_than_beams_widen_the_search() -> None:
    found = generate(
        decoder_of(ToyEngine(VOCAB)), *memories(2), [START], GenerationOptions(max_tokens=6), count=4
    )
    for several in found:
        assert len({one.ids for one in several}) == 4


def test_nothing_to_write_about() -> None:
    tokens, mask = memories(1)
    assert generate(decoder_of(ToyEngine(VOCAB)), tokens[:0], mask[:0], [START], GenerationOptions()) == []


def test_prompt_and_tokens_must_fit_the_context() -> None:
    decoder = decoder_of(ToyEngine(VOCAB))
    tokens, mask = memories(1)
    generate(decoder, tokens, mask, [START], GenerationOptions(max_tokens=CONTEXT, min_tokens=CONTEXT))
    with pytest.raises(UsageError, match=f"max_tokens {CONTEXT}.* {CONTEXT - 1} "):
        generate(decoder, tokens, mask, [START, 9], GenerationOptions(max_tokens=CONTEXT))


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("beams", [1, 2])
def test_a_diverged_model_is_an_error_and_no_text(beams: int, value: float) -> None:
    engine = with_bias(ToyEngine(VOCAB), 7, value)
    with pytest.raises(EngineError, match="text_decoder"):
        generate(decoder_of(engine), *memories(2), [START], GenerationOptions(beams=beams))


def test_a_cache_of_unknown_size_is_the_bundles_fault() -> None:
    engine = ToyEngine(VOCAB)
    graph = engine.graphs["text_decoder"]
    cache = graph.inputs["past_key_values.0.key"].model_copy(update={"axes": ("B", "h", "P", 4)})
    broken = GraphSpec(files={}, inputs={**graph.inputs, "past_key_values.0.key": cache}, outputs={})
    with pytest.raises(BundleInvalid, match=r"past_key_values\.0\.key"):
        TextDecoder(engine, broken, eos_id=EOS, context_length=CONTEXT)


@pytest.mark.parametrize(
    "wrong",
    [
        {"method": "sampling"},
        {"beams": 0},
        {"beams": True},
        {"max_tokens": 0},
        {"min_tokens": -1},
        {"min_tokens": 5, "max_tokens": 4},
        {"length_penalty": float("nan")},
        {"repetition_penalty": 0.0},
        {"method": "mask_predict", "beams": 2},
    ],
)
def test_options_that_cannot_be_meant(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError) as caught:
        GenerationOptions(**wrong)
    assert next(iter(wrong)) in str(caught.value) or "beams" in str(caught.value)


# --- ranking ---------------------------------------------------------------------------------------------

ANSWER = st.lists(st.integers(10, VOCAB - 1), min_size=0, max_size=5)


@given(st.lists(ANSWER, min_size=1, max_size=9), st.integers(1, 7), st.integers(0, 3))
def test_ranking_is_brute_force(answers: list[list[int]], rows_at_once: int, seed: int) -> None:
    engine = ToyEngine(VOCAB, seed=seed)
    tokens, mask = memories(2, seed)
    found = answer_log_probs(decoder_of(engine), tokens, mask, START, answers, rows_at_once=rows_at_once)
    assert found.shape == (2, len(answers))
    for photo in range(2):
        for place, ids in enumerate(answers):
            log_probs = full_log_probs(engine, tokens[photo], mask[photo], [START, *ids])
            expected = sum(log_probs[i, word] for i, word in enumerate([*ids, EOS]))
            assert found[photo, place] == pytest.approx(expected, abs=1e-4)


def test_ranking_projects_memories_once_and_bounds_its_rows() -> None:
    engine = ToyEngine(VOCAB)
    answers = [[10 + i % 30] * (1 + i % 4) for i in range(100)]
    answer_log_probs(decoder_of(engine), *memories(3), START, answers)
    assert engine.calls["decoder_memory"] == 1
    assert max(count for role, count in engine.rows if role == "text_decoder") == 64


def test_ranking_nothing() -> None:
    assert answer_log_probs(decoder_of(ToyEngine(VOCAB)), *memories(2), START, []).shape == (2, 0)


# --- numbers ---------------------------------------------------------------------------------------------


@given(st.lists(st.integers(-5, 5), min_size=3, max_size=60), st.integers(1, 3))
def test_best_is_a_stable_sort(values: list[int], count: int) -> None:
    row = np.array([values, values[::-1]], np.float64)
    expected = np.argsort(-row, axis=-1, kind="stable")[:, :count]
    found = best(row, count)
    np.testing.assert_array_equal(
        np.take_along_axis(row, found, axis=-1), np.take_along_axis(row, expected, axis=-1)
    )
    assert all(len(set(one)) == count for one in found.tolist())


def test_log_softmax_keeps_what_is_ruled_out_and_sums_to_one() -> None:
    logits = np.array([[1e4, -np.inf, 1e4 - 2]], np.float32)
    found = log_softmax(logits, "role")
    assert found[0, 1] == -np.inf
    assert np.exp(found).sum() == pytest.approx(1)
    with pytest.raises(EngineError, match="role"):
        log_softmax(np.full((1, 3), -np.inf, np.float32), "role")
