"""GPT-2 as transformers names it, a text decoder that looks at no photo: ``GPT2LMHeadModel``, ``GPT2Model``.

Read from: openai-community/gpt2 and its like. Its layers are "Conv1D", linear layers stored as [in, out].
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from seetell.bundle.manifest import TextSpec
from seetell.core.errors import CheckpointError
from seetell.modeling.checkpoints.activations import activation_name
from seetell.modeling.checkpoints.source import CheckpointFolder
from seetell.modeling.checkpoints.table import Family, Reading, Rename
from seetell.modeling.checkpoints.tokenizer_files import tokenizer_json
from seetell.modeling.models.text_models import TextDecoder, TextDecoderConfig


def decoder_config(config: Mapping[str, Any]) -> TextDecoderConfig:
    """The decoder that a ``GPT2Config`` of transformers describes. Raises ValueError for what cannot be."""
    if config.get("scale_attn_weights", True) is False:
        raise ValueError("its attention is not scaled (scale_attn_weights false), which is not known here")
    if config.get("scale_attn_by_inverse_layer_idx"):
        raise ValueError("its attention is scaled by layer (scale_attn_by_inverse_layer_idx)")
    width = config.get("n_embd", 768)
    return TextDecoderConfig.model_validate(
        {
            "vocab_size": config.get("vocab_size", 50257),
            "context_length": config.get("n_positions", 1024),
            "embed_dim": width,
            "depth": config.get("n_layer", 12),
            "num_heads": config.get("n_head", 12),
            "hidden_dim": config.get("n_inner") or 4 * width,
            "activation": activation_name(config.get("activation_function", "gelu_new")),
            "norm_eps": config.get("layer_norm_epsilon", 1e-5),
            "tied": config.get("tie_word_embeddings", True),
        }
    )


def decoder_names(prefix: str, to: str) -> tuple[Rename, ...]:
    """The name map of a ``GPT2LMHeadModel`` under ``prefix`` (a regular expression), to a WordWriter under
    ``to``."""
    body = rf"{prefix}(?:transformer\.)?"
    layer, block = rf"{body}h\.(\d+)\.", rf"{to}stack.blocks.\1."
    linear = {"c_fc": "mlp.up", "c_proj": "mlp.down"}
    rows = [
        Rename(rf"{body}wte\.weight", f"{to}embedding.tokens.weight"),
        Rename(rf"{body}wpe\.weight", f"{to}embedding.positions.table.weight"),
        Rename(rf"{body}ln_f\.(weight|bias)", rf"{to}norm.\1"),
        Rename(rf"{prefix}lm_head\.weight", f"{to}head.weight"),
        Rename(rf"{layer}ln_1\.(weight|bias)", rf"{block}attention_norm.\2"),
        Rename(rf"{layer}ln_cross_attn\.(weight|bias)", rf"{block}cross_norm.\2"),
        Rename(rf"{layer}ln_2\.(weight|bias)", rf"{block}mlp_norm.\2"),
    ]
    for part in ("weight", "bias"):
        turned = part == "weight"
        own = tuple(rf"{block}attention.{one}.{part}" for one in ("query", "key", "value"))
        cross = tuple(rf"{block}cross_attention.{one}.{part}" for one in ("key", "value"))
        rows += [
            Rename(rf"{layer}attn\.c_attn\.{part}", own, transpose=turned),
            Rename(rf"{layer}attn\.c_proj\.{part}", rf"{block}attention.out.{part}", transpose=turned),
            Rename(rf"{layer}crossattention\.c_attn\.{part}", cross, transpose=turned),
            Rename(
                rf"{layer}crossattention\.q_attn\.{part}",
                rf"{block}cross_attention.query.{part}",
                transpose=turned,
            ),
            Rename(
                rf"{layer}crossattention\.c_proj\.{part}",
                rf"{block}cross_attention.out.{part}",
                transpose=turned,
            ),
        ]
        rows += [
            Rename(rf"{layer}mlp\.{theirs}\.{part}", rf"{block}{ours}.{part}", transpose=turned)
            for theirs, ours in linear.items()
        ]
    return tuple(rows)


def decoder_ignored(prefix: str, *, tied: bool) -> tuple[str, ...]:
    """Causal masks, which older versions of transformers stored, and the head of a decoder that writes with
    its input embedding: some files hold the matrix twice."""
    masks = rf"{prefix}(?:transformer\.)?h\.\d+\.(attn|crossattention)\.(bias|masked_bias)"
    return (masks, rf"{prefix}lm_head\.weight") if tied else (masks,)


def end_id(folder: CheckpointFolder, *settings: Mapping[str, Any]) -> int:
    """The id that ends a text, from the first of ``settings`` that says it. Raises CheckpointError."""
    told = next((one["eos_token_id"] for one in settings if one.get("eos_token_id") is not None), None)
    if isinstance(told, list) and len(told) == 1:
        (told,) = told
    if isinstance(told, bool) or not isinstance(told, int):
        raise CheckpointError(
            f"{folder.folder}: texts end with {told!r} (eos_token_id), where one id is meant; correct "
            "config.json or generation_config.json"
        )
    return told


def _is_tied(folder: CheckpointFolder) -> bool:
    # A body alone has no head, whatever its configuration says of one.
    return folder.config.get("tie_word_embeddings", True) or "lm_head.weight" not in folder.weight_names()


def _build(folder: CheckpointFolder) -> TextDecoder:
    if folder.config.get("add_cross_attention"):
        raise ValueError("it has cross-attention (add_cross_attention), but no encoder to read")
    return TextDecoder(decoder_config({**folder.config, "tie_word_embeddings": _is_tied(folder)}))


def _reading(folder: CheckpointFolder) -> Reading:
    config = folder.config
    end = end_id(folder, folder.generation, config, {"eos_token_id": 50256})
    start, pad = config.get("bos_token_id"), config.get("pad_token_id")
    return Reading(
        text=TextSpec(
            context_length=decoder_config(config).context_length,
            bos_id=end if start is None else start,
            eos_id=end,
            # GPT-2 was trained without padding; what stands there is masked.
            pad_id=end if pad is None else pad,
        ),
        tokenizer_json=tokenizer_json(folder),
    )


def _family(name: str, *, tied: bool) -> Family:
    def matches(folder: CheckpointFolder) -> bool:
        return folder.config.get("model_type") == "gpt2" and _is_tied(folder) == tied

    return Family(
        name=name,
        matches=matches,
        build=_build,
        names=decoder_names("", "writer."),
        reading=_reading,
        ignored=decoder_ignored("", tied=tied),
    )


FAMILIES = (_family("gpt2", tied=True), _family("gpt2 with a head of its own", tied=False))
