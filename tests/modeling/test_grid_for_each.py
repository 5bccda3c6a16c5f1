"""A position table interpolated to a grid of its own for each photo of a padded batch."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from seetell.modeling.parts.positions import grid_for_each

SIDE = st.integers(1, 9)


@settings(max_examples=60, deadline=None)
@given(old=st.tuples(SIDE, SIDE), photos=st.lists(st.tuples(SIDE, SIDE), min_size=1, max_size=4), pad=SIDE)
def test_each_photo_gets_the_bilinear_interpolation_to_its_size(
    old: tuple[int, int], photos: list[tuple[int, int]], pad: int
) -> None:
    torch.manual_seed(old[0])
    table = torch.randn(old[0] * old[1], 3)
    new = (max(rows for rows, _ in photos) + pad - 1, max(columns for _, columns in photos))
    rows, columns = (torch.tensor([photo[axis] for photo in photos]) for axis in (0, 1))
    found = grid_for_each(table, old, rows, columns, new).reshape(len(photos), *new, 3)
    assert torch.isfinite(found).all()
    for photo, placed in zip(photos, found, strict=True):
        grid = table.reshape(1, *old, 3).permute(0, 3, 1, 2)
        expected = F.interpolate(grid, size=photo, mode="bilinear", align_corners=True)[0].permute(1, 2, 0)
        assert torch.allclose(placed[: photo[0], : photo[1]], expected, atol=1e-5)


def test_a_photo_without_a_patch_gives_no_nan() -> None:
    found = grid_for_each(torch.randn(6, 2), (2, 3), torch.tensor([0, 2]), torch.tensor([0, 1]), (2, 2))
    assert torch.isfinite(found).all()


def test_gradients_reach_the_table() -> None:
    table = torch.randn(6, 2, requires_grad=True)
    loss = grid_for_each(table, (2, 3), torch.tensor([4]), torch.tensor([5]), (4, 5)).square().sum()
    (gradient,) = torch.autograd.grad(loss, table)
    assert (gradient.abs().sum(dim=1) > 0).all()


def test_a_table_of_another_grid_is_refused() -> None:
    with pytest.raises(ValueError, match="a table of 6 rows is no 2x2 grid"):
        grid_for_each(torch.randn(6, 2), (2, 2), torch.tensor([2]), torch.tensor([2]), (2, 2))
