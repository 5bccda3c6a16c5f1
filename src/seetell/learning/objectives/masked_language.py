"""Masked language modelling with the image, at a ratio drawn per text.

A ratio spread over 0..1 rather than BERT's fixed 15% (Devlin et al. 2019) is what lets the same head
fill a caption from nothing: mask-predict (Ghazvininejad et al. 2019, section 2).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def mask_words(
    ids: Tensor,
    attention_mask: Tensor,
    mask_id: int,
    first_word_id: int,
    ratio: tuple[float, float] = (0.15, 1.0),
    generator: torch.Generator | None = None,
) -> tuple[Tensor, Tensor]:
    """Replace words by [MASK]; at least one per text that has any.

    ids: int64[R, T]; attention_mask: bool[R, T]; ids below ``first_word_id`` are special tokens and are
    never masked. Each text draws its own ratio, uniform over ``ratio``.
    Returns the masked ids and labels, int64[R, T] each; labels are -100 where nothing is predicted.
    """
    words = attention_mask & (ids >= first_word_id)
    low, high = ratio
    share = low + (high - low) * torch.rand(ids.shape[0], 1, generator=generator, device=ids.device)
    draw = torch.rand(ids.shape, generator=generator, device=ids.device).masked_fill(~words, 2.0)
    wanted = (share * words.sum(dim=1, keepdim=True)).round().clamp(min=1)
    rank = draw.argsort(dim=1).argsort(dim=1)
    chosen = words & (rank < wanted)
    return ids.masked_fill(chosen, mask_id), ids.masked_fill(~chosen, -100)


def masked_language_loss(logits: Tensor, labels: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """Mean cross-entropy over predicted words. logits: float[M, V]; labels: int64[M], none ignored.

    No words at all (M = 0, from empty texts) give 0 that carries a gradient, not the NaN of an empty mean.
    """
    if labels.numel() == 0:
        return logits.float().sum()
    return F.cross_entropy(logits.float(), labels, label_smoothing=label_smoothing)
