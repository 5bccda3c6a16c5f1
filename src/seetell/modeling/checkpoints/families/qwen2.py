"""Qwen2 as transformers names it: ``Qwen2ForCausalLM``, and GGUF files that say ``qwen2``.

Read from: Qwen/Qwen2.5-0.5B-Instruct and its like. Queries, keys and values have biases, the output has none.
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
    "max_position_embeddings": 32768,
    "rms_norm_eps": 1e-6,
}


def _config(folder: CheckpointFolder) -> CausalConfig:
    return causal_config(folder, _DEFAULTS, qkv_bias=True)


FAMILIES = causal_families("qwen2", _config)
