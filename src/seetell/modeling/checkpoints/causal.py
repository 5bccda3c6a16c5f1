"""What Llama, Qwen2 and Qwen3 have in common: their configuration as ours, names of weights, how text is
read.

The table files in ``families`` say what each of them does otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from seetell.bundle.manifest import TextSpec
from seetell.core.errors import CheckpointError
from seetell.modeling.checkpoints.activations import activation_name
from seetell.modeling.checkpoints.chat_template import chat_spec, end_ids
from seetell.modeling.checkpoints.gguf_file import GgufFile
from seetell.modeling.checkpoints.gguf_tokenizer import gguf_tokenizer_json
from seetell.modeling.checkpoints.source import CheckpointFolder
from seetell.modeling.checkpoints.table import Family, Reading, Rename
from seetell.modeling.checkpoints.tokenizer_files import tokenizer_json
from seetell.modeling.models.causal import CausalConfig, CausalModel

_BLOCK = r"stack.blocks.\1."
_LAYER = r"(?:model\.)?layers\.(\d+)\."
_KIND = r"(weight|bias)"
_ATTENTION = {"q": "query", "k": "key", "v": "value", "o": "out"}

NAMES = (
    Rename(r"(?:model\.)?embed_tokens\.weight", "tokens.weight"),
    Rename(r"(?:model\.)?norm\.weight", "norm.weight"),
    Rename(r"lm_head\.weight", "head.weight"),
    Rename(rf"{_LAYER}input_layernorm\.weight", rf"{_BLOCK}attention_norm.weight"),
    Rename(rf"{_LAYER}post_attention_layernorm\.weight", rf"{_BLOCK}mlp_norm.weight"),
    *(
        Rename(rf"{_LAYER}self_attn\.{theirs}_proj\.{_KIND}", rf"{_BLOCK}attention.{ours}.\2")
        for theirs, ours in _ATTENTION.items()
    ),
    Rename(rf"{_LAYER}self_attn\.q_norm\.weight", rf"{_BLOCK}attention.query_norm.weight"),
    Rename(rf"{_LAYER}self_attn\.k_norm\.weight", rf"{_BLOCK}attention.key_norm.weight"),
    Rename(rf"{_LAYER}mlp\.(gate|up|down)_proj\.{_KIND}", rf"{_BLOCK}mlp.\2.\3"),
)
# Older versions stored the frequencies; some files hold a tied matrix twice.
IGNORED = (rf"{_LAYER}self_attn\.rotary_emb\.inv_freq",)
TIED_IGNORED = (*IGNORED, r"lm_head\.weight")


def is_tied(folder: CheckpointFolder) -> bool:
    """Whether the output matrix is the input embedding. A file without a head is, whatever it says."""
    return bool(folder.config.get("tie_word_embeddings")) or "lm_head.weight" not in folder.weight_names()


def causal_config(folder: CheckpointFolder, defaults: Mapping[str, Any], **differing: Any) -> CausalConfig:
    """The model that the configuration describes.

    Args:
        defaults: what transformers takes where ``config.json`` is silent.
        differing: fields of CausalConfig that the family decides.

    Raises ValueError for what cannot be.
    """
    config = {**defaults, **{key: value for key, value in folder.config.items() if value is not None}}
    if config.get("use_sliding_window"):
        raise ValueError("its attention slides over the text (use_sliding_window), which is not known here")
    kinds = set(config.get("layer_types") or ["full_attention"])
    if kinds != {"full_attention"}:
        raise ValueError(f"its layers are {', '.join(sorted(kinds))}; full_attention alone is known")
    heads = config["num_attention_heads"]
    head_dim = config.get("head_dim") or config["hidden_size"] // heads
    base, divisors = _rope(config, head_dim)
    return CausalConfig.model_validate(
        {
            "vocab_size": config["vocab_size"],
            "context_length": config["max_position_embeddings"],
            "embed_dim": config["hidden_size"],
            "depth": config["num_hidden_layers"],
            "num_heads": heads,
            "kv_heads": config.get("num_key_value_heads") or heads,
            "head_dim": head_dim,
            "hidden_dim": config["intermediate_size"],
            "activation": activation_name(config.get("hidden_act", "silu")),
            "norm_eps": config["rms_norm_eps"],
            "rope_base": base,
            "rope_divisors": divisors,
            "tied": is_tied(folder),
            **differing,
        }
    )


def _rope(config: Mapping[str, Any], head_dim: int) -> tuple[float, tuple[float, ...]]:
    """Base and divisors, of ``rope_parameters`` or what older files have in its place. Raises ValueError."""
    told = config.get("rope_parameters") or config.get("rope_scaling") or {}
    base = float(told.get("rope_theta") or config.get("rope_theta") or 10_000.0)
    kind = told.get("rope_type") or told.get("type") or "default"
    if config.get("partial_rotary_factor", 1.0) != 1.0 or told.get("partial_rotary_factor", 1.0) != 1.0:
        raise ValueError(
            "only a part of each head is turned (partial_rotary_factor), which is not known here"
        )
    pairs = head_dim // 2
    if kind == "default":
        return base, ()
    if kind == "linear":
        return base, (float(told["factor"]),) * pairs
    if kind == "llama3":
        return base, _llama3_divisors(told, base, pairs)
    if kind == "divided":
        return base, tuple(map(float, told["divisors"]))
    raise ValueError(
        f"its rotary positions are scaled as {kind!r} says; default, linear and llama3 are known"
    )


def _llama3_divisors(told: Mapping[str, Any], base: float, pairs: int) -> tuple[float, ...]:
    """Frequencies slow within the original context are divided by the factor, fast ones stay, those between
    go over from one to the other. Source: Dubey et al. 2024 (Llama 3), as its published code does it."""
    factor, original = float(told["factor"]), float(told["original_max_position_embeddings"])
    low, high = float(told["low_freq_factor"]), float(told["high_freq_factor"])
    found = []
    for pair in range(pairs):
        turns = original * base ** (-pair / pairs) / (2 * math.pi)
        share = min(max((turns - low) / (high - low), 0.0), 1.0)
        found.append(1 / (share + (1 - share) / factor))
    return tuple(found)


def causal_reading(folder: CheckpointFolder, context_length: int) -> Reading:
    """How it reads and writes text, and a conversation where it comes with a template for one."""
    tokenizer = gguf_tokenizer_json(folder) if isinstance(folder, GgufFile) else tokenizer_json(folder)
    ends = end_ids(folder, tokenizer)
    return Reading(
        text=TextSpec(
            context_length=context_length,
            side="left",
            bos_id=_first(folder, "bos_token_id"),
            eos_id=ends[0],
            # What stands there is masked; models trained without padding name no token for it.
            pad_id=_one(_first(folder, "pad_token_id"), ends[0]),
        ),
        tokenizer_json=tokenizer,
        chat=chat_spec(folder, ends),
    )


def _first(folder: CheckpointFolder, key: str) -> int | None:
    told = folder.generation.get(key, folder.config.get(key))
    if told is None:
        return None
    if isinstance(told, bool) or not isinstance(told, int):
        raise CheckpointError(f"{folder.folder}: {key} is {told!r}, where one id is meant; correct it")
    return told


def _one(told: int | None, otherwise: int) -> int:
    return otherwise if told is None else told


def causal_families(
    model_type: str, config: Callable[[CheckpointFolder], CausalConfig]
) -> tuple[Family, Family]:
    """The two layouts of a family: with the input's word vectors as its output's, and with a head of its own.

    model_type: as ``config.json`` names it. config: of a checkpoint's folder.
    """

    def family(name: str, *, tied: bool) -> Family:
        return Family(
            name=name,
            matches=lambda folder: folder.config.get("model_type") == model_type and is_tied(folder) == tied,
            build=lambda folder: CausalModel(config(folder)),
            names=NAMES,
            reading=lambda folder: causal_reading(folder, config(folder).context_length),
            ignored=TIED_IGNORED if tied else IGNORED,
        )

    return family(model_type, tied=True), family(f"{model_type} with a head of its own", tied=False)
