"""What is looked for, taken apart and made one vector."""

from __future__ import annotations

import numpy as np
import pytest

from seetell.core.errors import UsageError
from seetell.search.combining import fused
from seetell.search.query import NEGATIVE_WEIGHT, parse_query, query_vector
from tests.search.indexing_script import toy_model


@pytest.mark.parametrize(
    ("text", "wanted", "unwanted"),
    [
        ("beach -people", "beach", ("people",)),
        ('-"many people" a wide beach -dogs', "a wide beach", ("many people", "dogs")),
        ("an x-ray - of a hand", "an x-ray - of a hand", ()),
        ("海滩 -人", "海滩", ("人",)),
        ("  two  spaces ", "  two  spaces ", ()),
    ],
)
def test_what_is_wanted_and_what_is_not(text: str, wanted: str, unwanted: tuple[str, ...]) -> None:
    query = parse_query(text, None)
    assert (query.wanted, query.unwanted) == (wanted, unwanted)


def test_nothing_wanted() -> None:
    with pytest.raises(UsageError, match="only what is not wanted"):
        parse_query("-people", None)
    with pytest.raises(UsageError, match="a text, a photo, or both"):
        parse_query(None, None)
    assert parse_query("-people", "beach.jpg").wanted is None


def test_the_vector_moves_away_from_what_is_not_wanted() -> None:
    model = toy_model()
    wanted, unwanted = model.embed_texts(["a dog", "two men"])
    vector = query_vector(parse_query('a dog -"two men"', None), model)
    right = wanted - NEGATIVE_WEIGHT * unwanted
    assert vector == pytest.approx(right / np.linalg.norm(right), abs=1e-6)
    assert vector @ unwanted < wanted @ unwanted


def test_what_two_rankings_agree_on_comes_first() -> None:
    assert fused([["a", "b", "c"], ["c", "d"]]) == ["c", "a", "b", "d"]
    assert fused([["a", "b"], []]) == ["a", "b"]
