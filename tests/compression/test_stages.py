"""Several stages in one run: what each leaves, what one that was stopped goes on from, what is done anew."""

from __future__ import annotations

import errno
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from seetell.bundle.store import Bundle, open_bundle
from seetell.core.errors import GateFailed, StorageError, UsageError
from seetell.learning.compression.gate import Tolerance
from seetell.learning.compression.pruning.prune import Pruning
from seetell.learning.compression.run import Result, compress
from seetell.learning.compression.settings import Distilling, Settings
from tests.compression.stand_ins import StandIns, write_recipe
from tests.compression.test_run import fingerprint, save_photos


@pytest.fixture
def stages(monkeypatch: pytest.MonkeyPatch) -> StandIns:
    found = StandIns()
    found.install(monkeypatch)
    return found


@pytest.fixture
def wish(tmp_path: Path) -> Settings:
    """Pruned, taught again, in int8; a point may be lost in twenty."""
    return Settings(
        calibration=save_photos(tmp_path / "photos", 2),
        prune=Pruning(0.5),
        distil=Distilling(write_recipe(tmp_path)),
        tolerance=Tolerance(5, relative=True),
    )


class Run:
    """The same compression again and again. said: of the last of them."""

    def __init__(self, bundle: Bundle, folder: Path) -> None:
        self.bundle, self.out, self.work = bundle, folder / "out", folder / "out.stages"
        self.said: list[str] = []

    def __call__(self, settings: Settings, **more: Any) -> Result:
        self.said = []
        facts = {"facts": {"photos": "some"}, "evaluate": lambda model: [], **more}
        return compress(self.bundle, self.out, settings, dataset="photos", say=self.said.append, **facts)


@pytest.fixture
def run(tiny_bundle: Bundle, tmp_path: Path) -> Any:
    before = fingerprint(tiny_bundle.folder)
    yield Run(tiny_bundle, tmp_path)
    assert fingerprint(tiny_bundle.folder) == before, "the source is only read"


def test_all_in_one_run(stages: StandIns, wish: Settings, run: Run) -> None:
    result = run(replace(wish, merge_tokens=2))
    assert stages.done == ["prune", "merge", "distil", "quantize"]
    # Nothing is judged between, but everything is measured: the pruned model alone would have been refused.
    assert stages.measured == ["source", "prune", "merge", "distil", "quantize"]
    made = open_bundle(run.out)
    made.verify(full=True)
    assert made.has_int8 and made.manifest == result.manifest
    assert not run.work.exists(), "what was made on the way goes"
    assert all(path.stat().st_nlink == 1 for path in run.out.iterdir()), "no file is shared with anything"
    told = json.loads((run.out / "compression.json").read_text())
    assert told == result.document
    assert [one["stage"] for one in told["stages"]] == ["source", "prune", "merge", "distil", "quantize"]
    assert [one["quality"]["m.r10"]["value"] for one in told["stages"]] == [50, 30, 29, 48, 47.9]
    assert told["method"]["distil"]["teacher"] == "tiny" and told["method"]["prune"]["share"] == 0.5
    (row,) = told["quality"]
    assert row["before"] == 50 and row["after"] == 47.9 and row["drop_interval"] == pytest.approx([2.1, 2.1])
    assert "<svg" in (run.out / "report.html").read_text(encoding="utf-8")
    rows = {(row.precision, row.metric): row.value for row in made.manifest.measurements}
    assert rows["fp32", "m.r10"] == 50 and rows["int8", "m.r10"] == 47.9
    assert rows["fp32", "size_bytes"] == run.bundle.size_bytes > rows["int8", "size_bytes"]
    assert rows["fp32", "image_encoder.latency_ms"] == 2 and rows["int8", "image_encoder.latency_ms"] == 1
    card = (run.out / "README.md").read_text()
    assert "Taught again by recover.yaml, 3 steps with tiny as its teacher." in card


def test_what_stays_in_floats_has_its_figures_of_before_under_another_name(
    stages: StandIns, wish: Settings, run: Run
) -> None:
    manifest = run(replace(wish, quantize=False)).manifest
    splits = {row.split: row.value for row in manifest.measurements if row.metric == "m.r10"}
    assert splits == {"gate, before compression": 50, "gate": 48}
    assert {row.precision for row in manifest.measurements} == {"fp32"}


