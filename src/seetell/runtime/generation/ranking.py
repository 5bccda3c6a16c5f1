"""Ranking a closed list: how probable the decoder finds each answer, by teacher forcing.

All answers are read in one pass each instead of being written token by token (as in BLIP's answer
ranking, Li et al. 2022, section 4.2, without its first-token shortlist: exact for every answer).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from seetell.runtime.generation.decoder import TextDecoder
from seetell.runtime.generation.probabilities import log_softmax

# Rows per pass. Bounds the logits, the largest array, to 64 * T * V floats.
ROWS_AT_ONCE = 64


def answer_log_probs(
    decoder: TextDecoder,
    memory_tokens: NDArray[np.float32],
    memory_mask: NDArray[np.bool_],
    start_id: int,
    answers: Sequence[Sequence[int]],
    *,
    rows_at_once: int = ROWS_AT_ONCE,
) -> NDArray[np.float64]:
    """log p(answer | memory) of every answer for every memory.

    The sum over the answer's tokens and its [EOS], so each is the probability of exactly that text: no
    length normalisation, which would favour long answers in a softmax over the list.

    Args:
        decoder: the text decoder.
        memory_tokens: float32[B, N, D], memory_mask: bool[B, N]: fused question tokens, or image tokens.
        start_id: the token every answer starts from.
        answers: A lists of token ids, without start and [EOS].
        rows_at_once: pairs of memory and answer decoded together; bounds memory, changes nothing else.

    Returns:
        float64[B, A].
    """
    photos = memory_tokens.shape[0]
    result = np.zeros((photos, len(answers)))
    if photos == 0 or not answers:
        return result
    memory = decoder.memory(memory_tokens)
    # Answers of like length side by side, so that little of a chunk is padding.
    by_length = sorted(range(len(answers)), key=lambda place: len(answers[place]))
    pairs = [(photo, place) for place in by_length for photo in range(photos)]
    for first in range(0, len(pairs), rows_at_once):
        photo, place = np.array(pairs[first : first + rows_at_once]).T
        width = max(len(answers[one]) for one in place) + 1
        inputs = np.full((len(place), width), decoder.eos_id, np.int64)
        targets = np.full((len(place), width), decoder.eos_id, np.int64)
        mask = np.zeros((len(place), width), np.bool_)
        for row, one in enumerate(place):
            ids = answers[one]
            inputs[row, 0] = start_id
            inputs[row, 1 : len(ids) + 1] = ids
            targets[row, : len(ids)] = ids
            mask[row, : len(ids) + 1] = True
        repeated = {name: value[photo] for name, value in memory.items()}
        logits, _ = decoder.run(inputs, mask, repeated, memory_mask[photo], keep_cache=False)
        # Padding is dropped before the softmax; what the graph gives there is nobody's business.
        log_probs = log_softmax(logits[mask], "text_decoder")
        picked = np.zeros(mask.shape)
        picked[mask] = np.take_along_axis(log_probs, targets[mask][:, None], axis=1)[:, 0]
        result[photo, place] = picked.sum(axis=1)
    return result
