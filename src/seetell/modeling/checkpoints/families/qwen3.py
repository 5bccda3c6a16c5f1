"""Qwen3 as transformers names it: ``Qwen3ForCausalLM``, and GGUF files that say ``qwen3``.

Read from: Qwen/Qwen3-0.6B and its like. Each head of queries and keys is normed, and its width is its own.
"""

from __future__ import annotations

from typing import Any

from seetell.modeling.checkpoints.causal import (
    IGNORED,
    NAMES,
    TIED_IGNORED,
    causal_config,
    causal_reading,
    is_tied,
)
from seetell.modeling.checkpoints.source import CheckpointFolder
from seetell.modeling.checkpoints.table import Family, Reading
from seetell.modeling.models.causal import CausalConfig, CausalModel

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


def _reading(folder: CheckpointFolder) -> Reading:
    return causal_reading(folder, _config(folder).context_length)


def _family(name: str, *, tied: bool) -> Family:
    return Family(
        name=name,
        matches=lambda folder: folder.config.get("model_type") == "qwen3" and is_tied(folder) == tied,
        build=lambda folder: CausalModel(_config(folder)),
        names=NAMES,
        reading=_reading,
        ignored=TIED_IGNORED if tied else IGNORED,
    )


FAMILIES = (_family("qwen3", tied=True), _family("qwen3 with a head of its own", tied=False))
