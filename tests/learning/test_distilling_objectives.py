"""Losses that learn from a teacher: values by hand, references, nothing to learn from an equal."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from seetell.learning.objectives.distilling import (
    affinity_loss,
    feature_loss,
    hidden_loss,
    matched_layers,
    soft_target_loss,
)


@pytest.fixture(autouse=True)
def _one_thread_and_seed() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(before)


LOSSES: dict[str, tuple[Callable[[Tensor, Tensor], Tensor], tuple[int, ...]]] = {
    "soft targets": (soft_target_loss, (5, 7)),
    "hot soft targets": (lambda a, b: soft_target_loss(a, b, 4.0), (5, 7)),
    "affinity": (affinity_loss, (4, 6)),
    "features": (feature_loss, (4, 8)),
    "hidden": (hidden_loss, (2, 6, 3, 4)),
}


@pytest.mark.parametrize("name", LOSSES)
def test_there_is_nothing_to_learn_from_ones_equal(name: str) -> None:
    loss, shape = LOSSES[name]
    student = torch.randn(shape, requires_grad=True)
    value = loss(student, student.detach().clone())
    value.backward()
    assert student.grad is not None
    assert float(value.detach()) == pytest.approx(0.0, abs=1e-6)
    assert float(student.grad.abs().max()) < 1e-6


@pytest.mark.parametrize("name", LOSSES)
def test_a_step_down_its_gradient_brings_a_student_nearer_and_leaves_the_teacher_alone(name: str) -> None:
    loss, shape = LOSSES[name]
    student = torch.randn(shape, requires_grad=True)
    teacher = torch.randn(shape, requires_grad=True)
    before = loss(student, teacher)
    before.backward()
    assert teacher.grad is None and student.grad is not None
    with torch.no_grad():
        after = loss(student - 0.1 * student.grad, teacher)
    assert float(before.detach()) > float(after) > 0


@given(st.integers(1, 5), st.integers(2, 6), st.floats(0.5, 8.0), st.integers(0, 1000))
def test_soft_targets_are_a_divergence(rows: int, columns: int, temperature: float, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    student, teacher = 3 * torch.randn(2, rows, columns, generator=generator)
    value = float(soft_target_loss(student, teacher, temperature))
    p, q = ((one.double() / temperature).softmax(-1) for one in (teacher, student))
    expected = temperature**2 * float((p * (p / q).log()).sum()) / rows
    assert value == pytest.approx(expected, rel=1e-3, abs=1e-5)
    # What is added to all of a row's logits says nothing.
    moved = soft_target_loss(student + 2.0, teacher - 1.0, temperature)
    assert float(moved) == pytest.approx(value, rel=1e-3, abs=1e-4)


def test_soft_targets_by_hand() -> None:
    # The teacher says 3:1, the student 1:1.
    teacher, student = torch.tensor([[math.log(3.0), 0.0]]), torch.zeros(1, 2)
    expected = 0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5)
    assert float(soft_target_loss(student, teacher)) == pytest.approx(expected, rel=1e-5)
    # At temperature 2 the teacher's odds are the root of 3.
    root = math.sqrt(3.0) / (1 + math.sqrt(3.0))
    warm = root * math.log(2 * root) + (1 - root) * math.log(2 * (1 - root))
    assert float(soft_target_loss(student, teacher, 2.0)) == pytest.approx(4 * warm, rel=1e-5)


def test_the_size_of_the_gradient_hardly_depends_on_a_high_temperature() -> None:
    sizes: list[float] = []
    for temperature in (20.0, 40.0):
        student = torch.randn(6, 5, generator=torch.Generator().manual_seed(1)).requires_grad_()
        teacher = torch.randn(6, 5, generator=torch.Generator().manual_seed(2))
        soft_target_loss(student, teacher, temperature).backward()
        assert student.grad is not None
        sizes.append(float(student.grad.norm()))
    assert sizes[1] == pytest.approx(sizes[0], rel=0.05)


def test_no_rows_give_nothing_and_still_carry_a_gradient() -> None:
    student = torch.zeros(0, 4, requires_grad=True)
    value = soft_target_loss(student, torch.zeros(0, 4))
    value.backward()
    assert float(value.detach()) == 0.0 and student.grad is not None


def test_affinity_is_the_mean_of_both_directions_and_knows_no_order() -> None:
    student, teacher = torch.randn(2, 4, 6)
    rows = sum(
        float(F.kl_div(student[i].log_softmax(0), teacher[i].softmax(0), reduction="sum")) for i in range(4)
    )
    columns = sum(
        float(F.kl_div(student[:, j].log_softmax(0), teacher[:, j].softmax(0), reduction="sum"))
        for j in range(6)
    )
    value = float(affinity_loss(student, teacher))
    assert value == pytest.approx((rows / 4 + columns / 6) / 2, rel=1e-4)
    order = torch.tensor([5, 0, 2, 1, 4, 3])
    assert float(affinity_loss(student[:, order], teacher[:, order])) == pytest.approx(value, rel=1e-5)


def test_features_are_compared_by_direction_alone() -> None:
    a = torch.tensor([[3.0, 0.0], [0.0, 2.0]])
    assert float(feature_loss(a, torch.tensor([[0.5, 0.0], [0.0, 9.0]]))) == pytest.approx(0.0, abs=1e-6)
    # A right angle is 2, opposite directions are 4.
    assert float(feature_loss(a, torch.tensor([[0.0, 1.0], [0.0, -1.0]]))) == pytest.approx(3.0, rel=1e-5)


def test_hidden_states_of_another_grid_are_averaged_over_its_cells() -> None:
    fine = torch.randn(2, 5, 4, 6)
    coarse = F.avg_pool2d(fine, 2)
    assert float(hidden_loss(fine, coarse)) == pytest.approx(0.0, abs=1e-6)
    assert float(hidden_loss(coarse, fine)) == pytest.approx(0.0, abs=1e-6)


def test_hidden_states_do_not_drown_in_one_large_channel() -> None:
    teacher = torch.randn(1, 8, 2, 2)
    student = teacher + torch.randn(1, 8, 2, 2)
    plain = float(hidden_loss(student, teacher))
    # Scaled and shifted as a whole, the states say the same.
    assert float(hidden_loss(student, 50.0 * teacher + 3.0)) == pytest.approx(plain, rel=1e-3)


@given(st.integers(1, 24), st.integers(1, 24))
def test_layers_are_matched_evenly(student: int, teacher: int) -> None:
    matched = matched_layers(student, teacher)
    assert len(matched) == student and matched[-1] == teacher - 1
    assert matched == sorted(matched) and matched[0] >= 0
    # Nowhere is a layer further than half a layer of the teacher from its even place.
    even = [(layer + 1) * teacher / student - 1 for layer in range(student)]
    assert all(abs(one - place) <= 0.5 or place < 0 for one, place in zip(matched, even, strict=True))
    if student <= teacher:
        assert len(set(matched)) == student


def test_every_third_layer_of_a_model_three_times_as_deep() -> None:
    assert matched_layers(4, 12) == [2, 5, 8, 11]
    assert matched_layers(3, 3) == [0, 1, 2]
