"""Qwen2 as transformers names it: ``Qwen2ForCausalLM``, and GGUF files that say ``qwen2``.

Read from: Qwen/Qwen2.5-0.5B-Instruct and its like. Queries, keys and values have biases, the output has none.
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
    "max_position_embeddings": 32768,
    "rms_norm_eps": 1e-6,
}


def _config(folder: CheckpointFolder) -> CausalConfig:
    return causal_config(folder, _DEFAULTS, qkv_bias=True)


def _reading(folder: CheckpointFolder) -> Reading:
    return causal_reading(folder, _config(folder).context_length)


def _family(name: str, *, tied: bool) -> Family:
    return Family(
        name=name,
        matches=lambda folder: folder.config.get("model_type") == "qwen2" and is_tied(folder) == tied,
        build=lambda folder: CausalModel(_config(folder)),
        names=NAMES,
        reading=_reading,
        ignored=TIED_IGNORED if tied else IGNORED,
    )


FAMILIES = (_family("qwen2", tied=True), _family("qwen2 with a head of its own", tied=False))
