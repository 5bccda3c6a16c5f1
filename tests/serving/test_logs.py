"""The log: a line for people on a terminal, JSON for what collects logs and for who asks for it."""

from __future__ import annotations

import io
import json
import logging
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from seetell.serving.logs import log_json_to_stderr, log_to_stderr

LOG = logging.getLogger("seetell.serving")
FIELDS = {
    "request_id": "abc",
    "method": "POST",
    "path": "/v1/caption\x1b[31m",
    "status": 200,
    "duration_ms": 184.13,
    "client": "127.0.0.1",
}


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    kept = {name: logging.getLogger(name) for name in ("seetell.serving", "uvicorn.error")}
    state = {name: (one.handlers[:], one.level, one.propagate) for name, one in kept.items()}
    yield
    for name, one in kept.items():
        one.handlers[:], one.level, one.propagate = state[name]


def written(monkeypatch: pytest.MonkeyPatch, stream: io.StringIO, start: Any) -> list[str]:
    monkeypatch.setattr(sys, "stderr", stream)
    start()
    LOG.info("ready", extra={"fields": {"model": "toy"}})
    LOG.info("request", extra={"fields": FIELDS})
    try:
        raise ZeroDivisionError("of ours")
    except ZeroDivisionError as error:
        fields = {**FIELDS, "status": 500, "error": "ZeroDivisionError: of ours"}
        LOG.error("request", extra={"fields": fields}, exc_info=error)
    return stream.getvalue().splitlines()


def test_people_on_a_terminal_read_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    ready, request, failed, *traceback = written(monkeypatch, Terminal(), log_to_stderr)
    assert ready[8:] == "  ready  model toy"
    assert request[2] == request[5] == ":" and request[8:] == "  POST /v1/caption\\x1b[31m 200  184 ms"
    assert failed[8:] == "  POST /v1/caption\\x1b[31m 500  184 ms  (ZeroDivisionError: of ours)"
    assert traceback[0].startswith("Traceback") and traceback[-1] == "ZeroDivisionError: of ours"


@pytest.mark.parametrize(
    ("stream", "start"),
    [(io.StringIO, log_to_stderr), (Terminal, log_json_to_stderr)],
    ids=["piped", "asked"],
)
def test_programs_read_json(monkeypatch: pytest.MonkeyPatch, stream: Any, start: Any) -> None:
    _, request, failed = map(json.loads, written(monkeypatch, stream(), start))
    assert {name: request[name] for name in FIELDS} == FIELDS
    assert failed["level"] == "error" and "ZeroDivisionError" in failed["traceback"]
