"""The two roles of a decoder that attends to a memory, whatever model it is part of."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Iterable, Sequence

from torch import Tensor

from seetell.bundle.manifest import Role
from seetell.modeling.export.roles.base import RoleModule, Specs, cache_specs, named, pairs, spec
from seetell.modeling.parts.attention import Attention, KeyValue
from seetell.modeling.parts.block import TransformerBlock


def _crossing(blocks: Iterable[TransformerBlock]) -> list[Attention]:
    """The attentions to the memory, of those blocks that have one."""
    return [block.cross_attention for block in blocks if block.cross_attention is not None]


class MemoryRole(RoleModule):
    """What the decoder's blocks attend to, projected once per photo or question."""

    role: Role = "decoder_memory"

    def __init__(self, blocks: Sequence[TransformerBlock], embed_dim: int, without: Collection[str]) -> None:
        """blocks: of the decoder, none without one. embed_dim: of the tokens that become the memory."""
        inputs = {"memory_tokens": spec("float32", "B", "N", embed_dim)}
        super().__init__(inputs, cache_specs("cross", _crossing(blocks), "N"), without)

    @abstractmethod
    def _memory(self, tokens: Tensor) -> list[KeyValue]:
        """Keys and values of tokens float[B, N, D], a pair per block that attends to them."""

    def forward(self, memory_tokens: Tensor) -> tuple[Tensor, ...]:
        return self._chosen(named("cross", self._memory(memory_tokens)))


class DecoderRole(RoleModule):
    """One step, or several at once, left to right over cached keys and values."""

    role: Role = "text_decoder"

    def __init__(self, blocks: Sequence[TransformerBlock], vocab_size: int, without: Collection[str]) -> None:
        """blocks: of the decoder in order, none without one."""
        attention = [block.attention for block in blocks]
        inputs = {
            "input_ids": spec("int64", "B", "T"),
            "attention_mask": spec("bool", "B", "P+T"),
            "beam_idx": spec("int64", "B"),
            "memory_mask": spec("bool", "B", "N"),
            **cache_specs("past_key_values", attention, "P"),
            **cache_specs("cross", _crossing(blocks), "N"),
        }
        outputs: Specs = {}
        if blocks:
            outputs["logits"] = spec("float32", "B", "T", vocab_size)
            outputs.update(cache_specs("present", attention, "P+T"))
        super().__init__(inputs, outputs, without)
        self.num_layers = len(attention)

    @abstractmethod
    def _step(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        memory: list[KeyValue],
        memory_mask: Tensor,
        past: list[KeyValue],
    ) -> tuple[Tensor, list[KeyValue]]:
        """Logits float[B, T, V] and the caches, as the models' ``decode`` takes its arguments."""

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        beam_idx: Tensor,
        memory_mask: Tensor,
        *caches: Tensor,
    ) -> tuple[Tensor, ...]:
        split = 2 * self.num_layers
        past = [tensor.index_select(0, beam_idx) for tensor in caches[:split]]
        logits, present = self._step(
            input_ids, attention_mask, pairs(caches[split:]), memory_mask, pairs(past)
        )
        return self._chosen({"logits": logits, **named("present", present)})
