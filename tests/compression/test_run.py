"""Whole compressions of a tiny bundle: what is written, and that nothing is when something is wrong."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import seetell
from seetell.bundle.store import Bundle, open_bundle
from seetell.core.errors import CheckpointError, DataError, GateFailed, StorageError, UsageError
from seetell.learning.compression import quantising
from seetell.learning.compression.calibration import find_photos, read_texts
from seetell.learning.compression.gate import Tolerance
from seetell.learning.compression.quality import Judge
from seetell.learning.compression.report import rows
from seetell.learning.compression.run import compress
from seetell.learning.compression.settings import Settings
from seetell.modeling.start import read_start

pytestmark = pytest.mark.usefixtures("no_clock")
LOOSE = Tolerance(5, relative=True)


def fingerprint(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


@pytest.fixture
def untouched(tiny_bundle: Bundle, tmp_path: Path) -> Any:
    """Fails the test if the source changed, or anything but OUT was left beside it."""
    before = fingerprint(tiny_bundle.folder)
    yield
    assert fingerprint(tiny_bundle.folder) == before
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def save_photos(folder: Path, count: int = 6) -> Path:
    folder.mkdir()
    random = np.random.default_rng(1)
    for number in range(count):
        pixels = random.integers(0, 256, (24, 40, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return folder


def test_weights_alone_need_no_photos(tiny_bundle: Bundle, tmp_path: Path, untouched: None) -> None:
    said: list[str] = []
    result = compress(tiny_bundle, tmp_path / "out", Settings(tolerance=LOOSE), say=said.append)
    made = open_bundle(tmp_path / "out")
    made.verify(full=True)
    assert made.has_int8 and made.manifest == result.manifest
    assert made.size_bytes < tiny_bundle.size_bytes
    assert made.manifest.gate is not None and made.manifest.gate.passed
    assert made.manifest.gate.metric.startswith("check.")
    assert any("no calibration photos" in line for line in said)
    # auto now takes int8, and the model does what it did.
    with seetell.load(tmp_path / "out") as small, seetell.load(tiny_bundle.folder, precision="fp32") as whole:
        assert small.precision == "int8" and small.tasks == whole.tasks
        photo = np.random.default_rng(0).integers(0, 256, (20, 40, 3), np.uint8)
        cosine = float(np.sum(small.embed_images(photo) * whole.embed_images(photo)))
        assert cosine > 0.995
        assert small.caption(photo, options=small.generation_options(max_tokens=8)).text
    rows = {(row.precision, row.metric): row.value for row in made.manifest.measurements}
    assert rows["int8", "size_bytes"] < rows["fp32", "size_bytes"]
    assert rows["int8", "peak_memory_mb"] == 80.0
    assert json.loads((tmp_path / "out" / "compression.json").read_text())["gate"]["passed"] is True
    assert "## Compression" in (tmp_path / "out" / "README.md").read_text()


def test_doctor_knows_int8(tiny_bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from seetell.cli.main import run as command

    compress(tiny_bundle, tmp_path / "out", Settings(tolerance=LOOSE))
    assert command(["doctor", str(tmp_path / "out"), "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    found = {line["check"]: line for line in lines}
    assert found["precisions"]["found"] == "int8"
    assert all(found[role]["cosine"] > 0.99 for role in tiny_bundle.manifest.graphs)


def test_doctor_checks_both_where_both_are(
    tiny_bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from seetell.cli.main import run as command

    compress(tiny_bundle, tmp_path / "out", Settings(tolerance=LOOSE, keep_floats=True))
    assert command(["doctor", str(tmp_path / "out"), "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    found = {(line["check"], line.get("precision")): line for line in lines}
    for role in tiny_bundle.manifest.graphs:
        assert found[role, "fp32"]["max_abs_diff"] < 1e-3
        assert found[role, "int8"]["cosine"] > 0.99
    measured = {line["check"] for line in lines if line["check"].startswith("measured ")}
    assert {"measured fp32", "measured int8, rest f32"} <= measured, "auto chose among both"


def test_what_falls_too_far_is_not_written(tiny_bundle: Bundle, tmp_path: Path, untouched: None) -> None:
    message = r"check\.\S+ fell from .* 0\.00 are allowed; \S+ costs most .*; nothing was written"
    with pytest.raises(GateFailed, match=message):
        compress(tiny_bundle, tmp_path / "out", Settings(tolerance=Tolerance(0, relative=False)))
    assert list(tmp_path.iterdir()) == []


def test_layers_are_raised_until_the_gate_opens(
    tiny_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A gate that lets no bundle by while one layer is int8: that layer ends in floats, the others do not."""
    from seetell.evaluation.bootstrap import Estimate
    from seetell.learning.compression.sensitivity import LayerError

    victim = "text_trunk.blocks.0.mlp.up.weight"
    names = set()

    def quality(self: Any, bundle: Bundle) -> dict[str, Estimate]:
        if not bundle.has_int8:
            return {"m.r10": Estimate(50.0, 50.0, 50.0)}
        from safetensors import safe_open

        with safe_open(bundle.path("model.safetensors"), framework="numpy") as file:
            names.update(file.keys())
            value = 40.0 if f"{victims[0]}.scale" in file.keys() else 50.0  # noqa: SIM118 (no mapping)
        return {"m.r10": Estimate(value, value, value)}

    def ranking(*_: Any) -> list[LayerError]:
        return [LayerError(victims[0], "text_encoder", 0.3)]

    from seetell.learning.compression.graphs import read_graph

    layers = read_graph(tiny_bundle.graph_path("text_encoder"), "text_encoder").layers
    victims = [victim] if victim in {one.source for one in layers} else [layers[-1].source]
    monkeypatch.setattr(Judge, "quality", quality)
    monkeypatch.setattr(quantising, "rank_layers", ranking)
    result = compress(tiny_bundle, tmp_path / "out", Settings(tolerance=Tolerance(1, relative=True)))
    assert result.document["layers"][victims[0]] == "float"
    assert "float" in result.document["layers"].values()
    assert [one["passed"] for one in result.document["tried"]][-1] is True
    assert result.manifest.gate is not None and result.manifest.gate.worst_layer == victims[0]
    open_bundle(tmp_path / "out").verify(full=True)


