"""ViT and ResNet give what transformers gives, tokens, stages and labels, and do as bundles."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import (
    PreTrainedModel,
    ResNetConfig,
    ResNetForImageClassification,
    ResNetModel,
    ViTConfig,
    ViTForImageClassification,
    ViTModel,
)
from transformers.models.convnext.image_processing_pil_convnext import ConvNextImageProcessorPil
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

import seetell
from seetell.core.errors import CheckpointError
from seetell.modeling.checkpoints.registry import family_of
from seetell.modeling.checkpoints.source import CheckpointFolder
from seetell.modeling.checkpoints.table import load_model
from seetell.modeling.export.public import convert_checkpoint
from seetell.modeling.export.roles.registry import role_modules
from seetell.modeling.models.image_classifier import ImageClassifier
from tests.parity.checkpoints_with_words import difference, photos, shake

TINY_VIT: dict[str, Any] = {
    "hidden_size": 24,
    "num_hidden_layers": 3,
    "num_attention_heads": 3,
    "intermediate_size": 40,
    "image_size": 32,
    "patch_size": 8,
}
VITS: dict[str, dict[str, Any]] = {
    "three heads": {},
    "oblong photo": {"image_size": [16, 40], "hidden_act": "gelu_new"},
    "other patches": {"patch_size": 16, "image_size": [48, 32], "hidden_act": "quick_gelu"},
    "five heads": {"hidden_size": 20, "num_attention_heads": 5, "layer_norm_eps": 1e-5, "hidden_act": "relu"},
    "one layer": {"num_hidden_layers": 1, "num_attention_heads": 1},
}
TINY_RESNET: dict[str, Any] = {"embedding_size": 6, "hidden_sizes": [8, 16, 24], "depths": [2, 1, 1]}
RESNETS: dict[str, dict[str, Any]] = {
    "bottleneck": {},
    "basic": {"layer_type": "basic"},
    "stride in the first": {"downsample_in_bottleneck": True, "hidden_act": "gelu"},
    "first stage strides": {"downsample_in_first_stage": True, "hidden_sizes": [8, 16], "depths": [1, 2]},
    "basic, same width": {"layer_type": "basic", "embedding_size": 8, "depths": [1, 1, 2]},
}
LABELS = {"id2label": {0: "cat", 1: "dog", 2: "boat"}, "label2id": {"cat": 0, "dog": 1, "boat": 2}}


def _stir(model: nn.Module) -> None:
    """Statistics of batch norms that change something."""
    generator = torch.Generator().manual_seed(1)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None and module.running_var is not None
            module.running_mean.copy_(torch.randn(module.num_features, generator=generator) * 0.3)
            module.running_var.copy_(torch.rand(module.num_features, generator=generator) + 0.5)


def _save(model: PreTrainedModel, folder: Path, size: tuple[int, int]) -> None:
    shake(model)
    _stir(model)
    model.save_pretrained(folder)
    height, width = size
    if model.config.model_type == "vit":
        ViTImageProcessorPil(size={"height": height, "width": width}).save_pretrained(folder)
    else:
        # A square one is all the class can say.
        ConvNextImageProcessorPil(size={"shortest_edge": height}).save_pretrained(folder)


def _load(folder: Path) -> ImageClassifier:
    checkpoint = CheckpointFolder(folder)
    model = load_model(checkpoint, family_of(checkpoint))
    assert isinstance(model, ImageClassifier)
    return model


def _pixels(size: tuple[int, int], count: int = 2) -> Tensor:
    return torch.randn(count, 3, *size, generator=torch.Generator().manual_seed(4))


def _size(config: ViTConfig) -> tuple[int, int]:
    told = config.image_size
    return (told, told) if isinstance(told, int) else (told[0], told[1])


@pytest.mark.parametrize("name", VITS)
def test_vit(name: str, tmp_path: Path) -> None:
    config = ViTConfig(**{**TINY_VIT, **VITS[name]}, **LABELS)
    size = _size(config)
    reference = ViTForImageClassification(config)
    _save(reference, tmp_path, size)
    ours = _load(tmp_path)
    pixels = _pixels(size)
    with torch.no_grad():
        found = ours(pixels)
        states = reference.vit(pixels, output_hidden_states=True)
        logits = reference(pixels).logits
    assert difference(found.label_logits, logits) < 1e-4
    assert difference(found.tokens, states.last_hidden_state) < 1e-4
    # Stages are the patches' part of hidden states, as maps.
    patch = config.patch_size
    height, width = size[0] // patch, size[1] // patch
    ends = ours.encoder.stage_ends
    assert len(found.stages) == len(ends) == min(config.num_hidden_layers, 4)
    for stage, end in zip(found.stages, ends, strict=True):
        state = states.hidden_states[end + 1][:, 1:].transpose(1, 2).reshape(2, -1, height, width)
        assert difference(stage, state) < 1e-4


@pytest.mark.parametrize("name", RESNETS)
def test_resnet(name: str, tmp_path: Path) -> None:
    config = ResNetConfig(**{**TINY_RESNET, **RESNETS[name]}, **LABELS)
    reference = ResNetForImageClassification(config)
    _save(reference, tmp_path, (64, 64))
    ours = _load(tmp_path)
    # Sides that are no multiple of the stride, too.
    for size in ((64, 64), (50, 75)):
        pixels = _pixels(size)
        with torch.no_grad():
            found = ours(pixels)
            states = reference.resnet(pixels, output_hidden_states=True)
            logits = reference(pixels).logits
        assert difference(found.label_logits, logits) < 1e-4
        assert difference(found.tokens, states.last_hidden_state.flatten(2).transpose(1, 2)) < 1e-4
        for stage, state in zip(found.stages, states.hidden_states[1:], strict=True):
            assert difference(stage, state) < 1e-4


@pytest.mark.parametrize("kind", ["vit", "resnet"])
def test_encoders_without_a_head(kind: str, tmp_path: Path) -> None:
    reference: PreTrainedModel
    if kind == "vit":
        reference = ViTModel(ViTConfig(**TINY_VIT))  # with its pooler, which nothing here reads
    else:
        reference = ResNetModel(ResNetConfig(**TINY_RESNET))
    _save(reference, tmp_path, (32, 32))
    ours = _load(tmp_path)
    pixels = _pixels((32, 32))
    with torch.no_grad():
        found = ours(pixels)
        expected = reference(pixels).last_hidden_state
    tokens = expected if kind == "vit" else expected.flatten(2).transpose(1, 2)
    assert found.label_logits is None
    assert difference(found.tokens, tokens) < 1e-4
    (encoder,) = role_modules(ours).values()
    assert "label_logits" not in encoder.outputs
    assert ours.limits.num_labels == 0


def _to_timm(name: str) -> str:
    """transformers' name of a ResNet's weight as timm has it."""
    name = name.replace("resnet.embedder.embedder.convolution", "conv1")
    name = name.replace("resnet.embedder.embedder.normalization", "bn1").replace("classifier.1", "fc")
    name = re.sub(
        r"resnet\.encoder\.stages\.(\d)\.layers\.", lambda found: f"layer{int(found[1]) + 1}.", name
    )
    name = re.sub(
        r"layer\.(\d)\.(convolution|normalization)",
        lambda found: f"{'conv' if found[2] == 'convolution' else 'bn'}{int(found[1]) + 1}",
        name,
    )
    return name.replace("shortcut.convolution", "downsample.0").replace(
        "shortcut.normalization", "downsample.1"
    )


def _save_timm(reference: PreTrainedModel, folder: Path, architecture: str, **settings: Any) -> None:
    state = {_to_timm(name): tensor for name, tensor in reference.state_dict().items()}
    assert "layer1.0.conv1.weight" in state and "layer2.0.downsample.1.running_var" in state
    folder.mkdir(exist_ok=True)
    save_file(state, folder / "model.safetensors")
    told = {"input_size": [3, 64, 64], "crop_pct": 0.9, "interpolation": "bicubic", **settings}
    config = {"architecture": architecture, "num_classes": 3, "pretrained_cfg": told}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")


def test_timm_names(tmp_path: Path) -> None:
    """The weights of transformers' ResNet-18 under timm's names (timm itself is no dependency)."""
    config = ResNetConfig(layer_type="basic", hidden_sizes=[64, 128, 256, 512], depths=[2, 2, 2, 2], **LABELS)
    reference = ResNetForImageClassification(config)
    shake(reference)
    _stir(reference)
    described = {"n1": "cat, tabby", "n2": "dog"}
    names = {"label_names": ["n1", "n2", "n3"], "label_descriptions": described}
    _save_timm(reference, tmp_path, "resnet18", **names)
    ours = _load(tmp_path)
    pixels = _pixels((64, 64), 1)
    with torch.no_grad():
        found = ours(pixels)
        states = reference.resnet(pixels, output_hidden_states=True).hidden_states
        assert difference(found.label_logits, reference(pixels).logits) < 1e-4
    for stage, state in zip(found.stages, states[1:], strict=True):
        assert difference(stage, state) < 1e-4
    checkpoint = CheckpointFolder(tmp_path)
    reading = family_of(checkpoint).reading(checkpoint)
    assert reading.labels == ("cat, tabby", "dog", "n3")
    assert reading.image is not None and reading.image.size == 71


def test_a_changed_timm_model_is_refused(tmp_path: Path) -> None:
    config = ResNetConfig(layer_type="basic", hidden_sizes=[8, 16], depths=[1, 1])
    _save_timm(ResNetForImageClassification(config), tmp_path, "resnet18")
    document = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    for changes, what in (
        ({"model_args": {"stem_type": "deep"}}, "model_args \\(stem_type\\)"),
        ({"architecture": "resnet50d"}, "no family"),
        ({}, "missing: .*layer|of another shape"),
    ):
        (tmp_path / "config.json").write_text(json.dumps({**document, **changes}), encoding="utf-8")
        with pytest.raises(CheckpointError, match=what):
            _load(tmp_path)


@pytest.mark.parametrize("kind", ["vit", "resnet"])
def test_gradients_agree(kind: str, tmp_path: Path) -> None:
    """Of one loss, for every weight the head depends on, both in evaluation mode."""
    reference: PreTrainedModel
    if kind == "vit":
        reference = ViTForImageClassification(ViTConfig(**TINY_VIT, **LABELS))
    else:
        reference = ResNetForImageClassification(ResNetConfig(**TINY_RESNET, **LABELS))
    _save(reference, tmp_path, (32, 32))
    ours = _load(tmp_path)
    checkpoint = CheckpointFolder(tmp_path)
    names = family_of(checkpoint).names
    pixels, labels = _pixels((32, 32)), torch.tensor([2, 0])
    nn.functional.cross_entropy(ours(pixels).label_logits, labels).backward()
    reference(pixels, labels=labels).loss.backward()
    mine = dict(ours.named_parameters())
    theirs = {name: parameter.grad for name, parameter in reference.named_parameters()}
    compared = 0
    for name in checkpoint.weight_names():
        # Files keep transformers 4's names of some layers; the model in memory has others.
        grad = theirs.get(_in_memory(name))
        if grad is None:
            continue
        row = next(found for row in names if (found := row.apply(name, lambda grad=grad: grad)))
        for target, read in row.items():
            assert difference(mine[target].grad, read()) < 1e-4, name
            compared += 1
    assert compared == len(mine)


def _in_memory(name: str) -> str:
    name = re.sub(r"encoder\.layer\.(\d+)\.", r"layers.\1.", name)
    name = re.sub(
        r"attention\.attention\.(query|key|value)", lambda found: f"attention.{found[1][0]}_proj", name
    )
    name = name.replace("attention.output.dense", "attention.o_proj")
    name = name.replace("intermediate.dense", "mlp.fc1").replace("output.dense", "mlp.fc2")
    return name


@pytest.fixture(scope="module", params=["vit", "resnet", "vit of independent labels"])
def converted(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A checkpoint and its bundle, weights in float32."""
    root = tmp_path_factory.mktemp(request.param)
    reference: PreTrainedModel
    if request.param.startswith("vit"):
        kind = None if request.param == "vit" else "multi_label_classification"
        config = ViTConfig(**{**TINY_VIT, "image_size": [32, 48], "problem_type": kind}, **LABELS)
        reference = ViTForImageClassification(config)
    else:
        reference = ResNetForImageClassification(ResNetConfig(**TINY_RESNET, **LABELS))
    _save(reference, root / "checkpoint", (32, 48))
    convert_checkpoint(root / "checkpoint", root / "bundle", weights_dtype="fp32")
    return root / "checkpoint", root / "bundle"


