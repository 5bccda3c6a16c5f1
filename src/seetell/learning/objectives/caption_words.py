"""Predicting, from a photo alone, which words its captions hold.

The captions' tokens are the photo's labels: no text encoder and no order of words, so that an image encoder
learns from captions at the price of a classifier. Source: Huang et al. 2024, "Classification done right for
vision-language pre-training" (SuperClass), equations 1 to 3.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from seetell.learning.objectives.classification import tagging_loss


def words_present(
    ids: Tensor, image_index: Tensor, vocab_size: int, first_word: int
) -> tuple[Tensor, Tensor]:
    """Which words are said of which photo, in any of its texts.

    ids: int64[R, T]; image_index: int64[R]; ids below ``first_word`` are special tokens and no words.
    Returns the photos that have texts, int64[P] in increasing order, and bool[P, V].
    """
    photos, place = torch.unique(image_index, return_inverse=True)
    present = torch.zeros(len(photos), vocab_size, dtype=torch.bool, device=ids.device)
    present[place[:, None].expand_as(ids), ids] = True
    present[:, :first_word] = False
    return photos, present


def word_weights(photos_seen: Tensor, photos_with_word: Tensor) -> Tensor:
    """What each word says of a photo that holds it, ``log(n / (1 + n_word))``, at least 0: float32[V].

    photos_seen: int64[]; photos_with_word: int64[V]. The inverse document frequency, counted while training.
    """
    return (photos_seen / (1.0 + photos_with_word)).log().clamp(min=0.0)


def caption_words_loss(logits: Tensor, present: Tensor, weights: Tensor) -> Tensor:
    """Softmax cross-entropy against the photo's words, each with its weight's share.

    logits: float[P, V]; present: bool[P, V]; weights: float[V]. A photo whose words all weigh nothing
    contributes 0.
    """
    weighed = present * weights
    return tagging_loss(logits, F.normalize(weighed.float(), p=1.0, dim=1))
