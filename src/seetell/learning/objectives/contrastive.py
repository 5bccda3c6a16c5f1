"""Image-text contrastive loss: symmetric InfoNCE with a learned temperature.

Sources: van den Oord et al. 2018, equation 4; Radford et al. 2021, figure 3. Several texts of one photo
in a batch are all positives, as in supervised contrastive learning (Khosla et al. 2020, L_out). Beside it,
the pairwise sigmoid loss of SigLIP.
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


def contrastive_loss(logits: Tensor, image_index: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """Mean of the two directions.

    logits: float[B, R]. image_index: int64[R], the photo of each text. Photos that no text of the batch
    belongs to are negatives for the texts and are left out of the image-to-text mean.
    """
    text_to_image = F.cross_entropy(logits.T, image_index, label_smoothing=label_smoothing)
    positive = F.one_hot(image_index, logits.shape[0]).T.to(logits.dtype)  # [B, R]
    count = positive.sum(dim=1)
    share = positive / count.clamp(min=1)[:, None]
    if label_smoothing:
        share = share * (1 - label_smoothing) + label_smoothing / logits.shape[1]
    per_image = -(share * logits.log_softmax(dim=1)).sum(dim=1)
    has_text = count > 0
    image_to_text = torch.where(has_text, per_image, 0.0).sum() / has_text.sum()
    return (text_to_image + image_to_text) / 2


def sigmoid_contrastive_loss(logits: Tensor, image_index: Tensor) -> Tensor:
    """Each photo and text told apart by itself, summed over photos and averaged over texts: SigLIP's loss
    (Zhai et al. 2023, equation in section 3.2 and algorithm 1).

    logits: float[B, R], scaled and with the bias added. image_index: int64[R], the photo of each text.
    """
    wanted = 2.0 * F.one_hot(image_index, logits.shape[0]).T.to(logits.dtype) - 1.0  # [B, R]
    return -F.logsigmoid(wanted * logits).sum() / logits.shape[1]


def text_means(text_embeds: Tensor, image_index: Tensor, num_images: int) -> tuple[Tensor, Tensor]:
    """The unit-length mean of each photo's texts, and which photos have any.

    text_embeds: float[R, S]; image_index: int64[R]. Returns float[num_images, S] (zero where there is no
    text) and bool[num_images].
    """
    sums = text_embeds.new_zeros(num_images, text_embeds.shape[1])
    sums = sums.index_add(0, image_index, text_embeds)
    has_text = torch.bincount(image_index, minlength=num_images) > 0
    return F.normalize(sums, dim=-1), has_text
