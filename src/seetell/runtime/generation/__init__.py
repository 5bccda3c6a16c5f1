"""Decoding in numpy over any Engine: greedy and beam search, ranking of a closed list, mask-predict.

One loop serves shipping, validation in training and parity checks, so what is measured is what is shipped.
"""

from __future__ import annotations

from seetell.runtime.generation.autoregressive import Watch, generate
from seetell.runtime.generation.decoder import TextDecoder
from seetell.runtime.generation.mask_predict import MaskedLanguage, Refined
from seetell.runtime.generation.options import GenerationOptions
from seetell.runtime.generation.probabilities import Generated
from seetell.runtime.generation.ranking import answer_log_probs
from seetell.runtime.generation.said import NoRepeat, Spelling

__all__ = [
    "Generated",
    "GenerationOptions",
    "MaskedLanguage",
    "NoRepeat",
    "Refined",
    "Spelling",
    "TextDecoder",
    "Watch",
    "answer_log_probs",
    "generate",
]
