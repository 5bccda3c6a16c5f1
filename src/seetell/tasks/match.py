"""``match``: how well each of some texts fits a photo."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from seetell.core.results import Match
from seetell.runtime.generation.probabilities import softmax
from seetell.tasks import embed
from seetell.tasks.context import TEXT_ROWS, Context, Seen, checked_texts, token_outputs


def available(context: Context) -> bool:
    """Whether the model can compare texts with photos in any way."""
    return has_head(context) or has_space(context)


def has_head(context: Context) -> bool:
    """Whether a head says how probable a match is."""
    return context.has("image_encoder", "image_tokens") and context.has("fusion_encoder", "match_logits")


def has_space(context: Context) -> bool:
    """Whether photos and texts share a space."""
    return embed.available(context) and context.has("text_encoder", "text_embeds")


class Matcher:
    """Matches the same texts with every photo.

    Probability: the matching head's; else the sigmoid of a model trained with one (Zhai et al. 2023); else
    None. Similarity: the cosine in the shared space, None without one.
    """

    def __init__(self, context: Context, texts: Sequence[str] | str) -> None:
        self._context = context
        self._texts = checked_texts(texts, "text to match")
        self._compares = has_space(context)

    # When the first photo has been let in, and not before: a policy may refuse the texts.
    @cached_property
    def _text_embeds(self) -> NDArray[np.float32]:
        return embed.text_embeds(self._context, self._texts)

    @property
    def texts(self) -> tuple[str, ...]:
        return tuple(self._texts)

    @property
    def image_outputs(self) -> tuple[str, ...]:
        tokens = token_outputs(self._context) if has_head(self._context) else ()
        return (*tokens, "image_embeds") if self._compares else tokens

    def answer(self, seen: Seen, questions: Sequence[str]) -> list[list[Match]]:
        similarities = seen.embeds @ self._text_embeds.T if self._compares else None
        probabilities = self._probabilities(seen, similarities)
        return [
            [
                Match(
                    text=text,
                    probability=None if probabilities is None else float(probabilities[photo, place]),
                    similarity=None if similarities is None else float(similarities[photo, place]),
                    model=self._context.manifest.name,
                    precision=self._context.engine.precision,
                )
                for place, text in enumerate(self._texts)
            ]
            for photo in range(len(seen))
        ]

    def _probabilities(
        self, seen: Seen, similarities: NDArray[np.float32] | None
    ) -> NDArray[np.float64] | None:
        """float64[B, texts], or None for a softmax dual encoder: one text alone would always get 1.0."""
        if has_head(self._context):
            return self._head(seen)
        score = self._context.manifest.score
        if score.kind != "sigmoid" or similarities is None:
            return None
        logits = np.exp(score.logit_scale) * similarities.astype(np.float64) + score.logit_bias
        # Written with tanh, which cannot overflow.
        return np.asarray(0.5 * (1 + np.tanh(logits / 2)))

    def _head(self, seen: Seen) -> NDArray[np.float64]:
        photo = np.repeat(np.arange(len(seen)), len(self._texts))
        texts = self._texts * len(seen)
        parts = [
            softmax(
                self._context.read_with_photos(
                    seen, texts[first : first + TEXT_ROWS], photo[first : first + TEXT_ROWS], "match_logits"
                ).output
            )[:, 1]
            for first in range(0, len(texts), TEXT_ROWS)
        ]
        return np.concatenate(parts).reshape(len(seen), len(self._texts))
