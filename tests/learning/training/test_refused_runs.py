"""What goes on and what is refused: nothing of a run's folder changes for another run, or beside another."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from seetell.core.errors import CheckpointError, RecipeError, StorageError
from seetell.core.locking import locked
from seetell.learning.scenes import write_scenes
from seetell.learning.tokenizer_training import train_tokenizer
from seetell.learning.training import checkpoint as checkpoints
from seetell.learning.training import run as runs
from seetell.learning.training.recipe import Recipe, parse_recipe
from seetell.learning.training.run import prepare, run

ANOTHER = "is of a run with another model, data or seed"


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "scenes"
    write_scenes(folder, 24, seed=2, size=32)
    shutil.copyfile(folder / "captions_train.json", folder / "captions_other.json")
    return folder


def recipe(
    scenes: Path, folder: Path, *, sources: dict[int, dict[str, Any]] | None = None, **changes: Any
) -> Recipe:
    """A run of one step on every kind of source; ``sources`` changes some of them."""
    data: list[dict[str, Any]] = [
        {"format": "coco_captions", "path": "."},
        {"format": "vqa", "path": ".", "holdout": {"modulo": 10, "remainder": 9}},
        {"format": "imagefolder", "path": "labelled", "holdout": {"modulo": 4, "remainder": 3}},
    ]
    for place, own in (sources or {}).items():
        data[place].update(own)
    document: dict[str, Any] = {
        "data_root": str(scenes),
        "model": {
            "image": {"kind": "vit", "patch_size": 16, "embed_dim": 16, "depth": 1, "num_heads": 2},
            "text": {"embed_dim": 16, "num_heads": 2, "depth": 1, "context_length": 32},
            "fusion": {"depth": 1, "num_heads": 2},
            "image_size": [32, 32],
            "shared_dim": 16,
        },
        "tokenizer": {"vocab_size": 300, "context_length": 32},
        "data": [{**one, "batch_size": 2} for one in data],
        "objectives": [{"name": name} for name in ("contrastive", "answer_list", "labels")],
        "resolution": [{"until": 1.0, "size": 32}],
        "steps": 1,
        "precision": "fp32",
        "device": "cpu",
        "checkpoint": {"dir": str(folder)},
        "trackers": [],
    }
    return parse_recipe({**document, **changes}, "test")


@pytest.fixture(scope="module")
def begun(scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("begun") / "run"
    run(recipe(scenes, folder))
    return folder


@pytest.fixture
def folder(begun: Path, tmp_path: Path) -> Path:
    """A run with a checkpoint, to do anything to."""
    return Path(shutil.copytree(begun, tmp_path / "run", symlinks=True))


def content(folder: Path) -> dict[str, Any]:
    """Every file of a folder with its content and the time of its writing, the lock aside."""
    return {
        str(path.relative_to(folder)): (path.lstat().st_mtime_ns, path.read_bytes())
        for path in folder.rglob("*")
        if path.is_file() and path.name != "lock"
    }


def with_a_new_answer(scenes: Path) -> None:
    path = scenes / "annotations_train.json"
    document = json.loads(path.read_text(encoding="utf-8"))
    for answer in document["annotations"][0]["answers"]:
        answer["answer"] = "an answer nobody gave before"
    path.write_text(json.dumps(document), encoding="utf-8")


def with_a_corrected_caption(scenes: Path) -> None:
    path = scenes / "captions_train.json"
    document = json.loads(path.read_text(encoding="utf-8"))
    document["annotations"][0]["caption"] += " indeed"
    path.write_text(json.dumps(document), encoding="utf-8")


def with_a_renamed_photo(scenes: Path) -> None:
    photo = sorted((scenes / "labelled").rglob("*.png"))[0]
    photo.rename(photo.with_name(f"a{photo.name}"))


# Another run ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("change", [with_a_new_answer, with_a_corrected_caption, with_a_renamed_photo])
def test_data_that_has_changed_is_refused_and_the_run_stays_as_it_was(
    scenes: Path, folder: Path, tmp_path: Path, change: Callable[[Path], None]
) -> None:
    changed = Path(shutil.copytree(scenes, tmp_path / "scenes"))
    change(changed)
    before = content(folder)
    with pytest.raises(CheckpointError, match=rf"step-0000001: {ANOTHER}; give") as caught:
        run(recipe(changed, folder, steps=2))
    assert "\n" not in str(caught.value)
    assert content(folder) == before


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"seed": 3}, "seed"),
        ({"sources": {1: {"holdout": {"modulo": 10, "remainder": 8}}}}, r"data\.1\.holdout"),
        ({"sources": {2: {"holdout": {"modulo": 4, "remainder": 2}}}}, r"data\.2\.holdout"),
        ({"sources": {2: {"holdout": None}}}, r"data\.2\.holdout"),
        ({"sources": {0: {"split": "other"}}}, r"data\.0\.split"),
        ({"sources": {0: {"limit": 23}}}, r"data\.0\.limit"),
        ({"sources": {0: {"languages": ["zh"]}}}, r"data\.0\.languages"),
    ],
)
def test_settings_that_choose_what_is_learned_make_another_run(
    scenes: Path, folder: Path, changes: dict[str, Any], named: str
) -> None:
    before = content(folder)
    with pytest.raises(CheckpointError, match=rf"{ANOTHER} \({named} has changed\); give") as caught:
        prepare(recipe(scenes, folder, **changes))
    assert "\n" not in str(caught.value)
    assert content(folder) == before


def test_the_data_may_move_and_other_settings_may_change(scenes: Path, folder: Path, tmp_path: Path) -> None:
    moved = Path(shutil.copytree(scenes, tmp_path / "elsewhere" / "scenes"))
    changes = {"optimizer": {"lr": 1e-5}, "sources": {0: {"captions_per_photo": 2}}}
    result = run(recipe(moved, folder, steps=2, **changes))
    assert (result.outcome, result.step) == ("finished", 2)


def test_a_checkpoint_that_does_not_say_whose_it_is_stops_before_anything_is_written(
    scenes: Path, folder: Path
) -> None:
    (folder / "checkpoints" / "step-0000001" / "state.json").write_text("{", encoding="utf-8")
    before = content(folder)
    with pytest.raises(CheckpointError, match=r"state\.json is missing or damaged"):
        prepare(recipe(scenes, folder))
    assert content(folder) == before


# The tokenizer --------------------------------------------------------------------------------------


def test_another_tokenizer_of_the_same_size_is_another_run(scenes: Path, tmp_path: Path) -> None:
    folder, given = tmp_path / "run", tmp_path / "given.json"
    texts = [f"{one} {other}" for one in ("red", "blue", "large") for other in ("circle", "square", "thing")]
    given.write_text(train_tokenizer(texts * 9, 290), encoding="utf-8")
    told = {"tokenizer": {"path": str(given), "context_length": 32}}
    first = run(recipe(scenes, folder, **told))
    own = folder / "tokenizer.json"
    assert own.read_bytes() == given.read_bytes()
    before = own.stat()
    assert run(recipe(scenes, folder, steps=2, **told)).step == first.step + 1
    assert (own.stat().st_ino, own.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)

    other = train_tokenizer(["quite other words were spoken here", "the weather was grey"] * 9, 290)
    sizes = {len(json.loads(one)["model"]["vocab"]) for one in (other, own.read_text(encoding="utf-8"))}
    assert len(sizes) == 1
    given.write_text(other, encoding="utf-8")
    files = content(folder)
    with pytest.raises(CheckpointError, match=ANOTHER):
        prepare(recipe(scenes, folder, steps=3, **told))
    assert content(folder) == files
    given.unlink()
    with pytest.raises(RecipeError, match=r"tokenizer\.path: .*given\.json is no file"):
        prepare(recipe(scenes, folder, steps=3, **told))


def test_a_tokenizer_that_is_lost_is_made_again_and_has_to_be_the_same(scenes: Path, folder: Path) -> None:
    own = folder / "tokenizer.json"
    document = own.read_bytes()
    own.unlink()
    prepare(recipe(scenes, folder))
    assert own.read_bytes() == document
    own.write_bytes(document.replace(b'"circle"', b'"cercle"', 1))
    if own.read_bytes() == document:
        own.write_bytes(document + b"\n")
    with pytest.raises(CheckpointError, match=ANOTHER):
        prepare(recipe(scenes, folder))


# Two at once ----------------------------------------------------------------------------------------


HOLDS = """
import sys, time
from pathlib import Path
from seetell.core.locking import locked
with locked(Path(sys.argv[1]), str):
    print("held", flush=True)
    time.sleep(600)
