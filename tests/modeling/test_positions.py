"""Positions: the same place has the same code in every grid; interpolation leaves its own grid alone."""

from __future__ import annotations

import pytest
import torch

from seetell.modeling.parts.positions import LearnedPositions, resize_grid, sincos_grid


def test_a_place_has_the_same_code_at_every_resolution() -> None:
    # Cells 1, 4 and 7 of nine lie where cells 0, 1 and 2 of three do.
    coarse = sincos_grid(3, 3, 16).reshape(3, 3, 16)
    fine = sincos_grid(9, 9, 16).reshape(9, 9, 16)
    torch.testing.assert_close(fine[1::3, 1::3], coarse)
    wide = sincos_grid(3, 9, 16).reshape(3, 9, 16)
    torch.testing.assert_close(wide[:, 1::3], coarse)


def test_every_cell_has_its_own_code_and_rows_are_not_columns() -> None:
    grid = sincos_grid(8, 8, 16)
    distance = torch.cdist(grid, grid) + torch.eye(64) * 9
    assert distance.min() > 0.05
    square = grid.reshape(8, 8, 16)
    assert not torch.allclose(square, square.transpose(0, 1))
    # Half of the code is the column's, half the row's.
    assert torch.equal(square[0, :, :8], square[5, :, :8])
    assert torch.equal(square[:, 0, 8:], square[:, 5, 8:])
    assert grid.abs().max() <= 1


@pytest.mark.parametrize("embed_dim", [4, 12])
def test_sincos_grid_is_finite_at_its_smallest(embed_dim: int) -> None:
    grid = sincos_grid(1, 1, embed_dim)
    assert grid.shape == (1, embed_dim)
    assert grid.isfinite().all()


def test_sincos_grid_refuses_a_width_it_cannot_split() -> None:
    with pytest.raises(ValueError, match="6 is not a multiple of 4"):
        sincos_grid(2, 2, 6)


def test_resize_grid_leaves_its_own_grid_alone() -> None:
    table = torch.randn(12, 5)
    assert resize_grid(table, (3, 4), (3, 4)) is table


def test_resize_grid_keeps_a_constant_and_the_order_of_axes() -> None:
    constant = torch.full((6, 3), 2.5)
    torch.testing.assert_close(resize_grid(constant, (2, 3), (5, 4)), torch.full((20, 3), 2.5))
    rows = torch.arange(4.0)[:, None, None].expand(4, 4, 1).reshape(16, 1)  # value = row
    taller = resize_grid(rows, (4, 4), (8, 2)).reshape(8, 2)
    assert torch.equal(taller[:, 0], taller[:, 1])
    assert (taller[1:, 0] > taller[:-1, 0]).all()


def test_resize_grid_refuses_a_table_of_another_grid() -> None:
    with pytest.raises(ValueError, match="12 rows is no 2x5 grid"):
        resize_grid(torch.zeros(12, 3), (2, 5), (4, 4))


def test_learned_positions_look_up_rows() -> None:
    positions = LearnedPositions(6, 4)
    found = positions(torch.tensor([[3, 0], [3, 5]]))
    assert torch.equal(found[0, 0], positions.table.weight[3])
    assert torch.equal(found[0, 0], found[1, 0])
    with pytest.raises(IndexError):
        positions(torch.tensor([[6]]))
