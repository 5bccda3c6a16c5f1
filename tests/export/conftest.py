"""Tiny models with weights that matter, and one of them as a bundle."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from seetell.bundle.store import Bundle, open_bundle
from seetell.learning.tokenizer_training import built_in_text_spec, train_tokenizer
from seetell.media.preprocess import ImageSpec
from seetell.modeling.export.torch_engine import TorchEngine
from seetell.modeling.export.write_bundle import write_bundle
from seetell.modeling.facts import BundleFacts
from seetell.modeling.models.config import UnifiedConfig
from seetell.modeling.models.unified import UnifiedModel

IMAGES = {
    "vit": {"kind": "vit", "patch_size": 8, "embed_dim": 24, "depth": 2, "num_heads": 3, "mlp_ratio": 2.0},
    "resnet": {"kind": "resnet", "depths": [1, 1], "channels": [8, 24], "stem_channels": 8},
    "hybrid": {
        "kind": "hybrid",
        "depths": [1, 1],
        "channels": [8, 16],
        "stem_channels": 8,
        "embed_dim": 32,
        "depth": 1,
        "num_heads": 2,
        "mlp_ratio": 2.0,
    },
}
SETTINGS: dict[str, Any] = {
    "text": {
        "vocab_size": 280,
        "context_length": 16,
        "embed_dim": 32,
        "depth": 1,
        "num_heads": 2,
        "mlp_ratio": 2.0,
    },
    "fusion": {"kind": "cross_attention", "depth": 1, "num_heads": 4, "mlp_ratio": 2.0},
    "image_size": [16, 32],
    "shared_dim": 20,
    "num_answers": 5,
    "num_labels": 3,
}
MakeModel = Callable[..., UnifiedModel]


def build(image: str = "hybrid", fusion: str = "cross_attention", **changes: object) -> UnifiedModel:
    """A tiny model whose weights matter."""
    settings = {
        **SETTINGS,
        "image": IMAGES[image],
        "fusion": {**SETTINGS["fusion"], "kind": fusion},
        **changes,
    }
    torch.manual_seed(7)
    return shaken(UnifiedModel(UnifiedConfig.model_validate(settings)))


def shaken(model: UnifiedModel) -> UnifiedModel:
    """The model with random norms, biases and statistics: at their first values (zeros and ones) a graph that
    dropped them would look right."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim == 1:
                parameter.add_(torch.randn_like(parameter) * 0.3)
            elif "tokens" in name or "positions" in name:
                parameter.mul_(20)
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                assert module.running_mean is not None and module.running_var is not None
                module.running_mean.normal_(std=0.3)
                module.running_var.uniform_(0.5, 2.0)
    return model.eval()


@pytest.fixture(scope="session")
def make_model() -> MakeModel:
    return build


@pytest.fixture(scope="session")
def tokenizer_json() -> bytes:
    texts = ["a dog runs on the grass", "一只狗在草地上跑", "two dogs", "the grass is green"]
    return train_tokenizer(texts * 3, 280).encode()


@pytest.fixture(scope="session")
def facts() -> BundleFacts:
    return BundleFacts(
        name="tiny",
        licence="for tests only",
        languages=("en", "zh"),
        image=ImageSpec(height=16, width=32),
        text=built_in_text_spec(16),
        answers=("yes", "no", "red", "two", "dog"),
        labels=("cat", "dog", "boat"),
    )


@pytest.fixture(scope="session")
def tiny_model() -> UnifiedModel:
    return build()


@pytest.fixture(scope="session")
def tiny_bundle(
    tmp_path_factory: pytest.TempPathFactory,
    tiny_model: UnifiedModel,
    tokenizer_json: bytes,
    facts: BundleFacts,
) -> Bundle:
    folder = tmp_path_factory.mktemp("bundles") / "tiny"
    write_bundle(lambda: copy.deepcopy(tiny_model), tokenizer_json, folder, facts)
    return open_bundle(folder)


@pytest.fixture(scope="session")
def stored_engine(tiny_bundle: Bundle) -> TorchEngine:
    """torch with the weights of the bundle, as rounded."""
    from seetell.modeling.checkpoints.own import read_bundle_model

    return TorchEngine(read_bundle_model(Path(tiny_bundle.folder)))
