"""Settings by which transformers writes a text and for which a bundle has no words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# Each with the value at which it does nothing. Those of sampling are told by do_sample.
_UNREAD: dict[str, Any] = {
    # Of tokens, wherever they stand: our no_repeat is of words, and refuses more than runs of them.
    "no_repeat_ngram_size": 0,
    "encoder_no_repeat_ngram_size": 0,
    "encoder_repetition_penalty": 1.0,
    "do_sample": False,
    "penalty_alpha": 0.0,
    "guidance_scale": 1.0,
    "bad_words_ids": [],
    "suppress_tokens": [],
    "begin_suppress_tokens": [],
    "sequence_bias": {},
    "forced_bos_token_id": None,
    "forced_eos_token_id": None,
    "exponential_decay_length_penalty": None,
    "stop_strings": None,
}
# Of beam search, and nothing to a greedy text.
_UNREAD_OF_BEAMS: dict[str, Any] = {"early_stopping": False, "num_beam_groups": 1, "diversity_penalty": 0.0}


def unread_settings(told: Mapping[str, Any]) -> tuple[str, ...]:
    """Those that ``told`` sets and no bundle takes over, with their values: ``no_repeat_ngram_size 3``."""
    unread = _UNREAD if told.get("num_beams") in (None, 1) else {**_UNREAD, **_UNREAD_OF_BEAMS}
    return tuple(
        _shown(name, told[name])
        for name, nothing in unread.items()
        if told.get(name) is not None and told[name] != nothing
    )


def _shown(name: str, value: Any) -> str:
    # Lists of ids say nothing to a reader.
    return f"{name} {value}" if isinstance(value, str | int | float) else name
