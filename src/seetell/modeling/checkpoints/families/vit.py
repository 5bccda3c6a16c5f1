"""Vision transformers as transformers names them: ``ViTForImageClassification``, ``ViTModel``.

Read from: google/vit-base-patch16-224, google/vit-base-patch16-224-in21k and fine-tuned ones. The pooler of
``ViTModel`` and the decoder of masked image modelling are left out: nothing here reads them.
"""

from __future__ import annotations

from seetell.modeling.checkpoints.activations import activation_name
from seetell.modeling.checkpoints.heads import head_score
from seetell.modeling.checkpoints.image_specs import image_spec
from seetell.modeling.checkpoints.labels import label_names
from seetell.modeling.checkpoints.source import CheckpointFolder
from seetell.modeling.checkpoints.table import Family, Reading, Rename
from seetell.modeling.models.image_classifier import (
    ImageClassifier,
    ImageClassifierConfig,
    TransformerEncoderConfig,
)

_HEAD = "classifier.weight"


def _matches(folder: CheckpointFolder) -> bool:
    return folder.config.get("model_type") == "vit"


def _pair(told: object) -> tuple[int, int]:
    """One number for a square, or height and width."""
    height, width = told if isinstance(told, (list, tuple)) else (told, told)
    return int(height), int(width)


def encoder_config(config: dict[str, object]) -> tuple[TransformerEncoderConfig, tuple[int, int]]:
    """The encoder that a ``ViTConfig`` of transformers describes, and its (height, width) in pixels.

    Raises ValueError for what the encoder cannot be.
    """
    patch = _pair(config.get("patch_size", 16))
    if patch[0] != patch[1]:
        raise ValueError(f"its patches are {patch[0]}x{patch[1]}; only square ones are known")
    if config.get("qkv_bias", True) is False:
        raise ValueError("its attention has no biases (qkv_bias false), which is not known here")
    if config.get("num_channels", 3) != 3:
        raise ValueError(f"it takes photos of {config['num_channels']} channels; only 3 are known")
    encoder = TransformerEncoderConfig.model_validate(
        {
            "patch_size": patch[0],
            "embed_dim": config.get("hidden_size", 768),
            "depth": config.get("num_hidden_layers", 12),
            "num_heads": config.get("num_attention_heads", 12),
            "hidden_dim": config.get("intermediate_size", 3072),
            "activation": activation_name(str(config.get("hidden_act", "gelu"))),
            "norm_eps": config.get("layer_norm_eps", 1e-12),
        }
    )
    return encoder, _pair(config.get("image_size", 224))


def _build(folder: CheckpointFolder) -> ImageClassifier:
    encoder, image_size = encoder_config(folder.config)
    return ImageClassifier(
        ImageClassifierConfig(encoder=encoder, image_size=image_size, num_labels=_num_labels(folder))
    )


def _num_labels(folder: CheckpointFolder) -> int:
    # The weights tell whether there is a head: a configuration has labels either way.
    head = folder.weight_names().get(_HEAD)
    return 0 if head is None else head.shape[0]


def _reading(folder: CheckpointFolder) -> Reading:
    _, image_size = encoder_config(folder.config)
    count = _num_labels(folder)
    return Reading(
        image=image_spec(folder, size=image_size),
        labels=label_names(folder, count) if count else (),
        score=head_score(folder, count),
    )


def encoder_names(prefix: str, to: str) -> tuple[Rename, ...]:
    """The name map of a ``ViTModel`` under ``prefix`` (a regular expression), to a ViT under ``to``."""
    layer, block = rf"{prefix}encoder\.layer\.(\d+)\.", rf"{to}transformer.blocks.\1."
    kind = r"(weight|bias)"
    return (
        Rename(rf"{prefix}embeddings\.cls_token", f"{to}class_token", reshape=lambda one: one[0, 0]),
        Rename(rf"{prefix}embeddings\.position_embeddings", f"{to}positions", reshape=lambda one: one[0]),
        Rename(rf"{prefix}embeddings\.patch_embeddings\.projection\.{kind}", rf"{to}patch_embed.\1"),
        Rename(rf"{layer}attention\.attention\.(query|key|value)\.{kind}", rf"{block}attention.\2.\3"),
        Rename(rf"{layer}attention\.output\.dense\.{kind}", rf"{block}attention.out.\2"),
        Rename(rf"{layer}intermediate\.dense\.{kind}", rf"{block}mlp.up.\2"),
        Rename(rf"{layer}output\.dense\.{kind}", rf"{block}mlp.down.\2"),
        Rename(rf"{layer}layernorm_before\.{kind}", rf"{block}attention_norm.\2"),
        Rename(rf"{layer}layernorm_after\.{kind}", rf"{block}mlp_norm.\2"),
        Rename(rf"{prefix}layernorm\.{kind}", rf"{to}norm.\1"),
    )


FAMILIES = (
    Family(
        name="vit",
        matches=_matches,
        build=_build,
        names=(
            *encoder_names(r"(?:vit\.)?", "encoder."),
            Rename(r"classifier\.(weight|bias)", r"label_head.\1"),
        ),
        reading=_reading,
        ignored=(r"(?:vit\.)?pooler\..*", r"(?:vit\.)?embeddings\.mask_token", r"decoder\.0\.(weight|bias)"),
    ),
)
