"""What a run computes in: what it is told, what it began in, or what is faster here."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import yaml

from seetell.learning.scenes import write_scenes
from seetell.learning.training import precision as module
from seetell.learning.training.gemm_rate import gemm_rate
from seetell.learning.training.precision import precision_of_run, settled_precision, step_times_s
from seetell.learning.training.recipe import read_recipe
from seetell.learning.training.run import run
from tests.learning.training.test_run import RECIPE, SMALL

CPU = torch.device("cpu")


class Machine:
    """The seconds of a step in fp32 and in bf16, and how often they were measured."""

    def __init__(self) -> None:
        self.fp32_s, self.bf16_s = 1.0, 2.0
        self.measured = 0

    def step_times_s(self, device: torch.device) -> dict[str, float]:
        self.measured += 1
        return {"fp32": self.fp32_s, "bf16": self.bf16_s}


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Machine]:
    found = Machine()
    monkeypatch.setattr(module, "step_times_s", found.step_times_s)
    monkeypatch.setenv("SEETELL_CACHE", str(tmp_path / "cache"))
    module._faster.cache_clear()
    yield found
    module._faster.cache_clear()


def another_process() -> None:
    module._faster.cache_clear()


def kept(folder: Path) -> Path:
    [path] = (folder / "cache" / "rates").iterdir()
    return path


def test_what_the_recipe_names_is_not_measured(machine: Machine, tmp_path: Path) -> None:
    assert precision_of_run("bf16", tmp_path, CPU) == "bf16"
    assert precision_of_run("fp32", tmp_path, CPU) == "fp32"
    assert machine.measured == 0


@pytest.mark.parametrize(("bf16_s", "faster"), [(2.0, "fp32"), (0.5, "bf16"), (0.99, "fp32"), (0.9, "bf16")])
def test_the_faster_is_taken_and_a_tie_is_exact(
    machine: Machine, tmp_path: Path, bf16_s: float, faster: str
) -> None:
    machine.bf16_s = bf16_s
    assert precision_of_run("auto", tmp_path / "run", CPU) == faster
    assert settled_precision("auto", CPU) == faster
    another_process()
    assert settled_precision("auto", CPU) == faster
    assert machine.measured == 1
    assert json.loads(kept(tmp_path).read_text())["ms"] == {"fp32": 1000, "bf16": 1000 * bf16_s}


@pytest.mark.parametrize("damage", [b"", b"[]", b'{"format": 1}', b'{"format": 1, "precision": "fp8"}'])
def test_damage_costs_a_measurement(machine: Machine, tmp_path: Path, damage: bytes) -> None:
    settled_precision("auto", CPU)
    kept(tmp_path).write_bytes(damage)
    another_process()
    assert settled_precision("auto", CPU) == "fp32"
    assert machine.measured == 2


def test_a_cache_that_cannot_be_written(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("SEETELL_CACHE", str(tmp_path / "file"))
    assert {settled_precision("auto", CPU) for _ in range(3)} == {"fp32"}
    assert machine.measured == 1


def test_a_run_goes_on_in_what_it_began_in(machine: Machine, tmp_path: Path) -> None:
    scenes, folder = tmp_path / "scenes", tmp_path / "run"
    write_scenes(scenes, 30, seed=2, size=48)

    def recipe(*more: str) -> Path:
        document = yaml.safe_load(RECIPE.read_text(encoding="utf-8"))
        del document["precision"]
        path = tmp_path / "recipe.yaml"
        path.write_text(yaml.safe_dump(document), encoding="utf-8")
        run(read_recipe(path, [*SMALL, f"data_root={scenes}", f"checkpoint.dir={folder}", *more]))
        return folder / "recipe.yaml"

    machine.bf16_s = 0.5
    assert read_recipe(recipe("steps=2")).precision == "bf16"
    machine.bf16_s = 2.0
    kept(tmp_path).unlink()
    another_process()
    assert read_recipe(recipe("steps=3")).precision == "bf16"
    assert settled_precision("auto", CPU) == "fp32", "which another run would begin in"
    assert read_recipe(recipe("steps=4", "precision=fp32")).precision == "fp32", "as it is told"


def test_both_are_measured_without_a_trace() -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    found = step_times_s(CPU)
    assert found.keys() == {"fp32", "bf16"}
    assert all(0 < seconds < 600 for seconds in found.values())
    assert gemm_rate(CPU) > 1e8
    assert torch.equal(torch.get_rng_state(), before)
