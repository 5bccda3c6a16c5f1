"""CLIP as open_clip writes it: ``open_clip_config.json`` and its own names of weights.

Read from: laion/CLIP-ViT-B-32-laion2B-s34B-b79K and its kin, whose towers are both open_clip's plain
transformers. Towers of other makes (timm, transformers, ResNet, CoCa) are refused by name.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from seetell.modeling.checkpoints.families.clip import clip_reading
from seetell.modeling.checkpoints.source import CheckpointFolder
from seetell.modeling.checkpoints.table import Family, Rename
from seetell.modeling.checkpoints.two_towers import pair, scalar
from seetell.modeling.models.dual_encoder import (
    DualEncoder,
    DualEncoderConfig,
    ImageTowerConfig,
    TextTowerConfig,
)

# Settings that are read, with open_clip's defaults (its dataclasses CLIPVisionCfg and CLIPTextCfg).
_IMAGE_DEFAULTS: dict[str, Any] = {
    "layers": 12,
    "width": 768,
    "head_width": 64,
    "mlp_ratio": 4.0,
    "patch_size": 16,
    "image_size": 224,
    "no_ln_pre": False,
}
_TEXT_DEFAULTS: dict[str, Any] = {
    "context_length": 77,
    "vocab_size": 49408,
    "width": 512,
    "heads": 8,
    "layers": 12,
    "mlp_ratio": 4.0,
}
# Of the whole model.
_READ = ("embed_dim", "quick_gelu", "vision_cfg", "text_cfg")
# Settings that change nothing when a model is run, or nothing at these values (none named: at any).
_WITHOUT_EFFECT: dict[str, tuple[Any, ...]] = {
    "patch_dropout": (),
    "output_tokens": (),
    "hf_tokenizer_name": (),
    # Causal attention reads no padding.
    "pad_id": (),
    "pos_embed_type": ("learnable",),
    "pool_type": ("tok", "argmax"),
    "proj_type": ("linear",),
    # Weights' names tell whether the text tower is a module of its own.
    "custom_text": (),
    # Of training: what the scale of scores starts from, and the type weights are cast to.
    "init_logit_scale": (),
    "cast_dtype": (),
    "output_dict": (),
    # Weights tell how the scale is stored.
    "nonscalar_logit_scale": (),
}


def _matches(folder: CheckpointFolder) -> bool:
    return folder.layout == "open_clip"


def _settings(model: Mapping[str, Any], part: str, defaults: Mapping[str, Any]) -> dict[str, Any]:
    """``model[part]`` over ``defaults``. Raises ValueError for a setting that this model cannot have."""
    told = model[part]
    if not isinstance(told, dict):
        raise ValueError(f"its {part} is no mapping of keys")
    _refuse_unknown(told, defaults, part)
    return {**defaults, **told}


def _refuse_unknown(told: Mapping[str, Any], known: Collection[str], where: str) -> None:
    for key, value in told.items():
        if key in known or not value:
            continue
        allowed = _WITHOUT_EFFECT.get(key)
        if allowed is None or (allowed and value not in allowed):
            raise ValueError(f"its {where} has {key} {value!r}, which is not known here")


def _tower(settings: Mapping[str, Any], num_heads: int, *, quick_gelu: bool) -> dict[str, Any]:
    # open_clip rounds the MLP's width down.
    mlp_dim = int(settings["width"] * settings["mlp_ratio"])
    return {
        "embed_dim": settings["width"],
        "depth": settings["layers"],
        "num_heads": num_heads,
        "mlp_ratio": mlp_dim / settings["width"],
        "activation": "quick_gelu" if quick_gelu else "gelu",
    }


def _config(folder: CheckpointFolder) -> DualEncoderConfig:
    model = folder.config["model_cfg"]
    _refuse_unknown(model, _READ, "model_cfg")
    quick_gelu = bool(model.get("quick_gelu", False))
    image = _settings(model, "vision_cfg", _IMAGE_DEFAULTS)
    text = _settings(model, "text_cfg", _TEXT_DEFAULTS)
    if not isinstance(image["layers"], int):
        raise ValueError("its image tower is a ResNet, which is not known here")
    height, width = pair(image["patch_size"])
    if height != width:
        raise ValueError(f"its patches are {height}x{width} pixels; only square ones are known")
    num_heads = image["width"] // image["head_width"]
    return DualEncoderConfig(
        image=ImageTowerConfig.model_validate(
            {
                "image_size": pair(image["image_size"]),
                "patch_size": height,
                **_tower(image, num_heads, quick_gelu=quick_gelu),
                "pre_norm": not image["no_ln_pre"],
            }
        ),
        text=TextTowerConfig.model_validate(
            {
                "vocab_size": text["vocab_size"],
                "context_length": text["context_length"],
                **_tower(text, text["heads"], quick_gelu=quick_gelu),
                # The end of a text has the largest id of all: open_clip pools at the argmax.
                "pooling": "largest_id",
            }
        ),
        shared_dim=model["embed_dim"],
    )


def _layer_names(layer: str, block: str) -> tuple[Rename, ...]:
    """As ``two_towers.layer_names``, of torch's MultiheadAttention and open_clip's MLP."""
    kind = r"(weight|bias)"
    fused = tuple(rf"{block}attention.{one}.\2" for one in ("query", "key", "value"))
    return (
        Rename(rf"{layer}attn\.in_proj_{kind}", fused),
        Rename(rf"{layer}attn\.out_proj\.{kind}", rf"{block}attention.out.\2"),
        Rename(rf"{layer}ln_1\.{kind}", rf"{block}attention_norm.\2"),
        Rename(rf"{layer}ln_2\.{kind}", rf"{block}mlp_norm.\2"),
        Rename(rf"{layer}mlp\.c_fc\.{kind}", rf"{block}mlp.up.\2"),
        Rename(rf"{layer}mlp\.c_proj\.{kind}", rf"{block}mlp.down.\2"),
    )


# With ``custom_text`` the text tower is a module of its own.
_TEXT = r"(?:text\.)?"

FAMILIES = (
    Family(
        name="open_clip",
        matches=_matches,
        build=lambda folder: DualEncoder(_config(folder)),
        names=(
            Rename(r"visual\.conv1\.weight", "image_encoder.patch_embed.weight"),
            Rename(r"visual\.class_embedding", "image_encoder.class_token"),
            Rename(r"visual\.positional_embedding", "image_encoder.positions"),
            Rename(r"visual\.ln_pre\.(weight|bias)", r"image_encoder.pre_norm.\1"),
            *_layer_names(
                r"visual\.transformer\.resblocks\.(\d+)\.", r"image_encoder.transformer.blocks.\1."
            ),
            Rename(r"visual\.ln_post\.(weight|bias)", r"image_norm.\1"),
            # Parameters that multiply from the right.
            Rename(r"visual\.proj", "image_projection.weight", transpose=True),
            Rename(rf"{_TEXT}text_projection", "text_projection.weight", transpose=True),
            Rename(rf"{_TEXT}token_embedding\.weight", "text_embedding.tokens.weight"),
            Rename(rf"{_TEXT}positional_embedding", "text_embedding.positions.table.weight"),
            *_layer_names(rf"{_TEXT}transformer\.resblocks\.(\d+)\.", r"text_encoder.blocks.\1."),
            Rename(rf"{_TEXT}ln_final\.(weight|bias)", r"text_norm.\1"),
            Rename(r"logit_scale", "logit_scale", reshape=scalar),
        ),
        reading=lambda folder: clip_reading(folder, _config(folder)),
        # The causal mask, and sizes that OpenAI's own files hold as tensors.
        ignored=(rf"{_TEXT}attn_mask", "input_resolution", "context_length", "vocab_size"),
    ),
)
