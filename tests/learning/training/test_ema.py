"""The average of weights, against the recurrence written out by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from seetell.core.errors import CheckpointError
from seetell.learning.training.ema import Ema


def test_the_average_follows_its_recurrence_with_warm_up() -> None:
    model = nn.Linear(1, 1)
    model.weight.data.fill_(0.0)
    ema = Ema(model, 0.5)
    expected = 0.0
    for number, value in enumerate([1.0, 2.0, -3.0, 5.0, 5.0, 8.0, 1.0, 0.0, 0.0, 1.0]):
        model.weight.data.fill_(value)
        ema.update(model)
        decay = min(0.5, (1 + number) / (10 + number))
        expected = decay * expected + (1 - decay) * value
    assert float(ema.state_dict()["weight"]) == pytest.approx(expected, rel=1e-6)
    assert (ema.decay_at(0), ema.decay_at(1000)) == (0.1, 0.5)


def test_float_buffers_are_averaged_counters_copied_and_frozen_weights_kept() -> None:
    model = nn.BatchNorm1d(2)
    ema = Ema(model, 0.999)
    model.train()
    model(torch.randn(8, 2) + 4)
    ema.update(model)
    state = ema.state_dict()
    assert int(state["num_batches_tracked"]) == 1
    assert torch.allclose(state["running_mean"], 0.9 * model.running_mean)
    assert torch.equal(state["weight"], torch.ones(2))


def test_bfloat16_weights_are_averaged_in_float32() -> None:
    model = nn.Linear(1, 1, bias=False).to(torch.bfloat16)
    model.weight.data.fill_(1.0)
    ema = Ema(model, 0.9995)
    ema.updates = 10**6
    model.weight.data.fill_(2.0)
    for _ in range(100):
        ema.update(model)
    assert float(ema.state_dict()["weight"]) == pytest.approx(2 - 0.9995**100, rel=1e-4)


def test_weights_are_swapped_in_and_out_even_when_the_block_fails() -> None:
    model = nn.Linear(2, 2)
    ema = Ema(model, 0.9)
    model.weight.data.add_(1.0)
    own = model.weight.detach().clone()
    with pytest.raises(ZeroDivisionError), ema.applied_to(model):
        assert torch.equal(model.weight, ema.state_dict()["weight"])
        raise ZeroDivisionError
    assert torch.equal(model.weight, own)
    assert not torch.equal(ema.state_dict()["weight"], own)


def test_averages_of_another_model_are_refused() -> None:
    ema = Ema(nn.Linear(2, 2), 0.9)
    with pytest.raises(CheckpointError, match="another model"):
        ema.load_state_dict({"weight": torch.zeros(2, 2)}, 1)
    with pytest.raises(CheckpointError, match="weight"):
        ema.load_state_dict({"weight": torch.zeros(3, 3), "bias": torch.zeros(2)}, 1)
