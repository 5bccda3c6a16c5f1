"""EfficientNet-Lite gives what the package efficientnet-lite-pytorch gives, and does as a bundle."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from efficientnet_lite_pytorch import EfficientNet
from safetensors.torch import save_file
from torch import nn

import seetell
from seetell.core.errors import CheckpointError, PickleRefused
from seetell.modeling.checkpoints.registry import family_of
from seetell.modeling.checkpoints.source import CheckpointFolder
from seetell.modeling.checkpoints.table import load_model
from seetell.modeling.export.public import convert_checkpoint
from seetell.modeling.models.image_classifier import ImageClassifier
from tests.parity.checkpoints_with_words import difference, photos

# The size each was published with.
SIZES = {0: 224, 1: 240, 2: 260, 3: 280, 4: 300}


def settings(number: int, size: int) -> dict[str, Any]:
    """The config.json that docs/public-models.md gives."""
    value, spread = 127 / 255, 128 / 255
    return {
        "architecture": f"efficientnet_lite{number}",
        "pretrained_cfg": {
            "input_size": [3, size, size],
            "crop_pct": 0.875,
            "interpolation": "bicubic",
            "mean": [value] * 3,
            "std": [spread] * 3,
        },
    }


def written(folder: Path, number: int, *, size: int | None = None, pickled: bool = False) -> EfficientNet:
    """The package's model with seeded weights and statistics, and its checkpoint in ``folder``."""
    torch.manual_seed(number)
    reference = EfficientNet.from_name(f"efficientnet-lite{number}")
    for module in reference.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None and module.running_var is not None
            nn.init.uniform_(module.running_mean, -0.2, 0.2)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.2, 0.2)
    weights = {name: tensor.contiguous() for name, tensor in reference.state_dict().items()}
    if pickled:
        torch.save(weights, folder / f"efficientnet-lite{number}.pth")
    else:
        save_file(weights, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(settings(number, size or SIZES[number])))
    return reference.eval()


def read(folder: Path, **how: bool) -> ImageClassifier:
    checkpoint = CheckpointFolder(folder, **how)
    model = load_model(checkpoint, family_of(checkpoint))
    assert isinstance(model, ImageClassifier)
    return model


@pytest.mark.parametrize(
    "number", [0, *(pytest.param(number, marks=pytest.mark.slow) for number in (1, 2, 3, 4))]
)
def test_logits_are_the_packages(number: int, tmp_path: Path) -> None:
    reference = written(tmp_path, number)
    pixels = torch.randn(2, 3, SIZES[number], SIZES[number], generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        found, expected = read(tmp_path)(pixels), reference(pixels)
    assert difference(found.label_logits, expected) < 1e-4
    assert expected.std() > 1e-3
    sides = [tuple(stage.shape[2:]) for stage in found.stages]
    assert sides == [(-(-SIZES[number] // stride),) * 2 for stride in (4, 8, 16, 32)]


def test_a_pickle_is_read_only_when_allowed(tmp_path: Path) -> None:
    reference = written(tmp_path, 0, pickled=True)
    with pytest.raises(PickleRefused, match="--allow-pickle"):
        CheckpointFolder(tmp_path)
    pixels = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(6))
    with torch.no_grad():
        found, expected = read(tmp_path, allow_pickle=True)(pixels), reference(pixels)
    assert difference(found.label_logits, expected) < 1e-4


def test_weights_of_another_depth_are_refused(tmp_path: Path) -> None:
    written(tmp_path, 0)
    (tmp_path / "config.json").write_text(json.dumps(settings(1, 224)))
    with pytest.raises(CheckpointError, match="efficientnet_lite1"):
        read(tmp_path)


def test_as_a_bundle_it_names_its_labels(tmp_path: Path) -> None:
    source = tmp_path / "lite0"
    source.mkdir()
    reference = written(source, 0, size=64)
    config = settings(0, 64)
    config["pretrained_cfg"]["label_names"] = [f"label {number}" for number in range(1000)]
    (source / "config.json").write_text(json.dumps(config))
    convert_checkpoint(source, tmp_path / "bundle")
    with seetell.load(tmp_path / "bundle", precision="fp32") as model:
        (photo,) = photos(1)
        found = model.features(photo)
    assert [stage.shape[1] for stage in found.stages] == [24, 40, 112, 320]
    assert found.tokens.shape == (1, 4, 1280)
    assert reference is not None
