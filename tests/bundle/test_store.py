"""Finding, opening and verifying bundles; what is refused, and what the refusal says to do."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from seetell.bundle import store
from seetell.bundle.store import Bundle, file_record, list_bundles, open_bundle, remove, resolve
from seetell.core.errors import (
    BundleDamaged,
    BundleInvalid,
    BundleNotFound,
    ConversionNeeded,
    EngineError,
    PickleRefused,
    PrecisionUnavailable,
    SeetellError,
    UsageError,
)

TENSOR = {"dtype": "float32", "axes": ["B", 3, 8, 8]}


def make_bundle(folder: Path, name: str = "tiny", int8: bool = False, **fields: Any) -> Path:
    """A bundle of small nonsense files under a true manifest."""
    folder.mkdir(parents=True, exist_ok=True)
    graphs: dict[str, Any] = {}
    for role in ("image_encoder", "text_encoder"):
        files = {"fp32": f"{role}.onnx"}
        if int8 and role == "image_encoder":
            files["int8"] = f"{role}.int8.onnx"
        for file in files.values():
            (folder / file).write_bytes(f"graph {file}".encode())
        graphs[role] = {"files": files, "inputs": {"x": TENSOR}, "outputs": {"y": TENSOR}}
    (folder / "model.safetensors").write_bytes(b"weights" * 100)
    recorded = {path.name: file_record(path).model_dump() for path in folder.iterdir()}
    manifest = {
        "format": 1,
        "name": name,
        "family": "test",
        "version": "1",
        "config": {},
        "tasks": ["embed"],
        "graphs": graphs,
        "licence": "none",
        "files": recorded,
    } | fields
    (folder / "bundle.json").write_text(json.dumps(manifest))
    return folder


def test_a_good_bundle_opens_and_verifies(tmp_path: Path) -> None:
    folder = make_bundle(tmp_path / "b")
    for source in (folder, str(folder), folder / "bundle.json"):
        bundle = resolve(source)
        assert bundle.manifest.name == "tiny"
        assert bundle.folder == folder
        bundle.verify(full=True)


@pytest.mark.parametrize("name", ["image_encoder.onnx", "model.safetensors"])
def test_damage_is_found_and_named(tmp_path: Path, name: str) -> None:
    folder = make_bundle(tmp_path / "b")
    path = folder / name
    good = path.read_bytes()

    path.write_bytes(good[:-1])
    with pytest.raises(BundleDamaged, match=name):
        resolve(folder)

    path.write_bytes(bytes([good[0] ^ 1]) + good[1:])
    bundle = resolve(folder)  # the same size: only the hash can tell
    with pytest.raises(BundleDamaged, match=f"{name}.*hash"):
        bundle.verify(full=True)

    path.unlink()
    with pytest.raises(BundleDamaged, match=f"{name}: missing"):
        resolve(folder)

    path.mkdir()
    with pytest.raises(BundleDamaged, match=f"{name}: not a file"):
        resolve(folder)


def test_files_needed_but_not_recorded_are_looked_for(tmp_path: Path) -> None:
    text = {"context_length": 8, "eos_id": 3, "pad_id": 0}
    folder = make_bundle(tmp_path / "b", files={}, text=text)
    with pytest.raises(BundleDamaged, match=r"tokenizer\.json: missing"):
        open_bundle(folder)
    (folder / "tokenizer.json").write_text("{")
    bundle = open_bundle(folder)
    with pytest.raises(BundleDamaged, match=r"tokenizer\.json"):
        bundle.tokenizer()
    (folder / "text_encoder.onnx").unlink()
    with pytest.raises(BundleDamaged, match=r"text_encoder\.onnx"):
        open_bundle(folder)


def test_no_text_no_tokenizer(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no text"):
        open_bundle(make_bundle(tmp_path / "b")).tokenizer()


def test_links_may_not_leave_the_folder(tmp_path: Path) -> None:
    folder = make_bundle(tmp_path / "b")
    path = folder / "model.safetensors"
    outside = tmp_path / "outside"
    path.rename(outside)
    path.symlink_to(outside)
    with pytest.raises(BundleDamaged, match="out of the bundle's folder"):
        resolve(folder)
    path.unlink()
    path.symlink_to("../outside")
    with pytest.raises(BundleDamaged, match="out of the bundle's folder"):
        resolve(folder)
    path.unlink()
    path.symlink_to(path)
    with pytest.raises(BundleDamaged, match=r"model\.safetensors"):
        resolve(folder)
    path.unlink()
    outside.rename(folder / "real")
    path.symlink_to("real")
    resolve(folder).verify(full=True)
    # The folder itself may be reached by a link.
    (tmp_path / "link").symlink_to(folder)
    resolve(tmp_path / "link").verify(full=True)


@pytest.mark.parametrize("name", ["../outside", "/etc/passwd", "sub/file", ".hidden", ""])
def test_file_names_cannot_point_elsewhere(tmp_path: Path, name: str) -> None:
    record = {"sha256": "0" * 64, "size_bytes": 1}
    with pytest.raises(BundleInvalid):
        resolve(make_bundle(tmp_path / "b", files={name: record}))


def test_graphs_and_precisions(tmp_path: Path) -> None:
    plain, small = (
        open_bundle(make_bundle(tmp_path / "p")),
        open_bundle(make_bundle(tmp_path / "s", int8=True)),
    )
    assert plain.graph_path("image_encoder").name == "image_encoder.onnx"
    assert plain.graph_path("image_encoder", "bf16").name == "image_encoder.onnx"
    with pytest.raises(PrecisionUnavailable, match="seetell compress"):
        plain.graph_path("image_encoder", "int8")
    assert small.graph_path("image_encoder", "int8").name == "image_encoder.int8.onnx"
    assert small.graph_path("image_encoder", "fp32").name == "image_encoder.onnx"
    assert small.graph_path("text_encoder", "int8").name == "text_encoder.onnx"
    with pytest.raises(EngineError, match="no text_decoder; it has image_encoder, text_encoder"):
        plain.graph_path("text_decoder")
    plain.graph_path("text_encoder").unlink()
    with pytest.raises(BundleDamaged, match=r"text_encoder\.onnx"):
        plain.graph_path("text_encoder")


# --- what is no bundle ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "model.pth", "weights.pkl", "last.ckpt"])
def test_pickles_are_refused_unread(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    # A pickle that would make a file when it is loaded.
    trap = tmp_path / "trap"
    (folder / name).write_bytes(b"cposix\nsystem\n(S'touch " + os.fsencode(trap) + b"'\ntR.")
    (folder / "config.json").write_text("{}")
    for source in (folder, folder / name):
        with pytest.raises(PickleRefused, match=r"seetell convert .* --allow-pickle"):
            resolve(source)
    assert not trap.exists()
    (folder / "model.safetensors").write_bytes(b"x")
    with pytest.raises(ConversionNeeded, match=f"seetell convert {folder} OUT"):
        resolve(folder)


def test_hub_ids_need_a_conversion() -> None:
    with pytest.raises(ConversionNeeded, match="seetell convert openai/clip-vit-base-patch32 OUT"):
        resolve("openai/clip-vit-base-patch32")
    with pytest.raises(ConversionNeeded, match="seetell convert a/b --revision v2 OUT"):
        resolve("a/b", revision="v2", offline=False)
    with pytest.raises(ConversionNeeded, match="with a network"):
        resolve("a/b", offline=True)
    for source, revision in ((None, "v2"), ("builtin", "v2"), ("a/b", "../x"), ("a/b", "")):
        with pytest.raises(UsageError, match="revision"):
            resolve(source, revision=revision)


@pytest.mark.parametrize(
    "source", ["bulitin", "/no/such/folder", "a/b/c/d", "..", "", "x\x00y", "n" * 300, "../x"]
)
def test_unknown_sources(source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BundleNotFound):
        resolve(source)


def test_a_file_or_an_empty_folder_is_no_bundle(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"x")
    with pytest.raises(BundleNotFound, match=r"bundle\.json"):
        resolve(tmp_path / "photo.jpg")
    with pytest.raises(BundleNotFound, match=r"no bundle\.json"):
        resolve(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[]", "\xff", '{"format": 99}', '{"format": 1}'])
def test_bad_manifests_are_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "bundle.json").write_text(text, encoding="latin-1")
    with pytest.raises(BundleInvalid) as caught:
        resolve(tmp_path)
    assert str(caught.value).isprintable()


# --- the built-in bundle and the cache ------------------------------------------------------------------


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SEETELL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(store, "builtin_folder", lambda: tmp_path / "builtin")
    return tmp_path / "cache" / "models"


def test_the_builtin_bundle(tmp_path: Path, cache: Path) -> None:
    with pytest.raises(BundleNotFound, match="built-in"):
        resolve()
    assert list_bundles() == ()
    make_bundle(tmp_path / "builtin", name="seetell")
    assert resolve().manifest.name == resolve("builtin").manifest.name == "seetell"
    assert [(entry.name, entry.problem) for entry in list_bundles()] == [("builtin", None)]
    with pytest.raises(UsageError, match="cannot be removed"):
        remove("builtin")


def test_the_builtin_folder_lies_in_the_package() -> None:
    assert store.builtin_folder() == Path(store.__file__).parents[1] / "builtin"


def test_cached_bundles_are_found_by_name_hub_id_and_revision(cache: Path) -> None:
    make_bundle(cache / "mine", name="mine")
    make_bundle(cache / "openai--clip", name="clip")
    make_bundle(cache / "openai--clip@v2", name="clip two")
    assert resolve("mine").manifest.name == "mine"
    assert resolve("openai/clip").manifest.name == "clip"
    assert resolve("openai/clip", revision="v2").manifest.name == "clip two"
    with pytest.raises(ConversionNeeded):
        resolve("openai/clip", revision="v3")
    with pytest.raises(BundleNotFound, match="known here: builtin, mine, openai--clip"):
        resolve("mien")


def test_listing_shows_what_is_broken_and_hides_what_is_unfinished(cache: Path) -> None:
    make_bundle(cache / "good")
    (make_bundle(cache / "bad") / "model.safetensors").unlink()
    make_bundle(cache / ".half.12345678.tmp")
    (cache / "a file").write_text("x")
    entries = {entry.name: entry for entry in list_bundles()}
    assert sorted(entries) == ["bad", "good"]
    assert entries["good"].manifest is not None
    assert entries["good"].size_bytes == sum(path.stat().st_size for path in (cache / "good").iterdir())
    assert entries["bad"].manifest is None
    assert "model.safetensors" in (entries["bad"].problem or "")


def test_removing(cache: Path, tmp_path: Path) -> None:
    make_bundle(cache / "a--b")
    size_bytes = open_bundle(cache / "a--b").size_bytes
    assert remove("a/b") == size_bytes
    assert list(cache.iterdir()) == []
    with pytest.raises(BundleNotFound):
        remove("a/b")


@pytest.mark.parametrize("name", ["..", ".", "", "../..", "../outside", "/", "~"])
def test_removing_never_leaves_the_cache(cache: Path, tmp_path: Path, name: str) -> None:
    make_bundle(cache / "a")
    make_bundle(tmp_path / "cache" / "outside")
    with pytest.raises(SeetellError):
        remove(name)
    assert (cache / "a" / "bundle.json").exists()
    assert (tmp_path / "cache" / "outside" / "bundle.json").exists()


def test_removing_a_link_keeps_what_it_leads_to(cache: Path, tmp_path: Path) -> None:
    cache.mkdir(parents=True)
    (cache / "linked").symlink_to(make_bundle(tmp_path / "mine"))
    assert resolve("linked").manifest.name == "tiny"
    remove("linked")
    assert list(cache.iterdir()) == []
    Bundle(tmp_path / "mine", open_bundle(tmp_path / "mine").manifest).verify(full=True)


@pytest.mark.parametrize("name", ["", " ", "~no-such-user-here/model"])
def test_names_that_lead_nowhere(cache: Path, name: str) -> None:
    # "" is the current folder for pathlib, and an unset variable for whoever typed "$MODEL".
    with pytest.raises(BundleNotFound):
        resolve(name)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may look everywhere")
def test_a_folder_nobody_may_look_into(tmp_path: Path) -> None:
    folder = make_bundle(tmp_path / "mine")
    folder.chmod(0)
    try:
        with pytest.raises(BundleNotFound, match="cannot be listed"):
            resolve(folder)
    finally:
        folder.chmod(0o700)
