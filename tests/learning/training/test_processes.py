"""Several processes learn what one learns from the same batch, and chunks what the whole does."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from seetell.core.errors import RecipeError
from seetell.learning.training import checkpoint as checkpoints
from seetell.learning.training.metrics_log import read_metrics
from seetell.learning.training.objective_spec import ObjectiveSpec
from tests.learning.training.processes_script import build, joint_batch
from tests.learning.training.stand_in import recipe


def train(folder: Path, count: int, accumulate: int = 1, steps: int = 4) -> None:
    folder.mkdir()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    running = [
        subprocess.Popen(
            [
                sys.executable,
                "-m",
                "tests.learning.training.processes_script",
                str(folder),
                str(steps),
                str(accumulate),
            ],
            env={
                **os.environ,
                "RANK": str(rank),
                "LOCAL_RANK": str(rank),
                "WORLD_SIZE": str(count),
                "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": port,
                "OMP_NUM_THREADS": "1",
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        for rank in range(count)
    ]
    for one in running:
        output, _ = one.communicate(timeout=300)
        assert one.returncode == 0, output.decode()[-3000:]


@pytest.mark.slow
@pytest.mark.parametrize("accumulate", [1, 2])
def test_two_processes_learn_what_one_learns_from_the_joint_batch(tmp_path: Path, accumulate: int) -> None:
    train(tmp_path / "one", 1, accumulate)
    train(tmp_path / "two", 2, accumulate)
    found = []
    for name in ("one", "two"):
        path = checkpoints.latest(tmp_path / name / "checkpoints")
        assert path is not None
        rows = [row for row in read_metrics(tmp_path / name / "metrics.jsonl") if row["kind"] == "train"]
        found.append((checkpoints._read(path / "step.safetensors"), [row["loss"] for row in rows]))
        assert [row["step"] for row in rows] == [1, 2, 3, 4]
    (one, losses), (two, other_losses) = found
    assert losses == pytest.approx(other_losses, rel=1e-4)
    start = build().state_dict()
    # A softmax does not see what is added to all of a query's scores, so a key's bias has no gradient but
    # what float32 rounds, and Adam, which divides by the gradient's size, makes steps of that.
    names = [name for name in one if not name.endswith("attention.key.bias")]
    moved = max(float((one[name] - start[name]).abs().max()) for name in names)
    apart = max(float((one[name] - two[name]).abs().max()) for name in names)
    assert apart < 0.005 * moved, (apart, moved)


@pytest.mark.parametrize("chunk", [1, 3, 8, 100])
def test_chunks_give_the_loss_and_the_gradient_of_the_whole(chunk: int) -> None:
    whole, parts = build(), build(chunk)
    for step in (whole, parts):
        step(joint_batch(0))["loss"].backward()
    batch = joint_batch(0)
    assert float(parts(batch)["loss"].detach()) == pytest.approx(
        float(whole(batch)["loss"].detach()), rel=1e-6
    )
    for (name, one), other in zip(whole.named_parameters(), parts.parameters(), strict=True):
        assert one.grad is not None and other.grad is not None, name
        torch.testing.assert_close(other.grad, one.grad, atol=1e-6, rtol=1e-4)


def test_a_chunk_holds_less_for_the_way_back() -> None:
    def held(chunk: int | None) -> int:
        counted = 0

        def count(tensor: torch.Tensor) -> torch.Tensor:
            nonlocal counted
            counted += tensor.numel()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
            build(chunk)(joint_batch(0))
        return counted

    assert held(2) < 0.3 * held(None)


def test_chunk_serves_the_contrastive_objective_of_dual_encoders_alone() -> None:
    with pytest.raises(ValueError, match="chunk serves contrastive alone"):
        ObjectiveSpec(name="captioning", chunk=3)
    with pytest.raises(RecipeError, match="chunk serves contrastive alone"):
        recipe(objectives=[{"name": "matching", "chunk": 2}])
