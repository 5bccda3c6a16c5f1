"""Next-word prediction given the image (Vinyals et al. 2015, equation 1), for captions and answers."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F


def next_token_labels(ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Split ``[LEAD] words [EOS]`` into decoder inputs, their mask, and labels shifted by one.

    ids: int64[R, T]; attention_mask: bool[R, T], padded on the right.
    Returns inputs int64[R, T-1], mask bool[R, T-1], labels int64[R, T-1] with -100 on padding.
    """
    labels = ids[:, 1:].masked_fill(~attention_mask[:, 1:], -100)
    return ids[:, :-1], attention_mask[:, :-1], labels


def captioning_loss(logits: Tensor, labels: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """Mean cross-entropy per word, [EOS] among them. logits: float[M, V]; labels: int64[M], none ignored."""
    return F.cross_entropy(logits.float(), labels, label_smoothing=label_smoothing)
