"""ResNets as timm (and torchvision) names them, with the plain 7x7 stem.

Read from: timm/resnet50.a1_in1k and its like. timm's other stems and attention variants (resnet50d,
seresnet) have other architecture names and are refused. timm does not name ImageNet's classes in a
checkpoint, so labels are their numbers unless ``label_names`` or ``label_descriptions`` is there.
"""

from __future__ import annotations

from typing import Any

from seetell.core.errors import CheckpointError
from seetell.modeling.checkpoints.heads import head_score
from seetell.modeling.checkpoints.image_specs import image_spec
from seetell.modeling.checkpoints.source import CheckpointFolder
from seetell.modeling.checkpoints.table import Family, Reading, Rename
from seetell.modeling.models.image_classifier import (
    ConvolutionalEncoderConfig,
    ImageClassifier,
    ImageClassifierConfig,
)

# He et al. 2015, table 1.
_BASIC: dict[str, Any] = {"channels": (64, 128, 256, 512), "bottleneck": 1}
_SHAPES: dict[str, dict[str, Any]] = {
    "resnet18": {"depths": (2, 2, 2, 2), **_BASIC},
    "resnet34": {"depths": (3, 4, 6, 3), **_BASIC},
    "resnet50": {"depths": (3, 4, 6, 3)},
    "resnet101": {"depths": (3, 4, 23, 3)},
    "resnet152": {"depths": (3, 8, 36, 3)},
}
_STAGES, _CONVOLUTIONS = 4, 3


def _matches(folder: CheckpointFolder) -> bool:
    return folder.layout == "timm" and folder.config.get("architecture") in _SHAPES


def _build(folder: CheckpointFolder) -> ImageClassifier:
    # Arguments to the model's builder change its layers (stem, activation, pooling).
    changed = folder.config.get("model_args")
    if changed:
        raise ValueError(f"its layers are changed by model_args ({', '.join(map(str, changed))})")
    check_pooling(folder)
    spec = image_spec(folder)
    return ImageClassifier(
        ImageClassifierConfig(
            encoder=ConvolutionalEncoderConfig.model_validate(_SHAPES[folder.config["architecture"]]),
            image_size=(spec.height, spec.width),
            num_labels=_num_labels(folder),
        )
    )


def _num_labels(folder: CheckpointFolder) -> int:
    head = folder.weight_names().get("fc.weight")
    return 0 if head is None else head.shape[0]


def labels_of(folder: CheckpointFolder, count: int) -> tuple[str, ...]:
    """What ``config.json`` in timm's layout calls its ``count`` labels; numbers where it says nothing."""
    nested = folder.config.get("pretrained_cfg")
    settings = {**folder.config, **nested} if isinstance(nested, dict) else folder.config
    names = settings.get("label_names")
    if names is None:
        return tuple(str(number) for number in range(count))
    described = settings.get("label_descriptions")
    described = described if isinstance(described, dict) else {}
    if not isinstance(names, list) or len(names) != count:
        raise CheckpointError(
            f"{folder.folder}: config.json names other labels (label_names) than the {count} of its head; "
            "take config.json and weights from the same place"
        )
    return tuple(str(described.get(name, name)) for name in names)


def check_pooling(folder: CheckpointFolder) -> None:
    """The head reads the mean of the last map. Raises ValueError where timm was told another way."""
    pooling = folder.config.get("global_pool")
    if pooling not in (None, "", "avg"):
        raise ValueError(f"its head reads the last map by global_pool {pooling!r}; only 'avg' is known")


def _reading(folder: CheckpointFolder) -> Reading:
    count = _num_labels(folder)
    return Reading(image=image_spec(folder), labels=labels_of(folder, count), score=head_score(folder, count))


def _names() -> tuple[Rename, ...]:
    norm = r"(weight|bias|running_mean|running_var|num_batches_tracked)"
    rows = [
        Rename(r"conv1\.weight", "encoder.stem.0.0.weight"),
        Rename(rf"bn1\.{norm}", r"encoder.stem.0.1.\1"),
        Rename(r"fc\.(weight|bias)", r"label_head.\1"),
    ]
    # timm counts stages and convolutions from 1.
    for stage in range(_STAGES):
        block, to = rf"layer{stage + 1}\.(\d+)\.", rf"encoder.stages.{stage}.\1."
        rows.append(Rename(rf"{block}downsample\.0\.weight", f"{to}shortcut.0.weight"))
        rows.append(Rename(rf"{block}downsample\.1\.{norm}", rf"{to}shortcut.1.\2"))
        for place in range(_CONVOLUTIONS):
            rows.append(Rename(rf"{block}conv{place + 1}\.weight", f"{to}convs.{place}.0.weight"))
            rows.append(Rename(rf"{block}bn{place + 1}\.{norm}", rf"{to}convs.{place}.1.\2"))
    return tuple(rows)


FAMILIES = (Family(name="timm_resnet", matches=_matches, build=_build, names=_names(), reading=_reading),)
