"""What a unit is worth, and how many of them a budget lets stay."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from seetell.bundle.manifest import Role
from seetell.core.errors import UsageError
from seetell.learning.compression.pruning.budget import least_important, solve, uniform, worth
from seetell.learning.compression.pruning.gates import gated
from seetell.learning.compression.pruning.importance import importance
from seetell.learning.compression.pruning.surgery import Kept, cut
from seetell.learning.compression.pruning.units import blocks, groups
from seetell.learning.compression.pruning.work import model_flops
from seetell.modeling.export.check_cases import check_cases
from seetell.modeling.export.roles.registry import role_modules
from seetell.modeling.models.unified import UnifiedModel
from seetell.runtime.engine import Arrays
from tests.compression.pruning.test_surgery import deep, outputs, silence


def samples(model: UnifiedModel) -> dict[Role, list[Arrays]]:
    return {role: check_cases(module, model.limits) for role, module in role_modules(model).items()}


@pytest.fixture(scope="module")
def model() -> UnifiedModel:
    return deep()


def test_what_nothing_comes_out_of_is_worth_nothing() -> None:
    model = deep()
    for group in groups(model):
        silence(model, group, [0])
    scores = importance(model, role_modules(model), samples(model))
    for group in groups(model):
        assert scores[group.name].shape == (group.count,)
        assert scores[group.name][0] == 0
        # A channel whose ReLU never opens is worth nothing either.
        assert np.mean(scores[group.name][1:] > 0) > 0.7, group.name


def test_nothing_of_the_model_changes(model: UnifiedModel) -> None:
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    wanted = [parameter.requires_grad for parameter in model.parameters()]
    expected = outputs(model)
    importance(model, role_modules(model), samples(model))
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert [parameter.requires_grad for parameter in model.parameters()] == wanted
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(torch.equal(value, expected[name]) for name, value in outputs(model).items())


def test_the_estimate_ranks_units_as_silencing_them_one_by_one_does(model: UnifiedModel) -> None:
    """Of the image's MLP units, each silenced alone, and the change of the photo's tokens measured."""
    module = role_modules(model, without=("image_embeds", "label_logits"))["image_encoder"]
    cases = check_cases(module, model.limits)
    group = next(one for one in groups(model) if one.name == "image_encoder.transformer.blocks.1.mlp")
    estimated = importance(model, {"image_encoder": module}, {"image_encoder": cases * 8})[group.name]
    photos = torch.from_numpy(cases[1]["pixel_values"])
    with torch.no_grad():
        whole = model.encode_image(photos).tokens
        measured = []
        for place in range(group.count):
            gate = torch.ones(group.count)
            gate[place] = 0
            with gated(model, {group.name: gate}):
                measured.append(float((model.encode_image(photos).tokens - whole).norm()))
    ranks = [np.argsort(np.argsort(values)) for values in (estimated, measured)]
    assert np.corrcoef(*ranks)[0, 1] > 0.8


def test_a_role_without_samples_is_left_out(model: UnifiedModel) -> None:
    scores = importance(model, role_modules(model), {"text_encoder": samples(model)["text_encoder"]})
    assert scores["text_trunk.blocks.0.mlp"].min() > 0
    assert scores["image_encoder.transformer.blocks.0.mlp"].max() == 0


def test_the_most_important_stay_of_every_group_the_same_share(model: UnifiedModel) -> None:
    every = groups(model)
    scores = {group.name: np.arange(group.count, dtype=float)[::-1].copy() for group in every}
    kept = uniform(every, scores, 0.5)
    for group in every:
        half = max(1, int(group.count / 2 + 0.5))
        assert kept[group.name] == tuple(range(half))
    assert all(len(places) == 1 for places in uniform(every, scores, 0.0).values())
    assert all(len(uniform(every, scores, 1.0)[group.name]) == group.count for group in every)


def test_the_budget_is_kept_and_used(model: UnifiedModel) -> None:
    every = groups(model)
    scores = importance(model, role_modules(model), samples(model))
    whole = sum(model_flops(role_modules(model)).values())

    def flops(kept: Kept) -> int:
        return sum(model_flops(role_modules(cut(model, kept))).values())

    target = int(0.5 * whole)
    kept = solve(every, scores, flops, target, frozenset())
    assert 0.95 * target < flops(kept) <= target
    # The layers that go make room for the others.
    dropped = frozenset({"image_encoder.transformer.blocks.1", "text_trunk.blocks.0"})
    fewer = solve(every, scores, flops, target, dropped)
    assert 0.95 * target < flops(fewer) <= target and fewer.dropped == dropped
    assert len(fewer.units["text_trunk.blocks.1.mlp"]) > len(kept.units["text_trunk.blocks.1.mlp"])
    with pytest.raises(UsageError, match=r"MFLOPs remain, and 0\.0 are asked for; give a smaller share"):
        solve(every, scores, flops, 10, frozenset())
    assert len(solve(every, scores, flops, whole, frozenset()).units["text_trunk.blocks.0.mlp"]) == 64


def test_solved_budgets_keep_more_of_what_matters_at_the_same_cost(model: UnifiedModel) -> None:
    every = groups(model)
    scores = importance(model, role_modules(model), samples(model))

    def flops(kept: Kept) -> int:
        return sum(model_flops(role_modules(cut(model, kept))).values())

    target = int(0.6 * flops(Kept()))
    left = {}
    for budget in ("uniform", "solved"):
        kept = solve(every, scores, flops, target, frozenset(), budget)
        assert 0.95 * target < flops(kept) <= target
        left[budget] = sum(scores[name][list(places)].sum() for name, places in kept.units.items())
    assert left["solved"] > left["uniform"]


def test_what_is_worth_its_cost_stays(model: UnifiedModel) -> None:
    """A dear group and a cheap one of like units: the cheap one stays, and of the dear one the best unit."""
    dear, cheap = (one for one in groups(model) if one.name.startswith("text_trunk.blocks.0."))
    scores = {dear.name: np.array([1.0, 3.0, 2.0, 1.0]), cheap.name: np.ones(cheap.count)}
    costs = {dear.name: 100.0, cheap.name: 1.0}
    share = cheap.count / (cheap.count + 100 * dear.count)
    kept = worth([dear, cheap], scores, costs, share)
    assert kept == {dear.name: (1,), cheap.name: tuple(range(cheap.count))}
    assert all(len(places) == 1 for places in worth([dear, cheap], scores, costs, 0).values())
    assert sum(map(len, worth([dear, cheap], scores, costs, 1).values())) == dear.count + cheap.count


def test_the_least_important_layers_go_one_of_each_part_stays(model: UnifiedModel) -> None:
    every = blocks(model)
    scores = {block.name: np.asarray(float(place)) for place, block in enumerate(every)}
    assert least_important(every, scores, 0) == frozenset()
    assert least_important(every, scores, 3) == {
        "image_encoder.transformer.blocks.0",
        "image_encoder.transformer.blocks.1",
        "text_trunk.blocks.0",
    }
    with pytest.raises(UsageError, match="--prune-layers 6: of this model 5 layers can go"):
        least_important(every, scores, 6)
