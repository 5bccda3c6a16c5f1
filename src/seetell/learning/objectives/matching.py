"""Image-text matching with hard negatives mined from the batch (ALBEF, Li et al. 2021, section 3.2)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True, slots=True)
class MatchPairs:
    """Rows to fuse: text_index, image_index int64[M] into the batch; label int64[M], 1 = match."""

    text_index: Tensor
    image_index: Tensor
    label: Tensor


def mine_pairs(
    logits: Tensor,
    image_index: Tensor,
    rows: Tensor,
    generator: torch.Generator | None = None,
    *,
    random_share: float = 0.0,
    left_out: Tensor | None = None,
) -> MatchPairs:
    """For each text in ``rows``: its own photo, one hard wrong photo, and one hard wrong text for its photo.

    Negatives are drawn in proportion to the softmax of the contrastive similarity, so that those the
    dual encoder confuses come up most; those of ``random_share`` of the rows, chosen at random, are drawn
    evenly instead.

    logits: float[B, R] contrastive (scaled). image_index: int64[R]. rows: int64[K], texts to use. left_out:
    bool[B, R], pairs that fit, and are no negatives though they are not each other's.
    Returns 3K pairs. A batch with one photo only has no negatives and gives the K matches.
    """
    own = image_index[rows]
    positives = MatchPairs(rows, own, torch.ones_like(rows))
    wrong = image_index[None, :] != torch.arange(logits.shape[0], device=logits.device)[:, None]  # [B, R]
    if left_out is not None:
        wrong &= ~left_out
    wrong_image = wrong[:, rows].T  # [K, B]
    wrong_text = wrong[own]  # [K, R]
    if not (wrong_image.any(dim=1).all() and wrong_text.any(dim=1).all()):
        return positives
    similarity = logits.detach().float()
    # Equal logits are an even draw.
    even = torch.rand(len(rows), generator=generator, device=logits.device) < random_share
    by_image = similarity[:, rows].T.masked_fill(even[:, None], 0.0)
    by_text = similarity[own].masked_fill(even[:, None], 0.0)
    image_weight = by_image.masked_fill(~wrong_image, float("-inf")).softmax(dim=1)
    text_weight = by_text.masked_fill(~wrong_text, float("-inf")).softmax(dim=1)
    hard_image = torch.multinomial(image_weight, 1, generator=generator)[:, 0]
    hard_text = torch.multinomial(text_weight, 1, generator=generator)[:, 0]
    return MatchPairs(
        torch.cat([rows, rows, hard_text]),
        torch.cat([own, hard_image, own]),
        torch.cat([positives.label, torch.zeros_like(rows), torch.zeros_like(rows)]),
    )


def matching_loss(match_logits: Tensor, label: Tensor) -> Tensor:
    """Cross-entropy. match_logits: float[M, 2]; label: int64[M], 1 = match."""
    return F.cross_entropy(match_logits.float(), label)