"""


def test_a_folder_is_trained_in_by_one_process_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def reached(_: Recipe) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(runs, "prepare", reached)
    folder = tmp_path / "run"
    settings = recipe(tmp_path, folder)
    holder = subprocess.Popen([sys.executable, "-c", HOLDS, str(folder / "lock")], stdout=subprocess.PIPE)
    try:
        assert holder.stdout is not None and holder.stdout.readline() == b"held\n"
        said = rf"^{folder} is being trained in by another process \(number {holder.pid}\); wait for it"
        with pytest.raises(StorageError, match=said) as caught:
            run(settings)
        assert "\n" not in str(caught.value)
        # A process that is killed holds nothing.
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        with pytest.raises(ZeroDivisionError):
            run(settings)
    finally:
        holder.kill()
        holder.communicate()


def test_the_folder_is_held_until_the_run_has_ended(
    scenes: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = recipe(scenes, folder, steps=2)
    with monkeypatch.context() as patch:
        patch.setattr(runs.TrainingLoop, "run", lambda _: run(settings))
        with pytest.raises(StorageError, match="is being trained in by another process"):
            run(settings)
    with locked(folder / "lock", str):
        pass
    assert checkpoints.latest(folder / "checkpoints") == folder / "checkpoints" / "step-0000001"