def test_a_bundle_says_what_the_reference_says(converted: tuple[Path, Path]) -> None:
    checkpoint, bundle = converted
    vit = "vit" in json.loads((checkpoint / "config.json").read_text(encoding="utf-8"))["model_type"]
    kind: Callable[..., Any] = ViTForImageClassification if vit else ResNetForImageClassification
    processor: Callable[..., Any] = ViTImageProcessorPil if vit else ConvNextImageProcessorPil
    reference = kind.from_pretrained(checkpoint)
    prepare = processor.from_pretrained(checkpoint)
    with seetell.load(bundle, precision="fp32", exact_decode=True) as model, torch.no_grad():
        assert model.manifest.tasks == ("classify", "features")
        found = model.classify(photos())
        inputs = prepare([Image.fromarray(one) for one in photos()], return_tensors="pt")
        expected = reference(**inputs, output_hidden_states=True)
        # As transformers' own pipeline does.
        together = reference.config.problem_type is None
        probabilities = expected.logits.softmax(dim=-1) if together else expected.logits.sigmoid()
        for one, row in zip(found, probabilities, strict=True):
            ranked = {entry.label: entry.probability for entry in one.ranking}
            assert one.label == reference.config.id2label[int(row.argmax())]
            told = [ranked[reference.config.id2label[number]] for number in range(3)]
            np.testing.assert_allclose(told, row.numpy(), atol=1e-4)
        features = model.features(photos())
        if vit:
            states = reference.vit(**inputs).last_hidden_state
        else:
            states = expected.hidden_states[-1].flatten(2).transpose(1, 2)
            for stage, state in zip(features.stages, expected.hidden_states[1:], strict=True):
                assert difference(stage, state) < 1e-3
        assert difference(features.tokens, states) < 1e-3