def test_a_compressed_bundle_is_not_compressed_again(tiny_bundle: Bundle, tmp_path: Path) -> None:
    compress(tiny_bundle, tmp_path / "out", Settings(tolerance=LOOSE))
    with pytest.raises(UsageError, match="is int8 already"):
        compress(open_bundle(tmp_path / "out"), tmp_path / "again", Settings())
    assert not (tmp_path / "again").exists()


def test_calibration_data_that_cannot_be_used(tiny_bundle: Bundle, tmp_path: Path, untouched: None) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / "notes.txt").write_text("no photo")
    for folder, message in (
        (tmp_path / "gone", "is no folder"),
        (empty, "no photos in .*empty; give photos like those"),
        (empty / "notes.txt", "is no folder"),
    ):
        with pytest.raises(DataError, match=f"--calibration: .*{message}"):
            find_photos(folder, 5)
    with pytest.raises(DataError, match=r"--calibration-texts: no text in .*blank\.txt"):
        (tmp_path / "blank.txt").write_text("\n  \n")
        read_texts(tmp_path / "blank.txt", 5)
    with pytest.raises(DataError, match=r"--calibration-texts: .*gone\.txt cannot be read \(No such file"):
        read_texts(tmp_path / "gone.txt", 5)
    with pytest.raises(DataError, match="not UTF-8 text"):
        (tmp_path / "latin.txt").write_bytes(b"caf\xe9\n")
        read_texts(tmp_path / "latin.txt", 5)
    with pytest.raises(UsageError, match="goes with --calibration DIR"):
        compress(tiny_bundle, tmp_path / "out", Settings(calibration_texts=tmp_path / "blank.txt"))
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_calibration_folder_that_may_not_be_read(tmp_path: Path) -> None:
    folder = save_photos(tmp_path / "photos")
    folder.chmod(0)
    try:
        with pytest.raises(DataError, match="cannot be listed"):
            find_photos(folder, 5)
    finally:
        folder.chmod(0o755)


