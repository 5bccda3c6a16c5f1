"""What of transformers' settings of generation is told as not taken over."""

from __future__ import annotations

from typing import Any

import pytest
from transformers import GenerationConfig

from seetell.modeling.checkpoints import generation_settings
from seetell.modeling.checkpoints.generation_settings import unread_settings

# What transformers 4 writes into a configuration whether anybody set it or not.
WRITTEN_BY_DEFAULT: dict[str, Any] = {
    "max_length": 20,
    "min_length": 0,
    "do_sample": False,
    "early_stopping": False,
    "num_beams": 1,
    "num_beam_groups": 1,
    "diversity_penalty": 0.0,
    "temperature": 1.0,
    "top_k": 50,
    "top_p": 1.0,
    "typical_p": 1.0,
    "repetition_penalty": 1.0,
    "length_penalty": 1.0,
    "no_repeat_ngram_size": 0,
    "encoder_no_repeat_ngram_size": 0,
    "bad_words_ids": None,
    "forced_bos_token_id": None,
    "forced_eos_token_id": None,
    "suppress_tokens": None,
    "begin_suppress_tokens": None,
    "exponential_decay_length_penalty": None,
}


@pytest.mark.parametrize("told", [{}, WRITTEN_BY_DEFAULT, {**WRITTEN_BY_DEFAULT, "num_beams": 4}])
def test_what_does_nothing_is_not_named(told: dict[str, Any]) -> None:
    assert unread_settings(told) == ()


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"no_repeat_ngram_size": 3}, ("no_repeat_ngram_size 3",)),
        ({"do_sample": True, "top_k": 9}, ("do_sample True",)),
        ({"suppress_tokens": [4, 5]}, ("suppress_tokens",)),
        ({"stop_strings": "the end"}, ("stop_strings the end",)),
        ({"early_stopping": True}, ()),  # of one beam
        ({"early_stopping": True, "num_beams": 4}, ("early_stopping True",)),
        ({"no_repeat_ngram_size": 2, "repetition_penalty": 1.5}, ("no_repeat_ngram_size 2",)),
    ],
)
def test_what_writes_another_text_is(changes: dict[str, Any], named: tuple[str, ...]) -> None:
    assert unread_settings({**WRITTEN_BY_DEFAULT, **changes}) == named


# Others that transformers 4 knew.
GONE = {
    "penalty_alpha",
    "num_beam_groups",
    "diversity_penalty",
    "encoder_repetition_penalty",
    "sequence_bias",
}


def test_the_names_are_those_of_transformers() -> None:
    ours = {*generation_settings._UNREAD, *generation_settings._UNREAD_OF_BEAMS}
    assert ours - GONE <= vars(GenerationConfig()).keys()
