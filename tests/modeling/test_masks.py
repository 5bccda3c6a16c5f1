"""Masks and positions against loops that spell out what they mean."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from seetell.modeling.parts.masks import causal_mask, padding_mask, positions_from_mask

_MASKS = st.integers(1, 7).flatmap(
    lambda width: st.tuples(
        st.lists(st.lists(st.booleans(), min_size=width, max_size=width), min_size=1, max_size=3),
        st.integers(1, width),
    )
)


@given(_MASKS)
def test_causal_mask_sees_real_tokens_up_to_itself(case: tuple[list[list[bool]], int]) -> None:
    rows, query_length = case
    mask = causal_mask(torch.tensor(rows), query_length)
    total = len(rows[0])
    assert mask.shape == (len(rows), 1, query_length, total)
    for row, real in enumerate(rows):
        for query in range(query_length):
            place = total - query_length + query
            for key in range(total):
                expected = key == place or (key < place and real[key])
                assert bool(mask[row, 0, query, key]) is expected


@given(_MASKS)
def test_no_causal_query_is_left_with_nothing_to_see(case: tuple[list[list[bool]], int]) -> None:
    rows, query_length = case
    assert causal_mask(torch.tensor(rows), query_length).any(dim=-1).all()


@given(_MASKS)
def test_positions_count_the_attended_tokens_before(case: tuple[list[list[bool]], int]) -> None:
    rows, query_length = case
    positions = positions_from_mask(torch.tensor(rows), query_length)
    total = len(rows[0])
    assert positions.shape == (len(rows), query_length)
    for row, real in enumerate(rows):
        for query in range(query_length):
            place = total - query_length + query
            if real[place]:
                assert int(positions[row, query]) == sum(real[:place])
            else:  # what a padded place gets is not read, but must be a valid row of the table
                assert 0 <= int(positions[row, query]) < total


def test_padding_mask_broadcasts_over_heads_and_queries() -> None:
    mask = padding_mask(torch.tensor([[True, False], [True, True]]))
    assert mask.shape == (2, 1, 1, 2)
    assert mask[0, 0, 0].tolist() == [True, False]
