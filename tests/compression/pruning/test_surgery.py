"""Cutting: what is left computes what the whole did with the rest silenced, whatever was chosen."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from seetell.learning.compression.pruning.gates import gated
from seetell.learning.compression.pruning.surgery import Kept, cut, narrower
from seetell.learning.compression.pruning.units import Group, blocks, groups
from seetell.modeling.export.roles.registry import role_modules
from seetell.modeling.models.config import UnifiedConfig
from seetell.modeling.models.unified import UnifiedModel
from tests.export.conftest import IMAGES, SETTINGS, build, shaken

HYBRID = {**IMAGES["hybrid"], "depth": 3, "depths": [1, 2]}
BOTTLENECK = {**IMAGES["resnet"], "bottleneck": 4, "depths": [1, 2]}
TEXT = {**SETTINGS["text"], "depth": 3, "num_heads": 4}
FUSION = {**SETTINGS["fusion"], "depth": 2}


def deep(**changes: object) -> UnifiedModel:
    """A tiny model with several blocks in every part."""
    told = {**SETTINGS, "image": HYBRID, "text": TEXT, "fusion": FUSION, **changes}
    torch.manual_seed(3)
    return shaken(UnifiedModel(UnifiedConfig.model_validate(told)))


MODELS = {
    "hybrid": deep(),
    "bottleneck": deep(image=BOTTLENECK),
    "vit": deep(image={**IMAGES["vit"], "depth": 3}),
    "gated": deep(fusion={**FUSION, "kind": "gated"}),
}


def outputs(model: UnifiedModel) -> dict[str, Tensor]:
    """What every task reads: photo, text, fused text, captions; stages are of the depth there is."""
    torch.manual_seed(1)
    ids = torch.randint(5, 270, (2, 6))
    mask = torch.tensor([[True] * 6, [True] * 4 + [False] * 2])
    with torch.no_grad():
        image = model.encode_image(torch.randn(2, 3, 16, 32))
        text = model.encode_text(ids, mask)
        fused = model.fuse(text.tokens, mask, image.tokens, image.mask)
        hidden, _ = model.decode(ids, mask, model.memory(image.tokens), image.mask)
        return {
            "image_tokens": image.tokens,
            "image_embeds": image.embeds,
            "text_embeds": text.embeds,
            "fused": fused,
            "answers": model.answer_logits(fused),
            "logits": model.token_logits(hidden),
        }


def gates_of(model: UnifiedModel, kept: Kept) -> dict[str, Tensor]:
    """One for what is kept, zero for the rest."""
    gates: dict[str, Tensor] = {name: torch.tensor(0.0) for name in kept.dropped}
    for group in groups(model):
        if group.name in kept.units:
            gate = torch.zeros(group.count)
            gate[list(kept.units[group.name])] = 1
            gates[group.name] = gate
    return gates


def assert_alike(found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    for name, value in expected.items():
        torch.testing.assert_close(
            found[name], value, atol=1e-5, rtol=1e-5, msg=lambda text, at=name: f"{at}: {text}"
        )


@st.composite
def choices(draw: st.DrawFn, model: UnifiedModel) -> Kept:
    """Any units of any groups, one at least of each, and any layers, of each part fewer than all."""
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    units = {}
    for group in groups(model):
        count = int(random.integers(1, group.count + 1))
        if random.random() < 0.8:
            units[group.name] = tuple(sorted(random.choice(group.count, count, replace=False).tolist()))
    dropped: set[str] = set()
    for part in {block.part for block in blocks(model)}:
        here = [block.name for block in blocks(model) if block.part == part]
        dropped.update(random.choice(here, int(random.integers(0, len(here))), replace=False).tolist())
    return Kept(units, frozenset(dropped))


@pytest.mark.parametrize("name", MODELS)
@given(data=st.data())
@settings(max_examples=12, deadline=None)
def test_a_cut_model_is_the_whole_one_with_the_rest_silenced(name: str, data: st.DataObject) -> None:
    model = MODELS[name]
    kept = data.draw(choices(model))
    smaller = cut(model, kept)
    with gated(model, gates_of(model, kept)):
        expected = outputs(model)
    assert_alike(outputs(smaller), expected)
    assert smaller.config == narrower(model, kept)
    assert sum(one.numel() for one in smaller.parameters()) <= sum(one.numel() for one in model.parameters())


def silence(model: UnifiedModel, group: Group, places: list[int]) -> None:
    """Zero weights out of these units, whatever goes into them."""
    out = group.slices[-1]
    with torch.no_grad():
        rows = model.get_parameter(out.tensor).movedim(out.axis, 0)
        for place in places:
            rows[place * group.width : (place + 1) * group.width] = 0


@given(data=st.data())
@settings(max_examples=12, deadline=None)
def test_units_that_nothing_comes_out_of_are_not_missed(data: st.DataObject) -> None:
    model = deep()
    random = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    units = {}
    for group in groups(model):
        places = random.permutation(group.count)[: int(random.integers(1, group.count + 1))]
        units[group.name] = tuple(sorted(places.tolist()))
        silence(model, group, sorted(set(range(group.count)) - set(places.tolist())))
    assert_alike(outputs(cut(model, Kept(units))), outputs(model))


def test_keeping_all_changes_nothing_and_the_source_stays() -> None:
    model = MODELS["hybrid"]
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    same = cut(model, Kept())
    for name, tensor in same.state_dict().items():
        assert torch.equal(tensor, before[name])
    first = groups(model)[0]
    smaller = cut(model, Kept({first.name: (0,)}))
    with torch.no_grad():
        for parameter in smaller.parameters():
            parameter.zero_()
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name]), name


def test_a_model_can_be_cut_twice() -> None:
    model = MODELS["hybrid"]
    heads = next(group for group in groups(model) if group.name == "text_trunk.blocks.1.attention")
    units = {heads.name: (1, 2, 3)}
    once = cut(model, Kept(units, frozenset({"text_trunk.blocks.0"})))
    twice = cut(once, Kept({"text_trunk.blocks.0.attention": (1,)}))
    directly = cut(model, Kept({heads.name: (2,)}, frozenset({"text_trunk.blocks.0"})))
    assert twice.config == directly.config
    assert_alike(outputs(twice), outputs(directly))


def test_something_must_be_left() -> None:
    model = MODELS["hybrid"]
    every = frozenset(block.name for block in blocks(model) if block.part == "text")
    with pytest.raises(ValueError, match="no block would be left of the text part"):
        cut(model, Kept(dropped=every))
    with pytest.raises(ValueError, match="num_heads is 0"):
        cut(model, Kept({"text_trunk.blocks.0.attention": ()}))


def test_other_fusions_and_their_decoders_are_left_whole() -> None:
    for fusion in ("co_attention", "gated", "projection"):
        model = build(fusion=fusion)
        assert {block.part for block in blocks(model)} == {"image", "text"}
        assert {"text_encoder", "text_decoder"} <= set(role_modules(cut(model, Kept())))
