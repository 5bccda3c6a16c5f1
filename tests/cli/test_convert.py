"""`seetell convert` of public checkpoints: what is refused, and that a bundle appears whole or not at all."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import (
    BlipForConditionalGeneration,
    CLIPConfig,
    CLIPImageProcessorPil,
    CLIPModel,
    ViTConfig,
    ViTForImageClassification,
    ViTImageProcessorPil,
)

from seetell.bundle.store import open_bundle
from seetell.cli.convert import convert
from seetell.core.errors import ExportError, UsageError
from seetell.modeling.export import write_bundle as module
from seetell.modeling.export.public import convert_checkpoint
from tests.parity import test_blip, test_encoder_decoder

SOURCE = Path(module.__file__).parents[3]
LABELS = ("cat", "Hündchen", "一只船")


def make_vit(folder: Path) -> Path:
    """The smallest checkpoint that converts: one role, one layer."""
    config = ViTConfig(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=24,
        image_size=16,
        patch_size=8,
        id2label=dict(enumerate(LABELS)),
    )
    torch.manual_seed(1)
    ViTForImageClassification(config).save_pretrained(folder)
    ViTImageProcessorPil(size={"height": 16, "width": 16}).save_pretrained(folder)
    return folder


@pytest.fixture
def vit(tmp_path: Path) -> Path:
    return make_vit(tmp_path / "vit")


def edit(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text(encoding="utf-8")), **changes}), encoding="utf-8")


def no_config(folder: Path) -> None:
    (folder / "config.json").unlink()


def cut_off(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def pickled(folder: Path) -> None:
    path = folder / "model.safetensors"
    torch.save(load_file(path), folder / "pytorch_model.bin")
    path.unlink()


def another_family(folder: Path) -> None:
    edit(folder, model_type="perceiver", architectures=["PerceiverModel"])


def without_preprocessing(folder: Path) -> None:
    (folder / "preprocessor_config.json").unlink()


def without_tokenizer(folder: Path) -> None:
    config = CLIPConfig(
        text_config={"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "vocab_size": 60},
        vision_config={"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 32},
    )
    for path in folder.iterdir():
        path.unlink()
    CLIPModel(config).save_pretrained(folder)
    CLIPImageProcessorPil().save_pretrained(folder)
    edit(folder, vision_config={**config.vision_config.to_dict(), "image_size": 224})


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (no_config, "no config.json"),
        (cut_off, "model.safetensors: cut off"),
        (pickled, "--allow-pickle"),
        (another_family, "PerceiverModel), which no family here is; known are: "),
        (without_preprocessing, "preprocessor_config.json is missing"),
        (without_tokenizer, "its tokenizer is missing"),
        (lambda folder: edit(folder, hidden_size=17), "not a vit configuration: embed_dim 17"),
        (lambda folder: edit(folder, num_hidden_layers=2), "missing: encoder.transformer.blocks.1."),
    ],
)
def test_bad_input_is_named_and_leaves_nothing(
    damage: Callable[[Path], None], said: str, vit: Path, seetell: Any, tmp_path: Path
) -> None:
    damage(vit)
    result = seetell("convert", vit, tmp_path / "out")
    assert result.status == 1
    assert said in result.err and str(vit) in result.err
    assert len(result.err.splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["vit"]


@pytest.mark.parametrize("place", ["vit", ".", "notes", "file"])
def test_overwriting_costs_nothing_but_a_bundle(place: str, vit: Path, seetell: Any, tmp_path: Path) -> None:
    """The checkpoint itself, what holds it, another folder, a file."""
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "precious.txt").write_text("old")
    (tmp_path / "file").write_text("old")
    before = sorted(tmp_path.rglob("*"))
    result = seetell("convert", vit, tmp_path / place, "--overwrite")
    assert result.status == 1 and "is no bundle" in result.err
    assert sorted(tmp_path.rglob("*")) == before


def test_overwriting_a_bundle_around_the_checkpoint(vit: Path, seetell: Any, tmp_path: Path) -> None:
    (tmp_path / "bundle.json").write_text("{}")
    result = seetell("convert", vit, tmp_path, "--overwrite")
    assert result.status == 1 and "holds the checkpoint itself" in result.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bundle.json", "vit"]


def test_graphs_that_disagree_are_refused(
    vit: Path, seetell: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A weight that is not the model's by the time the graphs are run."""
    write = module.write_weights

    def write_another(path: Path, stored: Any) -> Any:
        places = write(path, stored)
        with path.open("r+b") as file:
            file.seek(places["label_head.weight"].offset)
            file.write(b"\x00\x48" * 8)  # 8.0 in float16
        return places

    monkeypatch.setattr(module, "write_weights", write_another)
    with pytest.raises(ExportError, match=r"^image_encoder: label_logits differs from torch by \d"):
        convert_checkpoint(vit, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["vit"]


def test_settings_that_are_not_taken_over_are_told(
    seetell: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("seetell.modeling.export.public.convert_checkpoint", lambda *given, **options: None)
    public = tmp_path / "vit-gpt2"
    test_encoder_decoder._save(public, *test_encoder_decoder.CASES["one width"], no_repeat_ngram_size=3)
    result = seetell("convert", public, tmp_path / "out")
    note, last = result.err.splitlines()
    assert note.startswith(f"{public}: not taken over") and note.endswith(": no_repeat_ngram_size 3")
    assert "bundle written" in last
    assert len(seetell("convert", make_vit(tmp_path / "vit"), tmp_path / "out").err.splitlines()) == 1


# --- processes of their own ----------------------------------------------------------------------------


def start(*arguments: object, **settings: str) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": str(SOURCE), **settings}
    return subprocess.Popen(
        [sys.executable, "-m", "seetell.cli.main", "convert", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
        preexec_fn=heed_ctrl_c,
    )


def heed_ctrl_c() -> None:
    """A shell that starts tests in the background has them ignore it, and what they start."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def finish(process: subprocess.Popen[bytes]) -> tuple[int, str]:
    _, said = process.communicate(timeout=1200)
    return process.returncode, said.decode("utf-8")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.slow
def test_a_pickle_is_converted_when_allowed(vit: Path, seetell: Any, tmp_path: Path) -> None:
    convert_checkpoint(vit, tmp_path / "expected")
    pickled(vit)
    assert seetell("convert", vit, tmp_path / "out", "--allow-pickle").status == 0
    for name in ("model.safetensors", "image_encoder.onnx"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "expected" / name).read_bytes()


@pytest.mark.slow
def test_a_second_run_replaces_only_when_told(vit: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert finish(start(vit, out))[0] == 0
    before = {path.name: path.stat().st_mtime_ns for path in out.iterdir()}
    status, said = finish(start(vit, out))
    assert status == 1 and "exists already" in said and len(said.splitlines()) == 1
    assert {path.name: path.stat().st_mtime_ns for path in out.iterdir()} == before
    assert finish(start(vit, out, "--overwrite"))[0] == 0
    open_bundle(out).verify(full=True)
    assert names(tmp_path) == ["out", "vit"]


@pytest.mark.slow
def test_of_two_at_once_one_writes(vit: Path, tmp_path: Path) -> None:
    ended = sorted(finish(one) for one in [start(vit, tmp_path / "out") for _ in range(2)])
    assert [status for status, _ in ended] == [0, 1]
    assert "exists already" in ended[1][1]
    open_bundle(tmp_path / "out").verify(full=True)
    assert names(tmp_path) == ["out", "vit"]


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_conversion_that_is_stopped(number: signal.Signals, vit: Path, tmp_path: Path) -> None:
    process = start(vit, tmp_path / "out")
    # Graphs are exported by the time that the weights lie in the folder to be.
    while not list(tmp_path.glob(".out.*.tmp/model.safetensors")):
        assert process.poll() is None, "it ended before it could be stopped"
        time.sleep(0.01)
    process.send_signal(number)
    status, said = finish(process)
    assert "Traceback" not in said
    if number == signal.SIGKILL:
        (left,) = tmp_path.glob(".out.*.tmp")
        os.utime(left, (0, 0))
    else:
        assert status == 128 + number
        assert names(tmp_path) == ["vit"]
    assert finish(start(vit, tmp_path / "out"))[0] == 0
    open_bundle(tmp_path / "out").verify(full=True)
    assert names(tmp_path) == ["out", "vit"]


# Half of what the bundle takes.
@pytest.mark.parametrize("small_disk", ["16k"], indirect=True)
@pytest.mark.slow
def test_a_full_disk(vit: Path, small_disk: Path) -> None:
    status, said = finish(start(vit, small_disk / "out"))
    assert status == 1
    assert said == (
        f"error: cannot write {small_disk / 'out'}: the disk is full; free some space and try again\n"
    )
    assert names(small_disk) == []


@pytest.mark.slow
def test_any_locale_and_any_name(vit: Path, tmp_path: Path) -> None:
    """Labels beyond ASCII, a folder of such a name, and a locale that knows ASCII alone."""
    folder = vit.rename(tmp_path / "vit ö 船")
    old = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    status, said = finish(start(folder, tmp_path / "aus 狗", **old))
    assert status == 0, said
    manifest = open_bundle(tmp_path / "aus 狗").manifest
    assert (manifest.labels, manifest.name) == (LABELS, "vit ö 船")


# What makes models is taken away before seetell is imported, and stays away.
WITHOUT_TORCH = """
import sys
for name in ("torch", "transformers", "onnx", "onnxscript", "onnx_ir"):
    sys.modules[name] = None
import seetell
with seetell.load(sys.argv[1], precision="fp32") as model:
    for caption in model.caption(sys.argv[2:], options=model.generation_options(beams=3, max_tokens=9)):
        print(caption.text)
assert not [name for name in sys.modules if name.startswith("seetell.modeling")]
"""


@pytest.mark.slow
def test_a_converted_bundle_needs_no_torch(tmp_path: Path) -> None:
    from PIL import Image

    from tests.parity.checkpoints_with_words import load, photos

    public, out = tmp_path / "blip", tmp_path / "bundle"
    test_blip.make(BlipForConditionalGeneration, "one layer", public)
    convert_checkpoint(public, out, weights_dtype="fp32")
    files = [tmp_path / f"{number}.png" for number in range(3)]
    for path, photo in zip(files, photos(3), strict=True):
        Image.fromarray(photo).save(path)
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, str(out), *map(str, files)],
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stderr
    tasks = load(public).tasks
    expected = tasks.caption(photos(3), options=tasks.generation_options(beams=3, max_tokens=9))
    assert done.stdout.splitlines() == [one.text for one in expected]


@pytest.mark.parametrize("given", ["runs/other", "runs/other=", "runs/other=half", "=0.5", "runs/other=1"])
def test_a_share_is_needed_of_what_is_averaged(vit: Path, tmp_path: Path, given: str) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "recipe.yaml").write_text("init: builtin\n", encoding="utf-8")
    for folder, message in ((tmp_path / "run", "give MODEL=SHARE"), (vit, "--average belongs to the folder")):
        with pytest.raises(UsageError, match=message):
            convert(str(folder), tmp_path / "out", average=[given])
