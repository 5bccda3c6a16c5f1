"""``seetell models`` and ``seetell doctor`` without any model of weight."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from seetell.bundle.store import bundles_folder
from tests.bundle.stand_in_modelscope import StandInModelScope
from tests.bundle.test_store import make_bundle

MANIFEST = {
    "format": 1,
    "name": "tiny",
    "family": "seetell",
    "version": "1",
    "config": {},
    "tasks": ["embed"],
    "languages": ["en"],
    "graphs": {},
    "licence": "research use only",
    "data": [{"name": "Some photos", "terms": "CC0"}],
    "measurements": [
        {
            "precision": "fp32",
            "task": "embed",
            "dataset": "some",
            "split": "dev",
            "metric": "text_to_image.r1",
            "value": 12.3456,
            "interval": [10.0, 14.0],
            "machine": "a machine",
        }
    ],
}


@pytest.fixture
def cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A bundle without graphs, kept in a cache of its own under the name ``tiny``."""
    monkeypatch.setenv("SEETELL_CACHE", str(tmp_path / "cache"))
    folder = bundles_folder() / "tiny"
    folder.mkdir(parents=True)
    (folder / "bundle.json").write_text(json.dumps(MANIFEST))
    return folder


def test_list(seetell: Any, cached: Path) -> None:
    result = seetell("models", "list", "--json")
    assert result.status == 0
    [found] = [line for line in result.lines if line["name"] == "tiny"]
    assert found["tasks"] == ["embed"]
    assert found["licence"] == "research use only"
    assert found["problem"] is None
    assert any(line.startswith("tiny\t") for line in seetell("models", "list").out.splitlines())


def test_list_says_what_is_wrong_with_one(seetell: Any, cached: Path) -> None:
    (cached / "bundle.json").write_text("{")
    result = seetell("models", "list", "--json")
    [found] = [line for line in result.lines if line["name"] == "tiny"]
    assert "not JSON" in found["problem"]


def test_show(seetell: Any, cached: Path) -> None:
    result = seetell("models", "show", "tiny")
    assert result.status == 0
    assert "research use only" in result.out
    assert "Some photos (CC0)" in result.out
    assert "12.35" in result.out
    [found] = seetell("models", "show", cached, "--json").lines
    assert found["name"] == "tiny"
    assert found["measurements"][0]["value"] == 12.3456


def test_remove(seetell: Any, cached: Path) -> None:
    assert seetell("models", "remove", "tiny").status == 0
    assert not cached.exists()
    again = seetell("models", "remove", "tiny")
    assert again.status == 1
    assert seetell("models", "remove", "builtin").status == 2


