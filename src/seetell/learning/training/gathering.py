"""The photos and texts of all processes as one batch, so that each is a negative for every other's.

Every process computes the loss of the whole batch. On the way back a process's embeddings get the gradient
of all those losses, summed, and averaging the parameters' gradients over processes then gives exactly the
gradient of the one loss (open_clip's ``gather_with_grad``; Cherti et al. 2023, section 3).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, distributed
from torch.distributed.nn.functional import all_gather


@dataclass(frozen=True, slots=True)
class Pairs:
    """image_embeds: float[B, S]. text_embeds: float[R, S]. image_index: int64[R], the photo of each text.
    languages: R codes."""

    image_embeds: Tensor
    text_embeds: Tensor
    image_index: Tensor
    languages: tuple[str, ...]


def gathered(pairs: Pairs) -> Pairs:
    """The pairs of all processes, in their order; ``pairs`` itself where there is one."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return pairs
    count = distributed.get_world_size()
    if count == 1:
        return pairs
    told: list[Any] = [None] * count
    mine = (len(pairs.image_embeds), pairs.languages, pairs.image_index.tolist())
    distributed.all_gather_object(told, mine)
    photos = [images for images, _, _ in told]
    firsts = [sum(photos[:rank]) for rank in range(count)]
    index = [first + place for first, (_, _, places) in zip(firsts, told, strict=True) for place in places]
    return Pairs(
        _rows_of_all(pairs.image_embeds, photos),
        _rows_of_all(pairs.text_embeds, [len(places) for _, _, places in told]),
        torch.tensor(index, dtype=torch.long, device=pairs.image_index.device),
        tuple(code for _, codes, _ in told for code in codes),
    )


def _rows_of_all(rows: Tensor, counts: Sequence[int]) -> Tensor:
    """float[n, S] of each process, one after the other. Processes may have different numbers of texts, and
    are gathered at the length of the longest."""
    padding = rows.new_zeros(max(counts) - len(rows), rows.shape[1])
    parts: Sequence[Tensor] = all_gather(torch.cat([rows, padding]))  # type: ignore[no-untyped-call]  # torch's
    return torch.cat([part[:number] for part, number in zip(parts, counts, strict=True)])
