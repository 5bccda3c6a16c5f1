"""The numpy preprocessing against the image processors of transformers, and where it goes beyond them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from seetell.core.errors import UsageError
from seetell.media.preprocess import ImageSpec, preprocess, resized_size
from tests.broken_files import photo_pixels

CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

# (module and class in transformers, its arguments, the spec that must give the same).
PROCESSORS: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "clip": (
        "clip.image_processing_pil_clip.CLIPImageProcessorPil",
        {},
        {"height": 224, "width": 224, "resize": "shortest_edge", "size": 224, "crop": "center"}
        | {"mean": CLIP_MEAN, "std": CLIP_STD},
    ),
    "clip 336 from its own size": (
        "clip.image_processing_pil_clip.CLIPImageProcessorPil",
        {"size": {"shortest_edge": 336}, "crop_size": {"height": 336, "width": 336}},
        {"height": 336, "width": 336, "resize": "shortest_edge", "crop": "center"}
        | {"mean": CLIP_MEAN, "std": CLIP_STD},
    ),
    "siglip": (
        "siglip.image_processing_pil_siglip.SiglipImageProcessorPil",
        {"image_mean": [0.5] * 3, "image_std": [0.5] * 3},
        {"height": 224, "width": 224},
    ),
    "blip": (
        "blip.image_processing_pil_blip.BlipImageProcessorPil",
        {},
        {"height": 384, "width": 384, "mean": CLIP_MEAN, "std": CLIP_STD},
    ),
    "vit": (
        "vit.image_processing_pil_vit.ViTImageProcessorPil",
        {},
        {"height": 224, "width": 224, "interpolation": "bilinear"},
    ),
    "resnet": (
        "convnext.image_processing_pil_convnext.ConvNextImageProcessorPil",
        {"size": {"shortest_edge": 224}, "crop_pct": 0.875, "resample": 3}
        | {"image_mean": IMAGENET_MEAN, "image_std": IMAGENET_STD},
        {"height": 224, "width": 224, "resize": "shortest_edge", "size": 256, "crop": "center"}
        | {"mean": IMAGENET_MEAN, "std": IMAGENET_STD},
    ),
    "resnet bilinear, another crop": (
        "convnext.image_processing_pil_convnext.ConvNextImageProcessorPil",
        {"size": {"shortest_edge": 160}, "crop_pct": 0.95, "resample": 2}
        | {"image_mean": IMAGENET_MEAN, "image_std": IMAGENET_STD},
        {"height": 160, "width": 160, "resize": "shortest_edge", "size": int(160 / 0.95)}
        | {"crop": "center", "interpolation": "bilinear", "mean": IMAGENET_MEAN, "std": IMAGENET_STD},
    ),
    "chinese clip": (
        "chinese_clip.image_processing_pil_chinese_clip.ChineseCLIPImageProcessorPil",
        {"size": {"height": 224, "width": 224}, "do_center_crop": False},
        {"height": 224, "width": 224, "mean": CLIP_MEAN, "std": CLIP_STD},
    ),
    "squash, then crop": (
        "chinese_clip.image_processing_pil_chinese_clip.ChineseCLIPImageProcessorPil",
        {"size": {"height": 256, "width": 256}},
        {"height": 224, "width": 224, "size": 256, "crop": "center", "mean": CLIP_MEAN, "std": CLIP_STD},
    ),
    "vilt": (
        "vilt.image_processing_pil_vilt.ViltImageProcessorPil",
        # What the hub's ViLT checkpoints say.
        {"image_mean": [0.5] * 3, "image_std": [0.5] * 3, "size": {"shortest_edge": 384}},
        {"height": 639, "width": 639, "resize": "shortest_edge_bounded", "size": 384}
        | {"bound": 639, "multiple_of": 32},
    ),
}

# Height and width, odd and even, upright and lying, enlarged and reduced, square, already the right size.
SIZES = [(61, 97), (97, 61), (333, 500), (501, 333), (224, 224), (225, 224), (640, 479), (111, 700), (57, 57)]


@pytest.mark.parametrize("name", PROCESSORS)
def test_equals_the_reference_processor(name: str) -> None:
    path, arguments, fields = PROCESSORS[name]
    module, class_name = path.rsplit(".", 1)
    processors = pytest.importorskip(f"transformers.models.{module}")
    reference = getattr(processors, class_name)(**arguments)
    photos = [photo_pixels(seed, *size) for seed, size in enumerate(SIZES)]
    spec = ImageSpec(**fields)
    pixel_values, mask = preprocess(photos, spec)
    expected = reference(photos, return_tensors="np", input_data_format="channels_last")
    assert pixel_values.dtype == np.float32
    assert pixel_values.shape == expected["pixel_values"].shape
    assert np.abs(pixel_values - expected["pixel_values"]).max() <= 1e-6
    assert (mask is not None) == ("pixel_mask" in expected)
    if mask is not None:
        assert np.array_equal(mask, expected["pixel_mask"].astype(bool))


def test_longest_edge_equals_sam() -> None:
    module = pytest.importorskip("transformers.models.sam.image_processing_pil_sam")
    reference = module.SamImageProcessorPil(
        size={"longest_edge": 160}, pad_size={"height": 160, "width": 160}, resample=2
    )
    photos = [photo_pixels(seed, *size) for seed, size in enumerate([(61, 97), (501, 333), (200, 200)])]
    spec = ImageSpec(
        height=160,
        width=160,
        resize="longest_edge",
        interpolation="bilinear",
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
    )
    pixel_values, mask = preprocess(photos, spec)
    expected = reference(photos, return_tensors="np")["pixel_values"]
    assert np.abs(pixel_values - expected).max() <= 1e-6
    assert mask is not None
    # 61 x 97 becomes 101 x 160: the padding below is 0 and masked out.
    assert mask[0].sum() == 101 * 160
    assert not pixel_values[0, :, 101:].any()


SPECS = [ImageSpec(**fields) for _, _, fields in PROCESSORS.values()]


@given(st.integers(1, 400), st.integers(1, 400), st.sampled_from(SPECS))
def test_any_photo_gives_a_row_of_the_promised_shape(height: int, width: int, spec: ImageSpec) -> None:
    pixel_values, mask = preprocess([photo_pixels(3, height, width)], spec)
    assert np.isfinite(pixel_values).all()
    if spec.has_mask:
        assert mask is not None
        assert mask.all()  # alone in its batch, nothing is padding
        assert max(pixel_values.shape[2:]) <= spec.height
        assert all(edge % spec.multiple_of == 0 for edge in pixel_values.shape[2:])
    else:
        assert mask is None
        assert pixel_values.shape == (1, 3, spec.height, spec.width)


@given(st.lists(st.tuples(st.integers(30, 200), st.integers(30, 200)), min_size=1, max_size=4))
@settings(max_examples=10)
def test_a_batch_is_its_singles_padded(sizes: list[tuple[int, int]]) -> None:
    spec = ImageSpec(
        height=160, width=160, resize="shortest_edge_bounded", size=96, bound=160, multiple_of=32
    )
    photos = [photo_pixels(seed, *size) for seed, size in enumerate(sizes)]
    batch, mask = preprocess(photos, spec)
    assert mask is not None
    for row, photo in enumerate(photos):
        single, _ = preprocess([photo], spec)
        height, width = single.shape[2:]
        assert np.array_equal(batch[row, :, :height, :width], single[0])
        assert mask[row].sum() == height * width
        assert mask[row, :height, :width].all()
        assert not batch[row, :, height:].any()
        assert not batch[row, :, :, width:].any()


@pytest.mark.parametrize("shape", [(1, 3_000_000, 3), (3_000_000, 1, 3)])
def test_a_strip_costs_no_memory(shape: tuple[int, int, int]) -> None:
    # Enlarged as the rule says, the strip would be 224 x 672,000,000 pixels before its crop.
    spec = ImageSpec(height=224, width=224, resize="shortest_edge", crop="center")
    strip = np.zeros(shape, np.uint8)
    middle = 1_500_000
    strip.reshape(-1, 3)[middle - 40 : middle + 40] = 255
    pixel_values, _ = preprocess([strip], spec)
    assert pixel_values.min() == pytest.approx(1.0)  # the crop shows the white middle only


def test_the_bound_holds_for_panoramas_the_reference_fails_on() -> None:
    spec = PROCESSORS["vilt"][2]
    assert resized_size(10, 2000, ImageSpec(**spec)) == (32, 608)


def test_an_empty_batch_has_the_promised_shape() -> None:
    pixel_values, mask = preprocess([], ImageSpec(height=8, width=9))
    assert pixel_values.shape == (0, 3, 8, 9)
    assert mask is None


def test_values_are_per_channel_and_in_rgb_order() -> None:
    photo = np.zeros((4, 4, 3), np.uint8)
    photo[:, :, 0], photo[:, :, 1] = 255, 51
    spec = ImageSpec(height=4, width=4, mean=(0.5, 0.1, 0.25), std=(0.5, 0.1, 0.5))
    pixel_values, _ = preprocess([photo], spec)
    assert pixel_values[0, :, 0, 0] == pytest.approx([1.0, 1.0, -0.5])


@pytest.mark.parametrize(
    "photo",
    [
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((4, 4, 3), np.float32),
        np.zeros((0, 4, 3), np.uint8),
    ],
)
def test_other_arrays_are_refused_with_their_place(photo: Any) -> None:
    good = np.zeros((4, 4, 3), np.uint8)
    with pytest.raises(UsageError, match="image 1 is"):
        preprocess([good, photo], ImageSpec(height=4, width=4))


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"std": (0.5, 0.0, 0.5)}, "std must be positive"),
        ({"resize": "shortest_edge"}, "crop is 'center'"),
        ({"crop": "center"}, "crop is 'center'"),
        ({"resize": "shortest_edge", "crop": "center", "size": 200}, "size must be at least"),
        ({"resize": "shortest_edge_bounded", "size": 128}, "needs size and bound"),
        ({"resize": "shortest_edge_bounded", "size": 128, "bound": 300}, "equal bound"),
        ({"multiple_of": 32}, "belong to"),
        ({"resize": "longest_edge", "size": 225}, "must fit"),
        ({"divisor": 0}, "greater than 0"),
        ({"resize": "stretch"}, "Input should be"),
        ({"colour": "rgb"}, "Extra inputs"),
    ],
)
def test_contradictions_are_refused(fields: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint):
        ImageSpec(**({"height": 224, "width": 224} | fields))


def test_a_spec_survives_its_json_and_cannot_change() -> None:
    for spec in SPECS:
        assert ImageSpec.model_validate_json(spec.model_dump_json()) == spec
    with pytest.raises(ValidationError):
        SPECS[0].height = 5


def test_min_source_size_is_what_the_photo_is_shrunk_to() -> None:
    assert ImageSpec(height=200, width=300).min_source_size == (200, 300)
    assert ImageSpec(height=200, width=200, size=256, crop="center").min_source_size == (256, 256)
    spec = ImageSpec(height=224, width=224, resize="shortest_edge", size=256, crop="center")
    assert spec.min_source_size == (256, 256)
