"""Photos decoded at reduced scale, as seetell does by default, against the reference that decodes in full.

Cosines are centred: vectors of photos of one model have much in common, and a plain cosine of 0.999 would say
little. They are of the reference's own processors and models on one side, and of seetell's tasks, from the
file, on the other.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from transformers import AutoImageProcessor, BlipForImageTextRetrieval

from seetell.bundle.tokenizer import Tokenizer
from seetell.media.images import decode_photo
from seetell.media.preprocess import preprocess
from seetell.modeling.checkpoints.image_specs import image_spec
from seetell.modeling.checkpoints.registry import family_of
from seetell.modeling.checkpoints.source import CheckpointFolder
from seetell.modeling.checkpoints.table import load_model
from seetell.modeling.export.torch_engine import TorchEngine
from seetell.modeling.export.write_bundle import manifest_of
from seetell.modeling.facts import BundleFacts
from seetell.tasks.model import Model
from tests.parity import test_blip, test_chinese_clip, test_clip, test_siglip
from tests.parity.checkpoint_files import folder_without_weights
from tests.parity.test_image_processors import FILES
from tests.parity.towers import tower

# Of every photo.
LEAST_COSINE = 0.999
COUNT = 50
# Width of the embeddings. Published ones have 512 and more: of a few numbers, single ones would decide.
SHARED = 64
# Of the files in test_image_processors, one of each family.
PHOTOS = ("clip", "siglip", "siglip2", "chinese-clip", "blip", "vilt", "vit", "resnet")


def photo_file(number: int) -> bytes:
    """A JPEG as cameras make them: detail of all sizes, less of the fine (power falls with the square of the
    frequency, as in natural photographs: Field 1987), some hard edges, and a little noise."""
    random = np.random.default_rng(number)
    # Every fifth is large enough for 1/4, and for 1/2 where colour is halved in one direction only.
    edges = (2480, 3400) if number % 5 == 0 else (1240, 1900)
    height, width = (int(one) for one in random.integers(*edges, 2))
    down = np.fft.fftfreq(height)[:, None]
    across = np.fft.rfftfreq(width)[None, :]
    distance = np.maximum(np.hypot(down, across), 1 / max(height, width))
    noise = np.fft.rfft2(random.standard_normal((3, height, width)))
    smooth = np.fft.irfft2(noise / distance, (height, width))
    smooth += 1.5 * smooth.mean(axis=0)  # colours go together
    pixels = 128 + 55 * smooth / smooth.std()
    for _ in range(4):
        top, left = int(random.integers(0, height - 90)), int(random.integers(0, width - 90))
        tall, wide = (int(one) for one in random.integers(80, 600, 2))
        pixels[:, top : top + tall, left : left + wide] += random.integers(-90, 91, (3, 1, 1))
    pixels += random.normal(0, 2, pixels.shape)
    stream = io.BytesIO()
    picture = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8).transpose(1, 2, 0))
    quality, subsampling = int(random.choice([75, 85, 92, 97])), int(random.choice([0, 1, 2]))
    picture.save(stream, "JPEG", quality=quality, subsampling=subsampling)
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


def tower_of(width: int) -> dict[str, Any]:
    """As many patches of as many pixels as in published towers; fewer layers."""
    return tower(width, 4, patch_size=16, image_size=224, num_hidden_layers=3)


def make_clip(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    shape = {"text": tower(24, 4), "vision": tower_of(64), "shared": SHARED}
    monkeypatch.setitem(test_clip.SHAPES, "full photos", shape)
    return test_clip.make("full photos", folder)


def make_siglip(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    shape = {"text": tower(24, 4, projection_size=SHARED), "vision": tower_of(64)}
    monkeypatch.setitem(test_siglip.SHAPES, "full photos", shape)
    return test_siglip.make("full photos", folder)


def make_chinese_clip(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    shape = {"text": tower(24, 4), "vision": tower_of(64), "shared": SHARED}
    monkeypatch.setitem(test_chinese_clip.SHAPES, "full photos", shape)
    return test_chinese_clip.make("full photos", folder)


def make_blip(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    vision = {"hidden_size": 64, "num_attention_heads": 4, "patch_size": 16, "num_hidden_layers": 3}
    shape = {"text": {}, "vision": vision, "size": 224, "shared": SHARED}
    monkeypatch.setitem(test_blip.SHAPES, "full photos", shape)
    return test_blip.make(BlipForImageTextRetrieval, "full photos", folder)


EMBEDDING: dict[str, Callable[[Path, pytest.MonkeyPatch], Any]] = {
    "clip": make_clip,
    "siglip": make_siglip,
    "chinese_clip": make_chinese_clip,
    "blip": make_blip,
}


def centred_cosines(first: NDArray[Any], second: NDArray[Any]) -> NDArray[np.float64]:
    """The cosine of each row with its like, after the mean row of ``second`` is taken from both."""
    one, other = first - second.mean(axis=0), second - second.mean(axis=0)
    products = (one * other).sum(axis=1)
    return np.asarray(products / np.linalg.norm(one, axis=1) / np.linalg.norm(other, axis=1))


def reference_embeds(reference: Any, processor: Any, file: bytes) -> NDArray[np.float64]:
    inputs = processor([Image.open(io.BytesIO(file))], return_tensors="pt")
    with torch.no_grad():
        if isinstance(reference, BlipForImageTextRetrieval):
            vectors = reference.vision_proj(reference.vision_model(**inputs).last_hidden_state[:, 0])
        else:
            vectors = reference.get_image_features(**inputs).pooler_output
    found: NDArray[np.float64] = (vectors / vectors.norm(dim=-1, keepdim=True))[0].double().numpy()
    return found


@pytest.mark.slow
@pytest.mark.parametrize("kind", EMBEDDING)
def test_embeddings_are_those_of_the_reference(
    kind: str, files: list[bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)  # some first weights are drawn by the reference itself
    reference = EMBEDDING[kind](tmp_path, monkeypatch)
    model = tasks(tmp_path)
    processor = AutoImageProcessor.from_pretrained(tmp_path, backend="pil")
    expected = np.stack([reference_embeds(reference, processor, file) for file in files])
    cosines = centred_cosines(model.embed_images(files).astype(np.float64), expected)
    assert cosines.min() >= LEAST_COSINE, f"{cosines.min():.6f} of photo {cosines.argmin()}"


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["clip", "siglip", "siglip2", "chinese-clip", "blip", "vilt", "vit", "resnet"]
)
def test_photos_are_those_of_the_reference(name: str, files: list[bytes], tmp_path: Path) -> None:
    """What every family's model is given, those without embeddings too."""
    kind, settings = FILES[name]
    if settings["size"] == 384:  # the rule counts, and larger photos would take longer to make
        settings = {**settings, "size": 224}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(settings), encoding="utf-8")
    spec = image_spec(folder_without_weights(tmp_path, {"model_type": "any"}))
    processor = kind.from_pretrained(tmp_path)
    reduced = 0
    for file in files:
        decoded = decode_photo(file, min_size=spec.min_source_size)
        theirs = processor([Image.open(io.BytesIO(file))], return_tensors="np")["pixel_values"]
        reduced += decoded.pixels.shape[0] < decoded.size[0]
        one, other = (np.asarray(each, np.float64) for each in (preprocess([decoded], spec)[0], theirs))
        assert one.shape == other.shape
        one, other = one - other.mean(), other - other.mean()
        cosine = float((one * other).sum() / np.linalg.norm(one) / np.linalg.norm(other))
        assert cosine >= LEAST_COSINE, f"{cosine:.6f}"
    assert reduced > len(files) // 4, "few were reduced, so this says little"
