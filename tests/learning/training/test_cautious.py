"""Fine-tuning where the recipe says little: small steps, an early stop, and a guard against forgetting."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from seetell.core.errors import CheckpointError, GateFailed, RecipeError, UsageError
from seetell.learning.scenes import write_scenes
from seetell.learning.training import checkpoint as checkpoints
from seetell.learning.training.guard import ForgettingGuard
from seetell.learning.training.metrics_log import read_metrics
from seetell.learning.training.recipe import Recipe, parse_recipe, read_recipe
from seetell.learning.training.run import prepare, run
from seetell.learning.training.sections import GuardSettings
from seetell.learning.training.validation import build_guard, build_validate
from seetell.modeling.checkpoints.run_folder import load_run_weights, read_description, write_description
from seetell.modeling.export.interpolation import interpolate, towards_start
from seetell.modeling.export.run import default_checkpoint
from seetell.modeling.start import read_start
from tests.learning.training.stand_in import loop
from tests.learning.training.stand_in import recipe as stand_in_recipe
from tests.parity import test_clip as clip

RECIPES = Path(__file__).resolve().parents[3] / "recipes"
LABELLED = {"format": "imagefolder", "path": "labelled", "templates": {"en": ["a picture of a {}"]}}
CAPTIONS = {"format": "coco_captions", "path": "captions_train.json", "limit": 10}


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "scenes"
    write_scenes(folder, 24, seed=2, size=48)
    return folder


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clip")
    clip.make("plain", folder)
    return folder


def recipe(start: Path, scenes: Path, folder: Path, **changes: Any) -> Recipe:
    document: dict[str, Any] = {
        "init": str(start),
        "data_root": str(scenes),
        "data": [{"format": "coco_captions", "path": ".", "batch_size": 8}],
        "precision": "fp32",
        "steps": 6,
        "checkpoint": {"dir": str(folder)},
    }
    return parse_recipe({**document, **changes}, "test")


# Defaults -------------------------------------------------------------------------------------------


def test_a_recipe_that_says_nothing_is_cautious(start: Path, scenes: Path, tmp_path: Path) -> None:
    silent = recipe(start, scenes, tmp_path, validate={"every": 2, "data": [CAPTIONS]})
    assert silent.optimizer.lr == 1e-5
    assert silent.schedule.warmup_fraction == 0.1
    settled = prepare(silent).recipe
    assert settled.validation is not None
    assert settled.validation.stop_on == "captions_train.en.text_to_image.r5"
    assert settled.validation.patience == 3
    adapters = recipe(start, scenes, tmp_path, tune={"lora": {}})
    assert adapters.optimizer.lr == 1e-4


def test_what_it_says_counts(start: Path, scenes: Path, tmp_path: Path) -> None:
    validate = {
        "every": 2,
        "data": [CAPTIONS],
        "stop_on": "captions_train.en.image_to_text.r1",
        "patience": None,
    }
    told = recipe(
        start,
        scenes,
        tmp_path,
        optimizer={"lr": 3e-4, "betas": [0.8, 0.9]},
        schedule={"warmup_steps": 2},
        validate=validate,
    )
    assert (told.optimizer.lr, told.optimizer.betas) == (3e-4, (0.8, 0.9))
    assert (told.schedule.warmup_steps, told.schedule.warmup_fraction) == (2, None)
    settled = prepare(told).recipe
    assert settled.validation is not None
    assert settled.validation.stop_on == "captions_train.en.image_to_text.r1"
    assert settled.validation.patience is None


def test_recipes_with_a_model_of_their_own_mean_what_they_meant() -> None:
    for name, rate in (("model", 1.5e-3),):
        whole = read_recipe(RECIPES / "builtin" / f"{name}.yaml")
        assert not whole.fine_tunes
        assert (whole.optimizer.lr, whole.optimizer.weight_decay) == (rate, 0.1)
        assert whole.schedule.warmup_fraction is None
        assert whole.validation is None or (whole.validation.stop_on, whole.validation.patience) == (
            None,
            None,
        )
        assert whole.guard is None
    document = {"data": [{"format": "imagefolder", "path": "x", "batch_size": 2}], "steps": 5}
    document.update(objectives=[{"name": "labels"}], checkpoint={"dir": "x"})
    assert parse_recipe(document, "test").optimizer.lr == 6e-4
    assert parse_recipe({**document, "model": {}, "init": "y"}, "test").optimizer.lr == 6e-4


@pytest.mark.parametrize("name", ["loss", "contrastive", "captioning", "photos.loss"])
def test_a_bare_loss_is_no_metric_to_stop_on(name: str) -> None:
    with pytest.raises(RecipeError, match="is a loss, which says little of the task") as caught:
        stand_in_recipe(validate={"every": 2, "stop_on": name})
    assert "\n" not in str(caught.value)


# The guard ------------------------------------------------------------------------------------------


class Given:
    """A measure that gives these values, in order."""

    def __init__(self, *values: float) -> None:
        self.values = list(values)
        self.modes: list[bool] = []

    def __call__(self, model: nn.Module) -> float:
        self.modes.append(model.training)
        return self.values.pop(0)


def guarded(
    folder: Path,
    measure: Given,
    *,
    best: list[float] | None = None,
    name: str = "photos.zero_shot.top_1",
    **settings: Any,
) -> Any:
    told = {"data": LABELLED, "every": 2, **settings}
    guard = ForgettingGuard(GuardSettings.model_validate(told), name, measure, folder)
    given = iter(best or [])
    validate = {"every": 2, "stop_on": "r5"} if best else None
    return loop(
        folder,
        stand_in_recipe(steps=8, **({"validate": validate} if validate else {})),
        guard=guard,
        validate=(lambda model: {"r5": next(given)}) if best else None,
    )[0].run()


def test_a_run_above_its_floor_ends_and_logs_what_was_measured(tmp_path: Path) -> None:
    measure = Given(80, 79, 78, 75, 76)
    result = guarded(tmp_path, measure, max_drop=5)
    assert (result.outcome, result.step) == ("finished", 8)
    rows = [row for row in read_metrics(tmp_path / "metrics.jsonl") if row["kind"] == "guard"]
    assert [(row["step"], row["photos.zero_shot.top_1"]) for row in rows] == [
        (0, 80), (2, 79), (4, 78), (6, 75), (8, 76),
    ]  # fmt: skip
    assert not any(measure.modes)


@pytest.mark.parametrize("value", [74.9, float("nan")])
def test_a_crossed_floor_stops_keeps_the_step_and_offers_a_way_back(tmp_path: Path, value: float) -> None:
    with pytest.raises(GateFailed, match=r"step 4: photos\.zero_shot\.top_1 fell from 80\.00 to") as caught:
        guarded(tmp_path, Given(80, 79, value), max_drop=5, best=[50, 99])
    message = str(caught.value)
    assert "below the floor of 75.00" in message and "\n" not in message
    assert f"seetell convert {tmp_path} OUT --interpolate 0.5" in message
    assert "step 2" in message
    # What forgot is kept to look at, and is never the best.
    steps = dict(checkpoints.checkpoints(tmp_path / "checkpoints"))
    assert steps.keys() == {2, 4}
    assert checkpoints.read_progress(steps[4]).best_step == 2


@pytest.mark.parametrize("value", [60, float("nan")])
def test_the_same_command_again_does_not_pass_where_it_has_failed(tmp_path: Path, value: float) -> None:
    with pytest.raises(GateFailed) as first:
        guarded(tmp_path, Given(80, 79, value), max_drop=5)
    for _ in range(2):
        # Nothing is learned and nothing measured.
        with pytest.raises(GateFailed) as again:
            guarded(tmp_path, Given(), max_drop=5)
        assert str(again.value) == str(first.value)
        assert max(row["step"] for row in read_metrics(tmp_path / "metrics.jsonl")) == 4


def test_a_floor_crossed_by_the_last_step_stays_crossed(tmp_path: Path) -> None:
    with pytest.raises(GateFailed, match="step 8"):
        guarded(tmp_path, Given(80, 79, 78, 77, 60), max_drop=5)
    with pytest.raises(GateFailed, match=r"step 8: .* fell from 80\.00 to 60\.00, below the floor of 75\.00"):
        guarded(tmp_path, Given(), max_drop=5)
    assert guarded(tmp_path, Given(), max_drop=30).outcome == "finished"


def test_a_larger_drop_lets_a_run_go_on_from_where_it_began(tmp_path: Path) -> None:
    with pytest.raises(GateFailed, match=r"or let it go on with a larger guard\.max_drop$"):
        guarded(tmp_path, Given(80, 79, 60), max_drop=5)
    with pytest.raises(GateFailed, match=r"step 6: .* fell from 80\.00 to 49\.00, below the floor of 50\.00"):
        guarded(tmp_path, Given(49), max_drop=30)
    assert guarded(tmp_path, Given(61), max_drop=40).outcome == "finished"
    # A smaller one is held against what was measured last, and another metric is measured first.
    with pytest.raises(GateFailed, match=r"step 8: .* to 61\.00, below the floor of 75\.00"):
        guarded(tmp_path, Given(), max_drop=5)
    assert guarded(tmp_path, Given(), name="photos.zero_shot.top_5", max_drop=5).outcome == "finished"


def test_a_run_that_goes_on_from_before_the_crossing_is_measured_again(tmp_path: Path) -> None:
    with pytest.raises(GateFailed, match="step 4"):
        guarded(tmp_path, Given(80, 79, 60), max_drop=5, best=[50])
    shutil.rmtree(tmp_path / "checkpoints" / "step-0000004")
    assert guarded(tmp_path, Given(78, 78, 78), max_drop=5, best=[50, 50, 50]).outcome == "finished"


def test_a_floor_above_the_start_is_a_mistake_in_the_recipe(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"guard\.floor: 90 is above what the model has before training"):
        guarded(tmp_path, Given(80), floor=90)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"data": LABELLED}, "either floor or max_drop"),
        ({"data": LABELLED, "floor": 1, "max_drop": 1}, "either floor or max_drop"),
        ({"data": {"format": "vqa", "path": "x"}, "floor": 1}, "not questions"),
        ({"data": LABELLED, "floor": 1}, "every how many steps"),
    ],
)
def test_a_guard_that_guards_nothing_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        stand_in_recipe(guard=settings)


def test_a_real_model_is_guarded_by_zero_shot_and_by_retrieval(
    start: Path, scenes: Path, tmp_path: Path
) -> None:
    for number, data in enumerate((LABELLED, CAPTIONS)):
        settings = recipe(
            start, scenes, tmp_path / str(number), guard={"data": data, "max_drop": 100, "every": 3}
        )
        assert run(settings, build_guard=build_guard).outcome == "finished"
        rows = [
            row for row in read_metrics(tmp_path / str(number) / "metrics.jsonl") if row["kind"] == "guard"
        ]
        name = "labelled.zero_shot.top_1" if data is LABELLED else "captions_train.en.text_to_image.r5"
        assert [row["step"] for row in rows] == [0, 3, 6]
        assert all(0 <= row[name] <= 100 for row in rows)
    unknown = {"data": LABELLED, "metric": "zero_shot.r9", "floor": 0, "every": 3}
    with pytest.raises(
        RecipeError, match=r"guard\.metric: 'zero_shot\.r9' is not measured; there are labelled"
    ):
        run(recipe(start, scenes, tmp_path / "none", guard=unknown), build_guard=build_guard)
    with pytest.raises(RecipeError, match="guard: this run was given nothing to measure with"):
        run(recipe(start, scenes, tmp_path / "none", guard={**unknown, "metric": None}))


# Between start and end ------------------------------------------------------------------------------


def test_the_ends_are_exact_and_half_way_is_half_way() -> None:
    torch.manual_seed(0)
    one = {"w": torch.randn(3, 4) * 1e-3, "n": torch.tensor(3), "head": torch.randn(2)}
    other = {
        "w": torch.randn(3, 4) * 1e5,
        "n": torch.tensor(9),
        "head": torch.randn(5),
        "new": torch.randn(2),
    }
    assert torch.equal(interpolate(one, other, 0.0)["w"], one["w"])
    assert torch.equal(interpolate(one, other, 1.0)["w"], other["w"])
    half = interpolate(one, other, 0.5)
    torch.testing.assert_close(half["w"], (one["w"] + other["w"]) / 2)
    assert half.keys() == other.keys()
    assert int(half["n"]) == 9
    assert torch.equal(half["head"], other["head"])


@pytest.fixture(scope="module")
def tuned(start: Path, scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tuned") / "run"
    validate = {"every": 2, "data": [CAPTIONS], "patience": None}
    run(
        recipe(start, scenes, folder, optimizer={"lr": 1e-2}, validate=validate, tune={"lora": {"rank": 2}}),
        build_validate=build_validate,
    )
    return folder


def test_a_run_is_converted_part_of_the_way_back(tuned: Path, start: Path, tmp_path: Path) -> None:
    ends = read_start(str(start)).model, read_description(tuned).model()
    load_run_weights(ends[1], tuned, checkpoint=default_checkpoint(tuned))
    middle = read_description(tuned).model()
    load_run_weights(middle, tuned, checkpoint=default_checkpoint(tuned))
    towards_start(tuned, 0.5)(middle)
    for name, tensor in middle.state_dict().items():
        mean = (ends[0].state_dict()[name] + ends[1].state_dict()[name]) / 2
        torch.testing.assert_close(tensor, mean, atol=1e-6, rtol=1e-5)
    for name, more in (("half", ["--interpolate", "0.5"]), ("end", [])):
        # A process of its own: engines leave threads behind, which the signals of other tests would meet.
        command = [sys.executable, "-c", "from seetell.cli.main import main; main()", "convert", str(tuned)]
        subprocess.run([*command, str(tmp_path / name), *more], check=True, capture_output=True)
    pixels = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        found = {
            name: read_start(str(tmp_path / name)).model.encode_image(pixels)[2] for name in ("half", "end")
        }
        expected = {
            "half": middle.eval().encode_image(pixels)[2],
            "end": ends[1].eval().encode_image(pixels)[2],
        }
    for name in found:
        torch.testing.assert_close(found[name], expected[name], atol=5e-3, rtol=0)
    assert not torch.allclose(found["half"], found["end"], atol=1e-2)


def test_what_cannot_be_interpolated_says_why(tuned: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="a share from 0"):
        towards_start(tuned, 1.5)
    orphan = tmp_path / "orphan"
    shutil.copytree(tuned, orphan)
    description = read_description(orphan)
    write_description(orphan, description.model_copy(update={"init": "gone/nowhere/at-all"}))
    with pytest.raises(CheckpointError, match="began from gone/nowhere/at-all, which is needed"):
        towards_start(orphan, 0.5)
    write_description(orphan, description.model_copy(update={"init": None}))
    with pytest.raises(UsageError, match=r"began from a model, and .* did not"):
        towards_start(orphan, 0.5)


def test_the_best_checkpoint_is_what_is_converted(tuned: Path, tmp_path: Path) -> None:
    assert default_checkpoint(tuned) == "best"
    shutil.copytree(tuned, tmp_path / "run")
    for path in (tmp_path / "run" / "checkpoints").glob("*/state.json"):
        document = json.loads(path.read_text(encoding="utf-8"))
        path.write_text(json.dumps({**document, "best_step": None}), encoding="utf-8")
    assert default_checkpoint(tmp_path / "run") == "latest", "it was not measured yet"


def test_a_fine_tuning_of_ours_stops_on_its_task_and_its_best_is_converted(
    scenes: Path, tmp_path: Path
) -> None:
    ours = {
        "model": {
            "image": {"kind": "vit", "patch_size": 16, "embed_dim": 16, "depth": 1, "num_heads": 2},
            "text": {"embed_dim": 16, "depth": 1, "num_heads": 2, "context_length": 40},
            "fusion": {"depth": 1, "num_heads": 2},
            "image_size": [32, 32],
            "shared_dim": 16,
        },
        "tokenizer": {"vocab_size": 300, "context_length": 40},
        "resolution": [{"until": 1.0, "size": 32}],
        "objectives": [{"name": "contrastive"}],
        "trackers": [],
    }
    first = tmp_path / "first"
    run(recipe(first, scenes, first, **ours, init=None, steps=1))
    assert default_checkpoint(first) == "latest"

    tuned = tmp_path / "tuned"
    told = recipe(
        first,
        scenes,
        tuned,
        objectives=[{"name": "contrastive"}],
        validate={"every": 1, "data": [CAPTIONS]},
        checkpoint={"dir": str(tuned), "every": 1, "keep": 1},
        trackers=[],
    )
    assert told.optimizer.lr == 1e-5
    # It is never better than at first: the run stops after three measurements more, and keeps the first.
    values = iter(range(9, 0, -1))
    name = "captions_train.en.text_to_image.r5"
    result = run(told, build_validate=lambda _: lambda _: {name: float(next(values))})
    assert (result.outcome, result.step, result.best_step) == ("stopped_early", 4, 1)
    kept = [path.name for path in sorted((tuned / "checkpoints").iterdir())]
    assert kept == ["step-0000001", "step-0000004"]
    assert default_checkpoint(tuned) == "best"
