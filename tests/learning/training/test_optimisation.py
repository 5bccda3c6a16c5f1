"""The learning rate's course, what decays, and clipping."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from seetell.core.errors import NonFiniteLoss, RecipeError
from seetell.learning.training.optimisation import (
    clip_gradients,
    learning_rate,
    parameter_groups,
    warmup_steps,
)
from seetell.learning.training.sections import ScheduleSettings


def course(total: int, warmup: int, min_ratio: float = 0.1) -> list[float]:
    return [
        learning_rate(step, peak=2.0, warmup=warmup, total=total, min_ratio=min_ratio)
        for step in range(total)
    ]


def test_the_course_at_its_corners() -> None:
    rates = course(total=101, warmup=10)
    assert rates[0] == pytest.approx(0.2)
    assert rates[9] == rates[10] == pytest.approx(2.0)
    assert rates[55] == pytest.approx((2.0 + 0.2) / 2)
    assert rates[100] == pytest.approx(0.2)


@given(total=st.integers(1, 60), warmup=st.integers(0, 59), min_ratio=st.floats(0, 1))
def test_rates_rise_to_the_peak_then_fall_and_stay_in_bounds(
    total: int, warmup: int, min_ratio: float
) -> None:
    warmup = min(warmup, total - 1)
    rates = course(total, warmup, min_ratio)
    assert all(0 < rate <= 2.0 + 1e-9 or min_ratio == 0 for rate in rates)
    assert rates[:warmup] == sorted(rates[:warmup])
    falling = rates[warmup:]
    assert all(one >= other - 1e-9 for one, other in pairwise(falling))
    assert all(rate >= 2.0 * min_ratio - 1e-9 for rate in falling)


def test_a_run_longer_than_planned_stays_at_the_floor() -> None:
    assert learning_rate(500, peak=2.0, warmup=1, total=100, min_ratio=0.1) == pytest.approx(0.2)


def test_warm_up_by_steps_or_fraction() -> None:
    assert warmup_steps(ScheduleSettings(warmup_steps=7), 100) == 7
    assert warmup_steps(ScheduleSettings(warmup_fraction=0.25), 100) == 25
    with pytest.raises(RecipeError, match=r"schedule\.warmup_steps: 100"):
        warmup_steps(ScheduleSettings(warmup_steps=100), 100)


class Mixed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(5, 4)
        self.linear = nn.Linear(4, 4)
        self.norm = nn.LayerNorm(4)
        self.convolution = nn.Conv2d(3, 2, 3, bias=False)
        self.class_token = nn.Parameter(torch.zeros(1, 1, 4))
        self.logit_scale = nn.Parameter(torch.zeros(()))
        self.head = nn.Linear(4, 5, bias=False)
        self.head.weight = self.words.weight
        self.frozen = nn.Parameter(torch.zeros(3, 3), requires_grad=False)


def test_only_matrices_and_kernels_decay_and_every_parameter_is_in_one_group() -> None:
    model = Mixed()
    decayed, kept = parameter_groups(model, 0.1)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    found = [{names[id(one)] for one in group["params"]} for group in (decayed, kept)]  # type: ignore[attr-defined]  # a dict of mixed values
    assert found[0] == {"linear.weight", "convolution.weight"}
    assert found[1] == {
        "words.weight", "linear.bias", "norm.weight", "norm.bias", "class_token", "logit_scale",
    }  # fmt: skip
    assert (decayed["weight_decay"], kept["weight_decay"]) == (0.1, 0.0)


def test_clipping_returns_the_norm_before_and_refuses_what_is_not_finite() -> None:
    model = nn.Linear(2, 1, bias=False)
    model.weight.grad = torch.tensor([[3.0, 4.0]])
    assert clip_gradients(model, 1.0) == pytest.approx(5.0)
    assert float(model.weight.grad.norm()) == pytest.approx(1.0, rel=1e-4)
    model.weight.grad = torch.tensor([[3.0, float("nan")]])
    with pytest.raises(NonFiniteLoss):
        clip_gradients(model, 1.0)
