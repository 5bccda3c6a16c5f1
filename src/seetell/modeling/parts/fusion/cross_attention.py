"""Cross-attention fusion: text tokens query image tokens, block by block (ALBEF, Li et al. 2021)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from seetell.modeling.parts.attention import KeyValue
from seetell.modeling.parts.stack import StackShape, build_blocks
from seetell.modeling.parts.text import TextTransformer


class CrossAttentionFusion(nn.Module):
    """``depth`` blocks of self-attention, cross-attention and MLP over the text tokens.

    The one fusion that can also decode left to right, since only the text side changes from block to
    block: :meth:`project_memory` once per photo, then :meth:`decode` per token.
    """

    def __init__(self, shape: StackShape) -> None:
        """shape: of the blocks, which have cross-attention."""
        super().__init__()
        self.stack = TextTransformer(build_blocks(shape))
        self.norm = nn.LayerNorm(shape.embed_dim)

    def project_memory(self, memory: Tensor) -> list[KeyValue]:
        """Per block, the keys and values of ``memory`` float[B, N, context_dim]."""
        return self.stack.project_memory(memory)

    def forward(
        self, text_tokens: Tensor, text_mask: Tensor, image_tokens: Tensor, image_mask: Tensor
    ) -> Tensor:
        """See the package: fused tokens float[B, T, D]."""
        return self.fuse(text_tokens, text_mask, self.project_memory(image_tokens), image_mask)

    def fuse(
        self, text_tokens: Tensor, text_mask: Tensor, memory: Sequence[KeyValue], memory_mask: Tensor
    ) -> Tensor:
        """As :meth:`forward`, from memory projected before (training reuses it across objectives)."""
        fused, _ = self.stack(text_tokens, text_mask, memory=memory, memory_mask=memory_mask)
        normed: Tensor = self.norm(fused)
        return normed

    def decode(
        self,
        x: Tensor,
        attention_mask: Tensor,
        memory: Sequence[KeyValue],
        memory_mask: Tensor,
        past: Sequence[KeyValue] | None = None,
    ) -> tuple[Tensor, list[KeyValue]]:
        """Causal: x float[B, T, D] after P cached positions, attention_mask bool[B, P + T].

        Returns float[B, T, D] and the caches to continue from.
        """
        x, present = self.stack(
            x, attention_mask, causal=True, past=past, memory=memory, memory_mask=memory_mask
        )
        return self.norm(x), present
