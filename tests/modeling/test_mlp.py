"""Activations by name, and what drop path does to a batch."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F
from transformers.activations import ACT2FN

from seetell.modeling.parts.drop_path import DropPath
from seetell.modeling.parts.mlp import Mlp, activation_module


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [("gelu", "gelu"), ("gelu_tanh", "gelu_new"), ("quick_gelu", "quick_gelu"), ("relu", "relu")],
)
def test_activations_are_those_of_the_public_checkpoints(ours: str, theirs: str) -> None:
    x = torch.linspace(-6, 6, 101)
    torch.testing.assert_close(activation_module(ours)(x), ACT2FN[theirs](x), atol=1e-6, rtol=1e-5)


def test_the_three_gelus_differ() -> None:
    x = torch.linspace(-3, 3, 50)
    exact, by_tanh, quick = (activation_module(name)(x) for name in ("gelu", "gelu_tanh", "quick_gelu"))
    assert not torch.allclose(exact, by_tanh, atol=1e-5)
    assert not torch.allclose(exact, quick, atol=1e-3)


def test_an_unknown_activation_names_the_known_ones() -> None:
    with pytest.raises(ValueError, match="unknown activation 'swish'; one of gelu"):
        Mlp(4, 8, "swish")


def test_mlp_acts_on_each_token_alone() -> None:
    mlp = Mlp(4, 9)
    x = torch.randn(2, 3, 4)
    torch.testing.assert_close(mlp(x)[1, 2], mlp(x[1, 2]))
    torch.testing.assert_close(mlp(x), F.linear(F.gelu(mlp.up(x)), mlp.down.weight, mlp.down.bias))


def test_drop_path_drops_whole_samples_and_keeps_the_mean() -> None:
    drop = DropPath(0.25)
    out = drop(torch.ones(4000, 2, 3))
    kept = out[:, 0, 0] > 0
    assert torch.equal(out, (kept.float() / 0.75)[:, None, None].expand(4000, 2, 3))
    assert abs(float(out.mean()) - 1) < 0.05


def test_drop_path_rests_outside_training_and_at_zero() -> None:
    x = torch.randn(3, 4)
    assert DropPath(0.9).eval()(x) is x
    assert DropPath(0.0)(x) is x


@pytest.mark.parametrize("probability", [-0.1, 1.0])
def test_drop_path_refuses_what_is_no_probability(probability: float) -> None:
    with pytest.raises(ValueError, match="is outside 0"):
        DropPath(probability)
