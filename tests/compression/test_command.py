"""``seetell compress`` as it is typed: exit statuses, one line of error, and what it will not overwrite."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from seetell.bundle.store import Bundle, open_bundle
from seetell.cli.main import run
from tests.compression.test_run import fingerprint, save_photos


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (["--calibration", "gone"], 1, "--calibration: gone is no folder"),
        (["--calibration", "empty"], 1, "no photos in empty"),
        (["--calibration-texts", "empty"], 2, "--calibration-texts goes with --calibration DIR"),
        (["--max-drop", "much"], 2, "--max-drop: give 1%"),
        (["--images", "empty"], 2, "--images goes with --captions F or --questions F"),
        (["--captions", "gone.json"], 2, "where are the photos? Give --images DIR"),
        (["--questions", "gone.json", "--images", "empty"], 2, "give --annotations F"),
        (["--annotations", "gone.json"], 2, "go with --questions F"),
        (["--captions", "gone.json", "--images", "empty"], 1, "gone.json"),
        (["--prune", "1", "--calibration", "empty"], 2, "--prune 1: give the share of the arithmetic"),
        (["--prune", "-0.1", "--calibration", "empty"], 2, "--prune -0.1: give the share"),
        (["--prune", "0.5"], 2, "--prune needs --calibration DIR"),
        (["--prune", "0.5", "--calibration", "empty"], 1, "no photos in empty"),
        (["--prune-layers", "1"], 2, "--prune-layers goes with --prune SHARE"),
        (["--prune-measure", "latency"], 2, "--prune-measure goes with --prune SHARE"),
        (["--prune-budget", "solved"], 2, "--prune-budget goes with --prune SHARE"),
        (["--limit", "3"], 2, "--limit goes with --captions, --questions and --labelled"),
        (["--language", "zh"], 2, "--language goes with --captions and --labelled"),
        (
            ["--captions", "gone.json", "--images", "empty", "--holdout", "10:9"],
            2,
            "compress: --holdout goes with --questions and --labelled",
        ),
        (["--captions", "gone.json"], 2, "compress: where are the photos?"),
        (
            ["--prune", "2", "--prune-measure", "latency", "--calibration", "empty"],
            2,
            "--prune 2: give the share of the time",
        ),
        (["--merge-tokens", "2", "--calibration-texts", "empty"], 2, "goes with --calibration DIR"),
        (["--distill-set", "steps=3"], 2, "--distill-set goes with --distill RECIPE"),
        (["--distill", "gone.yaml"], 2, "gone.yaml: the recipe cannot be read"),
        (["--distill", "empty"], 2, "empty: the recipe cannot be read"),
        (["--report", "report.json"], 2, "--report report.json: name a file that ends in .html"),
        (["--report", "out/report.html"], 2, "OUT gets a report of its own"),
        (["--work", "out/stages"], 1, "lies inside OUT"),
    ],
)
def test_what_cannot_be_meant_is_said_on_one_line(
    tiny_bundle: Bundle,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    status: int,
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    assert run(["compress", str(tiny_bundle.folder), "out", *words]) == status
    printed = capsys.readouterr()
    assert printed.out == ""
    assert message in printed.err and len(printed.err.splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]


def test_what_cuts_and_merges_fits_our_own_model_with_its_weights(
    tiny_bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = save_photos(tmp_path / "photos", 1)
    words = [str(tmp_path / "out"), "--prune", "0.5", "--calibration", str(photos)]
    public = Path(shutil.copytree(tiny_bundle.folder, tmp_path / "public"))
    manifest = json.loads((public / "bundle.json").read_text())
    (public / "bundle.json").write_text(json.dumps({**manifest, "family": "dual_encoder"}))
    assert run(["compress", str(public), *words]) == 2
    assert "is of the public family dual_encoder; --prune fits our own model" in capsys.readouterr().err
    assert run(["compress", str(public), str(tmp_path / "out"), "--merge-tokens", "2"]) == 2
    assert "--merge-tokens 2 fits our own model" in capsys.readouterr().err
    image = {**manifest["config"]["image"], "kind": "resnet"}
    blind = {**manifest, "config": {**manifest["config"], "image": image}}
    (public / "bundle.json").write_text(json.dumps(blind))
    assert run(["compress", str(public), str(tmp_path / "out"), "--merge-tokens", "2"]) == 2
    assert "the image encoder of tiny has no transformer" in capsys.readouterr().err
    bare = Path(shutil.copytree(tiny_bundle.folder, tmp_path / "bare"))
    (bare / "model.safetensors").unlink()
    assert run(["compress", str(bare), *words]) == 1
    last = capsys.readouterr().err.splitlines()[-1]
    assert "model.safetensors" in last and "missing" in last
    assert not (tmp_path / "out").exists()


def test_a_gate_that_stays_shut(
    tiny_bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["compress", str(tiny_bundle.folder), str(tmp_path / "out"), "--max-drop", "0"]) == 3
    last = capsys.readouterr().err.splitlines()[-1]
    assert "nothing was written" in last and "--max-drop" in last
    assert list(tmp_path.iterdir()) == []


def test_nothing_but_a_bundle_is_replaced(
    tiny_bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = fingerprint(tiny_bundle.folder)
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "one.txt").write_text("dear")
    for out, words, message in (
        (tmp_path / "letters", [], "exists already"),
        (tmp_path / "letters", ["--overwrite"], "is no bundle"),
        (tiny_bundle.folder, ["--overwrite"], "holds the model itself"),
    ):
        assert run(["compress", str(tiny_bundle.folder), str(out), *words]) == 1
        assert message in capsys.readouterr().err
    assert (tmp_path / "letters" / "one.txt").read_text() == "dear"
    assert fingerprint(tiny_bundle.folder) == before


# Runs the command line where the extra `train` is not installed, but for onnx. Who looks for its packages
# without importing them does not find them either.
WITHOUT_TORCH = """
import sys
from importlib.machinery import PathFinder
class Without(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        absent = name.partition(".")[0] in {"torch", "accelerate", "onnxscript", "yaml", "tensorboard"}
        return None if absent else PathFinder.find_spec(name, path, target)
sys.meta_path[sys.meta_path.index(PathFinder)] = Without
from seetell.cli.main import main
main()
"""


def without_torch(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", WITHOUT_TORCH, "compress", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_int8_needs_no_torch(tiny_bundle: Bundle, tmp_path: Path) -> None:
    photos = save_photos(tmp_path / "photos")
    loose = ("--max-drop", "90")
    done = without_torch(tiny_bundle.folder, tmp_path / "out", "--calibration", photos, *loose)
    assert done.returncode == 0, done.stderr
    assert open_bundle(tmp_path / "out").has_int8


@pytest.mark.parametrize("asked", [["--prune", "0.5", "--calibration", "PHOTOS"], ["--merge-tokens", "2"]])
def test_what_reaches_into_the_model_names_the_extra(
    tiny_bundle: Bundle, tmp_path: Path, asked: list[str]
) -> None:
    photos = save_photos(tmp_path / "photos", 1)
    words = [str(photos) if word == "PHOTOS" else word for word in asked]
    done = without_torch(tiny_bundle.folder, tmp_path / "out", *words)
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert done.stderr.startswith("error: torch is needed to compress a model: ")
    assert done.stderr.endswith("[train]'\n")


def test_without_the_extra(
    tiny_bundle: Bundle,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(sys.modules, "nncf", None)
    save_photos(tmp_path / "photos", 1)
    words = [
        "compress",
        str(tiny_bundle.folder),
        str(tmp_path / "out"),
        "--calibration",
        str(tmp_path / "photos"),
    ]
    assert run(words) == 2
    assert "[compress]'" in capsys.readouterr().err
