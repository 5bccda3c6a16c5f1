"""Photos decoded at reduced scale, as seetell does by default, against the reference that decodes in full.

Cosines are centred: vectors of photos of one model have much in common, and a plain cosine of 0.999 would say
little. They are of the reference's own processors and models on one side, and of seetell's tasks, from the
file, on the other.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from transformers import (
    AutoImageProcessor,
    BlipForConditionalGeneration,
    ResNetConfig,
    ResNetForImageClassification,
    ViltForQuestionAnswering,
    ViTForImageClassification,
)

from seetell.bundle.tokenizer import Tokenizer
from seetell.media.images import decode_image
from seetell.modeling.checkpoints.registry import family_of
from seetell.modeling.checkpoints.source import CheckpointFolder
from seetell.modeling.checkpoints.table import load_model
from seetell.modeling.export.torch_engine import TorchEngine
from seetell.modeling.export.write_bundle import BundleFacts, manifest_of
from seetell.tasks.model import Model
from tests.parity import (
    test_blip,
    test_chinese_clip,
    test_clip,
    test_image_classifiers,
    test_siglip,
    test_vilt,
)

LEAST_COSINE = 0.999
COUNT = 50

Make = Callable[[Path], Any]
Vectors = Callable[[Any, dict[str, Tensor]], Tensor]


def photo_file(number: int) -> bytes:
    """A JPEG as cameras make them: detail of all sizes, less of the fine (power falls with the square of the
    frequency, as in natural photographs: Field 1987), some hard edges, and a little noise."""
    random = np.random.default_rng(number)
    height, width = (int(one) for one in random.integers(420, 900, 2))
    down = np.fft.fftfreq(height)[:, None]
    across = np.fft.rfftfreq(width)[None, :]
    distance = np.maximum(np.hypot(down, across), 1 / max(height, width))
    noise = np.fft.rfft2(random.standard_normal((3, height, width)))
    smooth = np.fft.irfft2(noise / distance, (height, width))
    smooth += 1.5 * smooth.mean(axis=0)  # colours go together
    pixels = 128 + 55 * smooth / smooth.std()
    for _ in range(4):
        top, left = int(random.integers(0, height - 60)), int(random.integers(0, width - 60))
        tall, wide = (int(one) for one in random.integers(40, 300, 2))
        pixels[:, top : top + tall, left : left + wide] += random.integers(-90, 91, (3, 1, 1))
    pixels += random.normal(0, 2, pixels.shape)
    stream = io.BytesIO()
    picture = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8).transpose(1, 2, 0))
    picture.save(stream, "JPEG", quality=90)
    return stream.getvalue()


@pytest.fixture(scope="module")
def files() -> list[bytes]:
    return [photo_file(number) for number in range(COUNT)]


def tasks(folder: Path) -> Model:
    """seetell over the torch model, with everything at its default."""
    checkpoint = CheckpointFolder(folder)
    family = family_of(checkpoint)
    reading = family.reading(checkpoint)
    loaded = load_model(checkpoint, family)
    engine = TorchEngine(loaded)
    facts = BundleFacts(
        name=family.name,
        licence="for tests only",
        image=reading.image,
        text=reading.text,
        answers=reading.answers,
        labels=reading.labels,
    )
    manifest = manifest_of(loaded, engine.graphs, facts)
    tokenizer = None
    if reading.text is not None and reading.tokenizer_json is not None:
        tokenizer = Tokenizer(reading.tokenizer_json.decode("utf-8"), reading.text)
    return Model(manifest, tokenizer, engine)


def dual(reference: Any, inputs: dict[str, Tensor]) -> Tensor:
    vectors: Tensor = reference.get_image_features(**inputs).pooler_output
    return vectors / vectors.norm(dim=-1, keepdim=True)


def vision(reference: Any, inputs: dict[str, Tensor]) -> Tensor:
    return torch.as_tensor(reference.vision_model(**inputs).last_hidden_state.mean(dim=1))


def backbone(reference: Any, inputs: dict[str, Tensor]) -> Tensor:
    state = reference.base_model(**inputs).last_hidden_state
    return torch.as_tensor(state.flatten(2).mean(dim=2) if state.ndim == 4 else state.mean(dim=1))


def patches(reference: Any, inputs: dict[str, Tensor]) -> Tensor:
    """ViLT's image tokens are what its patches become before the stream; one photo has as many as it has."""
    embeddings = reference.vilt.embeddings
    found, mask, _ = embeddings.visual_embed(
        inputs["pixel_values"], inputs["pixel_mask"], max_image_length=reference.config.max_image_length
    )
    return torch.as_tensor((found * mask[..., None]).sum(dim=1) / mask.sum(dim=1, keepdim=True))


def make_vit(folder: Path) -> Any:
    test_image_classifiers._saved_vit(folder)
    return ViTForImageClassification.from_pretrained(folder).eval()


def make_resnet(folder: Path) -> Any:
    sizes, labels = test_image_classifiers.TINY_RESNET, test_image_classifiers.LABELS
    model = ResNetForImageClassification(ResNetConfig(**sizes, **labels))
    test_image_classifiers._save(model, folder, (64, 64))
    return model


KINDS: dict[str, tuple[Make, Vectors]] = {
    "clip": (lambda folder: test_clip.make("plain", folder), dual),
    "siglip": (lambda folder: test_siglip.make("plain", folder), dual),
    "chinese_clip": (lambda folder: test_chinese_clip.make("plain", folder), dual),
    "blip": (lambda folder: test_blip.make(BlipForConditionalGeneration, "plain", folder), vision),
    "vilt": (lambda folder: test_vilt.make(ViltForQuestionAnswering, "plain", folder), patches),
    "vit": (make_vit, backbone),
    "resnet": (make_resnet, backbone),
}


def ours(model: Model, files: list[bytes]) -> NDArray[np.float64]:
    if "embed" in model.tasks:
        return model.embed_images(files).astype(np.float64)
    return np.stack([model.features(file).tokens[0].mean(axis=0) for file in files]).astype(np.float64)


def centred_cosines(first: NDArray[Any], second: NDArray[Any]) -> NDArray[np.float64]:
    """The cosine of each row with its like, after the mean row of ``second`` is taken from both."""
    one, other = first - second.mean(axis=0), second - second.mean(axis=0)
    products = (one * other).sum(axis=1)
    return np.asarray(products / np.linalg.norm(one, axis=1) / np.linalg.norm(other, axis=1))


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_vectors_are_those_of_the_reference(kind: str, files: list[bytes], tmp_path: Path) -> None:
    make, vectors = KINDS[kind]
    reference = make(tmp_path)
    model = tasks(tmp_path)
    spec = model.manifest.image
    assert spec is not None
    reduced = [decode_image(file, min_size=spec.min_source_size).shape for file in files]
    whole = [decode_image(file, exact=True).shape for file in files]
    assert all(one[0] < other[0] for one, other in zip(reduced, whole, strict=True)), "nothing was reduced"
    processor = AutoImageProcessor.from_pretrained(tmp_path, backend="pil")
    expected = []
    with torch.no_grad():
        for file in files:
            inputs = processor([Image.open(io.BytesIO(file))], return_tensors="pt")
            expected.append(vectors(reference, dict(inputs))[0].numpy())
    cosines = centred_cosines(ours(model, files), np.stack(expected).astype(np.float64))
    assert cosines.min() >= LEAST_COSINE, f"{cosines.min():.6f}"
