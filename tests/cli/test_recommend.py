"""``seetell models recommend``: what is printed, for programs and for people, and how it ends."""

from __future__ import annotations

import contextlib
import io
import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from seetell.bundle.catalogue import known_models
from seetell.bundle.store import bundles_folder
from seetell.cli.main import run
from seetell.cli.recommendation import short_licence, time_text
from seetell.core.errors import EngineError
from seetell.runtime.gemm_rate import GemmRate

RATE = GemmRate(400.0, "bf16", "openvino 2026", "A processor, 2 cores")

OWN = {
    "format": 1,
    "name": "seetell-own",
    "family": "unified",
    "version": "1",
    "config": {},
    "tasks": ["embed", "caption"],
    "languages": ["en", "zh"],
    "graphs": {},
    "licence": "Research use only. The photos it was taught with allow no more.",
    "measurements": [
        {
            "precision": "bf16",
            "task": "caption",
            "dataset": "flickr8k (zh)",
            "split": "dev",
            "metric": "captions.cider",
            "value": 0.4123,
            "machine": "a machine",
        }
    ],
}


@pytest.fixture(autouse=True)
def rate(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A known rate in place of a measured one; how it was asked for is in what this returns."""
    asked: dict[str, Any] = {}

    def measure(**options: Any) -> GemmRate:
        asked.update(options)
        return RATE

    monkeypatch.setattr("seetell.runtime.gemm_rate.measure_gemm_rate", measure)
    return asked


@pytest.fixture(autouse=True)
def without_builtin(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An installation without the built-in model, in a cache of its own; the folder it would be in."""
    folder = tmp_path / "builtin"
    monkeypatch.setenv("SEETELL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("seetell.bundle.store.builtin_folder", lambda: folder)
    return folder


def put(folder: Path, document: dict[str, Any]) -> None:
    folder.mkdir(parents=True)
    save_file({"weight": np.zeros((10, 10), np.float32)}, folder / "model.safetensors")
    (folder / "bundle.json").write_text(json.dumps(document))


@pytest.mark.parametrize("task", ["caption", "ask", "search"])
def test_json_lines_hold_what_a_choice_needs(seetell: Any, task: str) -> None:
    result = seetell("models", "recommend", "--task", task, "--json")
    assert result.status == 0
    assert result.err == ""
    fitting = [line for line in result.lines if line["fits"]]
    assert [line["rank"] for line in fitting] == list(range(1, len(fitting) + 1))
    assert result.lines[: len(fitting)] == fitting, "what fits comes first"
    assert len({frozenset(line) for line in result.lines}) == 1, "one reader takes them all"
    for line in result.lines:
        assert line["why"]
        assert line["licence"]
        assert line["parameters"] * 2 == line["weights_bytes"] < line["memory_bytes"]
        assert (line["precision"], line["rate_gflops"], line["here"]) == ("bf16", 400.0, False)
        assert all(figure["source"] for figure in line["figures"])
    for line in fitting:
        assert line["flops"] > 0
        # At full efficiency it could not take less.
        assert line["estimated_latency_ms"] >= line["flops"] / 400e6
        assert line["figure"] is None or line["figure"] in line["figures"]


def test_the_best_published_comes_first(seetell: Any) -> None:
    first = seetell("models", "recommend", "--task", "ask", "--json").lines[0]
    assert first["model"] == "Salesforce/blip-vqa-base"
    assert first["figure"]["value"] == 78.23
    assert first["figure"]["source"] == "LAVIS docs/benchmark.rst"


def test_limits_are_obeyed_and_told(seetell: Any) -> None:
    words = ("models", "recommend", "--task", "ask", "--memory-mb", "600", "--json")
    lines = {line["model"]: line for line in seetell(*words).lines}
    assert lines["dandelin/vilt-b32-finetuned-vqa"]["rank"] == 1
    left = lines["Salesforce/blip-vqa-base"]
    assert left["fits"] is False
    assert left["rank"] is None
    assert left["why"] == "left out: 361 M parameters need about 922 MB in bf16, not 600"
    assert left["estimated_latency_ms"] > 0


def test_nothing_fits(seetell: Any) -> None:
    result = seetell("models", "recommend", "--task", "caption", "--memory-mb", "300", "--json")
    assert result.status == 1
    assert not any(line["fits"] for line in result.lines)
    assert len(result.err.splitlines()) == 1
    assert "nearest is Salesforce/blip-image-captioning-base: 224 M parameters need about 648" in result.err


def test_no_model_has_the_language(seetell: Any) -> None:
    result = seetell("models", "recommend", "--task", "caption", "--language", "ZH")
    assert result.status == 1
    last = result.err.splitlines()[-1]
    assert "no known model for caption has the language ZH, only: en" in last
    chinese = seetell("models", "recommend", "--task", "search", "--language", "ZH", "--json")
    assert chinese.status == 0
    assert chinese.lines[0]["model"] == "OFA-Sys/chinese-clip-vit-base-patch16"


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["--task", "describe"],
        ["--task", "caption", "--language", "chinese"],
        ["--task", "caption", "--memory-mb", "0"],
        ["--task", "caption", "--memory-mb", "much"],
        ["--task", "caption", "--latency-ms", "-1"],
        ["--task", "caption", "--latency-ms", "nan"],
    ],
)
def test_wrong_usage(seetell: Any, words: list[str]) -> None:
    result = seetell("models", "recommend", *words)
    assert result.status == 2
    assert result.out == ""


