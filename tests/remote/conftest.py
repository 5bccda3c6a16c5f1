"""A stand-in server, pauses that take no time, and no key of the person who runs the tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from seetell.remote import client
from tests.remote.stand_in import StandIn, standing_in


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.setattr(client, "_FIRST_PAUSE_S", 0.001)


@pytest.fixture
def server() -> Iterator[StandIn]:
    with standing_in() as stand_in:
        yield stand_in
