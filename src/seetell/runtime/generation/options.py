"""How text is generated: one frozen set of options, the same names on every surface."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

from seetell.core.errors import UsageError

Method = Literal["autoregressive", "mask_predict"]


@dataclass(frozen=True, slots=True)
class GenerationOptions:
    """Options of caption generation. The words mean what they mean in ``generate`` of transformers.

    method: ``autoregressive`` (greedy, or beam search when ``beams`` > 1) or ``mask_predict``.
    beams: beam width; 1 is greedy.
    max_tokens, min_tokens: bounds on the tokens generated, [EOS] counted, the prompt not
        (``max_new_tokens``, ``min_new_tokens``).
    length_penalty: a finished beam's score is its log-probability / length ** length_penalty.
    repetition_penalty: over 1 discourages tokens already written (Keskar et al. 2019).
    no_repeat: over 0, no run of so many words (Chinese: characters) stands twice in a text, nor what else
        says the same again: a word twice in a row, an adjective with its noun. What the prompt repeats
        itself is left alone.
    fit_weight: over 0 puts first the beam with the most of its mean log-probability plus this times the
        cosine of photo and text, for models that embed both; what a decoder finds likely fits many photos.
    prompt: text every caption starts with; it is part of the caption returned.

    ``beams``, ``length_penalty``, ``repetition_penalty`` and ``fit_weight`` belong to the autoregressive
    method.
    Raises UsageError for values that cannot be meant.
    """

    method: Method = "autoregressive"
    beams: int = 1
    max_tokens: int = 30
    min_tokens: int = 0
    length_penalty: float = 1.0
    repetition_penalty: float = 1.0
    no_repeat: int = 0
    fit_weight: float = 0.0
    prompt: str | None = None

    def __post_init__(self) -> None:
        if self.method not in get_args(Method):
            raise UsageError(f"method {self.method!r} is unknown; choose from {', '.join(get_args(Method))}")
        for name, least in (("beams", 1), ("max_tokens", 1), ("min_tokens", 0), ("no_repeat", 0)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise UsageError(f"{name} is a whole number of at least {least}, not {value!r}")
        if self.min_tokens > self.max_tokens:
            raise UsageError(f"min_tokens {self.min_tokens} exceeds max_tokens {self.max_tokens}")
        if not math.isfinite(self.length_penalty):
            raise UsageError(f"length_penalty is a finite number, not {self.length_penalty!r}")
        if not (math.isfinite(self.repetition_penalty) and self.repetition_penalty > 0):
            raise UsageError(f"repetition_penalty is a positive number, not {self.repetition_penalty!r}")
        if not (math.isfinite(self.fit_weight) and self.fit_weight >= 0):
            raise UsageError(f"fit_weight is a number of at least 0, not {self.fit_weight!r}")
        if self.method == "mask_predict":
            if self.fit_weight:
                raise UsageError("fit_weight has no meaning with method mask_predict; leave it at 0")
            for name in ("beams", "length_penalty", "repetition_penalty"):
                if getattr(self, name) != 1:
                    raise UsageError(f"{name} has no meaning with method mask_predict; leave it at 1")