def test_a_refusal_says_what_costs_most_and_costs_no_training(
    stages: StandIns, wish: Settings, run: Run, tmp_path: Path
) -> None:
    stages.quality |= {"distil": 40.0, "quantize": 39.0}
    report = tmp_path / "reports" / "seen.html"
    with pytest.raises(GateFailed) as refused:
        run(wish, report=report)
    message = str(refused.value)
    assert "m.r10 fell from 50.00 to 39.00, 11.00 points (11.00 to 11.00) where 2.50 are allowed" in message
    assert "pruning costs most, 20.00 points (by estimate a.mlp costs most (75% of what was left" in message
    assert "of which distilling won 10.00 back" in message and f"{run.work} keeps the stages" in message
    assert "\n" not in message and not run.out.exists()
    told = json.loads(report.with_suffix(".json").read_text())
    assert told["gate"]["passed"] is False and told["gate"]["costs_most"] in message
    assert "Refused, so no bundle was written" in report.read_text(encoding="utf-8")
    # In floats it fails already, so no layer gets its precision back in vain.
    assert len(told["tried"]) == 1
    stages.done.clear()
    result = run(replace(wish, tolerance=Tolerance(30, relative=True)), report=report)
    assert stages.done == ["quantize"]
    assert "distil: done by the run before" in run.said
    assert result.document["gate"]["passed"] is True and "Passed" in report.read_text(encoding="utf-8")
    assert run.out.exists() and not run.work.exists()


@pytest.mark.parametrize("stage", ["prune", "distil", "training", "quantize"])
def test_what_was_stopped_goes_on(stages: StandIns, wish: Settings, run: Run, stage: str) -> None:
    def stop() -> None:
        raise KeyboardInterrupt

    stages.during[stage] = stop
    with pytest.raises(KeyboardInterrupt):
        run(wish)
    assert run.said[-1] == f"stopped; the same command goes on with what {run.work} keeps"
    assert not run.out.exists()
    stages.during.clear()
    before = [name for name in stages.done if name != stage and (stage, name) != ("training", "distil")]
    stages.done.clear()
    run(wish)
    assert [*before, *stages.done] == ["prune", "distil", "quantize"]
    open_bundle(run.out).verify(full=True)
    assert not run.work.exists()


def test_a_training_that_was_stopped_keeps_its_folder(
    stages: StandIns, wish: Settings, run: Run, tmp_path: Path
) -> None:
    def stop() -> None:
        raise KeyboardInterrupt

    stages.during["training"] = stop
    for expected in ("+", "++"):
        with pytest.raises(KeyboardInterrupt):
            run(wish)
        assert (run.work / "run" / "steps.txt").read_text() == expected
    # Another recipe is another training.
    write_recipe(tmp_path, steps=4)
    with pytest.raises(KeyboardInterrupt):
        run(wish)
    assert (run.work / "run" / "steps.txt").read_text() == "+"
    assert stages.done.count("prune") == 1


def test_other_settings_are_done_anew_and_nothing_else(
    stages: StandIns, wish: Settings, run: Run, tmp_path: Path
) -> None:
    stages.quality |= {"distil": 40.0, "quantize": 40.0}

    def again(settings: Settings, **more: Any) -> list[str]:
        stages.done.clear()
        stages.measured.clear()
        with pytest.raises(GateFailed):
            run(settings, **more)
        return stages.done

    assert again(wish) == ["prune", "distil", "quantize"]
    assert again(wish) == ["quantize"]
    less = replace(wish, prune=Pruning(0.3))
    assert again(less) == ["prune", "distil", "quantize"]
    assert "prune: not as the run before had it (share), so done anew" in run.said
    assert "distil: not as the run before had it (what it is made of), so done anew" in run.said
    write_recipe(tmp_path, steps=5)
    assert again(less) == ["distil", "quantize"]
    assert "distil: not as the run before had it (recipe), so done anew" in run.said
    assert wish.distil is not None
    faster = replace(less, distil=replace(wish.distil, overrides=("optimizer.lr=1e-3",)))
    assert again(faster) == ["distil", "quantize"]
    # Where checkpoints go to and how many threads read photos changes nothing.
    assert again(
        replace(faster, distil=Distilling(wish.distil.recipe, ("optimizer.lr=1e-3", "loading.threads=2")))
    ) == ["quantize"]
    # Other data to judge by: measured anew, not made anew.
    assert again(faster, facts={"photos": "others"}) == ["quantize"]
    assert stages.measured == ["source", "prune", "distil", "quantize"]
    assert again(faster, facts={"photos": "others"}) == ["quantize"]
    assert stages.measured == ["quantize"]
    # Data of which nothing is known may be any.
    again(faster, facts=None)
    assert stages.measured == ["source", "prune", "distil", "quantize"]
    save_photos(tmp_path / "others", 3)
    assert again(replace(faster, calibration=tmp_path / "others")) == ["prune", "distil", "quantize"]


