"""ResNets as transformers names them: ``ResNetForImageClassification``, ``ResNetModel``.

Read from: microsoft/resnet-18 to microsoft/resnet-152.
"""

from __future__ import annotations

from seetell.modeling.checkpoints.activations import activation_name
from seetell.modeling.checkpoints.heads import head_score
from seetell.modeling.checkpoints.image_specs import image_spec
from seetell.modeling.checkpoints.labels import label_names
from seetell.modeling.checkpoints.source import CheckpointFolder
from seetell.modeling.checkpoints.table import Family, Reading, Rename
from seetell.modeling.models.image_classifier import (
    ConvolutionalEncoderConfig,
    ImageClassifier,
    ImageClassifierConfig,
)

_HEAD = "classifier.1.weight"
# Of a bottleneck's inner convolutions; fixed in transformers.
_REDUCTION = 4


def _matches(folder: CheckpointFolder) -> bool:
    return folder.config.get("model_type") == "resnet"


def _build(folder: CheckpointFolder) -> ImageClassifier:
    config = folder.config
    if config.get("num_channels", 3) != 3:
        raise ValueError(f"it takes photos of {config['num_channels']} channels; only 3 are known")
    kind = config.get("layer_type", "bottleneck")
    if kind not in ("bottleneck", "basic"):
        raise ValueError(f"its layer_type is {kind!r}; bottleneck and basic are known")
    encoder = ConvolutionalEncoderConfig.model_validate(
        {
            "depths": config.get("depths", (3, 4, 6, 3)),
            "channels": config.get("hidden_sizes", (256, 512, 1024, 2048)),
            "bottleneck": _REDUCTION if kind == "bottleneck" else 1,
            "stem_channels": config.get("embedding_size", 64),
            "activation": activation_name(config.get("hidden_act", "relu")),
            "first_stride": 2 if config.get("downsample_in_first_stage") else 1,
            "stride_first": bool(config.get("downsample_in_bottleneck")),
        }
    )
    # A ResNet takes any size; the checkpoint's preprocessing says which it was measured at.
    spec = image_spec(folder)
    return ImageClassifier(
        ImageClassifierConfig(
            encoder=encoder, image_size=(spec.height, spec.width), num_labels=_num_labels(folder)
        )
    )


def _num_labels(folder: CheckpointFolder) -> int:
    head = folder.weight_names().get(_HEAD)
    return 0 if head is None else head.shape[0]


def _reading(folder: CheckpointFolder) -> Reading:
    count = _num_labels(folder)
    return Reading(
        image=image_spec(folder),
        labels=label_names(folder, count) if count else (),
        score=head_score(folder, count),
    )


_PREFIX = r"(?:resnet\.)?"
_STEM = rf"{_PREFIX}embedder\.embedder\."
_BLOCK = rf"{_PREFIX}encoder\.stages\.(\d+)\.layers\.(\d+)\."
_TO = r"encoder.stages.\1.\2."
_NORM = r"normalization\.(weight|bias|running_mean|running_var|num_batches_tracked)"

FAMILIES = (
    Family(
        name="resnet",
        matches=_matches,
        build=_build,
        names=(
            Rename(rf"{_STEM}convolution\.weight", "encoder.stem.0.0.weight"),
            Rename(rf"{_STEM}{_NORM}", r"encoder.stem.0.1.\1"),
            Rename(rf"{_BLOCK}layer\.(\d+)\.convolution\.weight", rf"{_TO}convs.\3.0.weight"),
            Rename(rf"{_BLOCK}layer\.(\d+)\.{_NORM}", rf"{_TO}convs.\3.1.\4"),
            Rename(rf"{_BLOCK}shortcut\.convolution\.weight", rf"{_TO}shortcut.0.weight"),
            Rename(rf"{_BLOCK}shortcut\.{_NORM}", rf"{_TO}shortcut.1.\3"),
            Rename(r"classifier\.1\.(weight|bias)", r"label_head.\1"),
        ),
        reading=_reading,
    ),
)
