"""Makers of tiny causal language models: folders as transformers writes them, and GGUF files of the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from tokenizers import pre_tokenizers
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from seetell.modeling.checkpoints.gguf_file import GgufFile
from seetell.modeling.checkpoints.gguf_tokenizer import gguf_tokenizer_json

KINDS: dict[str, tuple[type[Any], type[PreTrainedModel]]] = {
    "llama": (LlamaConfig, LlamaForCausalLM),
    "qwen2": (Qwen2Config, Qwen2ForCausalLM),
    "qwen3": (Qwen3Config, Qwen3ForCausalLM),
}
CONTROL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
MERGES = ("t h", "th e", "\u0120 a", "i n", "\u0120 the", "e r")
TOKENS = (
    *CONTROL,
    *sorted(pre_tokenizers.ByteLevel.alphabet()),
    *("".join(pair.split(" ")) for pair in MERGES),
)
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
TINY: dict[str, Any] = {
    "vocab_size": len(TOKENS),
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 96,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 2,
    "tie_word_embeddings": True,
}


def tiny(kind: str, **changes: Any) -> PreTrainedModel:
    """A seeded model whose every weight says something, norms and biases among them."""
    config, model = KINDS[kind]
    made: PreTrainedModel = model(config(**{**TINY, **changes}))
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for name, weight in made.named_parameters():
            noise = torch.randn(weight.shape, generator=generator)
            weight.copy_(1 + 0.2 * noise if "norm" in name else 0.15 * noise)
    return made.eval()


def save_tiny(kind: str, folder: Path, **changes: Any) -> PreTrainedModel:
    """As transformers writes it: weights, configuration, tokenizer and chat template."""
    made = tiny(kind, **changes)
    made.save_pretrained(folder)
    write_gguf(folder / "tokenizer.gguf", kind, made)
    file = GgufFile(folder / "tokenizer.gguf")
    (folder / "tokenizer.json").write_bytes(gguf_tokenizer_json(file))
    (folder / "tokenizer.gguf").unlink()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_file=str(folder / "tokenizer.json"), bos_token=CONTROL[1], eos_token=CONTROL[2]
    )
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(folder)
    return made


_LAYER_NAMES = {
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
_NAMES = {
    "model.embed_tokens.weight": "token_embd.weight",
    "model.norm.weight": "output_norm.weight",
    "lm_head.weight": "output.weight",
}


def write_gguf(
    path: Path,
    kind: str,
    model: PreTrainedModel,
    *,
    packed: gguf.GGMLQuantizationType = gguf.GGMLQuantizationType.F32,
    pre: str = "smollm",
    **settings: Any,
) -> None:
    """What llama.cpp's converter would have made of the model, matrices packed as ``packed`` says."""
    config = model.config
    writer = gguf.GGUFWriter(path, kind)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    if kind == "qwen3":
        writer.add_key_length(config.head_dim)
    writer.add_license("apache-2.0")
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(list(TOKENS))
    writer.add_token_types([3 if token in CONTROL else 1 for token in TOKENS])
    writer.add_token_merges(list(MERGES))
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_chat_template(TEMPLATE)
    for key, value in settings.items():
        writer.add_key_value(key.replace("__", "."), value, gguf.GGUFValueType.get_type(value))
    state = model.state_dict()
    for name, weight in state.items():
        if name == "lm_head.weight" and config.tie_word_embeddings:
            continue
        array = _interleaved(kind, name, weight, config).numpy()
        told = packed if array.ndim == 2 else gguf.GGMLQuantizationType.F32
        writer.add_tensor(_gguf_name(name), gguf.quants.quantize(array, told), raw_dtype=told)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _interleaved(kind: str, name: str, weight: torch.Tensor, config: Any) -> torch.Tensor:
    """llama.cpp wants the two rows that are turned together side by side, of Llama alone."""
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
    for part, count in heads.items():
        if kind == "llama" and f".{part}." in name:
            halves = weight.reshape(count, 2, weight.shape[0] // count // 2, *weight.shape[1:])
            return halves.swapaxes(1, 2).reshape(weight.shape).contiguous()
    return weight.contiguous()


def _gguf_name(name: str) -> str:
    if name in _NAMES:
        return _NAMES[name]
    _, _, layer, rest = name.split(".", 3)
    part, _, last = rest.rpartition(".")
    return f"blk.{layer}.{_LAYER_NAMES[part]}.{last}"


def batch(width: int = 11) -> tuple[torch.Tensor, torch.Tensor]:
    """int64[3, T] and bool[3, T]: rows padded on the left, by five, two and none."""
    ids = torch.from_numpy(np.random.default_rng(3).integers(3, len(TOKENS), (3, width)))
    mask = torch.ones(3, width, dtype=torch.bool)
    mask[0, :5] = False
    mask[1, :2] = False
    return ids, mask
