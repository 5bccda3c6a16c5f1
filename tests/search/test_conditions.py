"""Conditions on photos: what dates and cameras become, and what is said of a condition that is none."""

from __future__ import annotations

import pytest

from seetell.core.errors import UsageError
from seetell.search.conditions import condition, what_is_wrong


def test_no_condition_is_none() -> None:
    assert condition() is None
    assert condition("width > 3") == "width > 3"


def test_conditions_hold_together() -> None:
    assert condition("a or b", after="2025", before="2025-06-01T14:30", camera=" O'Hara ") == (
        "taken >= '2025' and taken < '2025-06-01 14:30' and contains(lower(camera), 'o''hara') and (a or b\n)"
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "June",
        "25-06-01",
        "2025-6-1",
        "2025-13",
        "2025-02-30",
        "2025-06-01 25:00",
        "2025-06-01 14",
        "0000",
    ],
)
def test_what_is_no_date(text: str) -> None:
    with pytest.raises(UsageError, match="--after"):
        condition(after=text)


def test_nothing_lies_between() -> None:
    for before in ("2025", "2025-06", "2025-06-01"):
        with pytest.raises(UsageError, match="the earlier is for --after"):
            condition(after="2025-06-01", before=before)
    assert condition(after="2025", before="2025-01-02")


@pytest.mark.parametrize(
    ("where", "said"),
    [
        (" ", "the condition is empty"),
        ("with > 3", "there is no column with; did you mean width?"),
        ("Camra = 'x'", "there is no column Camra; did you mean camera?"),
        ("nonsense", "there is no column nonsense"),
        ('"Canon" = camera', "a text stands in single quotes: 'Canon'"),
        ('camera = "Canon"', "a text stands in single quotes: 'Canon'"),
        ("camera like Canon%", "a text stands in single quotes: 'Canon'"),
        ("camera = 'O'Hara'", "a quote is opened and not closed"),
        ("camera = ‘Canon’", "quotes in a condition are straight: 'Canon'"),
        ("width > 3 && height > 3", "write and for &&"),
        ("camera = '&&' || width > 3", "write or for ||"),
        ("(width > 3", "there are not as many brackets opened as closed"),
        ("camera = ')' and (with = 1)", "there is no column with; did you mean width?"),
        ("width > 'wide'", "width is a number, which stands without quotes"),
        ("taken > 2025", "taken is a text, which stands in single quotes: '2025'"),
        ("camera is nul", "after is stands null or not null"),
        ("year(taken) = 2025", "there is no function year"),
        ("width + 1", "it compares nothing"),
        ("width > ", "it cannot be read as a condition"),
    ],
)
def test_what_is_wrong_is_said_in_our_words(where: str, said: str) -> None:
    assert (
        what_is_wrong(
            where, "planning: Invalid function 'year'. Did you mean 'mean'?" if "(t" in where else ""
        )
        == said
    )
