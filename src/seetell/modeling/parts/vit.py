"""Vision transformer (Dosovitskiy et al. 2021) and the stack of blocks it shares with hybrids."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from seetell.modeling.parts.block import TransformerBlock
from seetell.modeling.parts.image import ImageTokens
from seetell.modeling.parts.merging import most_merged
from seetell.modeling.parts.positions import resize_grid
from seetell.modeling.parts.stack import StackShape, build_blocks


class VisionBlocks(nn.Module):
    """Transformer blocks over image tokens, and the outputs of chosen blocks.

    Args:
        blocks: of ``parts.stack.build_blocks``.
        merge_tokens: so many tokens merge in every block (``parts.merging``), or as many as can.
        lead: the first so many never merge.
    """

    def __init__(self, blocks: Iterable[TransformerBlock], *, merge_tokens: int = 0, lead: int = 0) -> None:
        super().__init__()
        self.merge_tokens = merge_tokens
        self.lead = lead
        self.blocks = nn.ModuleList(blocks)

    def forward(
        self, x: Tensor, mask: Tensor | None = None, keep: Sequence[int] = ()
    ) -> tuple[Tensor, list[Tensor]]:
        """x: float[B, N, D]; mask: bool[B, 1, 1, N] or None. ``keep`` names blocks whose outputs are
        also returned, in order."""
        kept: list[Tensor] = []
        for index, block in enumerate(self.blocks):
            x, _ = block(x, mask)
            if index in keep:
                kept.append(x)
        return x, kept

    def merging(self, x: Tensor, keep: Sequence[int] = ()) -> tuple[Tensor, list[Tensor], Tensor | None]:
        """As :meth:`forward` of tokens that are all real, merging on the way what is to be merged.

        Returns float[B, M, D]; the outputs of blocks, each token in all the places that went into it,
        float[B, N, D]; and of how many each is the mean, float[B, M], None where nothing merges.
        """
        if not self.merge_tokens:
            x, kept = self(x, keep=keep)
            return x, kept, None
        kept = []
        sizes = torch.ones_like(x[..., 0])
        places: Tensor | None = None  # [B, M, N]
        for index, block in enumerate(cast("list[TransformerBlock]", list(self.blocks))):
            count = min(self.merge_tokens, most_merged(x.shape[1], self.lead))
            x, sizes, into = block.merging(x, sizes, count, self.lead)
            places = into if places is None else into @ places
            if index in keep:
                kept.append(places.transpose(1, 2) @ x)
        return x, kept, sizes

    def first(self, x: Tensor) -> Tensor:
        """The first token of :meth:`merging`'s, without working out the last block's others: float[B, D]."""
        if self.merge_tokens:
            return self.merging(x)[0][:, 0]
        *below, last = cast("list[TransformerBlock]", list(self.blocks))
        for block in below:
            x, _ = block(x)
        return last.at(x, x[:, :1])[:, 0]


class ViT(nn.Module):
    """float[B, 3, H, W] -> ImageTokens: a class token, if any, then the patches row by row.

    ``stages`` are the patch tokens after each quarter of the depth, as maps [B, D, H/p, W/p]; a plain
    ViT has one scale, so its hierarchy is of depth, not of size (as ViTDet uses it, Li et al. 2022).

    Args:
        image_size: the (height, width) the position table is made for; another size is interpolated.
        patch_size: side of a square patch in pixels.
        shape: of the blocks.
        merge_tokens: as in VisionBlocks; the class token never merges.
        class_token: put a learned token first (ViT, CLIP, BLIP) or not (SigLIP).
        patch_bias: give the patch projection a bias (not in CLIP).
        pre_norm: LayerNorm before the first block (CLIP).
        final_norm: LayerNorm after the last block.
        whole_patches: refuse an ``image_size`` that is no multiple of ``patch_size``; else the rest, at the
            right and the bottom, is not looked at (SigLIP so400m: 384 pixels in patches of 14).
    """

    def __init__(
        self,
        image_size: tuple[int, int],
        patch_size: int,
        shape: StackShape,
        *,
        merge_tokens: int = 0,
        class_token: bool = True,
        patch_bias: bool = True,
        pre_norm: bool = False,
        final_norm: bool = True,
        whole_patches: bool = True,
    ) -> None:
        super().__init__()
        if whole_patches and (image_size[0] % patch_size or image_size[1] % patch_size):
            raise ValueError(f"image size {image_size} is not a multiple of patch size {patch_size}")
        embed_dim = shape.embed_dim
        self.patch_size = patch_size
        self.embed_dim = embed_dim
        self.grid = (image_size[0] // patch_size, image_size[1] // patch_size)
        self.patch_embed = nn.Conv2d(3, embed_dim, patch_size, patch_size, bias=patch_bias)
        self.class_token = nn.Parameter(torch.zeros(embed_dim)) if class_token else None
        num_positions = self.grid[0] * self.grid[1] + int(class_token)
        self.positions = nn.Parameter(torch.empty(num_positions, embed_dim))
        nn.init.normal_(self.positions, std=0.02)
        self.pre_norm = nn.LayerNorm(embed_dim, eps=shape.norm_eps) if pre_norm else nn.Identity()
        self.transformer = VisionBlocks(build_blocks(shape), merge_tokens=merge_tokens, lead=int(class_token))
        self.stage_ends = tuple(sorted({max(shape.depth * quarter // 4 - 1, 0) for quarter in (1, 2, 3, 4)}))
        self.norm = nn.LayerNorm(embed_dim, eps=shape.norm_eps) if final_norm else nn.Identity()

    def forward(self, pixel_values: Tensor) -> ImageTokens:
        """pixel_values: float[B, 3, H, W], H and W multiples of ``patch_size``, or see ``whole_patches``."""
        x, (height, width) = self._embedded(pixel_values)
        lead = 0 if self.class_token is None else 1
        x, kept, sizes = self.transformer.merging(x, keep=self.stage_ends)
        stages = tuple(
            tokens[:, lead:].transpose(1, 2).reshape(x.shape[0], self.embed_dim, height, width)
            for tokens in kept
        )
        mask = torch.ones(x.shape[:2], dtype=torch.bool, device=x.device)
        return ImageTokens(self.norm(x), mask, stages, sizes)

    def first_token(self, pixel_values: Tensor) -> Tensor:
        """float[B, D], the first of :meth:`forward`'s tokens, where nothing else of them is wanted."""
        x, _ = self._embedded(pixel_values)
        first: Tensor = self.norm(self.transformer.first(x))
        return first

    def _embedded(self, pixel_values: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """What the first block reads, float[B, N, D], and the (rows, columns) of its patches."""
        maps = self.patch_embed(pixel_values)
        height, width = maps.shape[2:]
        x = maps.flatten(2).transpose(1, 2)  # [B, H/p * W/p, D]
        lead = 0 if self.class_token is None else 1
        x = x + resize_grid(self.positions[lead:], self.grid, (height, width))
        if self.class_token is not None:
            first = (self.class_token + self.positions[0]).expand(x.shape[0], 1, -1)
            x = torch.cat([first, x], dim=1)
        return self.pre_norm(x), (height, width)
