"""What is looked for, taken apart and made one vector."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

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
        # What keyboards, phones and word processors make of a minus and of quotes.
        ("beach –people", "beach", ("people",)),
        ("beach −people ‐dogs", "beach", ("people", "dogs")),
        ("海滩　－人", "海滩", ("人",)),
        ("beach -“many people”", "beach", ("many people",)),
        ("beach –„viele Menschen“", "beach", ("viele Menschen",)),
        ("beach -«beaucoup de gens»", "beach", ("beaucoup de gens",)),
        ("海滩 -「很多人」", "海滩", ("很多人",)),
        ("beach -'many people'", "beach", ("many people",)),
        ("beach -‘many people’ -dogs", "beach", ("many people", "dogs")),
        # Quotes that are never closed.
        ('beach -"many people', "beach", ("many people",)),
        ('a 5" board -people', 'a 5" board', ("people",)),
        ('"beach -people', '"beach', ("people",)),
        ("kids' toys -'twas", "kids' toys", ("'twas",)),
        # Quotes around everything say nothing; what they hold is no other program's syntax.
        ('"two dogs"', "two dogs", ()),
        ("“two dogs”", "two dogs", ()),
        ("「两只狗」", "两只狗", ()),
        ('"beach -people"', "beach -people", ()),
        ('"two dogs" and "a cat"', '"two dogs" and "a cat"', ()),
        ('a sign "-50% off" -people', 'a sign "-50% off"', ("people",)),
        # No minus.
        ("Paris – in the evening", "Paris – in the evening", ()),
        ("1990–2000", "1990–2000", ()),
        ("winter at -20 degrees", "winter at -20 degrees", ()),
        ("beach --people", "beach --people", ()),
        ("a dash -", "a dash -", ()),
        ("-", "-", ()),
        ('beach -""', "beach", ()),
        ('""', '""', ()),
    ],
)
def test_what_is_wanted_and_what_is_not(text: str, wanted: str, unwanted: tuple[str, ...]) -> None:
    query = parse_query(text, None)
    assert (query.wanted, query.unwanted) == (wanted, unwanted)


@pytest.mark.parametrize("text", ["-people", "–people", '-"many people"', "-“many people", "  -人 "])
def test_nothing_wanted(text: str) -> None:
    with pytest.raises(UsageError, match="only what is not wanted"):
        parse_query(text, None)
    assert parse_query(text, "beach.jpg").wanted is None


def test_nothing_at_all() -> None:
    with pytest.raises(UsageError, match="a text, a photo, or both"):
        parse_query(None, None)


@given(st.text(st.sampled_from("ab -–\"'“”「」5\n"), max_size=12))
def test_any_text_is_taken_apart(text: str) -> None:
    """Nothing is lost but minus signs, quotes and blanks."""
    try:
        query = parse_query(text, None)
    except UsageError:
        return
    said = "".join([query.wanted or "", *query.unwanted])
    assert sorted(c for c in said if c.isalnum()) == sorted(c for c in text if c.isalnum())


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
