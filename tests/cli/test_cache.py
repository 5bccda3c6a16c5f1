"""``seetell cache``: what is kept, whose it is, how large; and clearing it, and nothing besides."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from PIL import Image

from seetell.bundle.store import bundles_folder
from seetell.core.files import cache_folder
from tests.bundle.test_store import make_bundle
from tests.cli.conftest import Seetell


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SEETELL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def put(path: Path, n_bytes: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(n_bytes))
    return path


def filled(cache: Path) -> dict[str, Path]:
    """One thing of every kind, and things that are not ours beside each."""
    put(cache / "openvino" / "0123456789abcdef" / "graph.blob", 3000)
    put(cache / "rates" / "now.json", 200)
    make_bundle(bundles_folder() / "owner--name")
    return {
        "beside": put(cache / "holiday.jpg", 5),
        "engine": put(cache / "openvino" / "letters" / "dear.txt", 5),
        "model": put(bundles_folder() / "drawings" / "ship.svg", 5),
        "rate": put(cache / "rates" / "mortgage.txt", 5),
    }


def test_what_is_kept(seetell: Seetell, cache: Path) -> None:
    filled(cache)
    model = bundles_folder() / "owner--name"
    size_bytes = sum(path.stat().st_size for path in model.iterdir())
    shown = [tuple(line.values()) for line in seetell("cache", "--json").lines]
    assert shown == [
        ("owner--name", "model", size_bytes, str(model)),
        (None, "compiled", 3000, str(cache / "openvino" / "0123456789abcdef")),
        (None, "speed", 200, str(cache / "rates" / "now.json")),
    ]
    for_people = seetell("cache")
    assert f"in {cache}; to remove it: seetell cache --clear" in for_people.err
    assert "–\t3 kB\tgraphs compiled for another model" in for_people.out


def test_nothing_is_kept(seetell: Seetell, cache: Path) -> None:
    for words in ([], ["--clear"]):
        done = seetell("cache", *words)
        assert (done.status, done.out) == (0, "")
    assert seetell("cache").err == f"nothing is kept in {cache}\n"
    assert not cache.exists()


def test_all_is_cleared_and_nothing_that_is_not_ours(seetell: Seetell, cache: Path) -> None:
    others = filled(cache)
    done = seetell("cache", "--clear")
    assert done.status == 0 and done.err.startswith("3 removed, ")
    left = sorted(path for path in cache.rglob("*") if path.is_file())
    assert left == sorted(others.values())
    assert seetell("cache", "--json").lines == []


def test_the_folders_go_with_the_last_thing(seetell: Seetell, cache: Path) -> None:
    put(cache / "rates" / "now.json", 200)
    assert seetell("cache", "--clear", "--json").lines == [
        {"removed": [str(cache / "rates" / "now.json")], "freed_bytes": 200}
    ]
    assert list(cache.iterdir()) == []


def test_one_model_is_cleared(seetell: Seetell, cache: Path) -> None:
    filled(cache)
    make_bundle(bundles_folder() / "other")
    done = seetell("cache", "owner/name", "--clear", "--json")
    assert done.lines[0]["removed"] == [str(bundles_folder() / "owner--name")]
    kept = {line["model"]: line["kind"] for line in seetell("cache", "--json").lines}
    assert kept == {"other": "model", None: "speed"}
    assert seetell("cache", "nowhere").status == 1


def test_what_was_fetched_from_modelscope_is_known_by_its_model(seetell: Seetell, cache: Path) -> None:
    fetched = cache / "fetched" / "modelscope+owner+name"
    content = put(fetched / "contents" / "0123", 4000)
    put(fetched / "contents" / "4567.part", 300)
    name = fetched / "revisions" / "abc" / "model.safetensors"
    name.parent.mkdir(parents=True)
    os.link(content, name)
    notes = put(cache / "fetched" / "modelscope" / "notes.txt", 5)
    make_bundle(bundles_folder() / "modelscope+owner+name")
    make_bundle(bundles_folder() / "owner--name")
    shown = seetell("cache", "modelscope:owner/name", "--json").lines
    assert [(line["kind"], line["path"]) for line in shown] == [
        ("model", str(bundles_folder() / fetched.name)),
        ("fetched", str(fetched)),
    ]
    assert shown[1]["size_bytes"] == 4300, "what has two names takes its room once"
    assert seetell("models", "remove", "modelscope:owner/name").status == 0
    [left] = seetell("cache", "modelscope:owner/name", "--json").lines
    assert left["kind"] == "fetched"
    assert seetell("cache", "modelscope:owner/name", "--clear", "--json").lines[0]["freed_bytes"] == 4300
    assert notes.is_file() and not fetched.exists()
    assert [line["model"] for line in seetell("cache", "--json").lines] == ["owner--name"]


def test_a_link_is_removed_and_not_what_it_leads_to(seetell: Seetell, cache: Path, tmp_path: Path) -> None:
    mine = make_bundle(tmp_path / "mine")
    bundles_folder().mkdir(parents=True)
    (bundles_folder() / "linked").symlink_to(mine)
    assert seetell("cache", "--clear").status == 0
    assert (mine / "bundle.json").is_file() and not (bundles_folder() / "linked").is_symlink()


def test_what_a_killed_conversion_left_goes_too(seetell: Seetell, cache: Path) -> None:
    half = bundles_folder() / ".owner--name.0123abcd.tmp"
    put(half / "model.safetensors", 700)
    young = bundles_folder() / ".other.0123abcd.tmp"
    put(young / "model.safetensors", 900)
    os.utime(half, (0, 0))
    assert seetell("cache", "--clear", "--json").lines == [{"removed": [], "freed_bytes": 700}]
    assert young.is_dir(), "it may be another process's, just begun"


def test_compiled_graphs_are_known_by_their_model(seetell: Seetell, cache: Path, tmp_path: Path) -> None:
    photo = tmp_path / "red.png"
    Image.new("RGB", (32, 32), "red").save(photo)
    words = ["embed", str(photo), "--out", str(tmp_path / "red.npy"), "--threads", "1", "--precision", "fp32"]
    assert seetell(*words).status == 0
    [compiled] = seetell("cache", "builtin", "--json").lines
    assert (compiled["model"], compiled["kind"]) == ("builtin", "compiled")
    blobs = list(cache_folder().rglob("*.blob"))
    assert blobs and compiled["size_bytes"] >= sum(path.stat().st_size for path in blobs)
    assert seetell("cache", "builtin", "--clear").err.startswith("1 removed, ")
    assert list(cache_folder().rglob("*.blob")) == []
