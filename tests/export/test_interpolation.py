"""Weights between those of several models, where there is anything between."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from seetell.bundle.store import file_record, open_bundle
from seetell.core.errors import BundleNotFound, CheckpointError, UsageError
from seetell.learning.training.run import run
from seetell.modeling.checkpoints.run_folder import RunDescription, write_description
from seetell.modeling.export.conversion import convert_run
from seetell.modeling.export.interpolation import average, averaged_with, towards_start
from seetell.modeling.facts import BundleFacts
from seetell.modeling.start import read_start
from tests.learning.training.test_run import scenes, small

__all__ = ["scenes"]


def test_blocks_that_began_as_others_are_not_averaged(tmp_path: Path) -> None:
    description = RunDescription(
        family="unified",
        config={},
        facts=BundleFacts(name="run", licence="none"),
        trained=(),
        init="some/model",
        init_layers="even",
    )
    write_description(tmp_path, description)
    with pytest.raises(UsageError, match=r"by init_layers blocks of .* began as others of some/model"):
        towards_start(tmp_path, 0.5)


@given(shares=st.lists(st.floats(0.05, 0.3), min_size=1, max_size=3), seed=st.integers(0, 99))
def test_the_average_is_the_weighted_mean(shares: list[float], seed: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    own, *others = (
        {"w": torch.randn(3, 4, generator=draw), "n": torch.tensor(place)} for place in range(len(shares) + 1)
    )
    found = average(own, list(zip(others, shares, strict=True)))
    expected = own["w"] * (1 - sum(shares)) + sum(one["w"] * s for one, s in zip(others, shares, strict=True))
    torch.testing.assert_close(found["w"], expected)
    assert int(found["n"]) == 0, "what has no mean stays"
    alike = average(own, [(own, share) for share in shares])
    torch.testing.assert_close(alike["w"], own["w"])


@pytest.fixture(scope="module")
def runs(scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """One run, and one that began from it."""
    folder = tmp_path_factory.mktemp("runs")
    run(small(scenes, folder / "one"))
    run(small(scenes, folder / "two", f"init={folder / 'one'}", "seed=5"))
    return folder / "one", folder / "two"


@pytest.fixture(scope="module")
def mixed(runs: tuple[Path, Path]) -> Path:
    """The bundle of three quarters of the second run and a quarter of the first."""
    one, two = runs
    convert_run(two, two.parent / "mixed", average=[(str(one), 0.25)])
    return two.parent / "mixed"


def state(folder: Path) -> dict[str, Any]:
    return dict(read_start(str(folder)).model.state_dict())


def check_mean(found: dict[str, Any], first: dict[str, Any], second: dict[str, Any], share: float) -> None:
    moved = [name for name in found if not torch.equal(first[name], second[name])]
    assert moved
    for name in moved:
        if found[name].is_floating_point():
            mean = share * first[name] + (1 - share) * second[name]
            # As float16 stores it.
            torch.testing.assert_close(found[name], mean, atol=2e-3, rtol=2e-3)


def test_a_run_is_averaged_with_a_run(runs: tuple[Path, Path], mixed: Path) -> None:
    made = open_bundle(mixed)
    made.verify(full=True)
    # It says so, and not where the other one lay.
    assert made.manifest.source.recipe == "two, step 6, averaged with 0.25 of one"
    check_mean(state(mixed), state(runs[0]), state(runs[1]), 0.25)


def test_a_run_is_averaged_with_a_bundle(runs: tuple[Path, Path], mixed: Path) -> None:
    start = read_start(str(runs[1]))
    averaged_with(runs[1], [(str(mixed), 0.5)], start.tokenizer_json)(start.model)
    check_mean(dict(start.model.state_dict()), state(mixed), state(runs[1]), 0.5)


def test_answers_in_another_order_are_averaged_with_themselves(
    runs: tuple[Path, Path], mixed: Path, tmp_path: Path
) -> None:
    two = runs[1]
    turned = tmp_path / "turned"
    shutil.copytree(mixed, turned)
    manifest = json.loads((turned / "bundle.json").read_text(encoding="utf-8"))
    order = list(range(len(manifest["answers"])))[::-1]
    weights = load_file(turned / "model.safetensors")
    heads = [name for name in weights if name.startswith("answer_head.2.")]
    assert len(heads) == 2
    save_file(
        {name: x[order].contiguous() if name in heads else x for name, x in weights.items()},
        turned / "model.safetensors",
    )
    manifest["answers"] = manifest["answers"][::-1]
    record = file_record(turned / "model.safetensors").model_dump()
    manifest["files"]["model.safetensors"] = record
    (turned / "bundle.json").write_text(json.dumps(manifest), encoding="utf-8")
    tokens = (two / "tokenizer.json").read_bytes()
    found = []
    for other in (mixed, turned):
        start = read_start(str(two))
        averaged_with(two, [(str(other), 0.5)], tokens)(start.model)
        found.append(start.model.state_dict())
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])
    manifest["answers"][0] = "something else"
    (turned / "bundle.json").write_text(json.dumps(manifest), encoding="utf-8")
    with pytest.raises(UsageError, match="its answers are others than those of"):
        averaged_with(two, [(str(turned), 0.5)], tokens)


def test_what_cannot_be_averaged_says_why(
    runs: tuple[Path, Path], mixed: Path, scenes: Path, tmp_path: Path
) -> None:
    one, two = runs
    tokens = (two / "tokenizer.json").read_bytes()
    with pytest.raises(UsageError, match=r"leave nothing for"):
        averaged_with(two, [(str(one), 0.5), (str(one), 0.5)], tokens)
    with pytest.raises(BundleNotFound, match="--average: nowhere at all is no folder"):
        averaged_with(two, [("nowhere at all", 0.5)], tokens)
    with pytest.raises(UsageError, match="give one of them"):
        convert_run(two, tmp_path / "out", interpolate=0.5, average=[(str(one), 0.5)])
    other = tmp_path / "other"
    shutil.copytree(one, other)
    document = json.loads((other / "tokenizer.json").read_text(encoding="utf-8"))
    (other / "tokenizer.json").write_text(json.dumps(document, indent=1), encoding="utf-8")
    with pytest.raises(UsageError, match="its tokens are others than those of"):
        averaged_with(two, [(str(other), 0.5)], tokens)
    smaller = tmp_path / "smaller"
    run(small(scenes, smaller, "model.text.depth=1"))
    for source in (one, two):
        shutil.copy(source / "tokenizer.json", smaller / "tokenizer.json")
    with pytest.raises(UsageError, match=r"of another shape than that of .* \(\w+"):
        convert_run(two, tmp_path / "out", average=[(str(smaller), 0.5)])
    shutil.copytree(mixed, tmp_path / "int8")
    manifest = json.loads((tmp_path / "int8" / "bundle.json").read_text(encoding="utf-8"))
    for graph in manifest["graphs"].values():
        graph["files"]["int8"] = graph["files"].pop("fp32")
    (tmp_path / "int8" / "bundle.json").write_text(json.dumps(manifest), encoding="utf-8")
    with pytest.raises(CheckpointError, match="is in int8 alone, which cannot be taught or averaged"):
        averaged_with(two, [(str(tmp_path / "int8"), 0.5)], tokens)
    assert not os.path.lexists(tmp_path / "out")
