"""Llama as transformers names it: ``LlamaForCausalLM``, and GGUF files that say ``llama``.

Read from: HuggingFaceTB/SmolLM2-135M-Instruct and its like, Llama 3.
"""

from __future__ import annotations

from typing import Any

from seetell.modeling.checkpoints.causal import causal_config, causal_families
from seetell.modeling.checkpoints.source import CheckpointFolder
from seetell.modeling.models.causal import CausalConfig

_DEFAULTS: dict[str, Any] = {
    "vocab_size": 32000,
    "hidden_size": 4096,
    "intermediate_size": 11008,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "max_position_embeddings": 2048,
    "rms_norm_eps": 1e-6,
}


def _config(folder: CheckpointFolder) -> CausalConfig:
    bias = bool(folder.config.get("attention_bias"))
    return causal_config(
        folder, _DEFAULTS, qkv_bias=bias, out_bias=bias, mlp_bias=bool(folder.config.get("mlp_bias"))
    )


FAMILIES = causal_families("llama", _config)