def _saved_vit(folder: Path, **changes: Any) -> Path:
    _save(ViTForImageClassification(ViTConfig(**{**TINY_VIT, **changes}, **LABELS)), folder, (32, 32))
    return folder


def _edit(folder: Path, name: str, **changes: Any) -> None:
    document = json.loads((folder / name).read_text(encoding="utf-8"))
    (folder / name).write_text(json.dumps({**document, **changes}), encoding="utf-8")


def test_weights_that_do_not_fit_are_listed(tmp_path: Path) -> None:
    folder = _saved_vit(tmp_path)
    state = load_file(folder / "model.safetensors")
    state["vit.surprise.weight"] = torch.zeros(2)
    del state["vit.layernorm.bias"]
    state["classifier.bias"] = torch.zeros(4)
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError) as caught:
        _load(folder)
    message = str(caught.value)
    assert "unknown: vit.surprise.weight" in message
    assert "encoder.norm.bias" in message
    assert "classifier.bias is [4], not [3]" in message


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"num_attention_heads": 5}, "multiple of num_heads"),
        ({"patch_size": [8, 4]}, "only square"),
        ({"qkv_bias": False}, "qkv_bias"),
        ({"hidden_act": "mish"}, "its activation is 'mish'"),
        ({"image_size": 30}, "multiple of patch size"),
        ({"num_channels": 1}, "1 channels"),
        ({"hidden_size": "wide"}, "hidden_size|embed_dim"),
    ],
)
def test_configurations_that_cannot_be_had(changes: dict[str, Any], what: str, tmp_path: Path) -> None:
    folder = _saved_vit(tmp_path)
    _edit(folder, "config.json", **changes)
    with pytest.raises(CheckpointError, match=what):
        _load(folder)


