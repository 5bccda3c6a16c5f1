"""Captions that say nothing again, whatever the logits: greedy, beams and mask-predict."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seetell.core.errors import UsageError
from seetell.runtime.generation import Generated, GenerationOptions, NoRepeat, autoregressive, generate
from seetell.runtime.generation.probabilities import best
from seetell.runtime.generation.repeats import repeats, words_of
from seetell.runtime.generation.said import SaidBeams, Spelling
from tests.runtime.test_generation import (
    EOS,
    START,
    VOCAB,
    decoder_of,
    full_log_probs,
    memories,
    with_bias,
)
from tests.runtime.test_mask_predict import LEAD, MASK, SPECIAL, masked, photos
from tests.runtime.toy import ToyEngine

# Pieces of words, as those of byte pairs: words may be written in several ways, and end in others.
PIECES = [""] * 10 + [
    *(" a", " man", " blue", " shirt", " and", " in", " shirts"),
    *("s", "t", " the", " shir", " b", "lue", "man"),
    *("狗", "红", "衣", "的", "人", "男", "男人", "-", ".", "!", " ", "'s"),
]  # fmt: skip
PIECES += [f" {letter}" for letter in "cdef"]
assert len(PIECES) == VOCAB


def decode(ids: Sequence[int]) -> str:
    return "".join(PIECES[one] for one in ids).strip()


def words(text: str) -> list[str]:
    """Chinese characters and what stands between blanks and signs, by another way than the rule's."""
    apart = "".join(f" {one} " if one in "狗红衣的人男.!" else one for one in text.lower())
    return [word for part in apart.split() for word in [part.strip("'-")] if word]


def runs(text: str, length: int) -> list[tuple[str, ...]]:
    said = [word for word in words(text) if word not in ".!"]
    return [tuple(said[start : start + length]) for start in range(len(said) - length + 1)]


def says_again(text: str, length: int) -> bool:
    found = runs(text, length)
    stutters = any(one == other != "狗" for one, other in itertools.pairwise(words(text)))
    # A sign of its own may stand between two words, and "words" leaves it out.
    return len(set(found)) < len(found) or (stutters and not {"-", "'"} & set(text))


def written(
    engine: ToyEngine, options: GenerationOptions, prompt: Sequence[int] = (), photos: int = 3, **more: Any
) -> list[list[Generated]]:
    tokens, mask = memories(photos)
    return generate(
        decoder_of(engine), tokens, mask, [START, *prompt], options, spelling=Spelling(decode), **more
    )


def engine_of(seed: int, sure: float, end: float) -> ToyEngine:
    engine = with_bias(ToyEngine(VOCAB, seed=seed), EOS, end)
    engine.out = engine.out * sure
    return engine


@given(
    seed=st.integers(0, 10_000),
    beams=st.integers(1, 5),
    length=st.integers(1, 4),
    max_tokens=st.integers(1, 24),
    min_tokens=st.sampled_from([0, 0, 12]),
    end=st.sampled_from([0.0, 3.0, -20.0, -np.inf]),
    sure=st.sampled_from([1.0, 4.0]),
    penalty=st.sampled_from([1.0, 0.5]),
    count=st.integers(1, 3),
)
def test_nothing_is_said_again(
    seed: int,
    beams: int,
    length: int,
    max_tokens: int,
    min_tokens: int,
    end: float,
    sure: float,
    penalty: float,
    count: int,
) -> None:
    options = GenerationOptions(
        beams=beams,
        max_tokens=max_tokens,
        min_tokens=min(min_tokens, max_tokens),
        repetition_penalty=penalty,
        no_repeat=length,
    )
    found = written(engine_of(seed, sure, end), options, count=count)
    for texts in found:
        assert 1 <= len(texts) <= max(beams, count)
        for one in texts:
            assert EOS not in one.ids
            assert not says_again(decode(one.ids), length), decode(one.ids)
            assert repeats(words_of(decode(one.ids)), length) == 0
            assert np.isfinite(one.log_prob) or end == -np.inf


@given(seed=st.integers(0, 10_000), beams=st.integers(1, 4), length=st.integers(1, 3))
def test_photos_together_are_photos_alone(seed: int, beams: int, length: int) -> None:
    options = GenerationOptions(beams=beams, max_tokens=16, no_repeat=length)
    tokens, mask = memories(5)

    def write(rows: slice) -> list[list[Generated]]:
        decoder = decoder_of(ToyEngine(VOCAB, seed=seed))
        return generate(
            decoder, tokens[rows], mask[rows], [START], options, count=beams, spelling=Spelling(decode)
        )

    together = write(slice(None))
    for photo in range(5):
        (alone,) = write(slice(photo, photo + 1))
        assert [one.ids for one in alone] == [one.ids for one in together[photo]]


