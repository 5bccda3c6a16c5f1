"""Tokens that know their place in the photo, and features pooled over its quarters."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from seetell.modeling.parts.efficientnet import EfficientNetLite, scaled_channels, stage_depths
from seetell.modeling.parts.placed import PlacedEfficientNet, cell_places
from seetell.modeling.parts.stack import StackShape

Shake = Callable[[nn.Module], nn.Module]


def placed(shaken: Shake, layers: int = 0) -> PlacedEfficientNet:
    made = shaken(PlacedEfficientNet(EfficientNetLite(0.25, 0.5), StackShape(16, layers, 2, 64)))
    assert isinstance(made, PlacedEfficientNet)
    return made


def mask_of(height: int, width: int, size: int = 96) -> Tensor:
    mask = torch.zeros(1, size, size, dtype=torch.bool)
    mask[:, :height, :width] = True
    return mask


@pytest.mark.parametrize(
    ("depth", "expected"), [(1.0, (3, 2, 6, 5)), (1.2, (4, 3, 8, 6)), (1.8, (5, 4, 12, 9))]
)
def test_first_and_last_groups_are_not_deepened(depth: float, expected: tuple[int, ...]) -> None:
    assert stage_depths(depth) == expected


@pytest.mark.parametrize(
    ("channels", "width", "expected"), [(24, 1.1, 24), (320, 1.1, 352), (16, 1.4, 24), (40, 1.2, 48)]
)
def test_channels_are_multiples_of_eight_and_never_a_tenth_below(
    channels: int, width: float, expected: int
) -> None:
    assert scaled_channels(channels, width) == expected


def test_a_place_is_a_share_of_the_photo_and_not_of_the_square() -> None:
    mask = torch.zeros(1, 3, 3, dtype=torch.bool)
    mask[0, :2, :] = True
    places = cell_places(mask)
    torch.testing.assert_close(places[0, 0, :, 1], torch.tensor([1 / 6, 0.5, 5 / 6]))
    torch.testing.assert_close(places[0, :2, 0, 0], torch.tensor([0.25, 0.75]))


def test_quarters_are_means_over_the_quarters_of_the_photo(shaken: Shake) -> None:
    encoder = placed(shaken)
    encoder.pooled_norm = nn.Identity()  # type: ignore[assignment]
    maps = torch.randn(1, encoder.net.channels[-1], 3, 4)
    mask = torch.ones(1, 3, 4, dtype=torch.bool)
    mask[:, 2:] = False  # two rows of four cells are on the photo
    found = encoder.above((maps,), mask).pooled
    assert found is not None
    head = encoder.net.head(maps)[0]
    whole = head[:, :2].mean(dim=(1, 2))
    upper_left, lower_right = head[:, 0, :2].mean(dim=1), head[:, 1, 2:].mean(dim=1)
    width = encoder.net.embed_dim
    torch.testing.assert_close(found[0, :width], whole)
    torch.testing.assert_close(found[0, width : 2 * width], upper_left)
    torch.testing.assert_close(found[0, 4 * width :], lower_right)


def test_a_middle_row_counts_half_on_either_side(shaken: Shake) -> None:
    encoder = placed(shaken)
    encoder.pooled_norm = nn.Identity()  # type: ignore[assignment]
    maps = torch.randn(1, encoder.net.channels[-1], 3, 2)
    found = encoder.above((maps,), torch.ones(1, 3, 2, dtype=torch.bool)).pooled
    assert found is not None
    head, width = encoder.net.head(maps)[0], encoder.net.embed_dim
    expected = (head[:, 0, 0] + 0.5 * head[:, 1, 0]) / 1.5
    torch.testing.assert_close(found[0, width : 2 * width], expected)


@pytest.mark.parametrize("layers", [0, 1])
def test_what_lies_beside_the_photo_changes_nothing_but_the_border(shaken: Shake, layers: int) -> None:
    encoder = placed(shaken, layers)
    mask = torch.tensor([[[True, True, False], [True, True, False]]])
    maps = torch.randn(1, encoder.net.channels[-1], 2, 3)
    other = maps.clone()
    other[:, :, :, 2] = 9.0
    one, two = encoder.above((maps,), mask), encoder.above((other,), mask)
    assert one.pooled is not None and two.pooled is not None
    torch.testing.assert_close(one.pooled, two.pooled)
    torch.testing.assert_close(one.tokens[one.mask], two.tokens[two.mask])


def test_every_photo_has_a_cell_however_thin_it_is(shaken: Shake) -> None:
    encoder = placed(shaken)
    found = encoder(torch.randn(1, 3, 96, 96), mask_of(1, 96))
    assert found.mask.sum() == 3
    assert torch.isfinite(found.tokens).all() and torch.isfinite(found.pooled).all()


def test_a_photo_that_fills_the_square_needs_no_mask(shaken: Shake) -> None:
    encoder, pixels = placed(shaken), torch.randn(2, 3, 80, 80)
    without, whole = encoder(pixels), encoder(pixels, mask_of(80, 80, 80).expand(2, -1, -1))
    torch.testing.assert_close(without.tokens, whole.tokens)
    torch.testing.assert_close(without.pooled, whole.pooled)
    assert without.tokens.shape == (2, 9, 16)
    assert [stage.shape[2] for stage in without.stages] == [20, 10, 5, 3]
