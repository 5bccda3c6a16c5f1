"""Chinese-CLIP (Yang et al. 2022) as transformers writes it: ``ChineseCLIPModel``.

Read from: OFA-Sys/chinese-clip-vit-base-patch16 and its larger kin. CLIP's image tower, and for text a BERT
that is pooled at its first token.
"""

from __future__ import annotations

from typing import Any

from seetell.bundle.manifest import TextSpec
from seetell.modeling.checkpoints.image_specs import image_spec
from seetell.modeling.checkpoints.source import CheckpointFolder
from seetell.modeling.checkpoints.table import Family, Reading, Rename
from seetell.modeling.checkpoints.tokenizer_files import token_id, tokenizer_json
from seetell.modeling.checkpoints.two_towers import (
    CLASS_TOKEN_NAMES,
    STORED_POSITIONS,
    image_tower,
    part_settings,
    tower_sizes,
)
from seetell.modeling.models.dual_encoder import (
    DualEncoder,
    DualEncoderConfig,
    ImageTowerConfig,
    TextTowerConfig,
)

# What configurations leave out where it equals these.
_IMAGE_DEFAULTS: dict[str, Any] = {
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "image_size": 224,
    "patch_size": 32,
    "hidden_act": "quick_gelu",
    "layer_norm_eps": 1e-5,
}
_TEXT_DEFAULTS: dict[str, Any] = {
    "vocab_size": 30522,
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "max_position_embeddings": 512,
    "type_vocab_size": 2,
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-12,
}
# The first of the templates that its authors classify with.
_PROMPTS: dict[str, dict[str, tuple[str, ...]]] = {"classify": {"zh": ("{}的照片",)}}


def _matches(folder: CheckpointFolder) -> bool:
    return folder.config.get("model_type") == "chinese_clip"


def _config(folder: CheckpointFolder) -> DualEncoderConfig:
    image = part_settings(folder, "vision_config", _IMAGE_DEFAULTS)
    text = part_settings(folder, "text_config", _TEXT_DEFAULTS)
    return DualEncoderConfig(
        image=ImageTowerConfig.model_validate(image_tower(image)),
        text=TextTowerConfig.model_validate(
            {
                "vocab_size": text["vocab_size"],
                "context_length": text["max_position_embeddings"],
                **tower_sizes(text),
                "causal": False,
                "norm_first": False,
                "num_types": text["type_vocab_size"],
                "pooling": "first",
            }
        ),
        shared_dim=folder.config.get("projection_dim", 512),
    )


def _reading(folder: CheckpointFolder) -> Reading:
    config = _config(folder)
    tokenizer = tokenizer_json(folder)
    return Reading(
        image=image_spec(folder, size=config.image.image_size),
        text=TextSpec(
            context_length=config.text.context_length,
            bos_id=token_id(tokenizer, "[CLS]"),
            eos_id=token_id(tokenizer, "[SEP]"),
            pad_id=token_id(tokenizer, "[PAD]"),
        ),
        tokenizer_json=tokenizer,
        languages=("zh",),
        prompts=_PROMPTS,
    )


def _text_names() -> tuple[Rename, ...]:
    kind = r"(weight|bias)"
    embeddings, ours = r"text_model\.embeddings\.", "text_embedding."
    layer, block = r"text_model\.encoder\.layer\.(\d+)\.", r"text_encoder.blocks.\1."
    return (
        Rename(rf"{embeddings}word_embeddings\.weight", f"{ours}tokens.weight"),
        Rename(rf"{embeddings}position_embeddings\.weight", f"{ours}positions.table.weight"),
        Rename(rf"{embeddings}token_type_embeddings\.weight", f"{ours}types.weight"),
        Rename(rf"{embeddings}LayerNorm\.{kind}", rf"{ours}norm.\1"),
        Rename(rf"{layer}attention\.self\.(query|key|value)\.{kind}", rf"{block}attention.\2.\3"),
        Rename(rf"{layer}attention\.output\.dense\.{kind}", rf"{block}attention.out.\2"),
        Rename(rf"{layer}attention\.output\.LayerNorm\.{kind}", rf"{block}attention_norm.\2"),
        Rename(rf"{layer}intermediate\.dense\.{kind}", rf"{block}mlp.up.\2"),
        Rename(rf"{layer}output\.dense\.{kind}", rf"{block}mlp.down.\2"),
        Rename(rf"{layer}output\.LayerNorm\.{kind}", rf"{block}mlp_norm.\2"),
    )


FAMILIES = (
    Family(
        name="chinese_clip",
        matches=_matches,
        build=lambda folder: DualEncoder(_config(folder)),
        names=(*CLASS_TOKEN_NAMES, *_text_names()),
        reading=_reading,
        # BERT's own pooling, which the text's first token goes past.
        ignored=(STORED_POSITIONS, r"text_model\.embeddings\.token_type_ids", r"text_model\.pooler\..*"),
    ),
)