def test_without_the_rule_nothing_changes() -> None:
    """Decoding is held to transformers' without it, so parity needs that it is off by default."""
    assert GenerationOptions().no_repeat == 0
    for beams in (1, 4):
        options = GenerationOptions(beams=beams, max_tokens=16)
        tokens, mask = memories(3)
        plain = generate(decoder_of(ToyEngine(VOCAB, seed=1)), tokens, mask, [START], options, count=beams)
        assert written(ToyEngine(VOCAB, seed=1), options, count=beams) == plain
        assert any(repeats(words_of(decode(several[0].ids)), 3) for several in plain)


@given(seed=st.integers(0, 10_000), length=st.integers(1, 4))
def test_greedily_the_likeliest_word_that_may_follow_does(seed: int, length: int) -> None:
    options = GenerationOptions(max_tokens=10, no_repeat=length)
    ((found,),) = written(engine_of(seed, 1.0, 1.0), options, photos=1)
    tokens, mask = memories(1)
    ids: list[int] = []
    while len(ids) < 10 and EOS not in ids:
        log_probs = full_log_probs(engine_of(seed, 1.0, 1.0), tokens[0], mask[0], [START, *ids])[-1]
        may = [
            one for one in range(VOCAB) if one == EOS or not repeats(words_of(decode([*ids, one])), length)
        ]
        ids.append(max(may, key=lambda one: log_probs[one]))
    assert [*found.ids, EOS][: found.length] == ids


class _Everything(SaidBeams):
    """Looks at every way there is before it takes the best."""

    def best(self, total: Any, ended: Any, eos_id: int) -> Any:
        photos, beams, size = total.shape
        longer = [
            [
                None if token == eos_id or not text else text.then(token)
                for text in row
                for token in range(size)
            ]
            for row in self._rows
        ]
        refused = np.array([[text is None for text in row] for row in longer]).reshape(total.shape)
        refused[:, :, eos_id] = self.over
        total[refused] = -np.inf
        flat = total.reshape(photos, -1)
        for photo in np.flatnonzero(~np.isfinite(flat).any(axis=1)):
            live = [-np.inf if text is None else ended[photo, k] for k, text in enumerate(self._rows[photo])]
            flat[photo, int(np.argmax(live)) * size + eos_id] = max(live)
        top = best(flat, 2 * beams)
        return top, SaidBeams([[row[one] for one in places] for row, places in zip(longer, top, strict=True)])


@given(
    seed=st.integers(0, 10_000),
    beams=st.integers(2, 5),
    length=st.integers(1, 4),
    min_tokens=st.sampled_from([0, 6]),
    end=st.sampled_from([0.0, 3.0, -20.0]),
)
def test_looking_at_few_ways_finds_what_looking_at_all_finds(
    seed: int, beams: int, length: int, min_tokens: int, end: float
) -> None:
    options = GenerationOptions(beams=beams, max_tokens=12, min_tokens=min_tokens, no_repeat=length)
    few = written(engine_of(seed, 1.0, end), options, count=beams)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(autoregressive, "SaidBeams", _Everything)
        assert written(engine_of(seed, 1.0, end), options, count=beams) == few


@pytest.mark.parametrize("beams", [1, 4])
def test_a_prompt_that_repeats_itself_is_gone_on_from(beams: int) -> None:
    prompt = [10, 11, 10, 11, 10, 11]
    assert decode(prompt) == "a man a man a man"
    options = GenerationOptions(beams=beams, max_tokens=12, no_repeat=3)
    for (one,) in written(with_bias(ToyEngine(VOCAB), EOS, -9.0), options, prompt):
        assert len(one.ids) > 6
        assert repeats(words_of(decode([*prompt, *one.ids])), 3) <= repeats(words_of(decode(prompt)), 3)


@pytest.mark.parametrize("beams", [1, 3])
def test_where_every_word_is_said_a_text_ends_before_its_least_length(beams: int) -> None:
    """A vocabulary of two words, none of which may be said twice."""
    engine = ToyEngine(VOCAB)
    for token in range(VOCAB):
        if token not in (EOS, 10, 11):
            with_bias(engine, token, -np.inf)
    options = GenerationOptions(beams=beams, max_tokens=12, min_tokens=9, no_repeat=1)
    for texts in written(engine, options, count=beams):
        assert {len(one.ids) for one in texts} == {2}
        assert all(np.isfinite(one.log_prob) for one in texts)