def test_labels_of_another_head_are_refused(tmp_path: Path) -> None:
    folder = _saved_vit(tmp_path)
    _edit(folder, "config.json", id2label={"0": "cat", "1": "dog"})
    checkpoint = CheckpointFolder(folder)
    with pytest.raises(CheckpointError, match="names 2 labels"):
        family_of(checkpoint).reading(checkpoint)
    _edit(folder, "config.json", id2label=None)
    checkpoint = CheckpointFolder(folder)
    assert family_of(checkpoint).reading(checkpoint).labels == ("LABEL_0", "LABEL_1", "LABEL_2")


@pytest.mark.slow
def test_published_vit(tmp_path: Path) -> None:
    """google/vit-base-patch16-224's numbers, with seeded weights."""
    config = ViTConfig(
        hidden_size=768,
        num_hidden_layers=12,
        num_attention_heads=12,
        intermediate_size=3072,
        hidden_act="gelu",
        layer_norm_eps=1e-12,
        image_size=224,
        patch_size=16,
        num_labels=1000,
    )
    reference = ViTForImageClassification(config)
    _save(reference, tmp_path, (224, 224))
    ours, pixels = _load(tmp_path), _pixels((224, 224))
    with torch.no_grad():
        found, logits = ours(pixels), reference(pixels).logits
        assert difference(found.label_logits, logits) < 1e-3
        assert difference(found.tokens, reference.vit(pixels).last_hidden_state) < 1e-3


@pytest.mark.slow
def test_published_resnet(tmp_path: Path) -> None:
    """microsoft/resnet-50's numbers, with seeded weights; and the same as timm's resnet50."""
    config = ResNetConfig(
        embedding_size=64,
        hidden_sizes=[256, 512, 1024, 2048],
        depths=[3, 4, 6, 3],
        layer_type="bottleneck",
        num_labels=1000,
    )
    reference = ResNetForImageClassification(config)
    _save(reference, tmp_path / "transformers", (224, 224))
    _save_timm(reference, tmp_path / "timm", "resnet50", input_size=[3, 224, 224])
    pixels = _pixels((224, 224))
    with torch.no_grad():
        expected = reference(pixels, output_hidden_states=True)
        # Numbers grow from block to block with weights nobody trained, so differences are relative.
        for name in ("transformers", "timm"):
            found = _load(tmp_path / name)(pixels)
            scale = float(expected.logits.abs().max())
            assert difference(found.label_logits, expected.logits) < 1e-3 * max(scale, 1)
            for stage, state in zip(found.stages, expected.hidden_states[1:], strict=True):
                assert difference(stage, state) < 1e-3 * max(float(state.abs().max()), 1)
