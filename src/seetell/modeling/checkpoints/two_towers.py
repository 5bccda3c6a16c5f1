"""What CLIP, SigLIP and Chinese-CLIP have in common where transformers writes them.

All three grew out of the same code there, so their vision towers, and the text towers of the first two, have
the same keys in their configurations and the same names of weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from seetell.modeling.checkpoints.activations import activation_name
from seetell.modeling.checkpoints.source import CheckpointFolder
from seetell.modeling.checkpoints.table import Rename

# Numbers of places, which old checkpoints stored; who reads them counts again.
STORED_POSITIONS = r"(?:text|vision)_model\.embeddings\.position_ids"


def part_settings(folder: CheckpointFolder, part: str, defaults: Mapping[str, Any]) -> dict[str, Any]:
    """``config[part]`` over ``defaults``, which are left out of configurations.

    ``PART_dict`` beside it, from early versions of transformers, wins with all it does not say, too: so the
    published laion checkpoints are read by transformers.
    """
    told = folder.config.get(part)
    settings = {**defaults, **(told if isinstance(told, dict) else {})}
    early = folder.config.get(f"{part}_dict")
    if isinstance(early, dict):
        settings.update({**defaults, **early})
    return settings


def pair(told: object) -> tuple[int, int]:
    """(height, width), from those or from one number for a square. Raises TypeError and ValueError."""
    height, width = told if isinstance(told, (list, tuple)) else (told, told)
    return int(height), int(width)


def tower_sizes(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The sizes of a transformer, as both our tower configurations call them."""
    return {
        "embed_dim": settings["hidden_size"],
        "depth": settings["num_hidden_layers"],
        "num_heads": settings["num_attention_heads"],
        "mlp_ratio": settings["intermediate_size"] / settings["hidden_size"],
        "activation": activation_name(settings["hidden_act"]),
        "norm_eps": settings["layer_norm_eps"],
    }


def image_tower(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of ImageTowerConfig that all three families have. Raises ValueError for what it cannot be."""
    height, width = pair(settings["patch_size"])
    if height != width:
        raise ValueError(f"its patches are {height}x{width} pixels; only square ones are known")
    if settings.get("num_channels", 3) != 3:
        raise ValueError(f"it takes photos of {settings['num_channels']} channels; only 3 are known")
    return {"image_size": pair(settings["image_size"]), "patch_size": height, **tower_sizes(settings)}


def scalar(tensor: Tensor) -> Tensor:
    """A number that is stored as a list of one."""
    return tensor.reshape(())


def layer_names(layer: str, block: str) -> tuple[Rename, ...]:
    """The name map of one layer. ``layer``: how its names begin (a regular expression of one group, its
    number); ``block``: how ours do (a template)."""
    kind = r"(weight|bias)"
    return (
        *(
            Rename(rf"{layer}self_attn\.{theirs}_proj\.{kind}", rf"{block}attention.{ours}.\2")
            for theirs, ours in (("q", "query"), ("k", "key"), ("v", "value"), ("out", "out"))
        ),
        Rename(rf"{layer}layer_norm1\.{kind}", rf"{block}attention_norm.\2"),
        Rename(rf"{layer}layer_norm2\.{kind}", rf"{block}mlp_norm.\2"),
        Rename(rf"{layer}mlp\.fc1\.{kind}", rf"{block}mlp.up.\2"),
        Rename(rf"{layer}mlp\.fc2\.{kind}", rf"{block}mlp.down.\2"),
    )


IMAGE_NAMES = (
    Rename(r"vision_model\.embeddings\.patch_embedding\.(weight|bias)", r"image_encoder.patch_embed.\1"),
    Rename(r"vision_model\.embeddings\.position_embedding\.weight", "image_encoder.positions"),
    *layer_names(r"vision_model\.encoder\.layers\.(\d+)\.", r"image_encoder.transformer.blocks.\1."),
)

# Of the towers of CLIP and Chinese-CLIP: a class token, and both sides projected.
CLASS_TOKEN_NAMES = (
    *IMAGE_NAMES,
    Rename(r"vision_model\.embeddings\.class_embedding", "image_encoder.class_token", reshape=torch.flatten),
    # "layrnorm" is how the reference spells it.
    Rename(r"vision_model\.pre_layrnorm\.(weight|bias)", r"image_encoder.pre_norm.\1"),
    Rename(r"vision_model\.post_layernorm\.(weight|bias)", r"image_norm.\1"),
    Rename(r"visual_projection\.weight", "image_projection.weight"),
    Rename(r"text_projection\.weight", "text_projection.weight"),
    Rename(r"logit_scale", "logit_scale", reshape=scalar),
)

TEXT_NAMES = (
    Rename(r"text_model\.embeddings\.token_embedding\.weight", "text_embedding.tokens.weight"),
    Rename(r"text_model\.embeddings\.position_embedding\.weight", "text_embedding.positions.table.weight"),
    *layer_names(r"text_model\.encoder\.layers\.(\d+)\.", r"text_encoder.blocks.\1."),
    Rename(r"text_model\.final_layer_norm\.(weight|bias)", r"text_norm.\1"),
)
