"""Fetching from a ModelScope that runs on this machine: what is fetched, resumed, kept and refused."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
import urllib.request
from collections import namedtuple
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from seetell.bundle import conversion
from seetell.bundle.conversion import resolve_or_convert
from seetell.bundle.hub import HubCheckpoint, fetch_checkpoint, holds_bundle
from seetell.bundle.store import list_bundles, remove, resolve
from seetell.core.errors import (
    BundleDamaged,
    BundleNotFound,
    ConversionNeeded,
    PickleRefused,
    SeetellError,
    StorageError,
    UsageError,
)
from tests.bundle.stand_in_hub import Fault
from tests.bundle.stand_in_modelscope import Ranges, StandInModelScope, sha256
from tests.bundle.test_store import make_bundle

ID = "modelscope:someone/tiny-clip"
COMMIT, OLDER, NEWER = "a" * 40, "b" * 40, "c" * 40
WEIGHTS = bytes(range(256)) * 4096  # 1 MiB
FILES = {
    "config.json": b'{"model_type": "clip"}',
    "preprocessor_config.json": b'{"size": 224}',
    "tokenizer.json": b"{}",
    "merges.txt": b"",
    "README.md": b"---\nlicense: mit\n---",
    "model.safetensors": WEIGHTS,
    "pytorch_model.bin": b"pickled",
    "tf_model.h5": b"tensorflow",
    "onnx/model.onnx": b"onnx",
    "photo.jpg": b"photo",
}
NEEDED = {
    "config.json",
    "preprocessor_config.json",
    "tokenizer.json",
    "merges.txt",
    "README.md",
    "model.safetensors",
}
# A file of no bytes is not asked for: the hub has none to send.
ASKED = NEEDED - {"merges.txt"}


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[StandInModelScope]:
    """A hub with one repository, a cache of our own, and tokens that it must never see."""
    server = StandInModelScope()
    server.add("someone/tiny-clip", OLDER, {**FILES, "model.safetensors": b"older weights"}, "v1")
    server.add("someone/tiny-clip", COMMIT, FILES)
    monkeypatch.setenv("MODELSCOPE_ENDPOINT", server.endpoint)
    monkeypatch.delenv("MODELSCOPE_DOMAIN", raising=False)
    monkeypatch.setenv("SEETELL_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("SEETELL_OFFLINE")
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "MODELSCOPE_API_TOKEN"):
        monkeypatch.setenv(name, "hf_secret")
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    yield server
    server.close()
    for request in server.requests:
        assert request.headers.keys() <= {"accept-encoding", "host", "user-agent", "connection", "range"}
        assert "secret" not in repr(request)


def contents(found: HubCheckpoint) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in found.folder.iterdir()}


def refusal(kind: type[SeetellError] = BundleNotFound, source: str = ID, **options: Any) -> str:
    """The message of a fetch that must fail with ``kind``."""
    with pytest.raises(kind) as caught:
        fetch_checkpoint(source, **options)
    message = str(caught.value)
    assert type(caught.value) is kind
    assert message.isprintable()
    assert len(message) < 500
    assert message.startswith(ID) or kind is not BundleNotFound
    return message


def test_fetches_what_is_needed_and_nothing_else(hub: StandInModelScope, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    found = fetch_checkpoint(ID, progress=lambda *counts: seen.append(counts))
    assert found.revision == COMMIT and not found.is_bundle
    assert found.folder.is_relative_to(tmp_path / "cache" / "fetched" / "modelscope+someone+tiny-clip")
    assert contents(found) == {name: FILES[name] for name in NEEDED}
    assert set(hub.sent()) == ASKED and hub.sent()[-1] == "model.safetensors"
    total = sum(len(FILES[name]) for name in NEEDED)
    assert {one for _, one in seen} == {total} and seen[-1][0] == total
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert len(seen) > len(NEEDED) + 3, "large files are counted while they come"


def test_the_second_time_nothing_is_fetched(hub: StandInModelScope) -> None:
    first = fetch_checkpoint(ID)
    hub.requests.clear()
    seen: list[tuple[int, int]] = []
    assert fetch_checkpoint(ID, progress=lambda *counts: seen.append(counts)) == first
    assert (hub.sent(), seen) == ([], [])


def test_only_what_changed_is_fetched_of_a_newer_commit(hub: StandInModelScope) -> None:
    older = fetch_checkpoint(ID)
    config = b'{"model_type": "clip", "newer": true}'
    hub.add("someone/tiny-clip", NEWER, {**FILES, "config.json": config})
    hub.requests.clear()
    found = fetch_checkpoint(ID)
    assert (found.revision, hub.sent()) == (NEWER, ["config.json"])
    assert contents(found) == {**{name: FILES[name] for name in NEEDED}, "config.json": config}
    assert contents(older)["config.json"] == FILES["config.json"]
    assert fetch_checkpoint(ID, offline=True) == found


def test_a_revision_is_pinned(hub: StandInModelScope) -> None:
    found = fetch_checkpoint(ID, revision="v1")
    assert found.revision == OLDER and contents(found)["model.safetensors"] == b"older weights"
    assert "/resolve/v1/" in hub.requests[-2].path
    assert fetch_checkpoint(ID).revision == COMMIT
    for revision in ("v1", OLDER):
        assert fetch_checkpoint(ID, revision=revision, offline=True) == found


@pytest.mark.parametrize(
    ("latest", "key"),
    [
        (None, COMMIT),
        ({"Id": COMMIT, "ShortId": COMMIT[:8]}, COMMIT),
        ({"Id": "", "ShortId": "deadbeef"}, "deadbeef"),
        ({"ShortId": "../../x"}, None),
        ({}, None),
    ],
)
def test_the_commit_as_far_as_it_is_told(
    hub: StandInModelScope, latest: dict[str, Any] | None, key: str | None
) -> None:
    hub.latest = latest
    found = fetch_checkpoint(ID)
    assert found.revision == (key or "files-" + found.revision[-12:])
    assert contents(found)["model.safetensors"] == WEIGHTS
    assert fetch_checkpoint(ID, offline=True) == found
    if key is None:
        hub.add("someone/tiny-clip", COMMIT, {**FILES, "config.json": b"{}"})
        assert fetch_checkpoint(ID).revision != found.revision


def test_a_commit_that_holds_other_files_than_before_is_believed(hub: StandInModelScope) -> None:
    fetch_checkpoint(ID)
    other = bytes(len(FILES["config.json"]))
    hub.add("someone/tiny-clip", COMMIT, {**FILES, "config.json": other})
    assert contents(fetch_checkpoint(ID))["config.json"] == other


def test_a_disk_without_second_names_for_a_file(
    hub: StandInModelScope, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    for _ in range(2):
        assert contents(fetch_checkpoint(ID)) == {name: FILES[name] for name in NEEDED}
    assert set(hub.sent()) == ASKED and len(hub.sent()) == len(ASKED)


def test_a_checkpoint_in_a_folder_within(hub: StandInModelScope) -> None:
    below = {f"0_CLIPModel/{name}": content for name, content in FILES.items()}
    hub.add("someone/sentences", COMMIT, {"modules.json": b"[]", **below})
    with pytest.raises(BundleNotFound, match=r"name modelscope:someone/sentences/0_CLIPModel$"):
        fetch_checkpoint("modelscope:someone/sentences")
    found = fetch_checkpoint("modelscope:someone/sentences/0_CLIPModel")
    assert (found.folder.name, found.revision) == ("0_CLIPModel", COMMIT)
    assert contents(found) == {name: FILES[name] for name in NEEDED}
    assert fetch_checkpoint("modelscope:someone/sentences/0_CLIPModel", offline=True) == found
    with pytest.raises(BundleNotFound, match="not in the cache"):
        fetch_checkpoint("modelscope:someone/sentences/1_Other", offline=True)


def test_huggingface_hub_is_not_needed(hub: StandInModelScope, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    assert contents(fetch_checkpoint(ID))["model.safetensors"] == WEIGHTS


# --- connections that break -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ranges", "asked"),
    [
        ("status 200", [None, "bytes=300000-", "bytes=700000-"]),
        ("status 206", [None, "bytes=300000-", "bytes=700000-"]),
        ("ignored", [None, "bytes=300000-", "bytes=700000-"]),
    ],
)
def test_a_broken_connection_is_resumed_where_it_broke(
    hub: StandInModelScope, ranges: Ranges, asked: list[str | None]
) -> None:
    hub.ranges = ranges
    hub.cut_after["model.safetensors"] = [300_000, 700_000]
    seen: list[tuple[int, int]] = []
    found = fetch_checkpoint(ID, progress=lambda *counts: seen.append(counts))
    assert contents(found)["model.safetensors"] == WEIGHTS
    assert hub.asked_from("model.safetensors") == asked
    assert seen[-1][0] == seen[-1][1]
    went_back = [done for done, _ in seen] != sorted(done for done, _ in seen)
    assert went_back == (ranges == "ignored")


def test_a_fetch_that_was_stopped_goes_on_where_it_was(hub: StandInModelScope) -> None:
    def stop(done: int, total: int) -> None:
        if done > total // 2:  # in the weights, which are most of it
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch_checkpoint(ID, progress=stop)
    assert "not in the cache" in refusal(offline=True)
    hub.requests.clear()
    seen: list[tuple[int, int]] = []
    assert contents(fetch_checkpoint(ID, progress=lambda *counts: seen.append(counts)))
    [asked] = hub.asked_from("model.safetensors")
    assert asked is not None and hub.sent() == ["model.safetensors"]
    left = len(WEIGHTS) - int(asked.removeprefix("bytes=").removesuffix("-"))
    assert 0 < left < len(WEIGHTS) // 2 + 1 and seen[-1] == (left, left)


def test_a_server_that_sends_another_part_than_was_asked_for(hub: StandInModelScope) -> None:
    hub.ranges = "elsewhere"
    hub.cut_after["model.safetensors"] = [300_000]
    assert "asked for byte 300,000" in refusal()
    hub.ranges = "status 206"
    assert contents(fetch_checkpoint(ID))["model.safetensors"] == WEIGHTS


def test_a_server_that_always_breaks_off_and_gets_no_further(hub: StandInModelScope) -> None:
    hub.ranges = "ignored"
    hub.cut_after["model.safetensors"] = [1000, 500] * 50
    assert "early" in refusal()
    assert 2 < len(hub.asked_from("model.safetensors")) < 10
    hub.cut_after.clear()
    assert contents(fetch_checkpoint(ID))["model.safetensors"] == WEIGHTS


def test_an_error_of_the_progress_callback_is_not_taken_for_the_networks(hub: StandInModelScope) -> None:
    def broken(done: int, total: int) -> None:
        raise BrokenPipeError("nobody listens")

    with pytest.raises(BrokenPipeError, match="nobody listens"):
        fetch_checkpoint(ID, progress=broken)


def test_another_content_than_listed_is_never_kept(hub: StandInModelScope, tmp_path: Path) -> None:
    hub.told["model.safetensors"] = {"Sha256": sha256(b"another")}
    message = refusal(BundleDamaged)
    assert f"{ID}: model.safetensors" in message and "run the same again" in message
    assert not list(tmp_path.rglob(sha256(b"another") + "*"))
    assert "not in the cache" in refusal(offline=True)
    hub.told.clear()
    assert contents(fetch_checkpoint(ID))["model.safetensors"] == WEIGHTS


@pytest.mark.parametrize("size_bytes", [len(WEIGHTS) - 1, len(WEIGHTS) + 1, 0])
def test_another_size_than_listed(hub: StandInModelScope, size_bytes: int) -> None:
    hub.told["model.safetensors"] = {"Size": size_bytes}
    refusal(BundleDamaged if size_bytes < len(WEIGHTS) else BundleNotFound)
    hub.told.clear()
    assert contents(fetch_checkpoint(ID))["model.safetensors"] == WEIGHTS


def test_a_part_that_was_damaged_on_the_disk(hub: StandInModelScope) -> None:
    part = fetch_checkpoint(ID).folder.parents[1] / "contents" / f"{sha256(WEIGHTS)}.part"
    part.with_suffix("").unlink()
    part.write_bytes(b"x" * 5000)
    refusal(BundleDamaged)
    assert contents(fetch_checkpoint(ID))["model.safetensors"] == WEIGHTS


def test_two_processes_at_once(hub: StandInModelScope, tmp_path: Path) -> None:
    code = f"from seetell.bundle.hub import fetch_checkpoint; print(fetch_checkpoint({ID!r}).folder)"
    environment = {**os.environ, "PYTHONPATH": str(Path(conversion.__file__).parents[2])}
    command = [sys.executable, "-c", code]
    both = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    folders = {Path(process.communicate(timeout=300)[0].strip()) for process in both}
    assert [process.returncode for process in both] == [0, 0]
    assert len(folders) == 1
    assert contents(HubCheckpoint(folders.pop(), COMMIT)) == {name: FILES[name] for name in NEEDED}
    assert sorted(hub.sent()) == sorted(ASKED), "each file once"


# --- what the hub refuses -------------------------------------------------------------------------------

LIST = "/repo/files"


def test_an_unknown_model(hub: StandInModelScope) -> None:
    hub.repositories.clear()
    message = refusal()
    assert f"no such model on {hub.endpoint}, or one that is not public (获取模型目录树失败" in message
    assert "no token is sent" in message and "spelling" in message


def test_a_model_that_is_refused_with_success(hub: StandInModelScope) -> None:
    hub.faults[LIST] = Fault(200, body=b'{"Code": 10010200001, "Message": "a\\nb\\u001b[0m", "Data": ""}')
    assert "no such model" in refusal()


@pytest.mark.parametrize("revision", ["main", "d" * 40, "../../x", "refs/pr/1", "."])
def test_an_unknown_revision(hub: StandInModelScope, revision: str) -> None:
    assert f"no files at revision {revision!r}" in refusal(revision=revision)
    hub.faults[LIST] = Fault(404, body=b'{"Code": 10990101004, "Message": "no tree"}')
    assert f"no files at revision {revision!r}" in refusal(revision=revision)
    assert "not in the cache" in refusal(revision=revision, offline=True)


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("where", [LIST, "/config.json", "/cdn/model.safetensors"])
def test_a_model_that_is_not_for_everybody(hub: StandInModelScope, status: int, where: str) -> None:
    hub.faults[where] = Fault(status, body=b'{"Code": 1, "Message": "Ask the owner"}')
    message = refusal()
    assert "gives no access to it (Ask the owner)" in message and "no token is sent" in message


@pytest.mark.parametrize(
    "body",
    [
        b"<html>welcome</html>",
        b"",
        b"[1]",
        b"null",
        b"{}",
        b'{"Code": 200}',
        b'{"Code": 200, "Data": {"Files": {"a": 1}}}',
        b'{"Code": 200, "Data": {"Files": [{"Path": null, "Type": "blob"}]}}',
        b'{"Code": 200, "Data": {"Files": [{"Path": "a", "Type": "blob", "Size": -1}]}}',
        b'{"Code": "abc", "Data": {"Files": []}}',
        b"[" * 100_000,
        b"\xff\xfe",
    ],
)
def test_something_else_than_a_hub(hub: StandInModelScope, body: bytes) -> None:
    hub.faults[LIST] = Fault(200, body=body)
    assert "check MODELSCOPE_ENDPOINT" in refusal()


def test_a_list_without_what_is_needed_of_it(hub: StandInModelScope) -> None:
    hub.faults[LIST] = Fault(200, body=b'{"Code": 200, "Data": {"Files": []}}')
    assert "no files at revision 'master'" in refusal()
    hub.faults.clear()
    for told in (None, "", "abc", "../" * 20):
        hub.told["model.safetensors"] = {"Sha256": told}
        assert "no SHA-256 of model.safetensors" in refusal()
    assert hub.sent() == []


@pytest.mark.parametrize(
    "path", ["../x", "a/../../x", "/etc/x", "..", "0_CLIPModel/../../config.json", "bundle\0.json"]
)
def test_a_path_that_leads_out_of_the_folder(hub: StandInModelScope, tmp_path: Path, path: str) -> None:
    hub.add("someone/tiny-clip", COMMIT, {**FILES, path: b"evil"})
    assert f"lists a file {path!r}, which leads out" in refusal()
    assert hub.sent() == [] and not list(tmp_path.rglob("*config.json"))


def test_names_that_only_look_like_paths_stay_in_the_folder(hub: StandInModelScope, tmp_path: Path) -> None:
    hub.add("someone/tiny-clip", COMMIT, {**FILES, "..\\vocab.txt": b"", "a b/%2e%2e/c": b"", "": b""})
    assert set(contents(fetch_checkpoint(ID))) == NEEDED


def test_a_file_that_is_listed_and_not_there(hub: StandInModelScope) -> None:
    hub.faults["/config.json"] = Fault(404, body=b'{"Code": 10990101007, "Message": "empty"}')
    assert "lists config.json and has it not (empty)" in refusal()


@pytest.mark.parametrize("where", [LIST, "/config.json", "/cdn/model.safetensors"])
def test_too_many_requests_and_a_hub_that_fails(hub: StandInModelScope, where: str) -> None:
    hub.faults[where] = Fault(429, {"Retry-After": "17"})
    assert "wait 17 seconds" in refusal()
    for status in (500, 503, 302):
        hub.faults[where] = Fault(status)
        assert f"HTTP status {status}" in refusal()
    hub.faults.clear()
    assert contents(fetch_checkpoint(ID))["model.safetensors"] == WEIGHTS


def test_a_redirect_in_circles_or_to_no_server(hub: StandInModelScope) -> None:
    for where in ("/config.json", "file:///etc/passwd", "http://127.0.0.1:1/x"):
        hub.faults["/config.json"] = Fault(302, {"Location": where})
        refusal()


def test_no_network(hub: StandInModelScope) -> None:
    found = fetch_checkpoint(ID)
    hub.close()
    message = refusal()
    assert hub.endpoint in message and "check the network" in message and "SEETELL_OFFLINE=1" in message
    assert "SEETELL_OFFLINE" not in refusal(revision="v1"), "there is nothing in the cache to offer"
    assert fetch_checkpoint(ID, offline=True) == found


# --- tokens and addresses -------------------------------------------------------------------------------


def test_a_token_that_is_given_is_refused(hub: StandInModelScope) -> None:
    assert "leave it out" in refusal(UsageError, token="hf_secret")
    assert hub.requests == []


def test_what_the_program_installed_in_urllib_is_left_out(hub: StandInModelScope) -> None:
    passwords = urllib.request.HTTPPasswordMgrWithPriorAuth()
    passwords.add_password(None, hub.endpoint, "me", "secret", is_authenticated=True)
    urllib.request.install_opener(urllib.request.build_opener(urllib.request.HTTPBasicAuthHandler(passwords)))
    try:
        fetch_checkpoint(ID)  # what came in is looked at when the fixture ends
    finally:
        urllib.request.install_opener(None)  # type: ignore[arg-type]  # as it was


def test_the_address_may_be_a_domain(hub: StandInModelScope, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELSCOPE_DOMAIN", "nowhere.invalid")
    fetch_checkpoint(ID)  # the address goes first
    monkeypatch.setenv("MODELSCOPE_ENDPOINT", "")
    assert "from https://nowhere.invalid (" in refusal()
    monkeypatch.setenv("MODELSCOPE_ENDPOINT", hub.endpoint + "/")
    fetch_checkpoint(ID)
    assert not any("//" in request.path for request in hub.requests)


@pytest.mark.parametrize("address", ["file:///etc", "ftp://x", "http://", "https://[", "://"])
def test_what_is_no_address(hub: StandInModelScope, monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("MODELSCOPE_ENDPOINT", address)
    assert f"MODELSCOPE_ENDPOINT={address!r}" in refusal(UsageError)


@pytest.mark.parametrize("address", ["a..b", "x" * 100, "a b", "127.0.0.1:1", "127.0.0.1:99999", "é.invalid"])
def test_an_address_where_nobody_is(
    hub: StandInModelScope, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.setenv("MODELSCOPE_ENDPOINT", address)
    assert "check the network and MODELSCOPE_ENDPOINT" in refusal()


@pytest.mark.parametrize("source", ["modelscope:", "modelscope:a", "modelscope:a/b/c/d", "modelscope:../x/y"])
def test_what_can_be_no_id(hub: StandInModelScope, source: str) -> None:
    for ask in (fetch_checkpoint, holds_bundle):
        with pytest.raises(UsageError, match="modelscope:OWNER/NAME"):
            ask(source)
    with pytest.raises(BundleNotFound):
        resolve(source)
    assert hub.requests == []


# --- SEETELL_HUB ----------------------------------------------------------------------------------------


def test_plain_ids_are_of_the_hub_that_the_variable_names(
    hub: StandInModelScope, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEETELL_HUB", "ModelScope")
    assert fetch_checkpoint("someone/tiny-clip") == fetch_checkpoint(ID)
    with pytest.raises(ConversionNeeded, match="seetell convert modelscope:someone/tiny-clip OUT"):
        resolve("someone/tiny-clip")


def test_a_variable_that_names_no_hub(hub: StandInModelScope, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEETELL_HUB", "modelscop")
    for ask in (fetch_checkpoint, resolve):
        with pytest.raises(UsageError, match="SEETELL_HUB='modelscop' is no hub"):
            ask("someone/tiny-clip")
    assert fetch_checkpoint(ID).revision == COMMIT, "which names its hub itself"


def test_the_same_name_on_two_hubs_is_two_models(
    hub: StandInModelScope, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = Path(os.environ["SEETELL_CACHE"]) / "models"
    make_bundle(models / "a--b", name="of one hub")
    make_bundle(models / "modelscope+a+b", name="of the other")
    names = {source: resolve(source).manifest.name for source in ("a/b", "modelscope:a/b")}
    assert names == {"a/b": "of one hub", "modelscope:a/b": "of the other"}
    monkeypatch.setenv("SEETELL_HUB", "modelscope")
    assert resolve("a/b").manifest.name == "of the other"
    remove("a/b")
    assert [one.name for one in list_bundles() if one.name != "builtin"] == ["a--b"]


# --- offline, and the disk ------------------------------------------------------------------------------


def test_offline_asks_nobody(hub: StandInModelScope, monkeypatch: pytest.MonkeyPatch) -> None:
    found = fetch_checkpoint(ID)
    hub.requests.clear()
    monkeypatch.setenv("SEETELL_OFFLINE", "1")
    assert fetch_checkpoint(ID) == found
    assert not holds_bundle(ID)
    message = refusal(revision="v1")
    assert f"{ID} at v1: not in the cache" in message and "without SEETELL_OFFLINE" in message
    (found.folder / "model.safetensors").unlink()
    assert "only a part is in the cache" in refusal()
    assert hub.requests == []
    monkeypatch.setenv("SEETELL_OFFLINE", "0")
    assert fetch_checkpoint(ID) == found
    assert hub.sent() == [], "its content was in the cache still"


def test_pickles_are_refused_before_anything_is_fetched(hub: StandInModelScope) -> None:
    files = {name: data for name, data in FILES.items() if not name.endswith(".safetensors")}
    hub.add("someone/tiny-clip", COMMIT, files)
    message = refusal(PickleRefused)
    assert f"seetell convert {ID} OUT --allow-pickle" in message and hub.sent() == []
    assert contents(fetch_checkpoint(ID, allow_pickle=True))["pytorch_model.bin"] == b"pickled"


Usage = namedtuple("Usage", "total used free")


def test_too_little_space_is_found_before_anything_is_fetched(
    hub: StandInModelScope, monkeypatch: pytest.MonkeyPatch
) -> None:
    total = sum(len(FILES[name]) for name in NEEDED)
    free = total - 1
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(10**9, 0, free))
    message = refusal(StorageError)
    assert "1.0 MB to fetch" in message and "SEETELL_CACHE" in message and hub.sent() == []
    free = total
    fetch_checkpoint(ID)
    free = 0
    fetch_checkpoint(ID)  # all of it is here


def test_a_file_where_the_cache_should_be(
    hub: StandInModelScope, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("SEETELL_CACHE", str(tmp_path / "file"))
    assert "a file stands where a folder is needed" in refusal(StorageError)


@pytest.mark.parametrize("small_disk", ["512k"], indirect=True)
def test_a_disk_that_fills_up_meanwhile(
    hub: StandInModelScope, monkeypatch: pytest.MonkeyPatch, small_disk: Path
) -> None:
    monkeypatch.setenv("SEETELL_CACHE", str(small_disk))
    assert "to fetch, but" in refusal(StorageError)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(10**9, 0, 10**9))
    assert "the disk is full" in refusal(StorageError)


# --- bundles, and checkpoints that are used ---------------------------------------------------------------

TEAM = "modelscope:our-team/photo-model"


@pytest.fixture
def shared(hub: StandInModelScope, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """What a bundle consists of, on the hub beside what a repository has besides; and no torch here."""
    folder = make_bundle(tmp_path / "made", name="photo-model", int8=True)
    files = {path.name: path.read_bytes() for path in folder.iterdir()} | {"README.md": b"# photo-model"}
    odd = {"configuration.json": b"{}", "a %2f#?&　é.txt": b"odd"}
    more = {".gitattributes": b"lfs", "old.bin": b"pickle", "runs/log.txt": b"", "": b"", ".": b""}
    hub.add("our-team/photo-model", COMMIT, {**files, **odd, **more})
    monkeypatch.setattr(conversion, "_NEEDED", ("no_such_module",))
    return {**files, **odd}


def test_a_bundle_is_taken_as_it_is(hub: StandInModelScope, shared: dict[str, bytes]) -> None:
    bundle = resolve_or_convert(TEAM)
    assert {path.name: path.read_bytes() for path in bundle.folder.iterdir()} == shared
    bundle.verify(full=True)
    before = len(hub.requests)
    assert resolve(TEAM).folder == resolve_or_convert(TEAM).folder == bundle.folder
    assert len(hub.requests) == before
    assert [one.name for one in list_bundles() if one.name != "builtin"] == [
        "modelscope+our-team+photo-model"
    ]
    assert resolve_or_convert(TEAM, revision=None, offline=True).folder == bundle.folder


def test_a_damaged_bundle_is_not_kept(hub: StandInModelScope, shared: dict[str, bytes]) -> None:
    hub.add("our-team/photo-model", OLDER, {**shared, "image_encoder.onnx": b"another"})
    with pytest.raises(BundleDamaged, match=r"image_encoder\.onnx"):
        resolve_or_convert(TEAM)
    assert [one.name for one in list_bundles() if one.name != "builtin"] == []


def test_without_torch_nothing_but_a_bundle_is_fetched(
    hub: StandInModelScope, shared: dict[str, bytes]
) -> None:
    with pytest.raises(ConversionNeeded, match=f"seetell convert {ID} OUT"):
        resolve_or_convert(ID)
    assert hub.sent() == []


@pytest.mark.slow
def test_a_checkpoint_is_converted_and_used(
    hub: StandInModelScope, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch")
    import seetell
    from seetell.modeling.start import read_start
    from tests.cli.test_convert import LABELS, make_vit

    folder = make_vit(tmp_path / "vit")
    hub.add("someone/vit", COMMIT, {path.name: path.read_bytes() for path in folder.iterdir()})
    photo = next((Path(seetell.__file__).parent / "samples").glob("*.jpg"))
    with seetell.load("modelscope:someone/vit") as model:
        assert model.classify(photo).label in LABELS
    hub.requests.clear()
    monkeypatch.setenv("SEETELL_HUB", "modelscope")
    start = read_start("someone/vit")  # what a recipe's `init` names
    assert start.facts.source.hub_id == "modelscope:someone/vit" and hub.sent() == []
    manifest = resolve("modelscope:someone/vit").manifest
    assert (manifest.source.hub_id, manifest.source.revision) == ("modelscope:someone/vit", COMMIT)
