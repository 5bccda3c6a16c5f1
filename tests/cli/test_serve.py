"""``seetell serve`` as a process: it says where it listens, answers, and ends as it is told."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest

from seetell.bundle import conversion
from seetell.bundle.store import open_bundle
from seetell.cli.options import Shared
from seetell.cli.serve import _source, _where
from seetell.core.errors import MissingExtra
from tests.bundle.test_store import make_bundle
from tests.cli.conftest import Seetell


@dataclass(frozen=True)
class Running:
    """A server process. ``log`` is what it wrote on standard error."""

    process: subprocess.Popen[str]
    address: str
    log: Path

    def ended(self) -> tuple[str, list[dict[str, Any]]]:
        """Wait until it ends; its standard output, and its log's lines."""
        out, _ = self.process.communicate(timeout=120)
        return out, [json.loads(line) for line in self.log.read_text().splitlines()]


@contextmanager
def running(*arguments: str, **environment: str) -> Iterator[Running]:
    """A server on a free port. Its log goes to a file: a pipe that nobody reads would stop it."""
    command = [sys.executable, "-m", "seetell.cli.main", "serve", "--port", "0", "--json", *arguments]
    with tempfile.TemporaryDirectory() as folder, open(f"{folder}/log", "w") as log:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=log, text=True, env={**os.environ, **environment}
        )
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line, Path(log.name).read_text()
            yield Running(process, json.loads(line)["address"], Path(log.name))
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
    with running("--threads", "1", SEETELL_API_KEY="secret") as server:
        wait_until_ready(server.address)
        url, headers = f"{server.address}/v1/embeddings", {"authorization": "Bearer secret"}
        answer = httpx2.post(url, json={"input": "a dog"}, headers=headers)
        assert len(answer.json()["data"][0]["embedding"]) == 256
        assert httpx2.post(url, json={"input": "a dog"}).status_code == 401
        server.process.send_signal(number)
        out, lines = server.ended()
    assert (server.process.returncode, out) == (0, "")
    assert {"ready", "request"} <= {line["event"] for line in lines}
    assert "secret" not in json.dumps(lines)


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
    assert done.err.startswith("error: fastapi is needed to serve a model over HTTP: ")
    assert done.err.endswith("[serve]'\n") and done.err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--photos", "."], "--photos is for bringing an index up to date; give --index DIR, too"),
        (["--index", "an.index", "--photos", "nowhere"], "--photos nowhere: no such folder"),
        (["--also", "builtin"], "two models of one name"),
        (["--also", "nowhere/at/all"], "nowhere/at/all"),
        (["--memory-mb", "1"], "seetell-builtin needs about"),
        (["--model", "nowhere/at/all"], "nowhere/at/all"),
        (["--api-key", ""], "--api-key is given and holds no key"),
        (["--cors-origin", "https://a/b"], "--cors-origin 'https://a/b' is no origin"),
        (["--root-path", "photos"], "--root-path 'photos' is no path"),
        (["--api-key", " , "], "--api-key is given and holds no key"),
        (
            ["--streams", "3", "--threads", "2"],
            "--streams 3 is more than there are processor threads to share, 2",
        ),
    ],
)
def test_what_cannot_be_served(seetell: Seetell, arguments: list[str], message: str) -> None:
    done = seetell("serve", *arguments)
    assert done.status in (1, 2) and done.out == ""
    assert done.err.startswith("error: ") and message in done.err and done.err.count("\n") == 1


def test_other_origins_and_a_prefix() -> None:
    arguments = (
        "--threads",
        "1",
        "--cors-origin",
        "http://a.example",
        "--cors-origin",
        "*",
        "--root-path",
        "/p",
    )
    with running(*arguments) as server:
        answer = httpx2.get(f"{server.address}/p/health", headers={"origin": "http://b.example"})
        assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, "*")
        assert "any web page open in a browser on this machine can use it" in server.log.read_text()


@pytest.mark.parametrize(
    ("names", "address", "opened", "sentence"),
    [
        (["a"], "http://127.0.0.1:80", False, "Serving a: open http://127.0.0.1:80 in a browser."),
        (["a", "b"], "http://127.0.0.1:80", False, "Serving a and b: open http://127.0.0.1:80 in a browser."),
        (
            ["a", "b", "c"],
            "http://0.0.0.0:80",
            True,
            "Serving a, b and c, listening at http://0.0.0.0:80: "
            "the page opens in your browser (http://127.0.0.1:80).",
        ),
    ],
)
def test_where_the_page_is_is_a_sentence(names: list[str], address: str, opened: bool, sentence: str) -> None:
    assert _where(names, address, opened=opened) == f"{sentence} Ctrl-C ends it."


