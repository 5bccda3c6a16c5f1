"""The photos and texts of all processes as one batch, so that each is a negative for every other's.

Every process computes the loss of the whole batch. On the way back a process's embeddings get the gradient
of all those losses, summed, and averaging the parameters' gradients over processes then gives exactly the
gradient of the one loss (open_clip's ``gather_with_grad``; Cherti et al. 2023, section 3).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, distributed
from torch.distributed.nn.functional import all_gather

from seetell.learning.batch import Captions
from seetell.learning.objectives.contrastive import also_fitting

# Odd, so that no power of it is lost.
_BASE = 0x1E3779B97F4A7C15


@dataclass(frozen=True, slots=True)
class Pairs:
    """image_embeds: float[B, S]. text_embeds: float[R, S]. image_index: int64[R], the photo of each text.
    languages: R codes. photo_ids: int64[B] and text_ids: int64[R], equal where photos and texts are."""

    image_embeds: Tensor
    text_embeds: Tensor
    image_index: Tensor
    languages: tuple[str, ...]
    photo_ids: Tensor
    text_ids: Tensor

    @property
    def left_out(self) -> Tensor | None:
        """Of the photos that have texts and of all texts, as :func:`also_fitting` gives it."""
        photos, column = torch.unique(self.image_index, return_inverse=True)
        return also_fitting(column, self.photo_ids[photos], self.text_ids)


def pairs_of(image_embeds: Tensor, text_embeds: Tensor, captions: Captions, keys: Sequence[str]) -> Pairs:
    """The photos and captions of a batch; ``keys`` are the photos' names."""
    return Pairs(
        image_embeds,
        text_embeds,
        captions.image_index,
        captions.languages,
        photo_ids(keys, captions.ids.device),
        text_ids(captions.ids, captions.attention_mask),
    )


def photo_ids(keys: Sequence[str], device: torch.device) -> Tensor:
    """int64[B], equal for equal names, in every process."""
    digests = [hashlib.blake2b(key.encode(errors="surrogateescape"), digest_size=8).digest() for key in keys]
    return torch.tensor([int.from_bytes(one, "big", signed=True) for one in digests], device=device)


def text_ids(ids: Tensor, attention_mask: Tensor) -> Tensor:
    """int64[R], equal for equal texts however far they are padded, in every process. ids: int64[R, T];
    attention_mask: bool[R, T]."""
    # A polynomial's hash in 64 bits, which wrap around.
    factors = torch.full((ids.shape[1],), _BASE, device=ids.device).cumprod(dim=0)
    return ((ids + 1) * factors * attention_mask).sum(dim=1)


def gathered(pairs: Pairs) -> Pairs:
    """The pairs of all processes, in their order; ``pairs`` itself where there is one."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return pairs
    count = distributed.get_world_size()
    if count == 1:
        return pairs
    every: list[Any] = [None] * count
    mine = (pairs.image_index.tolist(), pairs.languages, pairs.photo_ids.tolist(), pairs.text_ids.tolist())
    distributed.all_gather_object(every, mine)
    photos = [len(ids) for _, _, ids, _ in every]
    firsts = [sum(photos[:rank]) for rank in range(count)]
    index = [first + own for first, (indexes, *_) in zip(firsts, every, strict=True) for own in indexes]
    device = pairs.image_index.device
    return Pairs(
        _rows_of_all(pairs.image_embeds, photos),
        _rows_of_all(pairs.text_embeds, [len(indexes) for indexes, *_ in every]),
        torch.tensor(index, dtype=torch.long, device=device),
        tuple(code for _, codes, _, _ in every for code in codes),
        torch.tensor([one for _, _, ids, _ in every for one in ids], dtype=torch.long, device=device),
        torch.tensor([one for *_, ids in every for one in ids], dtype=torch.long, device=device),
    )


def _rows_of_all(rows: Tensor, counts: Sequence[int]) -> Tensor:
    """float[n, S] of each process, one after the other. Processes may have different numbers of texts, and
    are gathered at the length of the longest."""
    padding = rows.new_zeros(max(counts) - len(rows), rows.shape[1])
    parts: Sequence[Tensor] = all_gather(torch.cat([rows, padding]))  # type: ignore[no-untyped-call]  # torch's
    return torch.cat([part[:number] for part, number in zip(parts, counts, strict=True)])
