"""How a public checkpoint wants its photos prepared, as the bundle's ImageSpec.

Reads ``preprocessor_config.json`` as transformers 4 and 5 write it (``CheckpointFolder.preprocessor`` finds
the nested one of ``processor_config.json``), and the settings in timm's and open_clip's configurations. A
setting left out has the default of its processor class; one that cannot be had is an error, because a
wrong mean or resize rule changes every answer a little and breaks nothing visibly.

timm and open_clip crop as torchvision does, which rounds half of an odd border to even where transformers
and ImageSpec round down: with them a crop may lie one pixel further up or left than in training.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import ValidationError

from seetell.core.errors import CheckpointError
from seetell.media.preprocess import ImageSpec, Interpolation
from seetell.modeling.checkpoints.source import CheckpointFolder

_OPENAI_MEAN = (0.48145466, 0.4578275, 0.40821073)
_OPENAI_STD = (0.26862954, 0.26130258, 0.27577711)
_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_STD = (0.229, 0.224, 0.225)
_HALF = (0.5, 0.5, 0.5)
# Pillow's numbers, which is what ``resample`` holds.
_RESAMPLE: dict[object, Interpolation] = {1: "lanczos", 2: "bilinear", 3: "bicubic"}
_NAMED: dict[object, Interpolation] = {one: one for one in ("lanczos", "bilinear", "bicubic")}
# ViLT's longer edge for a shorter edge of 800 (Kim et al. 2021, section 4.1), after Faster R-CNN's habit.
_VILT_LONGER, _VILT_SHORTER = 1333, 800
# From this size on ConvNeXT's processor squashes and crops nothing (Liu et al. 2022, appendix A.1).
_CONVNEXT_SQUASHED = 384

Size = dict[str, int]


@dataclass(frozen=True, slots=True)
class _Processor:
    """A processor class of transformers: what it does where its configuration is silent.

    rule: its way of resizing. square: a ``size`` that is one number is a square, not a shorter edge.
    crop: edge of the centre crop, None where it crops nothing.
    """

    size: Size
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    resample: int = 3
    rule: Literal["plain", "convnext", "vilt", "padded"] = "plain"
    square: bool = False
    crop: int | None = None


_PROCESSORS: dict[str, _Processor] = {
    "CLIP": _Processor({"shortest_edge": 224}, _OPENAI_MEAN, _OPENAI_STD, crop=224),
    "ChineseCLIP": _Processor({"shortest_edge": 224}, _OPENAI_MEAN, _OPENAI_STD, crop=224),
    "Siglip": _Processor({"height": 224, "width": 224}, _HALF, _HALF),
    "Blip": _Processor({"height": 384, "width": 384}, _OPENAI_MEAN, _OPENAI_STD, square=True),
    "Vilt": _Processor({"shortest_edge": 384}, _HALF, _HALF, rule="vilt"),
    "ViT": _Processor({"height": 224, "width": 224}, _HALF, _HALF, resample=2, square=True),
    "DeiT": _Processor({"height": 256, "width": 256}, _HALF, _HALF, square=True, crop=224),
    "ConvNext": _Processor({"shortest_edge": 384}, _HALF, _HALF, rule="convnext"),
    "Sam": _Processor({"longest_edge": 1024}, _IMAGENET_MEAN, _IMAGENET_STD, resample=2, rule="padded"),
}

# Whose a configuration without a type is, by the model beside it, as transformers' AutoImageProcessor has it.
_OF_MODELS = {
    "clip": "CLIP",
    "chinese_clip": "ChineseCLIP",
    "siglip": "Siglip",
    "blip": "Blip",
    "vilt": "Vilt",
    "vit": "ViT",
    "deit": "DeiT",
    "resnet": "ConvNext",
    "convnext": "ConvNext",
}


def image_spec(folder: CheckpointFolder, *, size: tuple[int, int] | None = None) -> ImageSpec:
    """The preprocessing of ``folder``.

    Args:
        folder: with a ``preprocessor_config.json`` or its like in one of the layouts.
        size: (height, width) in pixels that the model takes, where it takes one only: photos of another
            size would be read wrongly or not at all.

    Raises:
        CheckpointError: it does not say how photos are prepared, or a way that ImageSpec cannot express,
            or gives another size than the model takes.
    """
    try:
        if folder.layout == "timm":
            spec = _of_timm(folder)
        elif folder.layout == "open_clip":
            spec = _of_open_clip(folder)
        else:
            spec = _of_transformers(folder)
    except ValidationError as error:
        raise _refused(folder, f"it cannot be expressed here ({error.errors()[0]['msg']})") from error
    except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        raise _refused(folder, f"it cannot be read ({type(error).__name__}: {error})") from error
    if size is not None and (spec.height, spec.width) != tuple(size):
        raise _refused(
            folder,
            f"it gives photos of {spec.height}x{spec.width} pixels and the model takes {size[0]}x{size[1]}",
        )
    return spec


def _refused(folder: CheckpointFolder, what: str) -> CheckpointError:
    return CheckpointError(f"{folder.folder}: the preprocessing of photos: {what}")


def _of_transformers(folder: CheckpointFolder) -> ImageSpec:
    settings = folder.preprocessor
    if settings is None:
        raise _refused(folder, "preprocessor_config.json is missing; take it from where the weights are from")
    processor = _processor(folder, settings)
    if settings.get("do_resize") is False:
        raise _refused(folder, "it resizes nothing (do_resize false), and a graph takes one size")
    if settings.get("do_pad") is False and processor.rule in ("vilt", "padded"):
        raise _refused(folder, "it pads nothing (do_pad false), so photos of several shapes make no batch")
    size = _size(settings.get("size"), processor.size, square=processor.square)
    cropped = settings.get("do_center_crop")
    crop = (
        _size(settings.get("crop_size"), _square(processor.crop or 224), square=True)
        if cropped or (cropped is None and processor.crop is not None)
        else None
    )
    values = _values(settings, processor)
    values["interpolation"] = _interpolation(folder, settings.get("resample", processor.resample))
    if processor.rule == "vilt":
        geometry = _bounded(folder, size, crop, settings)
    elif processor.rule == "convnext":
        geometry = _convnext(folder, size, crop, settings)
    elif processor.rule == "padded":
        geometry = _padded(folder, size, crop, settings)
    else:
        geometry = _plain(folder, size, crop)
    return ImageSpec(**geometry, **values)


def _processor(folder: CheckpointFolder, settings: Mapping[str, Any]) -> _Processor:
    """The class named, be it the slow, the fast or the old "feature extractor" of it; where none is, the one
    of the model."""
    told = settings.get("image_processor_type") or settings.get("feature_extractor_type")
    if told is None:
        return _PROCESSORS[_processor_of_model(folder)]
    name = re.sub(r"(FeatureExtractor|ImageProcessor)(Fast|Pil)?$", "", str(told))
    if name not in _PROCESSORS:
        known = ", ".join(_PROCESSORS)
        raise _refused(folder, f"its processor is {told}, which is unknown here; known are those of {known}")
    return _PROCESSORS[name]


def _processor_of_model(folder: CheckpointFolder) -> str:
    config = folder.config
    encoder = config.get("encoder")
    if config.get("model_type") == "vision-encoder-decoder" and isinstance(encoder, Mapping):
        config = dict(encoder)
    kind = config.get("model_type")
    name = _OF_MODELS.get(kind) if isinstance(kind, str) else None
    if name is None:
        raise _refused(folder, f"it names no processor (image_processor_type), and for {kind} none is known")
    return name


def _interpolation(folder: CheckpointFolder, told: object) -> Interpolation:
    found = _RESAMPLE.get(told) or _NAMED.get(told)
    if found is None:
        raise _refused(folder, f"it resizes by {told!r}; bicubic (3), bilinear (2) and lanczos (1) are known")
    return found


def _square(edge: int) -> Size:
    return {"height": edge, "width": edge}


def _size(told: object, default: Size, *, square: bool) -> Size:
    """A size as transformers 5 writes it, from the number or pair that older files have."""
    if told is None:
        return default
    if isinstance(told, Mapping):
        return {str(key): int(value) for key, value in told.items() if value is not None}
    if isinstance(told, (list, tuple)):
        height, width = told
        return {"height": int(height), "width": int(width)}
    if isinstance(told, bool) or not isinstance(told, int):
        raise ValueError(f"a size of {told!r}")
    return _square(told) if square else {"shortest_edge": told}


def _values(settings: Mapping[str, Any], processor: _Processor) -> dict[str, Any]:
    """Mean, standard deviation and divisor; a step that is switched off leaves values as they are."""
    found: dict[str, Any] = {"divisor": 1.0, "mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}
    if settings.get("do_rescale") is not False:
        factor = settings.get("rescale_factor")
        found["divisor"] = 255.0 if factor is None else 1 / float(factor)
    if settings.get("do_normalize") is not False:
        for name, default in (("mean", processor.mean), ("std", processor.std)):
            told = settings.get(f"image_{name}")
            # One number stands for all three channels.
            found[name] = default if told is None else told if isinstance(told, list) else (told,) * 3
    return found


def _plain(folder: CheckpointFolder, size: Size, crop: Size | None) -> dict[str, Any]:
    if set(size) == {"height", "width"}:
        if crop is None or crop == size:
            return {"resize": "squash", **size}
        if size["height"] != size["width"]:
            raise _refused(folder, f"it squashes to {_told(size)} and then crops to {_told(crop)}")
        return {"resize": "squash", "size": size["height"], "crop": "center", **crop}
    if set(size) == {"shortest_edge"} and crop is not None:
        return {"resize": "shortest_edge", "size": size["shortest_edge"], "crop": "center", **crop}
    if set(size) == {"shortest_edge"}:
        raise _refused(
            folder, f"it resizes to {_told(size)} without a crop, so that every photo has a shape of its own"
        )
    raise _refused(folder, f"it resizes to {_told(size)}")


def _convnext(
    folder: CheckpointFolder, size: Size, crop: Size | None, settings: Mapping[str, Any]
) -> dict[str, Any]:
    if set(size) != {"shortest_edge"}:
        raise _refused(folder, f"it resizes to {_told(size)}, where one shortest edge is meant")
    edge = size["shortest_edge"]
    if crop is not None and crop != _square(edge):
        raise _refused(folder, f"it crops to {_told(crop)} what has been cropped to {edge}")
    if edge >= _CONVNEXT_SQUASHED:
        return {"resize": "squash", **_square(edge)}
    told = settings.get("crop_pct")
    kept = 224 / 256 if told is None else float(told)
    return {"resize": "shortest_edge", "size": int(edge / kept), "crop": "center", **_square(edge)}


def _bounded(
    folder: CheckpointFolder, size: Size, crop: Size | None, settings: Mapping[str, Any]
) -> dict[str, Any]:
    if "shortest_edge" not in size or crop is not None:
        raise _refused(folder, f"it resizes to {_told(size)} (crop: {_told(crop or {})})")
    edge = size["shortest_edge"]
    bound = int(_VILT_LONGER / _VILT_SHORTER * edge)
    told = settings.get("size_divisor")
    return {
        "resize": "shortest_edge_bounded",
        "height": bound,
        "width": bound,
        "size": edge,
        "bound": bound,
        "multiple_of": 32 if told is None else int(told),
    }


def _padded(
    folder: CheckpointFolder, size: Size, crop: Size | None, settings: Mapping[str, Any]
) -> dict[str, Any]:
    if set(size) != {"longest_edge"} or crop is not None:
        raise _refused(folder, f"it resizes to {_told(size)} (crop: {_told(crop or {})})")
    edge = size["longest_edge"]
    place = _size(settings.get("pad_size"), _square(edge), square=True)
    return {"resize": "longest_edge", "size": edge, **place}


def _told(size: Size) -> str:
    return ", ".join(f"{key} {value}" for key, value in size.items()) or "none"


def _of_timm(folder: CheckpointFolder) -> ImageSpec:
    """``pretrained_cfg`` of timm's config.json; older files have its keys at the top."""
    nested = folder.config.get("pretrained_cfg")
    settings = {**folder.config, **nested} if isinstance(nested, dict) else folder.config
    if "input_size" not in settings:
        raise _refused(folder, "config.json has no input_size")
    _, height, width = settings["input_size"]
    mode, kept = settings.get("crop_mode") or "center", float(settings.get("crop_pct") or 0.875)
    if mode not in ("center", "squash"):
        raise _refused(folder, f"its crop_mode is {mode!r}; center and squash are known")
    if height != width:
        raise _refused(folder, f"it scales and crops to {height}x{width}; only squares are known")
    edge = int(height / kept)
    if mode == "squash" and edge == height:
        geometry: dict[str, Any] = {"resize": "squash"}
    else:
        resize = "shortest_edge" if mode == "center" else "squash"
        geometry = {"resize": resize, "size": edge, "crop": "center"}
    return ImageSpec(
        height=height,
        width=width,
        interpolation=_interpolation(folder, settings.get("interpolation", "bicubic")),
        mean=settings.get("mean", _IMAGENET_MEAN),
        std=settings.get("std", _IMAGENET_STD),
        **geometry,
    )


def _of_open_clip(folder: CheckpointFolder) -> ImageSpec:
    """``preprocess_cfg`` of open_clip_config.json, its size from the vision tower where it has none."""
    settings = folder.config.get("preprocess_cfg") or {}
    told = settings.get("size") or folder.config["model_cfg"]["vision_cfg"].get("image_size", 224)
    found = _size(told, {}, square=True)
    mode = settings.get("resize_mode") or "shortest"
    if mode == "shortest" and found["height"] != found["width"]:
        raise _refused(folder, f"it scales and crops to {_told(found)}; only squares are known")
    if mode not in ("shortest", "squash"):
        raise _refused(folder, f"its resize_mode is {mode!r}; shortest and squash are known")
    geometry: dict[str, Any] = (
        {"resize": "squash"}
        if mode == "squash"
        else {"resize": "shortest_edge", "size": found["height"], "crop": "center"}
    )
    return ImageSpec(
        height=found["height"],
        width=found["width"],
        interpolation=_interpolation(folder, settings.get("interpolation", "bicubic")),
        mean=settings.get("mean") or _OPENAI_MEAN,
        std=settings.get("std") or _OPENAI_STD,
        **geometry,
    )
