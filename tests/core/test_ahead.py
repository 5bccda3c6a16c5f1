"""Working ahead: in order, never far ahead, and no thread that stays."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from seetell.core.ahead import made_ahead


def threads() -> list[str]:
    return [one.name for one in threading.enumerate() if one.name.startswith("seetell-test")]


@pytest.mark.parametrize("ahead", [1, 2, 9])
@pytest.mark.parametrize("count", [1, 3])
def test_everything_is_made_in_order(ahead: int, count: int) -> None:
    made = made_ahead(lambda item: item * item, range(20), ahead=ahead, threads=count, name="seetell-test")
    assert list(made) == [item * item for item in range(20)]
    assert not threads()
    assert list(made_ahead(str, [], ahead=ahead, threads=count, name="seetell-test")) == []


def test_an_endless_source_is_never_read_far_ahead_and_an_error_comes_at_its_item() -> None:
    read: list[int] = []
    made: list[int] = []

    def endless() -> Iterator[int]:
        while True:
            read.append(len(read))
            yield read[-1]

    def make(item: int) -> int:
        made.append(item)
        if item == 3:
            raise ZeroDivisionError
        return item

    results = made_ahead(make, endless(), ahead=2, threads=1, name="seetell-test")
    for expected in range(3):
        assert next(results) == expected
        assert len(read) <= expected + 1 + 2
    with pytest.raises(ZeroDivisionError):
        next(results)
    assert max(made) <= 3 + 2 and not threads()


def test_what_comes_next_is_made_while_the_last_is_used() -> None:
    begun = threading.Event()

    def make(item: int) -> int:
        if item == 1:
            begun.set()
        return item

    results = made_ahead(make, range(3), ahead=1, threads=1, name="seetell-test")
    assert next(results) == 0
    assert begun.wait(timeout=20)
    results.close()
    assert not threads()
