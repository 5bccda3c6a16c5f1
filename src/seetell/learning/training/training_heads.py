"""Heads that serve training alone: they teach the image encoder and are left behind at export."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from seetell.learning.objectives.caption_words import caption_words_loss, word_weights, words_present


class CaptionWordsHead(nn.Module):
    """Scores every word of the vocabulary for a photo, and counts how common each is.

    The output matrix is the model's token table, passed in and not owned: what teaches the image encoder to
    see a word gives that word's embedding a place among what is seen.

    Args:
        width: D of the pooled image and of the token table.
        vocab_size: V.
    """

    photos_seen: Tensor
    photos_with_word: Tensor

    def __init__(self, width: int, vocab_size: int) -> None:
        super().__init__()
        self.transform = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.LayerNorm(width))
        self.bias = nn.Parameter(torch.zeros(vocab_size))
        # In the checkpoint, so that a resumed run weighs words as the uninterrupted one does.
        self.register_buffer("photos_seen", torch.zeros((), dtype=torch.long))
        self.register_buffer("photos_with_word", torch.zeros(vocab_size, dtype=torch.long))

    def forward(
        self, pooled: Tensor, table: Tensor, ids: Tensor, image_index: Tensor, first_word: int
    ) -> Tensor:
        """The loss of a batch.

        pooled: float[B, D]; table: float[V, D]; ids: int64[R, T] and image_index: int64[R], the texts and
        their photos.
        """
        photos, present = words_present(ids, image_index, len(self.bias), first_word)
        if self.training:
            self.photos_seen += len(photos)
            self.photos_with_word += present.sum(dim=0)
        weights = word_weights(self.photos_seen, self.photos_with_word)
        logits = F.linear(self.transform(pooled[photos]), table, self.bias)
        return caption_words_loss(logits, present, weights)