@pytest.mark.parametrize(("display", "opened"), [(":7", True), ("", False)])
def test_the_page_is_opened_where_there_is_a_desktop(tmp_path: Path, display: str, opened: bool) -> None:
    """The browser is a script that writes down what it was given."""
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" > {tmp_path}/asked\n')
    browser.chmod(0o755)
    settings = {"DISPLAY": display, "WAYLAND_DISPLAY": "", "BROWSER": f"{browser} %s", "SSH_CONNECTION": ""}
    with running("--threads", "1", "--open", **settings) as server:
        wait_until_ready(server.address)
    asked = tmp_path / "asked"
    assert (asked.read_text().strip() if asked.exists() else None) == (server.address if opened else None)


@pytest.mark.parametrize("given", ["", ",", " "])
def test_a_variable_without_a_key_opens_no_server(
    seetell: Seetell, monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    monkeypatch.setenv("SEETELL_API_KEY", given)
    done = seetell("serve", "--model", "nowhere/at/all")
    assert done.status == 2 and "holds no key; give one" in done.err and "nowhere" not in done.err


def test_a_local_checkpoint_is_served_from_its_conversion(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Its folder is no bundle, and the conversion has another name."""
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(b"weights")
    bundle = open_bundle(make_bundle(tmp_path / "converted"))
    monkeypatch.setattr(conversion, "resolve_or_convert", lambda source, **_: bundle)
    source = _source(Shared(model=str(folder)), 1, 1)
    assert source.name == bundle.manifest.name
    assert source.memory_bytes > bundle.size_bytes


@pytest.mark.slow
def test_an_index_that_is_none_ends_the_server(tmp_path: Path) -> None:
    """Better no server than half a one."""
    pytest.importorskip("lancedb")
    (tmp_path / "an.index").mkdir()
    (tmp_path / "an.index" / "other.txt").write_text("no index")
    done = subprocess.run(
        [sys.executable, "-m", "seetell.cli.main", "serve", "--port", "0", "--index", f"{tmp_path}/an.index"],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 1
    assert "an.index is no index and holds other files" in done.stderr.splitlines()[-1]


def test_what_an_index_lacks_is_told_before_anything_is_served(
    seetell: Seetell, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def served(app: Any, *, started: Any, **options: Any) -> None:
        started("http://127.0.0.1:80")

    pytest.importorskip("lancedb")
    monkeypatch.setattr("seetell.serving.server.serve", served)
    monkeypatch.setattr("seetell.serving.logs.log_to_stderr", lambda: None)
    table = {"table": "photos-0", "fingerprint": "0", "shared_dim": 8}
    for name, said in (
        ("clip", "was made by clip, not"),
        ("seetell-builtin", "was made by an earlier state"),
    ):
        place = tmp_path / f"{name}.index"
        place.mkdir()
        document = {"kind": "seetell-index", "format": 1, "models": [{"name": name, **table}]}
        (place / "index.json").write_text(json.dumps(document))
        result = seetell("serve", "--index", str(place))
        assert result.status == 2 and said in result.err and "Serving" not in result.err

    def missing(inside: str = "") -> Any:
        raise MissingExtra("lancedb", "search", "to keep an index of photos on disk")

    monkeypatch.setattr("seetell.serving.app.import_lancedb", missing)
    result = seetell("serve", "--index", str(tmp_path / "clip.index"))
    assert result.status == 2 and "[search]" in result.err and "Serving" not in result.err


@pytest.mark.parametrize("quiet", [False, True])
def test_a_quiet_server_says_warnings_only(
    seetell: Seetell, monkeypatch: pytest.MonkeyPatch, quiet: bool
) -> None:
    def served(app: Any, *, started: Any, **options: Any) -> None:
        started("http://127.0.0.1:80")

    monkeypatch.setattr("seetell.serving.server.serve", served)
    monkeypatch.setattr("seetell.serving.logs.log_to_stderr", lambda: None)
    result = seetell("serve", "--cors-origin", "*", *["--quiet"] * quiet)
    assert result.status == 0
    *said, warning = result.err.splitlines()
    assert len(said) == (0 if quiet else 1)
    assert warning.startswith("warning: any web page")
