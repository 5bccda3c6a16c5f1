"""A model to teach further: what it has learned of the entries of a closed list."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from seetell.modeling.start import by_entry


def head(rows: int, first: float, layers: tuple[str, ...] = ("h.0", "h.2")) -> dict[str, Tensor]:
    """Row r of the last layer is all ``first + r``; the layers before have seven rows."""
    values = first + torch.arange(rows, dtype=torch.float32)
    return {
        **{f"{name}.weight": torch.full((7, 4), first) for name in layers[:-1]},
        f"{layers[-1]}.weight": values[:, None].expand(rows, 4).clone(),
        f"{layers[-1]}.bias": values,
        "trunk.weight": torch.full((7, 4), first),
    }


@pytest.mark.parametrize("layers", [("h",), ("h.0", "h.2"), ("h.0", "h.1", "h.10")])
@pytest.mark.parametrize(
    ("now", "rows"),
    [
        ("yes no red", [1, 0, 2]),
        ("no yes red", [0, 1, 2]),
        ("red blue", [2, 11]),
        ("two no", [10, 0]),
        ("a b red c d e f", [10, 11, 2, 13, 14, 15, 16]),
    ],
)
def test_rows_go_with_their_entries(layers: tuple[str, ...], now: str, rows: list[int]) -> None:
    stored, entries = head(3, 0.0, layers), now.split()
    wanted = head(len(entries), 10.0, layers)
    found = by_entry(stored, wanted, "h", ("no", "yes", "red"), entries)
    assert found[f"{layers[-1]}.bias"].tolist() == rows
    assert found[f"{layers[-1]}.weight"].tolist() == [[float(row)] * 4 for row in rows]
    others = [name for name in stored if not name.startswith(f"{layers[-1]}.")]
    assert all(torch.equal(found[name], stored[name]) for name in others)
    assert wanted[f"{layers[-1]}.bias"].tolist() == [10.0 + row for row in range(len(entries))]


@pytest.mark.parametrize("before", [("no", "yes"), ()])
def test_a_head_over_another_list_is_left_alone(before: tuple[str, ...]) -> None:
    stored = head(3, 0.0)
    found = by_entry(stored, head(3, 10.0), "h", before, ("yes", "no", "red"))
    assert all(torch.equal(found[name], stored[name]) for name in stored)


def test_a_model_without_the_head_has_nothing_to_keep() -> None:
    found = by_entry({"trunk": torch.zeros(2)}, head(3, 10.0), "h", ("no",), ("no", "yes", "red"))
    assert found.keys() == {"trunk"}
