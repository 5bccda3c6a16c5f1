"""The loop: stopping and going on changes nothing, and what goes wrong is said by name."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from stand_in import TOTAL, TinyStep, loop, make_batch, recipe
from torch import nn

from seetell.core.errors import CheckpointError, ImageError, NonFiniteLoss, RecipeError
from seetell.learning.batch import Batch
from seetell.learning.training import checkpoint as checkpoints
from seetell.learning.training.loop import TrainingLoop, TrainingResult
from seetell.learning.training.metrics_log import read_metrics
from seetell.learning.training.recipe import Recipe


def losses(folder: Path) -> list[tuple[int, float, float]]:
    rows = [row for row in read_metrics(folder / "metrics.jsonl") if row["kind"] == "train"]
    return [(row["step"], row["loss"], row["error"]) for row in rows]


def final(folder: Path) -> dict[str, dict[str, torch.Tensor]]:
    path = checkpoints.latest(folder / "checkpoints")
    assert path is not None
    return {name: checkpoints._read(path / name) for name in ("step.safetensors", "ema.safetensors")}


def same(one: dict[str, dict[str, torch.Tensor]], other: dict[str, dict[str, torch.Tensor]]) -> bool:
    return all(
        one[file].keys() == other[file].keys()
        and all(torch.equal(one[file][name], other[file][name]) for name in one[file])
        for file in one
    )


class Crash(Exception):
    pass


def crash_at(step: TinyStep, call: int) -> None:
    calls = 0

    def crash() -> None:
        nonlocal calls
        calls += 1
        if calls == call:
            raise Crash

    step.at = crash


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    result = loop(folder)[0].run()
    assert (result.outcome, result.step) == ("finished", TOTAL)
    return folder


@pytest.mark.parametrize("call", range(1, TOTAL + 1))
def test_a_run_that_dies_at_any_step_goes_on_exactly(tmp_path: Path, whole: Path, call: int) -> None:
    running, step = loop(tmp_path)
    crash_at(step, call)
    with pytest.raises(Crash):
        running.run()
    torch.manual_seed(999)  # whatever another process's random state is
    loop(tmp_path)[0].run()
    assert losses(tmp_path) == losses(whole)
    assert same(final(tmp_path), final(whole))


def test_a_killed_process_goes_on_exactly(tmp_path: Path, whole: Path) -> None:
    script = Path(__file__).with_name("stand_in.py")
    killed = subprocess.run(
        [sys.executable, str(script), str(tmp_path), "7"], capture_output=True, check=False
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    assert [number for number, _ in checkpoints.checkpoints(tmp_path / "checkpoints")] == [4]
    loop(tmp_path)[0].run()
    assert losses(tmp_path) == losses(whole)
    assert same(final(tmp_path), final(whole))


def test_dying_again_and_again_changes_nothing(tmp_path: Path, whole: Path) -> None:
    for call in (6, 3, 5):
        running, step = loop(tmp_path)
        crash_at(step, call)
        with pytest.raises(Crash):
            running.run()
    loop(tmp_path)[0].run()
    assert losses(tmp_path) == losses(whole)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_step_saves_and_stops(tmp_path: Path, whole: Path, number: signal.Signals) -> None:
    """In a process of its own: what other tests loaded has its own ideas of signals."""
    program = f"from test_loop import stop_by_signal; stop_by_signal({str(tmp_path)!r}, {int(number)})"
    ended = subprocess.run(
        [sys.executable, "-c", program],
        cwd=Path(__file__).resolve().parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert loop(tmp_path)[0].run().outcome == "finished"
    assert losses(tmp_path) == losses(whole)


def stop_by_signal(folder: str, number: int) -> None:
    """A run that gets a signal in its sixth step."""
    # A shell that starts tests in the background has them ignore Ctrl-C, and what they start.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    torch.set_num_threads(1)
    running, step = loop(Path(folder))
    calls = 0

    def interrupt() -> None:
        nonlocal calls
        calls += 1
        if calls == 6:
            os.kill(os.getpid(), number)

    before = signal.getsignal(number)
    step.at = interrupt
    result = running.run()
    assert (result.outcome, result.step) == ("interrupted", 6)
    assert result.checkpoint.name == "step-0000006"
    assert signal.getsignal(number) is before


def test_a_finished_run_has_nothing_to_do(whole: Path) -> None:
    before = losses(whole)
    running, step = loop(whole)
    crash_at(step, 1)
    assert running.run().step == TOTAL
    assert losses(whole) == before


def test_it_learns(tmp_path: Path) -> None:
    loop(tmp_path, recipe(steps=120, checkpoint={"dir": "unused", "every": 1000}))[0].run()
    errors = [error for _, _, error in losses(tmp_path)]
    assert sum(errors[-10:]) < 0.1 * sum(errors[:10])


def test_accumulating_sees_every_batch_once_and_averages(tmp_path: Path) -> None:
    seen: list[int] = []

    def counted(step: int) -> Batch:
        seen.append(step)
        return make_batch(step)

    torch.manual_seed(0)
    step = TinyStep()
    settings = recipe(steps=3, accumulate=4, schedule={"warmup_steps": 0})
    TrainingLoop(settings, step, step.model, counted, total_steps=3, folder=tmp_path, fingerprint="x").run()
    assert sorted(seen) == list(range(12))

    torch.manual_seed(0)
    # The layout decides which of a picture's values dropout's random numbers meet.
    alone = TinyStep().to(memory_format=torch.channels_last)
    torch.manual_seed(0)  # as the loop does for step 0 of seed 0
    alone.train()
    expected = sum(float(alone(make_batch(number))["loss"].detach()) for number in range(4)) / 4
    assert losses(tmp_path)[0][1] == pytest.approx(expected, rel=1e-5)


def test_bf16_runs_and_keeps_fp32_weights(tmp_path: Path) -> None:
    running, step = loop(tmp_path, recipe(precision="bf16", steps=4))
    running.run()
    assert all(parameter.dtype == torch.float32 for parameter in step.parameters())


def test_a_loss_that_is_not_finite_stops_before_the_weights_and_names_the_photos(tmp_path: Path) -> None:
    running, step = loop(tmp_path)
    calls = 0

    def poison() -> None:
        nonlocal calls
        calls += 1
        if calls == 6:
            step.log_weight.data.fill_(float("nan"))

    step.at = poison
    with pytest.raises(NonFiniteLoss, match=r"step 5: loss .*photo-5-0") as caught:
        running.run()
    assert "\n" not in str(caught.value)
    assert [number for number, _ in checkpoints.checkpoints(tmp_path / "checkpoints")] == [4]


def test_an_infinite_gradient_stops_too(tmp_path: Path) -> None:
    running, step = loop(tmp_path)
    step.log_weight.register_hook(lambda gradient: gradient * float("inf"))
    with pytest.raises(NonFiniteLoss, match=r"step 0: the gradient's norm is (inf|nan); .*photo-0-0"):
        running.run()


def test_an_error_of_a_batch_passes_through_and_leaves_no_threads(tmp_path: Path) -> None:
    def broken(step: int) -> Batch:
        if step == 2:
            raise ImageError("truncated", "photo-2-3: cut off")
        return make_batch(step)

    step = TinyStep()
    running = TrainingLoop(
        recipe(), step, step.model, broken, total_steps=TOTAL, folder=tmp_path, fingerprint="x"
    )
    with pytest.raises(ImageError, match="photo-2-3"):
        running.run()
    assert [number for number, *_ in losses(tmp_path)] == [1, 2]


# Validation ---------------------------------------------------------------------------------------


def validated(
    folder: Path, values: list[float], **settings: Any
) -> tuple[TrainingResult, list[dict[str, Any]], list[bool]]:
    given = iter(values)
    modes: list[bool] = []

    def validate(model: nn.Module) -> dict[str, float]:
        modes.append(model.training)
        torch.rand(5)  # a validation may use random numbers
        return {"r10": next(given), "other": 1.0}

    changes = {"every": 2, "stop_on": "r10", **settings}
    result = loop(folder, recipe(validate=changes), validate=validate)[0].run()
    rows = [row for row in read_metrics(folder / "metrics.jsonl") if row["kind"] == "validate"]
    return result, rows, modes


def test_validation_is_logged_changes_nothing_and_keeps_the_best(tmp_path: Path, whole: Path) -> None:
    result, rows, modes = validated(tmp_path, [1, 5, 2, 3, 4, 4, 4])
    assert [(row["step"], row["r10"]) for row in rows] == list(
        zip(range(2, 15, 2), [1, 5, 2, 3, 4, 4, 4], strict=True)
    )
    assert not any(modes)
    assert (result.best_step, result.best_value) == (4, 5.0)
    assert 4 in dict(checkpoints.checkpoints(tmp_path / "checkpoints"))
    assert losses(tmp_path) == losses(whole)


def test_patience_stops_the_run_and_a_restart_stays_stopped(tmp_path: Path) -> None:
    result, rows, _ = validated(tmp_path, [1, 5, 2, 3], patience=2)
    assert (result.outcome, result.step, len(rows)) == ("stopped_early", 8, 4)
    result, rows, _ = validated(tmp_path, [], patience=2)
    assert (result.outcome, result.step, len(rows)) == ("stopped_early", 8, 4)


def test_less_can_be_better_and_nan_never_is(tmp_path: Path) -> None:
    result, rows, _ = validated(tmp_path, [float("nan"), 3, 2, 9, float("nan"), 4, 5], goal="min")
    assert (result.best_step, result.best_value) == (6, 2.0)
    assert rows[0]["r10"] is None


def test_only_metrics_asked_for_are_logged(tmp_path: Path) -> None:
    _, rows, _ = validated(tmp_path, [1] * 7, metrics=["r10"])
    assert all("other" not in row for row in rows)


def test_an_unknown_metric_to_stop_on_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"validate\.stop_on: 'bleu'.*other, r10"):
        validated(tmp_path, [1] * 7, stop_on="bleu")


def test_validation_sees_averaged_weights_and_gives_the_own_ones_back(tmp_path: Path) -> None:
    seen: list[torch.Tensor] = []

    def validate(model: nn.Module) -> dict[str, float]:
        seen.append(next(model.parameters()).detach().clone())
        return {"x": 0.0}

    running, step = loop(tmp_path, recipe(steps=6, validate={"every": 6}), validate=validate)
    running.run()
    own = next(step.model.parameters()).detach()
    assert torch.equal(seen[0], final(tmp_path)["ema.safetensors"]["0.weight"])
    assert torch.equal(own, final(tmp_path)["step.safetensors"]["model.0.weight"])
    assert not torch.equal(seen[0], own)


def test_a_validation_that_fails_loses_no_step_and_is_done_again(tmp_path: Path, whole: Path) -> None:
    settings = recipe(
        validate={"every": 7, "stop_on": "r10"},
        checkpoint={"dir": "unused", "every": 100, "every_minutes": None},
    )
    values: list[float] = []

    def fails(model: nn.Module) -> dict[str, float]:
        raise Crash

    def measures(model: nn.Module) -> dict[str, float]:
        values.append(3.0)
        return {"r10": 3.0 + len(values)}

    with pytest.raises(Crash):
        loop(tmp_path, settings, validate=fails)[0].run()
    assert [number for number, _ in checkpoints.checkpoints(tmp_path / "checkpoints")] == [7]
    result = loop(tmp_path, settings, validate=measures)[0].run()
    rows = [row for row in read_metrics(tmp_path / "metrics.jsonl") if row["kind"] == "validate"]
    assert [(row["step"], row["r10"]) for row in rows] == [(7, 4.0), (14, 5.0)]
    assert (result.step, result.best_step, result.best_value) == (14, 14, 5.0)
    assert losses(tmp_path) == losses(whole)
    # What has been measured to its end is not measured again.
    assert loop(tmp_path, settings, validate=fails)[0].run().best_step == 14


def test_the_last_validation_failing_is_made_up_for(tmp_path: Path) -> None:
    settings = recipe(steps=4, validate={"every": 4, "stop_on": "r10"})

    def fails(model: nn.Module) -> dict[str, float]:
        raise Crash

    with pytest.raises(Crash):
        loop(tmp_path, settings, validate=fails)[0].run()
    result = loop(tmp_path, settings, validate=lambda _: {"r10": 9.0})[0].run()
    assert (result.outcome, result.step, result.best_step) == ("finished", 4, 4)
    path = checkpoints.latest(tmp_path / "checkpoints")
    assert path is not None and not checkpoints.read_progress(path).awaits_measuring


# Checkpoints of the run ---------------------------------------------------------------------------


def test_old_checkpoints_are_pruned(whole: Path) -> None:
    assert [number for number, _ in checkpoints.checkpoints(whole / "checkpoints")] == [12, 14]


def test_a_checkpoint_of_another_run_is_refused(tmp_path: Path) -> None:
    loop(tmp_path, recipe(steps=2, schedule={"warmup_steps": 0}))[0].run()
    with pytest.raises(CheckpointError, match="another model, data or seed"):
        loop(tmp_path, fingerprint="another")[0].run()


def test_a_damaged_checkpoint_is_refused_and_deleting_it_goes_back_one(tmp_path: Path, whole: Path) -> None:
    running, step = loop(tmp_path)
    crash_at(step, 10)
    with pytest.raises(Crash):
        running.run()
    newest = tmp_path / "checkpoints" / "step-0000008"
    file = newest / "optimizer.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"step-0000008.*optimizer\.safetensors is damaged.*delete"):
        loop(tmp_path)[0].run()
    for path in newest.iterdir():
        path.unlink()
    newest.rmdir()
    loop(tmp_path)[0].run()
    assert losses(tmp_path) == losses(whole)


def test_a_longer_run_may_go_on_from_a_shorter_one(tmp_path: Path) -> None:
    settings: Recipe = recipe(steps=4)
    loop(tmp_path, settings)[0].run()
    loop(tmp_path, recipe(steps=6, optimizer={"lr": 0.001}))[0].run()
    assert [number for number, *_ in losses(tmp_path)] == [1, 2, 3, 4, 5, 6]


def test_a_cut_off_last_line_of_the_log_is_no_obstacle(tmp_path: Path, whole: Path) -> None:
    running, step = loop(tmp_path)
    crash_at(step, 7)
    with pytest.raises(Crash):
        running.run()
    with (tmp_path / "metrics.jsonl").open("a", encoding="utf-8") as stream:
        stream.write('{"step": 7, "kind": "tr')
    loop(tmp_path)[0].run()
    assert losses(tmp_path) == losses(whole)
    for line in (tmp_path / "metrics.jsonl").read_text(encoding="utf-8").splitlines():
        json.loads(line)
