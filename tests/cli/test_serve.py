"""``seetell serve`` as a process: it says where it listens, answers, and ends as it is told."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx2
import pytest

from tests.cli.conftest import Seetell


@contextmanager
def running(*arguments: str, **environment: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The process and its address."""
    command = [sys.executable, "-m", "seetell.cli.main", "serve", "--port", "0", "--json", *arguments]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, process.communicate()[1]
        yield process, json.loads(line)["address"]
    finally:
        process.kill()
        process.communicate()


def wait_until_ready(address: str) -> None:
    for _ in range(600):
        if httpx2.get(f"{address}/ready").status_code == 200:
            return
        time.sleep(0.1)
    raise AssertionError(httpx2.get(f"{address}/ready").text)


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_it_answers_and_ends(number: signal.Signals) -> None:
    with running("--threads", "1", SEETELL_API_KEY="secret") as (process, address):
        wait_until_ready(address)
        headers = {"authorization": "Bearer secret"}
        answer = httpx2.post(f"{address}/v1/embeddings", json={"input": "a dog"}, headers=headers)
        assert len(answer.json()["data"][0]["embedding"]) == 256
        assert httpx2.post(f"{address}/v1/embeddings", json={"input": "a dog"}).status_code == 401
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (0, "")
    lines: list[dict[str, Any]] = [json.loads(line) for line in err.splitlines()]
    assert {"ready", "request"} <= {line["event"] for line in lines}
    assert "secret" not in err


def test_a_port_in_use() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = subprocess.run(
            [sys.executable, "-m", "seetell.cli.main", "serve", "--port", port],
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 2
    assert f"error: cannot listen at 127.0.0.1:{port}" in done.stderr and "Traceback" not in done.stderr


def test_without_the_extra(seetell: Seetell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fastapi", None)
    done = seetell("serve")
    assert done.status == 2
    assert done.err == "error: fastapi is needed to serve a model over HTTP: pip install 'seetell[serve]'\n"
