"""Qwen3 as transformers names it: ``Qwen3ForCausalLM``, and GGUF files that say ``qwen3``.

Read from: Qwen/Qwen3-0.6B and its like. Each head of queries and keys is normed, and its width is its own.
"""

from __future__ import annotations

from typing import Any

from seetell.modeling.checkpoints.causal import causal_config, causal_families
from seetell.modeling.checkpoints.source import CheckpointFolder
from seetell.modeling.models.causal import CausalConfig

_DEFAULTS: dict[str, Any] = {
    "vocab_size": 151936,
    "hidden_size": 4096,
    "intermediate_size": 22016,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 32,
    "head_dim": 128,
    "max_position_embeddings": 32768,
    "rms_norm_eps": 1e-6,
}


def _config(folder: CheckpointFolder) -> CausalConfig:
    bias = bool(folder.config.get("attention_bias"))
    return causal_config(folder, _DEFAULTS, qkv_bias=bias, out_bias=bias, head_norms=True)


FAMILIES = causal_families("qwen3", _config)
