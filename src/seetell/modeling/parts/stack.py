"""The stacks most families have: blocks with LayerNorms and a plain MLP, built from one frozen shape."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from seetell.modeling.parts.attention import Attention, head_width, projections
from seetell.modeling.parts.block import BlockNorms, TransformerBlock
from seetell.modeling.parts.mlp import Mlp


@dataclass(frozen=True, slots=True)
class BlockWidths:
    """How wide one block of a stack is, where its blocks differ, as those of a pruned model do.

    num_heads: of self-attention. mlp_dim: hidden units of the MLP. cross_heads: of cross-attention, None for
    a block without. The width of a head stays that of the whole stack.
    """

    num_heads: int
    mlp_dim: int
    cross_heads: int | None = None

    def __post_init__(self) -> None:
        given = {"num_heads": self.num_heads, "mlp_dim": self.mlp_dim, "cross_heads": self.cross_heads}
        for name, count in given.items():
            if count is not None and count < 1:
                raise ValueError(f"{name} is {count}; a block has one at least")


@dataclass(frozen=True, slots=True)
class StackShape:
    """What the blocks of one stack are built from; only the builders below read it.

    embed_dim, depth, num_heads: of the stack. mlp_dim: hidden units of each MLP.
    context_dim: width of the other modality, None for no cross-attention.
    widths: one for each block where they differ, in the place of what ``num_heads`` and ``mlp_dim`` say; a
        head is then still ``embed_dim / num_heads`` wide.
    dropout: on attention weights and after each sub-layer.
    drop_path: of the last block; it grows linearly with depth (Touvron et al. 2021, DeiT).
    activation: of the MLPs, a name from ``activation_module``.
    norm_first: as in TransformerBlock. norm_eps: of every LayerNorm (1e-12 in BERT and ViT, 1e-5 in CLIP and
        GPT-2).
    """

    embed_dim: int
    depth: int
    num_heads: int
    mlp_dim: int
    context_dim: int | None = None
    widths: Sequence[BlockWidths] | None = None
    dropout: float = 0.0
    drop_path: float = 0.0
    activation: str = "gelu"
    norm_first: bool = True
    norm_eps: float = 1e-5


def mlp_width(embed_dim: int, mlp_ratio: float) -> int:
    """Hidden units of an MLP ``mlp_ratio`` times as wide as its tokens, rounded to whole ones."""
    return round(embed_dim * mlp_ratio)


def context_width(shape: StackShape) -> int:
    """Width of the tokens of the other modality. Raises ValueError for a shape without."""
    if shape.context_dim is None:
        raise ValueError("this part reads another modality; its shape needs a context_dim")
    return shape.context_dim


def build_blocks(shape: StackShape) -> list[TransformerBlock]:
    """The blocks, freshly initialised. Raises ValueError for a shape that contradicts itself."""
    if shape.widths is not None and len(shape.widths) != shape.depth:
        raise ValueError(f"{len(shape.widths)} widths for {shape.depth} blocks")
    return [_block(shape, index) for index in range(shape.depth)]


def _block(shape: StackShape, index: int) -> TransformerBlock:
    width, crosses = shape.embed_dim, shape.context_dim is not None
    head_dim = head_width(width, shape.num_heads)
    own = BlockWidths(shape.num_heads, shape.mlp_dim, shape.num_heads)
    if shape.widths is not None:
        own = shape.widths[index]

    def norm() -> nn.LayerNorm:
        return nn.LayerNorm(width, eps=shape.norm_eps)

    attention = Attention(projections(width, own.num_heads, head_dim=head_dim), dropout=shape.dropout)
    cross = None
    if crosses:
        if own.cross_heads is None:
            raise ValueError("a block with cross-attention needs to know its cross_heads")
        layers = projections(width, own.cross_heads, head_dim=head_dim, context_dim=shape.context_dim)
        cross = Attention(layers, dropout=shape.dropout)
    return TransformerBlock(
        attention,
        Mlp(width, own.mlp_dim, shape.activation),
        BlockNorms(norm(), norm(), norm() if crosses else None),
        cross,
        norm_first=shape.norm_first,
        dropout=shape.dropout,
        drop_path=shape.drop_path * index / max(shape.depth - 1, 1),
    )