def test_measuring_again_is_asked_for(seetell: Any, rate: dict[str, Any]) -> None:
    seetell("models", "recommend", "--task", "ask", "--json")
    assert rate["again"] is False
    seetell("models", "recommend", "--task", "ask", "--measure", "--json")
    assert rate["again"] is True


def test_a_machine_that_cannot_multiply_is_an_error(seetell: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(**options: Any) -> GemmRate:
        raise EngineError("OpenVINO cannot multiply matrices here: no")

    monkeypatch.setattr("seetell.runtime.gemm_rate.measure_gemm_rate", broken)
    result = seetell("models", "recommend", "--task", "ask")
    assert result.status == 1
    assert result.err == "error: OpenVINO cannot multiply matrices here: no\n"


def test_lines_in_a_pipe(seetell: Any) -> None:
    result = seetell("models", "recommend", "--task", "search", "--memory-mb", "600")
    rows = [line.split("\t") for line in result.out.splitlines()]
    assert {len(row) for row in rows} == {7}
    assert rows[0][:2] == ["1", "openai/clip-vit-base-patch32"]
    assert rows[0][2] == "text-to-image R@1 30.4 on COCO, zero-shot"
    assert rows[-1][0] == "–"
    assert "estimates" in result.err
    assert "400 GFLOP/s in bf16" in result.err


def on_screen(monkeypatch: pytest.MonkeyPatch, width: int, *words: str) -> str:
    class Screen(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    screen = Screen()
    with contextlib.redirect_stdout(screen):
        assert run(list(words)) == 0
    return re.sub(r"\x1b\[[0-9;]*m", "", screen.getvalue())


@pytest.mark.parametrize("width", [40, 80, 200])
@pytest.mark.parametrize("words", [("recommend", "--task", "search", "--latency-ms", "1000"), ("list",)])
def test_readable_at_any_width(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], width: int, words: tuple[str, ...]
) -> None:
    shown = on_screen(monkeypatch, width, "models", *words)
    assert max(map(len, shown.splitlines())) <= width
    unbroken = {word for line in shown.splitlines() for word in line.split()}
    # Names and words whole, so that they can be read and copied.
    assert {"openai/clip-vit-base-patch32", "laion/CLIP-ViT-B-32-laion2B-s34B-b79K"} <= unbroken
    assert {"Apache-2.0", "card"} <= {word.strip(",.") for word in unbroken}
    if words[0] == "recommend":
        assert {"zero-shot", "published", "estimated", "fine-tuned", "Left"} <= {
            word.strip(",.;()") for word in unbroken
        }
        assert "not comparable" in " ".join(shown.split())
        assert "open_clip docs/openclip_retrieval_results.csv" in " ".join(shown.split())


def test_the_built_in_model_is_ranked_by_its_own_measurements(seetell: Any, without_builtin: Path) -> None:
    put(without_builtin, OWN)
    lines = seetell("models", "recommend", "--task", "caption", "--language", "zh", "--json").lines
    assert lines[0]["model"] == "builtin"
    assert lines[0]["here"] is True
    assert lines[0]["parameters"] == 100
    assert lines[0]["figure"]["value"] == 0.4123
    assert lines[0]["flops"] is None, "a bundle without graphs"
    timed = seetell(
        "models", "recommend", "--task", "caption", "--language", "zh", "--latency-ms", "9999", "--json"
    )
    assert timed.status == 1


def test_a_damaged_built_in_model_is_left_out_with_a_word(seetell: Any, without_builtin: Path) -> None:
    put(without_builtin, OWN)
    (without_builtin / "model.safetensors").write_bytes(b"nonsense")
    result = seetell("models", "recommend", "--task", "caption", "--json")
    assert result.status == 0
    assert "builtin" not in [line["model"] for line in result.lines]
    assert "the built-in model is left out" in result.err
    assert "model.safetensors" in result.err


def test_a_converted_checkpoint_is_known_to_be_here(seetell: Any) -> None:
    put(bundles_folder() / "gpt", {**OWN, "source": {"hub_id": "gpt2"}})
    put(bundles_folder() / "vilt", {**OWN, "source": {"hub_id": "dandelin/vilt-b32-finetuned-vqa"}})
    lines = seetell("models", "recommend", "--task", "ask", "--json").lines
    assert {line["model"]: line["here"] for line in lines} == {
        "Salesforce/blip-vqa-base": False,
        "dandelin/vilt-b32-finetuned-vqa": True,
    }
    listed = seetell("models", "list", "--json").lines
    assert [line["name"] for line in listed if line["where"] == "here"] == ["gpt", "vilt"]
    public = {line["name"] for line in listed if line["where"] == "public"}
    assert len(public) == len(known_models()) - 2
    assert "openai-community/gpt2" not in public, "kept under its older name"


def test_list_gives_this_machines_models_first_and_the_known_ones_apart(seetell: Any) -> None:
    put(bundles_folder() / "mine", OWN)
    result = seetell("models", "list", "--json")
    assert result.status == 0
    assert [line["where"] for line in result.lines] == ["here"] + ["public"] * len(known_models())
    by_name = {line["name"]: line for line in result.lines}
    clip = by_name["openai/clip-vit-base-patch32"]
    assert clip["weights_bytes"] == {"fp32": 605_109_252, "bf16": 302_554_626, "int8": 151_277_313}
    assert clip["size_bytes"] == 605_109_252
    assert clip["folder"] is None
    assert clip["licence"] == "see model card"
    for line in result.lines:
        assert {"name", "where", "folder", "size_bytes", "tasks", "languages", "licence", "problem"} <= set(
            line
        )
    rows = [line.split("\t") for line in seetell("models", "list").out.splitlines()]
    assert rows[0] == ["mine", rows[0][1], "Research use only", "embed caption", "here"]
    assert {row[-1] for row in rows[1:]} == {"public"}


@pytest.mark.parametrize(
    ("latency_ms", "shown"),
    [(None, "time unknown"), (0.123, "about 0.12 ms"), (47.6, "about 48 ms"), (2062.4, "about 2,100 ms")],
)
def test_times_are_shown_no_finer_than_they_are_known(latency_ms: float | None, shown: str) -> None:
    assert time_text(latency_ms) == shown
    assert time_text(63_000) == "about 63 s"
    assert not math.isnan(float(time_text(9_999).split()[1].replace(",", "")))


def test_long_licences_are_cut_for_tables_only() -> None:
    assert short_licence("MIT") == "MIT"
    assert short_licence("Research use only. More to say.") == "Research use only"
    assert short_licence("x" * 50) == "x" * 27 + "…"


def test_figures_have_plain_names_and_two_digits(seetell: Any, without_builtin: Path) -> None:
    put(without_builtin, OWN)
    rows = [
        line.split("\t")
        for line in seetell("models", "recommend", "--task", "caption", "--language", "zh").out.splitlines()
    ]
    assert rows[0][1:3] == ["builtin", "CIDEr-D 0.41 on flickr8k (zh) dev, measured by seetell"]
    assert "captions.cider" not in " ".join(rows[0])