@pytest.mark.parametrize("beams", range(1, 5))
def test_what_is_told_is_a_beginning_that_grows(beams: int) -> None:
    told: dict[int, list[tuple[int, ...]]] = {place: [] for place in range(3)}

    def watch(photo: int, ids: tuple[int, ...]) -> bool:
        told[photo].append(ids)
        return True

    for seed in range(20):
        options = GenerationOptions(beams=beams, max_tokens=12, no_repeat=2)
        found = written(ToyEngine(VOCAB, seed=seed), options, watch=watch)
        assert found == written(ToyEngine(VOCAB, seed=seed), options)
        for place, starts in told.items():
            whole = (*found[place][0].ids, EOS)[: found[place][0].length]
            for earlier, later in itertools.pairwise([*starts, whole]):
                assert later[: len(earlier)] == earlier
            starts.clear()


def masked_texts(
    seed: int, tokens: Any, lead: Sequence[int], lengths: Sequence[int], rule: NoRepeat | None, **more: Any
) -> list[list[Generated]]:
    engine = ToyEngine(VOCAB, seed=seed)
    return masked(engine, tokens).write([LEAD, *lead], lengths, rule=rule, count=len(lengths), **more)


@given(
    seed=st.integers(0, 10_000),
    lengths=st.lists(st.integers(1, 20), min_size=1, max_size=3, unique=True),
    iterations=st.integers(1, 5),
    length=st.integers(1, 4),
)
def test_mask_predict_says_nothing_again(seed: int, lengths: list[int], iterations: int, length: int) -> None:
    rule = NoRepeat(length, Spelling(decode))
    found = masked_texts(seed, photos(2, seed), [], lengths, rule, iterations=iterations)
    for texts in found:
        assert len(texts) == len(lengths)
        for one in texts:
            assert one.length == len(one.ids) <= max(lengths)
            assert not set(one.ids) & set(SPECIAL)
            assert not says_again(decode(one.ids), length), decode(one.ids)
            assert repeats(words_of(decode(one.ids)), length) == 0
            assert np.isfinite(one.log_prob)
        assert texts[0].ids


@given(seed=st.integers(0, 10_000), length=st.integers(1, 3))
def test_masks_of_photos_together_are_those_of_photos_alone(seed: int, length: int) -> None:
    tokens, rule = photos(4, seed), NoRepeat(length, Spelling(decode))
    together = masked_texts(seed, tokens, [10], [3, 9, 14], rule)
    for photo in range(4):
        (alone,) = masked_texts(seed, tokens[photo : photo + 1], [10], [3, 9, 14], rule)
        assert [one.ids for one in alone] == [one.ids for one in together[photo]]


def test_where_no_word_is_left_a_mask_is_left_out() -> None:
    """Signs, and pieces that go on with words, are ruled out; of the rest each may stand once."""
    engine = ToyEngine(VOCAB)
    engine.out[:, :10] = 0
    allowed = {10, 11, 24}
    never = [one for one in range(VOCAB) if one not in allowed]
    rule = NoRepeat(1, Spelling(decode))
    row = np.array([LEAD, *[MASK] * 5, EOS])
    log_probs = np.zeros((5, VOCAB))
    log_probs[:, never] = -np.inf
    log_probs[3, 11] = 1
    filled = rule.filled(row, np.arange(1, 6), log_probs, MASK)
    assert filled[3] == 11
    assert sorted(one for one in filled if one != MASK) == sorted(allowed)


def test_masks_are_filled_beside_what_the_prompt_says() -> None:
    rule = NoRepeat(3, Spelling(decode))
    row = np.array([LEAD, 10, 11, 14, 10, MASK, MASK, EOS])
    log_probs = np.full((2, VOCAB), -9.0)
    log_probs[0, 11], log_probs[0, 12], log_probs[1, 14] = -1, -2, -0.5
    assert decode([10, 11, 14, 10]) == "a man and a"
    # "a man" may be said again, "a man and" may not: the more certain "and" is there first.
    assert rule.filled(row, np.array([5, 6]), log_probs, MASK) == [12, 14]


def test_words_need_something_to_decode_them() -> None:
    with pytest.raises(UsageError, match="no_repeat"):
        generate(decoder_of(ToyEngine(VOCAB)), *memories(1), [START], GenerationOptions(no_repeat=3))


@pytest.mark.parametrize("value", [-1, 1.5, True])
def test_rules_that_cannot_be_meant(value: Any) -> None:
    with pytest.raises(UsageError, match="no_repeat"):
        GenerationOptions(no_repeat=value)