def test_a_damaged_stage_is_done_anew(stages: StandIns, wish: Settings, run: Run) -> None:
    stages.quality |= {"distil": 40.0, "quantize": 40.0}
    with pytest.raises(GateFailed):
        run(wish)
    weights = run.work / "distil" / "model.safetensors"
    damaged = bytearray(weights.read_bytes())
    damaged[-1] ^= 1
    weights.write_bytes(damaged)
    (run.work / "prune.json").write_text("{")
    stages.done.clear()
    with pytest.raises(GateFailed):
        run(wish)
    assert stages.done == ["prune", "distil", "quantize"]


def test_two_runs_at_the_same_out(stages: StandIns, wish: Settings, run: Run) -> None:
    met: list[str] = []

    def second() -> None:
        with pytest.raises(StorageError) as error:
            compress(run.bundle, run.out, Settings())
        met.append(str(error.value))

    stages.during["distil"] = second
    run(wish)
    busy = f"is being made by another process (number {os.getpid()}); wait for it, or choose another name"
    assert met == [f"{run.out} {busy}"]
    open_bundle(run.out).verify(full=True)


def test_a_full_disk_is_said_and_what_is_whole_stays(stages: StandIns, wish: Settings, run: Run) -> None:
    def full() -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    stages.during["training"] = full
    with pytest.raises(StorageError, match="the disk is full; free some space"):
        run(wish)
    stages.during.clear()
    stages.done.clear()
    run(wish)
    assert stages.done == ["distil", "quantize"]


def test_a_stage_alone_leaves_nothing_when_it_is_refused(stages: StandIns, wish: Settings, run: Run) -> None:
    with pytest.raises(GateFailed, match=r"costs most \(75% of .*; teach it again, with --distill RECIPE"):
        run(replace(wish, distil=None, quantize=False))
    assert not run.work.exists() and not run.out.exists()


def test_places_that_are_not_ours(
    stages: StandIns, wish: Settings, run: Run, tiny_bundle: Bundle, tmp_path: Path
) -> None:
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "one.txt").write_text("dear")
    (tmp_path / "file").write_text("a file")
    for work, message in (
        (tmp_path / "letters", "holds other files"),
        (tmp_path / "file", "is a file"),
        (tiny_bundle.folder / "stages", "lies inside the model"),
        (run.out / "stages", "lies inside OUT"),
    ):
        with pytest.raises(StorageError, match=message):
            run(wish, work=work)
    for report, message in ((tmp_path / "r.json", "ends in .html"), (run.out / "r.html", "of its own")):
        with pytest.raises(UsageError, match=message):
            run(wish, report=report)
    assert stages.done == []
    assert (tmp_path / "letters" / "one.txt").read_text() == "dear"
    # A folder of one's own choice goes, too, but not what somebody else put there meanwhile.
    own = tmp_path / "kept here"
    stages.during["distil"] = lambda: (own / "note.txt").write_text("mine") and None
    run(wish, work=own)
    assert [path.name for path in own.iterdir()] == ["note.txt"]


def test_nothing_that_is_wrong_at_once_comes_late(stages: StandIns, wish: Settings, run: Run) -> None:
    assert wish.distil is not None
    for overrides, message in (
        (("init=builtin",), "seetell compress fills it in"),
        (("checkpoint.dir=runs",), "seetell compress fills it in"),
        (("model.shared_dim=8",), "what is taught is what --prune"),
        (("stepps=3",), "stepps: no such key"),
    ):
        with pytest.raises(UsageError, match=message):
            run(replace(wish, distil=replace(wish.distil, overrides=overrides)))
    with pytest.raises(UsageError, match="cannot be read"):
        run(replace(wish, distil=Distilling(Path("gone.yaml"))))
    assert stages.done == [] and not run.work.exists()
