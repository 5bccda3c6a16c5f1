"""A model whose blocks differ in width, as a bundle: exported, counted, loaded and run."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch

import seetell
from seetell.bundle.manifest import Role
from seetell.bundle.store import Bundle, open_bundle
from seetell.modeling.checkpoints.own import read_bundle_model
from seetell.modeling.export.write_bundle import write_bundle
from seetell.modeling.facts import BundleFacts
from seetell.modeling.models.config import UnifiedConfig
from seetell.modeling.models.unified import UnifiedModel
from seetell.runtime.graph_flops import count_flops
from tests.export.conftest import IMAGES, SETTINGS, shaken

# An export of its own.
pytestmark = pytest.mark.slow

SIZES: dict[Role, dict[str, int]] = {
    "image_encoder": {"B": 1},
    "text_encoder": {"B": 1, "T": 5},
    "fusion_encoder": {"B": 1, "T": 5, "N": 8},
    "decoder_memory": {"B": 1, "N": 8},
    "text_decoder": {"B": 1, "T": 1, "P": 4, "N": 8},
}


@pytest.fixture(scope="module")
def uneven_bundle(
    tmp_path_factory: pytest.TempPathFactory, tokenizer_json: bytes, facts: BundleFacts
) -> Bundle:
    """The tiny model with fewer heads, units and channels, of each block other ones."""
    narrow = {
        "text": {**SETTINGS["text"], "widths": [{"num_heads": 1, "mlp_dim": 40}]},
        "fusion": {**SETTINGS["fusion"], "widths": [{"num_heads": 3, "mlp_dim": 11, "cross_heads": 1}]},
        "image": {
            **IMAGES["hybrid"],
            "inner_channels": [[[3]], [[7]]],
            "widths": [{"num_heads": 1, "mlp_dim": 50}],
        },
    }
    model = shaken(UnifiedModel(UnifiedConfig.model_validate({**SETTINGS, **narrow})))
    folder = tmp_path_factory.mktemp("uneven") / "uneven"
    write_bundle(lambda: copy.deepcopy(model), tokenizer_json, folder, facts)
    return open_bundle(folder)


def test_every_graph_takes_less(uneven_bundle: Bundle, tiny_bundle: Bundle) -> None:
    for role, sizes in SIZES.items():
        assert count_flops(uneven_bundle, role, sizes) < count_flops(tiny_bundle, role, sizes), role
    assert uneven_bundle.path("model.safetensors").stat().st_size < (
        tiny_bundle.path("model.safetensors").stat().st_size
    )


def test_a_head_and_a_unit_cost_what_the_formula_says(uneven_bundle: Bundle, tiny_bundle: Bundle) -> None:
    """The text encoder: one head of 16 and 40 units, where two heads and 64 units were (T = 5, D = 32)."""
    saved = count_flops(tiny_bundle, "text_encoder", SIZES["text_encoder"]) - count_flops(
        uneven_bundle, "text_encoder", SIZES["text_encoder"]
    )
    head = 5 * 4 * 32 * 16 + 2 * 5 * 5 * 16
    assert saved == 2 * (head + 5 * 2 * 32 * (64 - 40))


def test_the_manifest_rebuilds_the_model(uneven_bundle: Bundle) -> None:
    model = read_bundle_model(Path(uneven_bundle.folder))
    shapes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    assert shapes["fusion.stack.blocks.0.cross_attention.value.weight"] == (8, 32)
    assert shapes["image_encoder.resnet.stages.1.0.convs.0.0.weight"] == (7, 8, 3, 3)
    assert all(torch.isfinite(tensor).all() for tensor in model.state_dict().values())


def test_every_task_runs(uneven_bundle: Bundle) -> None:
    photo = np.random.default_rng(0).integers(0, 256, (20, 40, 3), np.uint8)
    with seetell.load(uneven_bundle.folder, precision="fp32", device="cpu") as model:
        options = model.generation_options(max_tokens=6, beams=2)
        assert model.caption(photo, options=options).text
        assert model.ask(photo, "two dogs?").answer in uneven_bundle.manifest.answers
        assert model.embed_images([photo]).shape == (1, 20)
        assert model.match(photo, ["a dog"])[0].similarity is not None