def test_photos_are_taken_evenly(tmp_path: Path) -> None:
    folder = save_photos(tmp_path / "photos", 9)
    assert [path.stem for path in find_photos(folder, 3)] == ["0", "4", "8"]
    assert len(find_photos(folder, 100)) == 9


def test_a_full_disk_leaves_nothing(
    tiny_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, untouched: None
) -> None:
    """The weights do not fit; the slow test fills a real file system."""
    import errno

    real = quantising.pack

    def pack(folder: Path, *rest: Any) -> Any:
        real(folder, *rest)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(quantising, "pack", pack)
    with pytest.raises(StorageError, match="the disk is full"):
        compress(tiny_bundle, tmp_path / "out", Settings(tolerance=LOOSE))
    assert list(tmp_path.iterdir()) == []


def test_an_interrupt_leaves_nothing(
    tiny_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, untouched: None
) -> None:
    def rows(*_: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(quantising, "compare", rows)
    with pytest.raises(KeyboardInterrupt):
        compress(tiny_bundle, tmp_path / "out", Settings(tolerance=LOOSE))
    assert list(tmp_path.iterdir()) == []


def test_what_stands_at_out_is_kept(tiny_bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    with pytest.raises(StorageError, match="exists already"):
        compress(tiny_bundle, tmp_path / "out", Settings())
    assert (tmp_path / "out" / "mine.txt").read_text() == "mine"


def test_floats_stay_beside_int8_where_they_are_wanted(
    tiny_bundle: Bundle, tmp_path: Path, untouched: None
) -> None:
    calibration = save_photos(tmp_path / "photos")
    settings = Settings(calibration=calibration, tolerance=LOOSE)
    compress(tiny_bundle, tmp_path / "alone", settings)
    told = compress(tiny_bundle, tmp_path / "both", replace(settings, keep_floats=True)).document
    alone, both = open_bundle(tmp_path / "alone"), open_bundle(tmp_path / "both")
    both.verify(full=True)
    assert both.has_int8 and both.has_floats and not alone.has_floats
    assert both.manifest.gate is not None and both.manifest.gate.passed
    assert both.size_bytes < tiny_bundle.size_bytes + alone.size_bytes
    floats = [path for path in both.folder.iterdir() if path.suffix in (".onnx", ".safetensors")]
    kept = [path for path in floats if "int8" not in path.name and "check" not in path.name]
    assert told["size_bytes"]["floats_beside"] == sum(path.stat().st_size for path in kept)
    (remark,) = [row[3] for row in rows(told) if row[0] == "size"]
    assert remark.endswith("MB with the floats beside it")
    photo = np.random.default_rng(0).integers(0, 256, (20, 40, 3), np.uint8)
    for precision, same in (("fp32", tiny_bundle), ("int8", alone)):
        with (
            seetell.load(both.folder, precision=precision) as one,
            seetell.load(same.folder, precision=precision) as other,
        ):
            # Calibrated twice, int8 may differ by a rounding; floats are the same file.
            np.testing.assert_allclose(
                one.embed_images(photo),
                other.embed_images(photo),
                atol=0.02 if precision == "int8" else 0.0,
                rtol=0,
            )
            options = one.generation_options(max_tokens=8)
            assert one.caption(photo, options=options).text
    # And it can be compressed again, and taught further, which int8 alone cannot.
    assert read_start(str(both.folder)).facts.name == tiny_bundle.manifest.name
    compress(both, tmp_path / "again", settings)
    assert open_bundle(tmp_path / "again").manifest.graphs == alone.manifest.graphs
    with pytest.raises(UsageError, match="int8 already"):
        compress(alone, tmp_path / "twice", settings)
    with pytest.raises(CheckpointError, match="int8 alone"):
        read_start(str(alone.folder))


def test_floats_can_stay_only_where_nothing_else_changes_them(tiny_bundle: Bundle, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--keep-floats"):
        compress(tiny_bundle, tmp_path / "out", Settings(merge_tokens=1, keep_floats=True))
