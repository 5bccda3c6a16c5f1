"""Which token comes next, against transformers' own processors of logits."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from transformers import (
    LogitsProcessorList,
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopPLogitsWarper,
)

from seetell.core.errors import EngineError, UsageError
from seetell.runtime.generation.sampling import ChatOptions, Sampler, log_prob
from seetell.runtime.generation.stops import shown

SETTINGS: dict[str, dict[str, float]] = {
    "temperature": {"temperature": 0.7},
    "hot": {"temperature": 2.5},
    "top_p": {"temperature": 1.0, "top_p": 0.8},
    "narrow": {"temperature": 0.9, "top_p": 0.05},
    "min_p": {"temperature": 1.3, "min_p": 0.2},
    "all": {"temperature": 0.8, "top_p": 0.9, "min_p": 0.05, "repetition_penalty": 1.4},
}


def _logits(seed: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.random.default_rng(seed).normal(0, 3, 40).astype(np.float32)


def _reference(settings: dict[str, float], logits: Any, seen: list[int]) -> np.ndarray[Any, Any]:
    """Probabilities as transformers makes them."""
    steps: Any = LogitsProcessorList()
    if "repetition_penalty" in settings:
        steps.append(RepetitionPenaltyLogitsProcessor(settings["repetition_penalty"]))
    steps.append(TemperatureLogitsWarper(settings["temperature"]))
    if "top_p" in settings:
        steps.append(TopPLogitsWarper(settings["top_p"]))
    if "min_p" in settings:
        steps.append(MinPLogitsWarper(settings["min_p"]))
    scores = steps(torch.tensor([seen]), torch.from_numpy(logits.copy())[None])
    found: np.ndarray[Any, Any] = scores.softmax(-1)[0].numpy()
    return found


@pytest.mark.parametrize("name", SETTINGS)
def test_what_is_drawn_is_what_transformers_would_draw(name: str) -> None:
    settings, seen = SETTINGS[name], [3, 5, 5, 11]
    sampler = Sampler(ChatOptions(seed=1, **settings))  # type: ignore[arg-type]  # all of them floats
    for seed in range(3):
        logits = _logits(seed)
        before = logits.copy()
        expected = _reference(settings, logits, seen)
        drawn = [sampler.choose(logits, np.array(seen)) for _ in range(4000)]
        shares = np.bincount(drawn, minlength=40) / len(drawn)
        # No token that they rule out, and each as often as they would, five standard errors allowed.
        assert not shares[expected == 0].any()
        assert (np.abs(shares - expected) <= 5 * np.sqrt(expected / len(drawn)) + 1e-9).all()
        assert np.array_equal(logits, before)


def test_the_likeliest_and_the_penalty() -> None:
    logits = np.array([1.0, 2.0, 1.9, -1.0], np.float32)
    assert Sampler(ChatOptions()).choose(logits, np.array([1])) == 1
    assert Sampler(ChatOptions(repetition_penalty=1.2)).choose(logits, np.array([1])) == 2


def test_a_seed_draws_the_same_and_none_draws_anew() -> None:
    def drawn(seed: int | None) -> list[int]:
        sampler = Sampler(ChatOptions(temperature=3.0, seed=seed))
        return [sampler.choose(_logits(0), np.array([0])) for _ in range(30)]

    assert drawn(7) == drawn(7)
    assert drawn(7) != drawn(8)
    assert drawn(None) != drawn(None)


def test_log_probabilities_are_the_models_own() -> None:
    logits = _logits(4)
    expected = torch.from_numpy(logits).double().log_softmax(-1)
    assert all(abs(log_prob(logits, token) - float(expected[token])) < 1e-5 for token in range(40))
    logits[3] = math.nan
    with pytest.raises(EngineError, match="not numbers"):
        log_prob(logits, 0)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"max_tokens": 0}, "max_tokens is a whole number of at least 1, not 0"),
        ({"max_tokens": True}, "max_tokens"),
        ({"temperature": -0.1}, "temperature is a number of at least 0"),
        ({"temperature": math.nan}, "temperature"),
        ({"temperature": "hot"}, "temperature .* not 'hot'"),
        ({"top_p": 0}, "top_p is over 0 and at most 1"),
        ({"top_p": 1.01}, "top_p"),
        ({"min_p": -1}, "min_p is between 0 and 1"),
        ({"repetition_penalty": 0}, "repetition_penalty"),
        ({"seed": -1}, "seed is a whole number of at least 0"),
        ({"stop": ("",)}, "stop is texts that are not empty"),
        ({"stop": (3,)}, "stop"),
    ],
)
def test_options_that_cannot_be_meant(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        ChatOptions(**settings)


@pytest.mark.parametrize(
    ("text", "expected", "stopped"),
    [
        ("One two", "One two", False),
        ("One \n", "One ", False),
        ("One \n\nTwo", "One ", True),
        ("One \nTwo", "One \nTwo", False),
        ("a STO", "a ", False),
        ("a STOP and \n\n", "a ", True),
        ("", "", False),
    ],
)
def test_what_may_be_the_beginning_of_a_stop_is_held_back(text: str, expected: str, stopped: bool) -> None:
    found = shown(text, ("\n\n", "STOP"))
    assert (found.text, found.stopped) == (expected, stopped)
