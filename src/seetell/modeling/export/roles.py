"""The unified model as the roles of a bundle: one module per graph, with named inputs and outputs.

The same modules are exported to ONNX, run by the torch engine and compared with each other, so the
names, dtypes and axes of the contract are written down here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from seetell.bundle.manifest import GraphSpec, Role, TensorSpec
from seetell.modeling.models.unified import UnifiedModel
from seetell.modeling.parts.attention import Attention, KeyValue
from seetell.modeling.parts.block import TransformerBlock
from seetell.modeling.parts.text import TextTransformer

Specs = dict[str, TensorSpec]
_Dtype = Literal["float32", "int64", "bool"]


def _spec(dtype: _Dtype, *axes: str | int) -> TensorSpec:
    return TensorSpec(dtype=dtype, axes=axes)


class RoleModule(nn.Module):
    """One graph: tensors in the order of ``inputs``, a tuple in the order of ``outputs``.

    Axes named in the specs are dynamic: B batch, T tokens, P cached tokens, N image or memory tokens.
    """

    role: Role
    inputs: Specs
    outputs: Specs

    def __init__(self, model: UnifiedModel, inputs: Specs, outputs: Specs, without: Collection[str]) -> None:
        super().__init__()
        self.model = model
        self.inputs = inputs
        self.outputs = {name: spec for name, spec in outputs.items() if name not in without}

    def _chosen(self, found: dict[str, Tensor]) -> tuple[Tensor, ...]:
        return tuple(found[name] for name in self.outputs)


class ImageEncoder(RoleModule):
    role: Role = "image_encoder"

    def __init__(self, model: UnifiedModel, without: Collection[str] = ()) -> None:
        height, width = model.config.image_size
        # Height and width are fixed, so the counts of tokens and the sizes of stages are read off.
        with torch.no_grad():
            device = next(model.parameters()).device
            found = model.encode_image(torch.zeros(1, 3, height, width, device=device))
        num_tokens, width_d = found.tokens.shape[1:]
        outputs = {
            "image_tokens": _spec("float32", "B", num_tokens, width_d),
            "image_mask": _spec("bool", "B", num_tokens),
            "image_embeds": _spec("float32", "B", model.config.shared_dim),
        }
        if model.label_head is not None:
            outputs["label_logits"] = _spec("float32", "B", model.config.num_labels)
        for index, stage in enumerate(found.stages):
            outputs[f"stage_features.{index}"] = _spec("float32", "B", *stage.shape[1:])
        super().__init__(model, {"pixel_values": _spec("float32", "B", 3, height, width)}, outputs, without)

    def forward(self, pixel_values: Tensor) -> tuple[Tensor, ...]:
        encoded = self.model.encode_image(pixel_values)
        found = {
            "image_tokens": encoded.tokens,
            "image_mask": encoded.mask,
            "image_embeds": encoded.embeds,
            **{f"stage_features.{index}": stage for index, stage in enumerate(encoded.stages)},
        }
        if "label_logits" in self.outputs:
            found["label_logits"] = self.model.label_logits(encoded)
        return self._chosen(found)


class TextEncoder(RoleModule):
    role: Role = "text_encoder"

    def __init__(self, model: UnifiedModel, without: Collection[str] = ()) -> None:
        outputs = {
            "text_tokens": _spec("float32", "B", "T", model.config.text.embed_dim),
            "text_embeds": _spec("float32", "B", model.config.shared_dim),
        }
        super().__init__(model, _text_inputs(), outputs, without)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, ...]:
        encoded = self.model.encode_text(input_ids, attention_mask)
        return self._chosen({"text_tokens": encoded.tokens, "text_embeds": encoded.embeds})


class FusionEncoder(RoleModule):
    """Ids go through the text trunk and then meet the image."""

    role: Role = "fusion_encoder"

    def __init__(self, model: UnifiedModel, without: Collection[str] = ()) -> None:
        text = model.config.text
        inputs = {
            **_text_inputs(),
            "image_tokens": _spec("float32", "B", "N", text.embed_dim),
            "image_mask": _spec("bool", "B", "N"),
        }
        outputs = {
            "fused_tokens": _spec("float32", "B", "T", text.embed_dim),
            "match_logits": _spec("float32", "B", 2),
            "token_logits": _spec("float32", "B", "T", text.vocab_size),
        }
        if model.answer_head is not None:
            outputs["answer_logits"] = _spec("float32", "B", model.config.num_answers)
        super().__init__(model, inputs, outputs, without)

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, image_tokens: Tensor, image_mask: Tensor
    ) -> tuple[Tensor, ...]:
        text = self.model.encode_text(input_ids, attention_mask)
        fused = self.model.fuse(text.tokens, attention_mask, image_tokens, image_mask)
        found = {"fused_tokens": fused}
        if "match_logits" in self.outputs:
            found["match_logits"] = self.model.match_logits(fused)
        if "token_logits" in self.outputs:
            found["token_logits"] = self.model.token_logits(fused)
        if "answer_logits" in self.outputs:
            found["answer_logits"] = self.model.answer_logits(fused)
        return self._chosen(found)


class DecoderMemory(RoleModule):
    role: Role = "decoder_memory"

    def __init__(self, model: UnifiedModel, without: Collection[str] = ()) -> None:
        cross = [block.cross_attention for block in _blocks(model.grounded.stack)]
        inputs = {"memory_tokens": _spec("float32", "B", "N", model.config.text.embed_dim)}
        super().__init__(
            model, inputs, _cache_specs("cross", [one for one in cross if one is not None], "N"), without
        )

    def forward(self, memory_tokens: Tensor) -> tuple[Tensor, ...]:
        return self._chosen(_named("cross", self.model.memory(memory_tokens)))


class TextDecoder(RoleModule):
    """One step, or several at once, left to right over cached keys and values."""

    role: Role = "text_decoder"

    def __init__(self, model: UnifiedModel, without: Collection[str] = ()) -> None:
        blocks = [*_blocks(model.text_trunk), *_blocks(model.grounded.stack)]
        attention = [block.attention for block in blocks]
        cross = [block.cross_attention for block in blocks if block.cross_attention is not None]
        inputs = {
            "input_ids": _spec("int64", "B", "T"),
            "attention_mask": _spec("bool", "B", "P+T"),
            "beam_idx": _spec("int64", "B"),
            "memory_mask": _spec("bool", "B", "N"),
            **_cache_specs("past_key_values", attention, "P"),
            **_cache_specs("cross", cross, "N"),
        }
        outputs = {
            "logits": _spec("float32", "B", "T", model.config.text.vocab_size),
            **_cache_specs("present", attention, "P+T"),
        }
        self.num_layers = len(attention)
        super().__init__(model, inputs, outputs, without)

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
        hidden, present = self.model.decode(
            input_ids, attention_mask, _pairs(caches[split:]), memory_mask, _pairs(past)
        )
        found = {"logits": self.model.token_logits(hidden), **_named("present", present)}
        return self._chosen(found)


_ROLES: tuple[type[ImageEncoder | TextEncoder | FusionEncoder | DecoderMemory | TextDecoder], ...] = (
    ImageEncoder,
    TextEncoder,
    FusionEncoder,
    DecoderMemory,
    TextDecoder,
)


def role_modules(model: UnifiedModel, without: Collection[str] = ()) -> dict[Role, RoleModule]:
    """The roles of ``model``, which is put in evaluation mode.

    ``without`` names roles and outputs to leave out: heads nobody trained must not be shipped.
    """
    model.eval()
    # eval() on each: the flag of the wrapper itself is what exporters look at.
    return {kind.role: kind(model, without).eval() for kind in _ROLES if kind.role not in without}


def graph_specs(modules: Iterable[RoleModule], *, with_files: bool = True) -> dict[Role, GraphSpec]:
    """What a manifest says about each role. Without files it serves an engine that has none (torch)."""
    return {
        module.role: GraphSpec(
            files={"fp32": f"{module.role}.onnx"} if with_files else {},
            inputs=module.inputs,
            outputs=module.outputs,
        )
        for module in modules
    }


def _text_inputs() -> Specs:
    return {"input_ids": _spec("int64", "B", "T"), "attention_mask": _spec("bool", "B", "T")}


def _blocks(stack: TextTransformer) -> list[TransformerBlock]:
    return [block for block in stack.blocks if isinstance(block, TransformerBlock)]


def _cache_specs(prefix: str, attentions: Sequence[Attention], length: str) -> Specs:
    return {
        f"{prefix}.{index}.{part}": _spec("float32", "B", one.num_heads, length, one.head_dim)
        for index, one in enumerate(attentions)
        for part in ("key", "value")
    }


def _named(prefix: str, caches: Sequence[KeyValue]) -> dict[str, Tensor]:
    return {
        f"{prefix}.{index}.{part}": tensor
        for index, pair in enumerate(caches)
        for part, tensor in zip(("key", "value"), pair, strict=True)
    }


def _pairs(tensors: Sequence[Tensor]) -> list[KeyValue]:
    return list(zip(tensors[::2], tensors[1::2], strict=True))
