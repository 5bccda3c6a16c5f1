"""Photos prepared as the reference processors of transformers prepare them, read from their own files."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil
from transformers.models.chinese_clip.image_processing_pil_chinese_clip import ChineseCLIPImageProcessorPil
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.convnext.image_processing_pil_convnext import ConvNextImageProcessorPil
from transformers.models.deit.image_processing_pil_deit import DeiTImageProcessorPil
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil
from transformers.models.vilt.image_processing_pil_vilt import ViltImageProcessorPil
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

from seetell.core.errors import CheckpointError
from seetell.media.images import decode_image
from seetell.media.preprocess import preprocess
from seetell.modeling.checkpoints.image_specs import image_spec
from seetell.modeling.checkpoints.source import CheckpointFolder
from tests.parity.checkpoint_files import folder_without_weights

# What files on the hub look like: of transformers 5 and 4, and of before, when sizes were numbers and
# classes were called feature extractors.
_HALF = {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}
_OPENAI = {
    "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_std": [0.26862954, 0.26130258, 0.27577711],
}
_STEPS = {"do_resize": True, "do_rescale": True, "do_normalize": True, "rescale_factor": 0.00392156862745098}
FILES: dict[str, tuple[type[Any], dict[str, Any]]] = {
    "clip": (
        CLIPImageProcessorPil,
        {
            "crop_size": 224,
            "do_center_crop": True,
            "do_normalize": True,
            "do_resize": True,
            "feature_extractor_type": "CLIPFeatureExtractor",
            **_OPENAI,
            "resample": 3,
            "size": 224,
        },
    ),
    "clip, transformers 4": (
        CLIPImageProcessorPil,
        {
            "crop_size": {"height": 224, "width": 224},
            "do_center_crop": True,
            "do_convert_rgb": True,
            **_STEPS,
            "feature_extractor_type": "CLIPFeatureExtractor",
            "image_processor_type": "CLIPImageProcessor",
            **_OPENAI,
            "resample": 3,
            "size": {"shortest_edge": 224},
        },
    ),
    "clip, oblong crop out of a larger photo": (
        CLIPImageProcessorPil,
        {
            "image_processor_type": "CLIPImageProcessorFast",
            "size": {"shortest_edge": 90},
            "crop_size": {"height": 64, "width": 80},
        },
    ),
    "siglip": (
        SiglipImageProcessorPil,
        {
            **_STEPS,
            "image_processor_type": "SiglipImageProcessor",
            **_HALF,
            "processor_class": "SiglipProcessor",
            "resample": 3,
            "size": {"height": 224, "width": 224},
        },
    ),
    "siglip2": (
        SiglipImageProcessorPil,
        {
            **_STEPS,
            "image_processor_type": "SiglipImageProcessor",
            **_HALF,
            "resample": 2,
            "size": {"height": 224, "width": 224},
        },
    ),
    "chinese-clip": (
        ChineseCLIPImageProcessorPil,
        {
            "crop_size": {"height": 224, "width": 224},
            "do_center_crop": False,
            **_STEPS,
            "feature_extractor_type": "ChineseCLIPFeatureExtractor",
            "image_processor_type": "ChineseCLIPImageProcessor",
            **_OPENAI,
            "resample": 3,
            "size": {"height": 224, "width": 224},
        },
    ),
    "blip": (
        BlipImageProcessorPil,
        {**_STEPS, "image_processor_type": "BlipImageProcessor", **_OPENAI, "size": 384},
    ),
    "vilt": (
        ViltImageProcessorPil,
        {
            "do_normalize": True,
            "do_resize": True,
            "feature_extractor_type": "ViltFeatureExtractor",
            **_HALF,
            "resample": 3,
            "size": 384,
            "size_divisor": 32,
        },
    ),
    "vilt, small": (
        ViltImageProcessorPil,
        {
            "image_processor_type": "ViltImageProcessor",
            "size": {"shortest_edge": 60},
            "size_divisor": 8,
            "do_pad": True,
        },
    ),
    "vit": (
        ViTImageProcessorPil,
        {
            "do_normalize": True,
            "do_resize": True,
            **_HALF,
            "feature_extractor_type": "ViTFeatureExtractor",
            "size": 224,
        },
    ),
    "vit, oblong": (
        ViTImageProcessorPil,
        {"image_processor_type": "ViTImageProcessor", "resample": 1, "size": {"height": 48, "width": 96}},
    ),
    "deit": (
        DeiTImageProcessorPil,
        {
            "crop_size": 224,
            "do_center_crop": True,
            "feature_extractor_type": "DeiTFeatureExtractor",
            "image_mean": [0.485, 0.456, 0.406],
            "image_std": [0.229, 0.224, 0.225],
            "resample": 3,
            "size": 256,
        },
    ),
    "resnet": (
        ConvNextImageProcessorPil,
        {
            "crop_pct": 0.875,
            "do_normalize": True,
            "do_resize": True,
            "feature_extractor_type": "ConvNextFeatureExtractor",
            "image_mean": [0.485, 0.456, 0.406],
            "image_std": [0.229, 0.224, 0.225],
            "resample": 3,
            "size": 224,
        },
    ),
    "convnext at 384": (
        ConvNextImageProcessorPil,
        {"image_processor_type": "ConvNextImageProcessor", "crop_pct": None, "size": {"shortest_edge": 384}},
    ),
    "values as they are": (
        ViTImageProcessorPil,
        {
            "image_processor_type": "ViTImageProcessor",
            "size": 32,
            "do_rescale": False,
            "do_normalize": False,
        },
    ),
}


def _photos() -> list[bytes]:
    """50 photos as files: wide, high, tiny, grey, large and small, smooth and speckled."""
    random = np.random.default_rng(5)
    sizes = [(1, 1), (2, 3), (1, 40), (40, 1), (224, 224), (384, 384), (223, 225), (32, 31), (300, 20)]
    sizes += [tuple(int(one) for one in random.integers(8, 420, 2)) for _ in range(41)]
    files = []
    for number, (height, width) in enumerate(sizes):
        coarse = random.integers(0, 256, (-(-height // 16), -(-width // 16), 3))
        pixels = coarse.repeat(16, axis=0).repeat(16, axis=1)[:height, :width]
        pixels = np.clip(pixels + random.integers(-40, 41, pixels.shape), 0, 255).astype(np.uint8)
        picture = Image.fromarray(pixels)
        if number % 5 == 4:
            picture = picture.convert("L")
        stream = io.BytesIO()
        picture.save(stream, "JPEG" if number % 3 == 1 else "PNG")
        files.append(stream.getvalue())
    return files


@pytest.fixture(scope="module")
def photos() -> list[bytes]:
    return _photos()


def _folder(path: Path, settings: Mapping[str, Any]) -> CheckpointFolder:
    return folder_without_weights(
        path, {"model_type": "any"}, files={"preprocessor_config.json": dict(settings)}
    )


def _reference(processor: Any, files: list[bytes]) -> dict[str, NDArray[Any]]:
    # ViT's processor takes photos as they are, grey ones too; the others convert by themselves.
    pictures = [Image.open(io.BytesIO(file)).convert("RGB") for file in files]
    return {name: np.asarray(value) for name, value in processor(pictures, return_tensors="np").items()}


@pytest.mark.parametrize("name", FILES)
def test_values_are_those_of_the_reference(name: str, photos: list[bytes], tmp_path: Path) -> None:
    kind, settings = FILES[name]
    spec = image_spec(_folder(tmp_path, settings))
    processor = kind.from_pretrained(tmp_path)
    # ViLT divides by nothing where a strip becomes thinner than a multiple.
    files = [photos[0], *photos[4:]] if spec.has_mask else photos
    assert len(photos) == 50
    for start in range(0, len(files), 5):
        batch = files[start : start + 5]
        if spec.has_mask:
            batch = [file for file in batch if _is_no_strip(file)]
        ours, mask = preprocess([decode_image(file, exact=True) for file in batch], spec)
        reference = _reference(processor, batch)
        assert ours.shape == reference["pixel_values"].shape
        np.testing.assert_allclose(ours, reference["pixel_values"], rtol=0, atol=1e-6 * spec.divisor)
        assert (mask is not None) == ("pixel_mask" in reference)
        if mask is not None:
            assert np.array_equal(mask, reference["pixel_mask"].astype(bool))


_OF_MODELS = {
    "clip": "clip",
    "chinese-clip": "chinese_clip",
    "siglip": "siglip",
    "blip": "blip",
    "vilt": "vilt",
    "vit": "vit",
    "deit": "deit",
    "resnet": "resnet",
    "convnext at 384": "convnext",
}


@pytest.mark.parametrize("name", _OF_MODELS)
def test_a_file_without_a_type_is_of_the_model_beside_it(name: str, tmp_path: Path) -> None:
    _, settings = FILES[name]
    expected = image_spec(_folder(tmp_path / "told", settings))
    untold = {key: value for key, value in settings.items() if not key.endswith("_type")}
    assert len(untold) < len(settings)
    files = {"preprocessor_config.json": untold}
    model = {"model_type": _OF_MODELS[name]}
    assert image_spec(folder_without_weights(tmp_path / "untold", model, files=files)) == expected
    within = {"model_type": "vision-encoder-decoder", "encoder": model}
    assert image_spec(folder_without_weights(tmp_path / "within", within, files=files)) == expected


def test_a_file_without_a_type_beside_an_unknown_model(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"names no processor .*for any none is known"):
        image_spec(_folder(tmp_path, {"size": 224}))


def _is_no_strip(file: bytes) -> bool:
    width, height = Image.open(io.BytesIO(file)).size
    return max(width, height) < 8 * min(width, height)


@pytest.mark.parametrize(
    "kind",
    [CLIPImageProcessorPil, SiglipImageProcessorPil, BlipImageProcessorPil, ViltImageProcessorPil],
)
def test_defaults_are_those_of_the_class(kind: type[Any], photos: list[bytes], tmp_path: Path) -> None:
    """A file that says nothing but its class, as old ones nearly do."""
    told = kind.__name__.removesuffix("Pil")
    spec = image_spec(_folder(tmp_path, {"image_processor_type": told}))
    for file in photos[10:14]:
        ours, _ = preprocess([decode_image(file, exact=True)], spec)
        reference = _reference(kind(), [file])["pixel_values"]
        np.testing.assert_allclose(ours, reference, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", ["clip", "vilt", "resnet", "deit"])
def test_what_transformers_5_writes_is_read_alike(name: str, tmp_path: Path) -> None:
    """Nested in processor_config.json, with every default written out."""
    kind, settings = FILES[name]
    old = image_spec(_folder(tmp_path / "old", settings))
    kind.from_pretrained(tmp_path / "old").save_pretrained(tmp_path / "saved")
    written = json.loads((tmp_path / "saved" / "preprocessor_config.json").read_bytes())
    new = folder_without_weights(
        tmp_path / "new",
        {"model_type": "any"},
        files={"processor_config.json": {"image_processor": written, "processor_class": "AnyProcessor"}},
    )
    assert image_spec(new) == old


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        ({"image_processor_type": "Siglip2ImageProcessor"}, "Siglip2ImageProcessor, which is unknown"),
        ({}, "names no processor"),
        ({"image_processor_type": "CLIPImageProcessor", "do_resize": False}, "do_resize"),
        ({"image_processor_type": "CLIPImageProcessor", "do_center_crop": False}, "shape of its own"),
        ({"image_processor_type": "CLIPImageProcessor", "resample": 0}, "resizes by 0"),
        ({"image_processor_type": "CLIPImageProcessor", "size": 200}, "nothing to take"),
        ({"image_processor_type": "ViltImageProcessor", "do_pad": False}, "do_pad"),
        ({"image_processor_type": "ViltImageProcessor", "size": {"height": 3, "width": 3}}, "height 3"),
        ({"image_processor_type": "ConvNextImageProcessor", "size": {"height": 3, "width": 4}}, "width 4"),
        (
            {"image_processor_type": "DeiTImageProcessor", "size": {"height": 300, "width": 260}},
            "then crops",
        ),
        ({"image_processor_type": "ViTImageProcessor", "image_mean": [0.5]}, "cannot be"),
        ({"image_processor_type": "ViTImageProcessor", "image_std": [0.5, 0.0, 0.5]}, "std"),
        ({"image_processor_type": "ViTImageProcessor", "size": "224"}, "cannot be read"),
        ({"image_processor_type": "ViTImageProcessor", "size": {"longest_edge": 30}}, "longest_edge 30"),
        ({"image_processor_type": "ViTImageProcessor", "rescale_factor": 0}, "cannot be read"),
    ],
)
def test_what_cannot_be_had_is_refused(settings: dict[str, Any], what: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=what) as caught:
        image_spec(_folder(tmp_path, settings))
    assert "\n" not in str(caught.value)
    assert str(tmp_path) in str(caught.value)


def test_no_description_is_an_error_and_no_guess(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"preprocessor_config\.json is missing"):
        image_spec(folder_without_weights(tmp_path, {"model_type": "vit"}))


def test_another_size_than_the_models_is_an_error(tmp_path: Path) -> None:
    folder = _folder(tmp_path, FILES["vit"][1])
    assert image_spec(folder, size=(224, 224)).height == 224
    with pytest.raises(CheckpointError, match="224x224 pixels and the model takes 384x192"):
        image_spec(folder, size=(384, 192))


def test_a_padded_photo(tmp_path: Path) -> None:
    spec = image_spec(
        _folder(
            tmp_path,
            {"image_processor_type": "SamImageProcessor", "size": {"longest_edge": 64}, "pad_size": 80},
        )
    )
    values, mask = preprocess([np.full((20, 40, 3), 255, np.uint8)], spec)
    assert values.shape == (1, 3, 80, 80)
    assert mask is not None
    assert mask[0].sum() == 32 * 64
    assert mask[0, :32, :64].all()


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"crop_pct": 0.95, "interpolation": "bicubic"}, ("shortest_edge", 235, "bicubic")),
        ({"crop_pct": 0.875, "interpolation": "bilinear"}, ("shortest_edge", 256, "bilinear")),
        ({"crop_pct": 1.0, "crop_mode": "squash", "interpolation": "bicubic"}, ("squash", None, "bicubic")),
    ],
)
@pytest.mark.parametrize("nested", [True, False])
def test_timm(
    settings: dict[str, Any], expected: tuple[str, int | None, str], nested: bool, tmp_path: Path
) -> None:
    told = {"input_size": [3, 224, 224], "mean": [0.485, 0.456, 0.406], "std": [0.2, 0.2, 0.3], **settings}
    config = {"architecture": "resnet50", **({"pretrained_cfg": told} if nested else told)}
    spec = image_spec(folder_without_weights(tmp_path, config))
    assert (spec.resize, spec.size, spec.interpolation) == expected
    assert (spec.height, spec.width, spec.std) == (224, 224, (0.2, 0.2, 0.3))


@pytest.mark.parametrize(
    "settings",
    [
        {"crop_mode": "border"},
        {"input_size": [3, 224, 192]},
        {"interpolation": "random"},
        {"input_size": None},
    ],
)
def test_timm_settings_that_cannot_be_had(settings: dict[str, Any], tmp_path: Path) -> None:
    config = {"architecture": "resnet50", "input_size": [3, 224, 224], **settings}
    with pytest.raises(CheckpointError, match="preprocessing"):
        image_spec(folder_without_weights(tmp_path, config))


@pytest.mark.parametrize(
    ("settings", "resize"),
    [
        ({}, "shortest_edge"),
        ({"resize_mode": "squash", "size": [224, 224]}, "squash"),
        (None, "shortest_edge"),
    ],
)
def test_open_clip(settings: dict[str, Any] | None, resize: str, tmp_path: Path) -> None:
    config = {"model_cfg": {"vision_cfg": {"image_size": 224}}, "preprocess_cfg": settings}
    spec = image_spec(
        folder_without_weights(
            tmp_path,
            config,
            config_name="open_clip_config.json",
            weights_name="open_clip_model.safetensors",
        )
    )
    assert (spec.resize, spec.height, spec.width, spec.interpolation) == (resize, 224, 224, "bicubic")
    assert spec.mean == (0.48145466, 0.4578275, 0.40821073)
