"""Cross-entropy over a closed list: photo labels, answers to questions, and tags of photos."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def classification_loss(logits: Tensor, target: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """logits: float[B, C]; target: int64[B], -100 = outside the list and ignored.

    A batch with nothing inside the list gives 0 that still carries a gradient of 0, so that a rare
    empty draw neither is NaN nor leaves parameters without a gradient.
    """
    if not bool((target >= 0).any()):
        return logits.float().sum() * 0.0
    return F.cross_entropy(logits.float(), target, ignore_index=-100, label_smoothing=label_smoothing)


def tagging_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Softmax cross-entropy with several right answers (Mahajan et al. 2018, section 2.2, who found it better
    than a sigmoid each for tags of which many are missing).

    logits: float[P, A]; target: float[P, A], rows of sum 1.
    """
    return F.cross_entropy(logits.float(), target.float())


def several_right_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Binary cross-entropy of every answer by itself, summed over answers and averaged over questions: what
    ViLT is taught by (Kim et al. 2021, section 4.3). Where people answer differently, one of their answers
    is drawn each time, so that over time each counts as often as it was given.

    logits: float[Q, A]; target: int64[Q], -100 = outside the list and ignored. A batch with nothing inside
    the list gives 0 that carries a gradient.
    """
    asked = target >= 0
    wanted = F.one_hot(target.clamp(min=0), logits.shape[1]).to(torch.float32)
    each = F.binary_cross_entropy_with_logits(logits.float(), wanted, reduction="none").sum(dim=1)
    return torch.where(asked, each, 0.0).sum() / asked.sum().clamp(min=1)