def test_pull_of_what_is_not_here_and_cannot_be_fetched(
    seetell: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEETELL_OFFLINE", "1")
    result = seetell("models", "pull", "openai/clip-vit-base-patch32")
    assert result.status == 1
    assert "openai/clip-vit-base-patch32" in result.err and "network" in result.err


def test_pull_from_modelscope(seetell: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {path.name: path.read_bytes() for path in make_bundle(tmp_path / "made").iterdir()}
    hub = StandInModelScope()
    hub.add("team/model", "a" * 40, files)
    environment = {"MODELSCOPE_ENDPOINT": hub.endpoint, "NO_PROXY": "*", "SEETELL_OFFLINE": "0"}
    for name, value in {**environment, "SEETELL_CACHE": str(tmp_path / "cache")}.items():
        monkeypatch.setenv(name, value)
    result = seetell("models", "pull", "modelscope:team/model")
    assert (result.status, "modelscope+team+model" in result.err) == (0, True)
    hub.close()
    monkeypatch.setenv("SEETELL_HUB", "modelscope")
    assert seetell("models", "pull", "team/model").status == 0
    assert seetell("models", "show", "team/model", "--json").lines[0]["name"] == "tiny"
    assert seetell("models", "pull", "team/other").status == 1


def test_doctor_says_which_hub_short_names_are_of(monkeypatch: pytest.MonkeyPatch) -> None:
    from seetell.cli.doctor import _hub

    assert _hub()[0] == {"check": "hub", "found": "huggingface, of ids that name none", "ok": True}
    monkeypatch.setenv("SEETELL_HUB", "hf")
    assert _hub()[0]["ok"] is False


def test_pull_compares_with_the_hashes(seetell: Any, cached: Path) -> None:
    assert seetell("models", "pull", "tiny").status == 0
    record = {"sha256": "0" * 64, "size_bytes": 3}
    (cached / "extra.txt").write_text("abc")
    (cached / "bundle.json").write_text(json.dumps({**MANIFEST, "files": {"extra.txt": record}}))
    result = seetell("models", "pull", "tiny")
    assert result.status == 1
    assert "hash" in result.err


def test_doctor_of_the_machine(seetell: Any) -> None:
    result = seetell("doctor", "--json")
    assert result.status == 0
    found = {line["check"]: line for line in result.lines}
    assert "fp32" in found["OpenVINO CPU"]["precisions"]
    assert found["cache"]["ok"] is True
    assert {"Python", "numpy", "openvino", "extra train"} <= found.keys()


def test_doctor_says_what_the_model_runs_in_and_what_was_measured(
    seetell: Any, cached: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from seetell.runtime import select
    from seetell.runtime.comparison import Comparison, Way
    from seetell.runtime.fastest_engine import FastestEngine

    fp32, bf16, int8 = Way("fp32"), Way("bf16", "bf16"), Way("int8", "f32")
    times = {fp32: {"read 1": 14.32, "read 4": 52.7}, int8: {"read 1": 6.081, "read 4": 27.13}}
    found = Comparison(int8, times, {bf16: "its outputs differ"})
    monkeypatch.setattr(FastestEngine, "comparison", property(lambda _: found))
    monkeypatch.setattr(select, "_ways", lambda *_, **__: [fp32, bf16, int8])
    monkeypatch.setattr("seetell.bundle.check.run_check", lambda *_: [])
    lines = {line["check"]: line for line in seetell("doctor", "tiny", "--json").lines}
    assert lines["runs in"]["found"] == "int8, rest f32: fastest here"
    assert lines["measured"]["found"] == "time to read 1, read 4"
    assert lines["measured fp32"]["ms"] == {"read 1": 14.32, "read 4": 52.7}
    assert lines["measured int8, rest f32"]["found"] == "6.08 / 27.1 ms"
    assert lines["not bf16"]["found"] == "its outputs differ"
    assert "  fp32\t14.3 / 52.7 ms" in seetell("doctor", "tiny").out
    times[fp32] = {"read 1": 6.2, "read 4": 27.0}
    found = Comparison(fp32, times, {})
    text = seetell("doctor", "tiny").out
    assert "runs in\tfp32: as fast as int8, rest f32, and more exact" in text


def test_doctor_where_nothing_can_be_written(
    seetell: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("SEETELL_CACHE", str(tmp_path / "file"))
    result = seetell("doctor", "--json")
    assert result.status == 0, "a machine can do without"
    [cache] = [line for line in result.lines if line["check"] == "cache"]
    assert cache["ok"] is False
    assert "SEETELL_CACHE" in cache["found"]


def test_doctor_of_a_model_that_computes_otherwise(
    seetell: Any, cached: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from seetell.bundle import check

    for difference, status in ((1e-6, 0), (0.5, 3), (float("inf"), 3)):

        def run_check(*_: object, by: float = difference) -> list[check.Difference]:
            return [check.Difference("image_encoder", "image_embeds", by)]

        monkeypatch.setattr(check, "run_check", run_check)
        result = seetell("doctor", "tiny", "--json")
        assert result.status == status, (difference, result.err)
        assert ("image_encoder" in result.err) == (status == 3)


def test_doctor_of_a_damaged_model(seetell: Any, cached: Path) -> None:
    record = {"sha256": "0" * 64, "size_bytes": 3}
    (cached / "bundle.json").write_text(json.dumps({**MANIFEST, "files": {"gone.bin": record}}))
    result = seetell("doctor", "tiny")
    assert result.status == 1
    assert "gone.bin" in result.err


@pytest.mark.parametrize(
    "words",
    [["train", "gone.yaml"], ["convert", "gone", "out"], ["convert", "openai/clip-vit-base-patch32", "out"]],
)
def test_making_commands_without_their_input(
    seetell: Any, tmp_path: Path, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEETELL_OFFLINE", "1")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.chdir(tmp_path)
    result = seetell(*words)
    assert result.status in (1, 2)
    assert len(result.err.splitlines()) == 1
    assert words[1] in result.err


@pytest.mark.parametrize("words", [["train", "RECIPE"], ["convert", "RUN", "out"]])
def test_making_commands_without_torch(tmp_path: Path, words: list[str]) -> None:
    # A process of its own: taking modules away in this one would leave two copies of them behind.
    (tmp_path / "recipe.yaml").write_text("model: {}\n")
    places = {"RECIPE": str(tmp_path / "recipe.yaml"), "RUN": str(tmp_path)}
    lines = (
        "import sys",
        "sys.modules['torch'] = None",
        "from seetell.cli.main import run",
        "sys.exit(run(sys.argv[1:]))",
    )
    script = "\n".join(lines)
    command = [sys.executable, "-c", script, *(places.get(word, word) for word in words)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 2
    assert "[train]'" in done.stderr
    assert len(done.stderr.splitlines()) == 1
