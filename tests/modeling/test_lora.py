"""Adapters: they begin as nothing, learn alone, and go into the weights and out of them."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from seetell.modeling.parts.attention import Attention, projections
from seetell.modeling.parts.lora import LoraLinear, adapters, add_adapters, merge_weights


def adapted(rank: int = 3, alpha: float = 5.0, bias: bool = True) -> LoraLinear:
    layer = LoraLinear(nn.Linear(7, 11, bias=bias), rank, alpha)
    nn.init.normal_(layer.lora_up)
    return layer


@pytest.mark.parametrize("bias", [True, False])
def test_it_is_the_equation(bias: bool) -> None:
    layer = adapted(bias=bias)
    x = torch.randn(2, 4, 7)
    by_hand = x @ (layer.weight + 5.0 / 3 * layer.lora_up @ layer.lora_down).T
    by_hand = by_hand + layer.bias if bias else by_hand
    torch.testing.assert_close(layer(x), by_hand, atol=1e-5, rtol=1e-5)


def test_a_new_adapter_changes_nothing() -> None:
    base = nn.Linear(7, 11)
    x = torch.randn(4, 7)
    assert torch.equal(LoraLinear(base, 2, 8.0)(x), base(x))


def test_merging_keeps_the_outputs_and_unmerging_gives_every_bit_back() -> None:
    layer = adapted()
    x, before = torch.randn(5, 7), layer.weight.detach().clone()
    apart = layer(x)
    layer.merge()
    layer.merge()
    assert not torch.equal(layer.weight, before)
    torch.testing.assert_close(layer(x), apart, atol=1e-6, rtol=1e-5)
    layer.unmerge()
    assert torch.equal(layer.weight, before)
    assert torch.equal(layer(x), apart)
    layer.unmerge()
    assert torch.equal(layer.weight, before)


@pytest.mark.parametrize("merged", [True, False])
def test_stored_weights_have_the_adapter_once_whether_it_was_merged_or_not(merged: bool) -> None:
    model = nn.Sequential(nn.Linear(4, 7), adapted())
    x = torch.randn(3, 4)
    expected = model(x)
    if merged:
        model[1].merge()
    plain = nn.Sequential(nn.Linear(4, 7), nn.Linear(7, 11))
    plain.load_state_dict(merge_weights(model.state_dict()))
    torch.testing.assert_close(plain(x), expected, atol=1e-6, rtol=1e-5)
    again = nn.Sequential(nn.Linear(4, 7), adapted())
    again[1].merge()
    again.load_state_dict(model.state_dict())
    torch.testing.assert_close(again(x), expected, atol=1e-6, rtol=1e-5)


def test_only_adapters_get_gradients() -> None:
    model = Attention(projections(8, 2))
    add_adapters(model, ["query", "out"], 2, 4.0)
    x = torch.randn(2, 3, 8)
    for layer in adapters(model).values():
        nn.init.normal_(layer.lora_up)
    model(x, model.project(x)).sum().backward()
    gradients = {name for name, parameter in model.named_parameters() if parameter.grad is not None}
    expected = {f"{layer}.{part}" for layer in ("query", "out") for part in ("lora_down", "lora_up")}
    assert gradients == expected | {
        f"{layer}.{part}" for layer in ("key", "value") for part in ("weight", "bias")
    }
    assert set(adapters(model)) == {"query", "out"}


def test_a_layer_at_two_places_is_adapted_once() -> None:
    shared = nn.Linear(4, 4)
    model = nn.ModuleDict({"one": shared, "two": nn.Sequential(shared)})
    add_adapters(model, ["one"], 2, 2.0)
    assert isinstance(model["one"], LoraLinear)
    assert model["two"][0] is model["one"]


def test_what_does_not_fit_is_refused() -> None:
    model = nn.ModuleDict({"words": nn.Embedding(5, 3), "head": nn.Linear(3, 5, bias=False)})
    model["head"].weight = model["words"].weight
    with pytest.raises(ValueError, match="head is another layer's"):
        add_adapters(model, ["head"], 2, 2.0)
    for name in ("words", "nothing"):
        with pytest.raises(ValueError, match=f"{name} is no linear layer"):
            add_adapters(model, [name], 2, 2.0)
    with pytest.raises(ValueError, match="at least 1"):
        LoraLinear(nn.Linear(2, 2), 0, 1.0)


def test_a_state_without_a_part_of_an_adapter_is_an_error() -> None:
    state = dict(nn.Sequential(adapted()).state_dict())
    del state["0.lora_down"]
    with pytest.raises(KeyError, match=r"0\.lora_down"):
        merge_weights(state)
    assert merge_weights(nn.Linear(2, 2).state_dict()).keys() == {"weight", "bias"}


def test_it_runs_in_bfloat16_and_keeps_float32_weights() -> None:
    layer = adapted()
    with torch.autocast("cpu", torch.bfloat16):
        out = layer(torch.randn(3, 7))
    assert out.dtype == torch.bfloat16
    assert layer.lora_up.dtype == torch.float32
