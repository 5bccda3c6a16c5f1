"""Image-text contrastive loss: symmetric InfoNCE with a learned temperature.

Sources: van den Oord et al. 2018, equation 4; Radford et al. 2021, figure 3. Several texts of one photo
in a batch are all positives, as in supervised contrastive learning (Khosla et al. 2020, L_out). Beside it,
the pairwise sigmoid loss of SigLIP. Both may leave out pairs that are neither: a copy of a text's photo fits
the text as well as the photo itself.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

MAX_LOGIT_SCALE = 100.0


def limit_logit_scale(logit_scale: Tensor) -> None:
    """Clip the stored log of the scale at that of 100, in place (Radford et al. 2021, section 2.5).

    The parameter and not its use is clipped: a clamp in the graph has no gradient beyond its limit, so
    that a scale that once crossed it would stay there for good.
    """
    with torch.no_grad():
        logit_scale.clamp_(max=math.log(MAX_LOGIT_SCALE))


def contrastive_logits(image_embeds: Tensor, text_embeds: Tensor, logit_scale: Tensor) -> Tensor:
    """float[B, S], float[R, S] unit length -> float[B, R]. ``logit_scale`` is stored as a log."""
    return logit_scale.float().exp() * image_embeds.float() @ text_embeds.float().T


def also_fitting(image_index: Tensor, photo_ids: Tensor, text_ids: Tensor) -> Tensor | None:
    """Which photos and texts of a batch fit each other without being each other's: copies of the text's
    photo, and texts like one of the photo's own, or of a copy's. None where there are none.

    image_index: int64[R], the photo of each text. photo_ids: int64[B] and text_ids: int64[R], equal where
    photos and texts are. Returns bool[B, R].
    """
    copies = photo_ids[:, None] == photo_ids[image_index]  # [B, R]
    alike = text_ids[:, None] == text_ids
    fitting = copies.float() @ alike.float() > 0
    fitting[image_index, torch.arange(len(image_index), device=image_index.device)] = False
    return fitting if bool(fitting.any()) else None


def contrastive_loss(
    logits: Tensor, image_index: Tensor, label_smoothing: float = 0.0, left_out: Tensor | None = None
) -> Tensor:
    """Mean of the two directions.

    logits: float[B, R]. image_index: int64[R], the photo of each text. Photos that no text of the batch
    belongs to are negatives for the texts and are left out of the image-to-text mean. left_out: bool[B, R],
    pairs that are neither positives nor negatives, as of :func:`also_fitting`.
    """
    if left_out is None:
        left_out = torch.zeros_like(logits, dtype=torch.bool)
    positive = F.one_hot(image_index, logits.shape[0]).T.to(logits.dtype)  # [B, R]
    text_to_image = _cross_entropy(logits.T, positive.T, left_out.T, label_smoothing).mean()
    count = positive.sum(dim=1)
    share = positive / count.clamp(min=1)[:, None]
    per_image = _cross_entropy(logits, share, left_out, label_smoothing)
    has_text = count > 0
    image_to_text = torch.where(has_text, per_image, 0.0).sum() / has_text.sum()
    return (text_to_image + image_to_text) / 2


def _cross_entropy(logits: Tensor, share: Tensor, left_out: Tensor, label_smoothing: float) -> Tensor:
    """float[N], of the softmax over what is not left out. logits, share, left_out: [N, M]."""
    log_probs = logits.masked_fill(left_out, float("-inf")).log_softmax(dim=1).masked_fill(left_out, 0.0)
    if label_smoothing:
        even = 1.0 / (~left_out).sum(dim=1, keepdim=True).clamp(min=1)
        share = share * (1 - label_smoothing) + label_smoothing * even
    return -(share * log_probs).sum(dim=1)


def sigmoid_contrastive_loss(logits: Tensor, image_index: Tensor, left_out: Tensor | None = None) -> Tensor:
    """Each photo and text told apart by itself, summed over photos and averaged over texts: SigLIP's loss
    (Zhai et al. 2023, equation in section 3.2 and algorithm 1).

    logits: float[B, R], scaled and with the bias added. image_index: int64[R], the photo of each text.
    left_out: as in :func:`contrastive_loss`.
    """
    wanted = 2.0 * F.one_hot(image_index, logits.shape[0]).T.to(logits.dtype) - 1.0  # [B, R]
    each = -F.logsigmoid(wanted * logits)
    if left_out is not None:
        each = each.masked_fill(left_out, 0.0)
    return each.sum() / logits.shape[1]


def text_means(text_embeds: Tensor, image_index: Tensor, num_images: int) -> tuple[Tensor, Tensor]:
    """The unit-length mean of each photo's texts, and which photos have any.

    text_embeds: float[R, S]; image_index: int64[R]. Returns float[num_images, S] (zero where there is no
    text) and bool[num_images].
    """
    sums = text_embeds.new_zeros(num_images, text_embeds.shape[1])
    sums = sums.index_add(0, image_index, text_embeds)
    has_text = torch.bincount(image_index, minlength=num_images) > 0
    return F.normalize(sums, dim=-1), has_text
