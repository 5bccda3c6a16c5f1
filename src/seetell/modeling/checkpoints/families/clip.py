"""CLIP (Radford et al. 2021) as transformers writes it: ``CLIPModel``.

Read from: openai/clip-vit-base-patch32 and its kin, and those that others taught in its likeness.
"""

from __future__ import annotations

from typing import Any

from seetell.bundle.manifest import TextSpec
from seetell.core.errors import CheckpointError
from seetell.modeling.checkpoints.image_specs import image_spec
from seetell.modeling.checkpoints.source import CheckpointFolder
from seetell.modeling.checkpoints.table import Family, Reading
from seetell.modeling.checkpoints.tokenizer_files import token_id, tokenizer_json
from seetell.modeling.checkpoints.two_towers import (
    CLASS_TOKEN_NAMES,
    STORED_POSITIONS,
    TEXT_NAMES,
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
    "vocab_size": 49408,
    "hidden_size": 512,
    "intermediate_size": 2048,
    "num_hidden_layers": 12,
    "num_attention_heads": 8,
    "max_position_embeddings": 77,
    "hidden_act": "quick_gelu",
    "layer_norm_eps": 1e-5,
    "eos_token_id": 49407,
}
# In configurations written before July 2023 this id stands for "not known": the text ends at its largest id.
_UNTOLD_EOS = 2
_START, _END = "<|startoftext|>", "<|endoftext|>"
# The plain prompt of Radford et al. 2021, section 3.1.4.
PROMPTS: dict[str, dict[str, tuple[str, ...]]] = {"classify": {"en": ("a photo of a {}.",)}}


def _matches(folder: CheckpointFolder) -> bool:
    return folder.layout == "transformers" and folder.config.get("model_type") == "clip"


def _config(folder: CheckpointFolder) -> DualEncoderConfig:
    image = part_settings(folder, "vision_config", _IMAGE_DEFAULTS)
    text = part_settings(folder, "text_config", _TEXT_DEFAULTS)
    told = text["eos_token_id"] != _UNTOLD_EOS
    return DualEncoderConfig(
        image=ImageTowerConfig.model_validate(image_tower(image)),
        text=TextTowerConfig.model_validate(
            {
                "vocab_size": text["vocab_size"],
                "context_length": text["max_position_embeddings"],
                **tower_sizes(text),
                "pooling": "eos" if told else "largest_id",
                "eos_id": text["eos_token_id"] if told else None,
            }
        ),
        shared_dim=folder.config.get("projection_dim", 512),
    )


def clip_reading(folder: CheckpointFolder, config: DualEncoderConfig) -> Reading:
    """What CLIP in any layout sees and reads."""
    tokenizer = tokenizer_json(folder)
    end = token_id(tokenizer, _END)
    if config.text.eos_id not in (None, end):
        raise CheckpointError(
            f"{folder.folder}: its configuration ends texts with the id {config.text.eos_id} and its "
            f"tokenizer with {end}; take both from one place"
        )
    text = TextSpec(
        context_length=config.text.context_length,
        bos_id=token_id(tokenizer, _START),
        eos_id=end,
        # Whatever stands after the end of a text is not read, and this takes no word's id.
        pad_id=end,
    )
    return Reading(
        image=image_spec(folder, size=config.image.image_size),
        text=text,
        tokenizer_json=tokenizer,
        languages=("en",),
        prompts=PROMPTS,
    )


FAMILIES = (
    Family(
        name="clip",
        matches=_matches,
        build=lambda folder: DualEncoder(_config(folder)),
        names=(*CLASS_TOKEN_NAMES, *TEXT_NAMES),
        reading=lambda folder: clip_reading(folder, _config(folder)),
        ignored=(STORED_POSITIONS,),
    ),
)
