"""What learns and how fast: adapters and frozen parts by pattern, layer-wise decay, in every family."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from seetell.core.errors import RecipeError
from seetell.learning.scenes import write_scenes
from seetell.learning.training import checkpoint as checkpoints
from seetell.learning.training.optimisation import build_optimizer, set_learning_rate
from seetell.learning.training.recipe import read_recipe
from seetell.learning.training.run import prepare, run
from seetell.learning.training.sections import OptimizerSettings, TuneSettings
from seetell.learning.training.tuning import apply_tuning, hold_frozen_statistics, rate_scales
from seetell.modeling.checkpoints.run_folder import read_run
from seetell.modeling.models.config import UnifiedConfig
from seetell.modeling.models.dual_encoder import (
    DualEncoder,
    DualEncoderConfig,
    ImageTowerConfig,
    TextTowerConfig,
)
from seetell.modeling.models.grounded import (
    GroundedConfig,
    GroundedImageConfig,
    GroundedModel,
    GroundedTextConfig,
)
from seetell.modeling.models.single_stream import SingleStreamConfig, SingleStreamModel
from seetell.modeling.models.unified import UnifiedModel
from seetell.modeling.parts.lora import adapters

RECIPE = Path(__file__).resolve().parents[3] / "recipes" / "scenes.yaml"
STACK: dict[str, Any] = {
    "embed_dim": 8,
    "depth": 3,
    "num_heads": 2,
    "mlp_ratio": 2.0,
    "activation": "gelu",
    "norm_eps": 1e-5,
}


def dual() -> DualEncoder:
    return DualEncoder(
        DualEncoderConfig(
            image=ImageTowerConfig(image_size=(16, 16), patch_size=8, **STACK),
            text=TextTowerConfig(vocab_size=20, context_length=8, eos_id=1, **STACK),
            shared_dim=8,
        )
    )


def grounded() -> GroundedModel:
    return GroundedModel(
        GroundedConfig(
            image=GroundedImageConfig(image_size=(16, 16), patch_size=8, **STACK),
            text=GroundedTextConfig(vocab_size=20, context_length=8, **STACK),
            encoder=True,
            decoder=True,
        )
    )


def single_stream() -> SingleStreamModel:
    sizes = {"image_size": (16, 16), "patch_size": 8, "grid": (2, 2), "vocab_size": 20, "context_length": 8}
    return SingleStreamModel(
        SingleStreamConfig(**sizes, num_types=2, num_modalities=2, num_answers=3, **STACK)
    )


def unified() -> UnifiedModel:
    size = {"embed_dim": 8, "depth": 2, "num_heads": 2}
    image = {"kind": "hybrid", "depths": [1, 1], "channels": [8, 8], "stem_channels": 8, **size}
    return UnifiedModel(
        UnifiedConfig.model_validate(
            {
                "image": image,
                "text": {"vocab_size": 20, "context_length": 8, **size},
                "fusion": {"depth": 2, "num_heads": 2},
                "image_size": [32, 32],
                "shared_dim": 8,
            }
        )
    )


KINDS = [dual, grounded, single_stream, unified]


def learning(model: nn.Module) -> set[str]:
    return {name for name, parameter in model.named_parameters() if parameter.requires_grad}


@pytest.mark.parametrize("kind", KINDS)
def test_adapters_fit_the_attention_and_the_mlps_of_every_family(kind: Callable[[], nn.Module]) -> None:
    model = kind()
    linear = {name for name, module in model.named_modules() if isinstance(module, nn.Linear)}
    before = set(model.state_dict())
    apply_tuning(model, TuneSettings.model_validate({"lora": {"rank": 2}}))
    found = set(adapters(model))
    inside = {name for name in linear if ".blocks." in name}
    assert inside and inside <= found
    assert not any(name.endswith("head") or "projection" in name for name in found)
    assert all(".lora_" in name for name in learning(model))
    # Whoever loads or exports weights finds each where it was.
    assert before <= set(model.state_dict())


def test_patterns_choose_layers_and_what_else_learns() -> None:
    model = dual()
    lora = {"on": ["attention", "text_projection"], "also": ["logit_scale", "image_norm"], "rank": 2}
    apply_tuning(model, TuneSettings.model_validate({"lora": lora}))
    assert not any("mlp" in name for name in adapters(model))
    assert "text_projection" in adapters(model)
    full = {name for name in learning(model) if ".lora_" not in name}
    assert full == {"logit_scale", "image_norm.weight", "image_norm.bias"}


def test_frozen_parts_are_frozen_by_module_or_by_pattern() -> None:
    model = dual()
    apply_tuning(model, TuneSettings(freeze=("image_encoder", "text_encoder.blocks.[01].*", "*.bias")))
    assert learning(model)
    for name in learning(model):
        assert not name.startswith("image_encoder.")
        assert not name.startswith(("text_encoder.blocks.0.", "text_encoder.blocks.1."))
        assert not name.endswith(".bias")
    assert "text_encoder.blocks.2.mlp.up.weight" in learning(model)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"freeze": ["imge_encoder"]}, r"tune\.freeze: 'imge_encoder' fits no parameter.*image_encoder"),
        ({"freeze": ["*"]}, "nothing is left to learn"),
        ({"rates": {"imge_encoder": 0.5}}, r"tune\.rates: 'imge_encoder' fits no parameter"),
        ({"lora": {"on": ["heads"]}}, r"tune\.lora\.on: 'heads' is no linear layer here; there are "),
        ({"lora": {"also": ["head"]}}, r"tune\.lora\.also: 'head' fits no parameter"),
        ({"lora": {}, "freeze": ["*lora_*"]}, "nothing is left to learn"),
    ],
)
def test_a_pattern_that_fits_nothing_is_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message) as caught:
        apply_tuning(dual(), TuneSettings.model_validate(settings))
    assert "\n" not in str(caught.value)


def test_rates_fall_block_by_block_towards_the_input() -> None:
    scale = rate_scales(dual(), TuneSettings(layer_decay=0.5))
    for tower in ("image_encoder.transformer", "text_encoder"):
        rates = [scale(f"{tower}.blocks.{number}.mlp.up.weight") for number in range(3)]
        assert rates == [0.5**3, 0.5**2, 0.5]
    below = (
        "image_encoder.patch_embed.weight",
        "image_encoder.class_token",
        "image_encoder.positions",
        "image_encoder.pre_norm.weight",
        "text_embedding.tokens.weight",
    )
    assert {scale(name) for name in below} == {0.5**4}
    above = ("image_norm.weight", "image_projection.weight", "text_projection.weight", "logit_scale")
    assert {scale(name) for name in above} == {1.0}


def test_what_a_rate_fits_learns_at_that_times_its_own() -> None:
    rates = {"image_encoder": 0.1, "image_encoder.*.2.mlp": 0.5}
    scale = rate_scales(dual(), TuneSettings(layer_decay=0.5, rates=rates))
    assert scale("image_encoder.transformer.blocks.1.mlp.up.weight") == pytest.approx(0.1 * 0.5**2)
    assert scale("image_encoder.transformer.blocks.2.mlp.up.weight") == pytest.approx(0.5 * 0.5)
    assert scale("image_projection.weight") == 1.0
    assert scale("text_encoder.blocks.2.mlp.up.weight") == 0.5


def test_towers_of_different_depth_each_have_their_own_course() -> None:
    deeper = {**STACK, "depth": 5}
    model = DualEncoder(
        DualEncoderConfig(
            image=ImageTowerConfig(image_size=(16, 16), patch_size=8, **deeper),
            text=TextTowerConfig(vocab_size=20, context_length=8, eos_id=1, **STACK),
            shared_dim=8,
        )
    )
    scale = rate_scales(model, TuneSettings(layer_decay=0.5))
    assert scale("image_encoder.transformer.blocks.4.mlp.up.weight") == 0.5
    assert scale("text_encoder.blocks.2.mlp.up.weight") == 0.5
    assert scale("image_encoder.positions") == 0.5**6
    assert scale("text_embedding.tokens.weight") == 0.5**4


@pytest.mark.parametrize("kind", KINDS)
def test_in_every_family_words_and_pixels_learn_slowest_and_heads_fastest(
    kind: Callable[[], nn.Module],
) -> None:
    model = kind()
    scale = rate_scales(model, TuneSettings(layer_decay=0.5))
    rates = {name: scale(name) for name, _ in model.named_parameters()}
    assert min(rates.values()) < 1.0
    for name, rate in rates.items():
        if "patch_embed" in name or "embedding" in name or ".resnet." in name:
            blocks = [other for place, other in rates.items() if ".blocks." in place]
            assert rate < max(blocks), name
        if "head" in name or "projection" in name:
            assert rate == 1.0, name


def test_the_optimiser_steps_by_the_scale() -> None:
    model = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False))
    rates = {id(model[0].weight): 0.25, id(model[1].weight): 1.0}
    settings = OptimizerSettings(weight_decay=0.0)
    optimizer = build_optimizer(model, settings, lambda parameter: rates[id(parameter)])
    set_learning_rate(optimizer, 0.1)
    before = [layer.weight.detach().clone() for layer in model]
    for layer in model:
        layer.weight.grad = torch.ones_like(layer.weight)
    optimizer.step()
    moved = [
        float((layer.weight.detach() - old).abs().max()) for layer, old in zip(model, before, strict=True)
    ]
    # Adam's first step is the learning rate itself, whatever the gradient.
    assert moved == pytest.approx([0.025, 0.1], rel=1e-3)


def test_a_frozen_batch_norm_keeps_its_statistics() -> None:
    model = nn.ModuleDict({"frozen": nn.BatchNorm2d(3), "free": nn.BatchNorm2d(3)})
    apply_tuning(model, TuneSettings(freeze=("frozen",)))
    model.train()
    hold_frozen_statistics(model)
    for norm in model.values():
        norm(torch.randn(4, 3, 5, 5) + 7)
    assert torch.equal(model["frozen"].running_mean, torch.zeros(3))
    assert float(model["free"].running_mean.min()) > 0.1


def test_a_batch_norm_without_parameters_is_frozen_by_its_name() -> None:
    model = nn.ModuleDict(
        {
            "head": nn.Sequential(nn.BatchNorm1d(3, affine=False), nn.Linear(3, 2)),
            "free": nn.BatchNorm1d(3, affine=False),
        }
    )
    settings = TuneSettings(freeze=("head.0",))
    apply_tuning(model, settings)
    model.train()
    hold_frozen_statistics(model, settings.freeze)
    model["head"](torch.randn(8, 3) + 7)
    model["free"](torch.randn(8, 3) + 7)
    assert torch.equal(model["head"][0].running_mean, torch.zeros(3))
    assert float(model["free"].running_mean.min()) > 0.1
    assert all(parameter.requires_grad for parameter in model.parameters())


# A whole run ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "scenes"
    write_scenes(folder, 30, seed=2, size=48)
    return folder


SMALL = [
    "steps=4",
    "resolution=[{until: 1.0, size: 32}]",
    "model.image.channels=[16, 32]",
    "model.image.stem_channels=16",
    "model.image.embed_dim=32",
    "model.text.embed_dim=32",
    "data.0.batch_size=4",
    "data.1.batch_size=3",
    "data.2.batch_size=2",
    "schedule.warmup_steps=1",
    "checkpoint.every=2",
]


def test_a_run_with_adapters_trains_them_alone_goes_on_and_converts_merged(
    scenes: Path, tmp_path: Path
) -> None:
    def recipe(name: str, *more: str) -> Any:
        return read_recipe(
            RECIPE, [*SMALL, f"data_root={scenes}", f"checkpoint.dir={tmp_path / name}", *more]
        )

    first = run(recipe("first"))
    began = checkpoints._read(first.checkpoint / "ema.safetensors")
    lora = ["tune.lora={rank: 2, on: [attention]}", f"init={tmp_path / 'first'}", "loss_weights=fixed"]
    fast = "optimizer.lr=0.05"
    result = run(recipe("tuned", *lora, fast))
    ended = checkpoints._read(result.checkpoint / "step.safetensors")
    learned = {
        name.removeprefix("model.")
        for name, tensor in ended.items()
        if name.removeprefix("model.") not in began
        or not torch.equal(tensor, began[name.removeprefix("model.")])
    }
    whole_numbers = {name for name in learned if "running_" in name or "num_batches" in name}
    assert not whole_numbers, "frozen statistics moved"
    assert learned and all(".lora_" in name for name in learned)
    up = [name for name in ended if name.endswith("lora_up")]
    assert all(bool(ended[name].any()) for name in up)

    # Stopped half-way and started again, without the folder it began from, it ends the same.
    half = run(recipe("again", *lora, fast, "steps=2"))
    (tmp_path / "first").rename(tmp_path / "gone")
    assert half.step == 2
    run(recipe("again", *lora, fast))
    for name in ("metrics.jsonl",):
        assert (tmp_path / "again" / name).exists()
    with pytest.raises(Exception, match="another model, data or seed"):
        run(recipe("again", "tune.lora={rank: 2, on: [attention], alpha: 3}", f"init={tmp_path / 'gone'}"))

    # Read for conversion, the adapters are in the weights.
    exported = read_run(tmp_path / "tuned").model
    assert not adapters(exported)
    (tmp_path / "gone").rename(tmp_path / "first")
    step = prepare(recipe("tuned", *lora, fast)).step
    stored = checkpoints._read(result.checkpoint / "ema.safetensors")
    step.model.load_state_dict(stored)
    pixels = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        expected = step.model.eval().encode_image(pixels).embeds
        found = exported.encode_image(pixels).embeds
        before = UnifiedModel(exported.config)
        before.load_state_dict(began)
        original = before.eval().encode_image(pixels).embeds
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
    assert not torch.allclose(found, original, atol=1e-4)
