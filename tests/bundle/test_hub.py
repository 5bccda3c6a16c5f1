"""Fetching from a hub that runs on this machine: what is fetched, resumed and cached, and every refusal."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import time
from collections import namedtuple
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from seetell.bundle import conversion, huggingface
from seetell.bundle.checkpoint_files import choose_files, names_in
from seetell.bundle.conversion import resolve_or_convert
from seetell.bundle.fetching import Counter
from seetell.bundle.hub import HubCheckpoint, fetch_checkpoint
from seetell.bundle.huggingface import takes_token
from seetell.bundle.manifest import Measurement
from seetell.bundle.store import list_bundles, record_measurements, resolve
from seetell.core.errors import (
    BundleDamaged,
    BundleNotFound,
    ConversionNeeded,
    MissingExtra,
    PickleRefused,
    SeetellError,
    StorageError,
    UsageError,
)
from tests.bundle.stand_in_hub import Fault, StandInHub, content_id
from tests.bundle.test_store import make_bundle

huggingface_hub = pytest.importorskip("huggingface_hub")
pytest.importorskip("huggingface_hub.constants")

ID = "someone/tiny-clip"
COMMIT, OLDER = "a" * 40, "b" * 40
WEIGHTS = bytes(range(256)) * 40  # 10,240 bytes
FILES = {
    "config.json": b'{"model_type": "clip"}',
    "preprocessor_config.json": b'{"size": 224}',
    "tokenizer.json": b"{}",
    "vocab.json": b'{"a": 0}',
    "merges.txt": b"a b",
    "README.md": b"---\nlicense: mit\n---",
    "model.safetensors": WEIGHTS,
    "pytorch_model.bin": b"pickled",
    "tf_model.h5": b"tensorflow",
    "onnx/model.onnx": b"onnx",
    "onnx/config.json": b"{}",
    "photo.jpg": b"photo",
}
NEEDED = {
    "config.json",
    "preprocessor_config.json",
    "tokenizer.json",
    "vocab.json",
    "merges.txt",
    "README.md",
    "model.safetensors",
}


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[StandInHub]:
    """A hub with one repository; huggingface_hub asks it, keeps its cache in tmp_path, and never waits."""
    server = StandInHub()
    server.add(ID, OLDER, {**FILES, "model.safetensors": b"older weights"}, branch="v1")
    server.add(ID, COMMIT, FILES)
    constants = huggingface_hub.constants
    monkeypatch.setattr(constants, "ENDPOINT", server.endpoint)
    monkeypatch.setattr(huggingface, "takes_token", lambda endpoint: endpoint == server.endpoint)
    template = server.endpoint + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.setattr(constants, "HF_STORED_TOKENS_PATH", str(tmp_path / "tokens"))
    if hasattr(constants, "AGENT_HARNESSES_PATH"):  # which it fetches once a day, and keeps
        monkeypatch.setattr(constants, "AGENT_HARNESSES_PATH", str(tmp_path / "harnesses"))
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "SEETELL_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    huggingface_hub.close_session()
    yield server
    huggingface_hub.close_session()
    server.close()


def contents(found: HubCheckpoint) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in found.folder.iterdir()}


def refusal(kind: type[SeetellError] = BundleNotFound, **options: object) -> str:
    """The message of a fetch that must fail with ``kind``."""
    with pytest.raises(kind) as caught:
        fetch_checkpoint(ID, **options)  # type: ignore[arg-type]  # options of several types
    message = str(caught.value)
    assert type(caught.value) is kind
    assert "\n" not in message
    assert len(message) < 500
    assert message.startswith(ID) or kind is StorageError
    return message


def test_fetches_what_is_needed_and_nothing_else(hub: StandInHub, tmp_path: Path) -> None:
    found = fetch_checkpoint(ID)
    assert found.revision == COMMIT
    assert found.folder.is_relative_to(tmp_path / "cache")
    assert contents(found) == {name: FILES[name] for name in NEEDED}
    assert set(hub.fetched()) == NEEDED
    assert hub.fetched()[-1] == "model.safetensors", (
        "weights last, so that their being there means the rest is"
    )


def test_the_second_time_nothing_is_fetched(hub: StandInHub) -> None:
    first = fetch_checkpoint(ID)
    hub.requests.clear()
    seen: list[tuple[int, int]] = []
    assert fetch_checkpoint(ID, progress=lambda done, total: seen.append((done, total))) == first
    assert hub.fetched() == []
    assert seen == []


def test_only_what_changed_is_fetched_from_a_newer_commit(hub: StandInHub) -> None:
    fetch_checkpoint(ID)
    newer = "c" * 40
    hub.add(ID, newer, {**FILES, "config.json": b'{"model_type": "clip", "newer": true}'})
    hub.requests.clear()
    seen: list[tuple[int, int]] = []
    found = fetch_checkpoint(ID, progress=lambda done, total: seen.append((done, total)))
    assert found.revision == newer
    assert hub.fetched() == ["config.json"]
    assert seen[-1] == (37, 37)
    assert contents(found)["model.safetensors"] == WEIGHTS


@pytest.mark.parametrize("revision", ["v1", OLDER])
def test_a_revision_is_pinned(hub: StandInHub, revision: str) -> None:
    found = fetch_checkpoint(ID, revision=revision)
    assert found.revision == OLDER
    assert contents(found)["model.safetensors"] == b"older weights"
    assert fetch_checkpoint(ID).revision == COMMIT
    assert fetch_checkpoint(ID, revision=revision, offline=True) == found


def test_a_revision_with_a_slash(hub: StandInHub) -> None:
    hub.add(ID, OLDER, FILES, branch="refs/pr/1")
    found = fetch_checkpoint(ID, revision="refs/pr/1")
    assert found.revision == OLDER
    assert fetch_checkpoint(ID, revision="refs/pr/1", offline=True) == found


def test_a_branch_that_moves_while_it_is_fetched(hub: StandInHub, monkeypatch: pytest.MonkeyPatch) -> None:
    download = huggingface_hub.hf_hub_download

    def moves_first(*args: object, **options: object) -> str:
        hub.add(ID, OLDER, FILES)
        return str(download(*args, **options))

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", moves_first)
    assert "changed" in refusal()


def test_a_broken_connection_is_resumed_where_it_broke(
    hub: StandInHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    # huggingface_hub writes what it gets in pieces of 10 MB and resumes after the last whole one.
    monkeypatch.setattr(huggingface_hub.constants, "DOWNLOAD_CHUNK_SIZE", 1024)
    hub.cut_after["model.safetensors"] = 5000
    seen: list[tuple[int, int]] = []
    found = fetch_checkpoint(ID, progress=lambda done, total: seen.append((done, total)))
    assert contents(found)["model.safetensors"] == WEIGHTS
    ranges = [one.range for one in hub.requests if one.server == "cdn" and one.method == "GET"]
    assert ranges == [None, "bytes=4096-"]
    total = sum(len(FILES[name]) for name in NEEDED)
    assert seen[-1] == (total, total)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


def test_a_fetch_that_was_broken_off_goes_on_with_the_files_it_has(hub: StandInHub) -> None:
    def stop(done: int, total: int) -> None:
        if done > total // 2:  # in the weights, which are most of it
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch_checkpoint(ID, progress=stop)
    assert "only a part" in refusal(offline=True)
    hub.requests.clear()
    assert contents(fetch_checkpoint(ID))["model.safetensors"] == WEIGHTS
    assert hub.fetched() == ["model.safetensors"]


def test_an_error_of_the_progress_callback_is_not_taken_for_the_hubs(hub: StandInHub) -> None:
    def broken(done: int, total: int) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fetch_checkpoint(ID, progress=broken)


def test_progress_counts_every_byte_once(hub: StandInHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "DOWNLOAD_CHUNK_SIZE", 1000)
    seen: list[tuple[int, int]] = []
    fetch_checkpoint(ID, progress=lambda done, total: seen.append((done, total)))
    total = sum(len(FILES[name]) for name in NEEDED)
    assert {one for _, one in seen} == {total}
    assert len(seen) > len(NEEDED) + 5, "large files are counted while they come"
    assert seen[-1][0] == total
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


def test_progress_of_files_that_come_through_xet() -> None:
    """The stand-in speaks plain HTTP; most large files of the real hub come in chunks, counted twice: as
    received and as written. Driven here as huggingface_hub drives it."""
    reporting = pytest.importorskip("huggingface_hub.utils._xet_progress_reporting")
    seen: list[tuple[int, int]] = []
    counter = Counter(lambda done, total: seen.append((done, total)))
    counter.total = 100
    with reporting.XetDownloadProgressReporter(
        reconstruction_desc="", total=100, log_level=30, name="x", tqdm_class=huggingface._bar_class(counter)
    ) as reporter:
        for done in (0, 40, 100):
            group = SimpleNamespace(
                total_bytes=100,
                total_bytes_completed=done,
                total_transfer_bytes_completed=done // 2,
                total_bytes_completion_rate=1.0,
                total_transfer_bytes_completion_rate=None,
            )
            reporter.update_progress(group)
    assert seen == [(40, 100), (100, 100)]


def test_nothing_is_drawn(hub: StandInHub, capfd: pytest.CaptureFixture[str]) -> None:
    fetch_checkpoint(ID)
    captured = capfd.readouterr()
    assert captured.out == ""
    assert "%" not in captured.err


# --- tokens ---------------------------------------------------------------------------------------------


def tokens(hub: StandInHub, server: str) -> set[str | None]:
    return {one.token for one in hub.requests if one.server == server and ID in one.path}


def test_the_token_goes_to_the_hub_and_nowhere_else(hub: StandInHub) -> None:
    fetch_checkpoint(ID, token="hf_secret")
    assert tokens(hub, "hub") == {"Bearer hf_secret"}
    assert tokens(hub, "cdn") == {None}


@pytest.mark.parametrize("way", ["variable", "login", "none"])
def test_the_token_of_the_environment_or_the_login(
    hub: StandInHub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, way: str
) -> None:
    if way == "variable":
        monkeypatch.setenv("HF_TOKEN", "hf_kept")
    elif way == "login":
        (tmp_path / "token").write_text("hf_kept")
    fetch_checkpoint(ID)
    assert tokens(hub, "hub") == {None if way == "none" else "Bearer hf_kept"}


@pytest.fixture
def mirror(hub: StandInHub, monkeypatch: pytest.MonkeyPatch) -> StandInHub:
    """The same hub, for what it is to a user: not the one that gave the token."""
    monkeypatch.setattr(huggingface, "takes_token", takes_token)
    return hub


@pytest.mark.parametrize("way", ["variable", "old variable", "login"])
def test_a_mirror_is_never_sent_the_token(
    mirror: StandInHub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, way: str
) -> None:
    if way == "login":
        (tmp_path / "token").write_text("hf_kept")
    else:
        monkeypatch.setenv("HF_TOKEN" if way == "variable" else "HUGGING_FACE_HUB_TOKEN", "hf_kept")
    found = fetch_checkpoint(ID)
    assert contents(found)["model.safetensors"] == WEIGHTS
    assert {one.token for one in mirror.requests} == {None}


def test_a_token_given_for_a_mirror_is_refused_before_anything_is_asked(mirror: StandInHub) -> None:
    with pytest.raises(UsageError, match="leave the token out, or unset HF_ENDPOINT") as caught:
        fetch_checkpoint(ID, token="hf_secret")
    assert mirror.requests == [] and "hf_secret" not in str(caught.value)


def test_what_a_mirror_refuses_no_login_opens(mirror: StandInHub) -> None:
    mirror.faults[API] = Fault(401, {"X-Error-Code": "GatedRepo", "X-Error-Message": "Access is restricted"})
    message = refusal()
    assert "a mirror is sent no token" in message and "hf auth login" not in message


@pytest.mark.parametrize(
    ("endpoint", "may_see"),
    [
        ("https://huggingface.co", True),
        ("https://hub-ci.huggingface.co", True),
        ("https://hf.co/", True),
        ("https://mirror.example", False),
        ("https://huggingface.co.mirror.example", False),
        ("https://nothuggingface.co", False),
        ("https://huggingface.co@mirror.example", False),
        ("https://mirror.example/huggingface.co", False),
        ("huggingface.co", False),
    ],
)
def test_who_may_see_the_token(endpoint: str, may_see: bool) -> None:
    assert takes_token(endpoint) is may_see


# --- what the hub refuses -------------------------------------------------------------------------------

API = ("GET", f"/api/models/{ID}")
CONFIG = ("HEAD", "/config.json")
WEIGHTS_HEAD = ("HEAD", "/model.safetensors")


def test_an_unknown_repository(hub: StandInHub) -> None:
    hub.repositories.clear()
    message = refusal()
    assert "no such model" in message
    assert "hf auth login" in message


def test_an_unknown_revision(hub: StandInHub) -> None:
    assert "no revision 'v9'" in refusal(revision="v9")
    assert "no revision" in refusal(revision="d" * 40)


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("where", [API, CONFIG, WEIGHTS_HEAD])
def test_a_gated_repository(hub: StandInHub, status: int, where: tuple[str, str]) -> None:
    hub.faults[where] = Fault(
        status, {"X-Error-Code": "GatedRepo", "X-Error-Message": "Access is restricted"}
    )
    message = refusal()
    assert "gated" in message
    assert f"{hub.endpoint}/{ID}" in message
    assert "hf auth login" in message


def test_a_token_that_is_not_accepted(hub: StandInHub) -> None:
    hub.faults[API] = Fault(401, {"X-Error-Message": "Invalid credentials in Authorization header"})
    message = refusal(token="hf_wrong")
    assert "does not accept the token" in message
    assert "hf_wrong" not in message


def test_a_token_that_may_not(hub: StandInHub) -> None:
    hub.faults[API] = Fault(403, body=b'{"error":"Ask the owner"}')
    message = refusal()
    assert "no access" in message
    assert "Ask the owner" in message


def test_something_else_than_a_hub(hub: StandInHub) -> None:
    hub.faults[API] = Fault(404, body=b"<html>not found</html>")
    assert "HF_ENDPOINT" in refusal()
    hub.faults[API] = Fault(200, body=b"<html>welcome</html>")
    assert "HF_ENDPOINT" in refusal()
    hub.faults[API] = Fault(200, body=b'{"id":"x","sha":"../..","siblings":[]}')
    assert "no commit" in refusal()
    hub.faults[API] = Fault(200, body=b"[1]")
    assert "cannot be fetched" in refusal()


@pytest.mark.parametrize("where", [API, CONFIG, ("GET", "/config.json"), WEIGHTS_HEAD])
def test_too_many_requests(hub: StandInHub, where: tuple[str, str]) -> None:
    hub.faults[where] = Fault(429, {"Retry-After": "17"})
    assert "wait 17 seconds" in refusal()


@pytest.mark.parametrize("status", [500, 503])
@pytest.mark.parametrize("where", [API, CONFIG, WEIGHTS_HEAD, ("GET", "/model.safetensors")])
def test_a_hub_that_fails(hub: StandInHub, where: tuple[str, str], status: int) -> None:
    hub.faults[where] = Fault(status)
    assert f"HTTP status {status}" in refusal()
    hub.faults.clear()
    assert contents(fetch_checkpoint(ID))["model.safetensors"] == WEIGHTS


def test_a_file_cut_short_for_good_is_never_taken_for_whole(hub: StandInHub) -> None:
    hub.faults["GET", "/model.safetensors"] = Fault(200, body=WEIGHTS[:100])
    refusal()
    assert "only a part" in refusal(offline=True)


def test_no_network(hub: StandInHub) -> None:
    hub.close()
    message = refusal()
    assert hub.endpoint in message
    assert "check the network" in message
    assert "SEETELL_OFFLINE" not in message, "there is nothing in the cache to offer"


def test_no_network_but_a_cache(hub: StandInHub) -> None:
    found = fetch_checkpoint(ID)
    hub.close()
    huggingface_hub.close_session()  # connections that are open still would be answered
    assert "SEETELL_OFFLINE=1" in refusal()
    assert fetch_checkpoint(ID, offline=True) == found


def test_a_checkpoint_in_a_folder_within(hub: StandInHub) -> None:
    """sentence-transformers/clip-ViT-B-32/0_CLIPModel, say."""
    below = {f"0_CLIPModel/{name}": content for name, content in FILES.items()}
    hub.add("someone/sentences", COMMIT, {"modules.json": b"[]", "README.md": b"", **below})
    with pytest.raises(BundleNotFound, match=r"name someone/sentences/0_CLIPModel$"):
        fetch_checkpoint("someone/sentences")
    found = fetch_checkpoint("someone/sentences/0_CLIPModel")
    assert (found.folder.name, found.revision) == ("0_CLIPModel", COMMIT)
    assert contents(found) == {name: FILES[name] for name in NEEDED}
    hub.requests.clear()
    assert fetch_checkpoint("someone/sentences/0_CLIPModel") == found
    assert hub.fetched() == []
    assert fetch_checkpoint("someone/sentences/0_CLIPModel", offline=True) == found
    with pytest.raises(BundleNotFound, match="not in the cache"):
        fetch_checkpoint("someone/sentences/1_Other", offline=True)


@pytest.mark.parametrize("hub_id", ["", "a/b/c/d", "a b", "../x", "x--y", "-a/b", "a/b.git", "a/\n", "\0"])
def test_what_can_be_no_id(hub: StandInHub, hub_id: str) -> None:
    with pytest.raises(UsageError) as caught:
        fetch_checkpoint(hub_id)
    assert "\n" not in str(caught.value)
    assert hub.requests == []


def test_an_empty_revision(hub: StandInHub) -> None:
    with pytest.raises(UsageError):
        fetch_checkpoint(ID, revision=" ")


# --- offline --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["argument", "SEETELL_OFFLINE", "HF_HUB_OFFLINE"])
def test_offline_asks_nobody(hub: StandInHub, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    found = fetch_checkpoint(ID)
    hub.requests.clear()
    if way == "SEETELL_OFFLINE":
        monkeypatch.setenv("SEETELL_OFFLINE", "1")
    elif way == "HF_HUB_OFFLINE":
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    assert fetch_checkpoint(ID, offline=True if way == "argument" else None) == found
    message = refusal(offline=True if way == "argument" else None, revision="v1")
    assert "v1: not in the cache" in message
    assert hub.requests == []


def test_offline_without_any_cache(hub: StandInHub, tmp_path: Path) -> None:
    assert str(tmp_path / "cache") in refusal(offline=True)


def test_offline_with_what_another_tool_fetched(hub: StandInHub) -> None:
    for name in ("config.json", "tf_model.h5"):
        huggingface_hub.hf_hub_download(ID, name)
    assert "only a part" in refusal(offline=True)
    huggingface_hub.hf_hub_download(ID, "pytorch_model.bin")
    assert "--allow-pickle" in refusal(PickleRefused, offline=True)
    assert fetch_checkpoint(ID, offline=True, allow_pickle=True).revision == COMMIT


def test_offline_with_a_shard_missing(hub: StandInHub) -> None:
    shards = {f"model-0000{i}-of-00002.safetensors": b"weights" * i for i in (1, 2)}
    files = {"config.json": b"{}", "model.safetensors.index.json": b"{}", **shards}
    hub.add(ID, COMMIT, files)
    found = fetch_checkpoint(ID)
    assert contents(found) == files
    (found.folder / "model-00002-of-00002.safetensors").unlink()
    assert "model-00002-of-00002.safetensors" in refusal(offline=True)
    hub.requests.clear()
    assert contents(fetch_checkpoint(ID)) == files
    assert hub.fetched() == [], "its content was in the cache still"


# --- pickles --------------------------------------------------------------------------------------------


def test_pickles_are_refused_before_anything_is_fetched(hub: StandInHub) -> None:
    files = {name: data for name, data in FILES.items() if not name.endswith(".safetensors")}
    hub.add(ID, COMMIT, files)
    message = refusal(PickleRefused, revision="main")
    assert f"seetell convert {ID} --revision main OUT --allow-pickle" in message
    assert hub.fetched() == []
    found = fetch_checkpoint(ID, allow_pickle=True)
    assert contents(found)["pytorch_model.bin"] == b"pickled"


def test_safetensors_are_preferred_even_when_pickles_are_allowed(hub: StandInHub) -> None:
    found = fetch_checkpoint(ID, allow_pickle=True)
    assert set(contents(found)) == NEEDED


def test_what_is_no_checkpoint(hub: StandInHub) -> None:
    hub.add(ID, COMMIT, {"README.md": b"a data set", "train.parquet": b""})
    assert "no config.json" in refusal()
    hub.add(ID, COMMIT, {"config.json": b"{}", "tf_model.h5": b""})
    assert "no weights" in refusal()
    hub.add(ID, COMMIT, {"config.json": b"{}", "model-00001-of-00003.safetensors": b""})
    assert "model-00002-of-00003.safetensors" in refusal()
    assert hub.fetched() == []


def test_names_that_would_lead_out_of_the_cache(hub: StandInHub, tmp_path: Path) -> None:
    hub.add(
        ID, COMMIT, {**FILES, "../../evil/config.json": b"", "..\\tokenizer.json": b"", "/vocab.txt": b""}
    )
    assert set(contents(fetch_checkpoint(ID))) == NEEDED
    assert not list(tmp_path.rglob("*evil*"))


# --- the disk -------------------------------------------------------------------------------------------

Usage = namedtuple("Usage", "total used free")


def test_too_little_space_is_found_before_anything_is_fetched(
    hub: StandInHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    total = sum(len(FILES[name]) for name in NEEDED)
    free = total - 1
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(10**9, 0, free))
    message = refusal(StorageError)
    assert "0.0 MB" in message
    assert "HF_HUB_CACHE" in message
    assert hub.fetched() == []
    free = total
    fetch_checkpoint(ID)
    free = 0
    fetch_checkpoint(ID)  # all of it is cached


def test_a_file_where_the_cache_should_be(
    hub: StandInHub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "file" / "hub"))
    assert "a file stands where a folder is needed" in refusal(StorageError)


def test_a_disk_that_fills_up_meanwhile(hub: StandInHub, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object, **options: object) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", full)
    assert "the disk is full" in refusal(StorageError)


# --- the surroundings -----------------------------------------------------------------------------------


def test_without_huggingface_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(MissingExtra, match=r"\[hub\]'"):
        fetch_checkpoint(ID)


def test_the_variables_of_huggingface_hub_count(hub: StandInHub, tmp_path: Path) -> None:
    """In a process of its own: huggingface_hub reads them when it is imported."""
    environment = {name: value for name, value in os.environ.items() if name != "HF_HUB_OFFLINE"}
    environment |= {
        "HF_ENDPOINT": hub.endpoint,
        "HF_HOME": str(tmp_path / "home"),
        "HF_HUB_CACHE": str(tmp_path / "elsewhere"),
        "HF_TOKEN": "hf_from_environment",
        "PYTHONPATH": str(Path(__file__).resolve().parents[2] / "src"),
    }
    code = f"""
import sys
from seetell.bundle.hub import fetch_checkpoint
assert 'huggingface_hub' not in sys.modules
print(fetch_checkpoint({ID!r}).folder)
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    folder = Path(done.stdout.strip())
    assert folder.is_relative_to(tmp_path / "elsewhere")
    assert (folder / "model.safetensors").read_bytes() == WEIGHTS
    assert tokens(hub, "hub") == {None}, "a mirror, as far as anybody can tell"


def test_large_contents_are_kept_under_their_hash(hub: StandInHub, tmp_path: Path) -> None:
    """What tells which bytes are still to be fetched relies on how the cache is laid out."""
    fetch_checkpoint(ID)
    blobs = tmp_path / "cache" / "models--someone--tiny-clip" / "blobs"
    assert (blobs / content_id(WEIGHTS)).read_bytes() == WEIGHTS


# --- bundles that somebody has put on a hub --------------------------------------------------------------

TEAM = "our-team/photo-model"


@pytest.fixture
def shared(hub: StandInHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """What a bundle consists of, on the hub beside what a repository has besides; and no torch here."""
    folder = make_bundle(tmp_path / "made", name="photo-model", int8=True)
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    files["README.md"] = b"# photo-model"
    hub.add(TEAM, COMMIT, {**files, ".gitattributes": b"lfs", "old.bin": b"pickle", "runs/log.txt": b"log"})
    monkeypatch.setenv("SEETELL_CACHE", str(tmp_path / "seetell"))
    monkeypatch.setattr(conversion, "_NEEDED", ("no_such_module",))
    return files


def test_a_bundle_is_taken_as_it_is(hub: StandInHub, shared: dict[str, bytes]) -> None:
    told: list[tuple[int, int]] = []
    bundle = resolve_or_convert(TEAM, fetching=lambda *counts: told.append(counts))
    assert {path.name: path.read_bytes() for path in bundle.folder.iterdir()} == shared
    assert not any(path.is_symlink() for path in bundle.folder.iterdir())
    bundle.verify(full=True)
    assert told[-1] == (sum(map(len, shared.values())),) * 2
    # From then on it is here, under its hub id.
    before = len(hub.requests)
    assert resolve(TEAM).folder == resolve_or_convert(TEAM).folder == bundle.folder
    assert len(hub.requests) == before
    assert [one.name for one in list_bundles() if one.name != "builtin"] == [bundle.folder.name]


def test_what_is_measured_of_it_leaves_the_hubs_cache_alone(
    hub: StandInHub, shared: dict[str, bytes]
) -> None:
    bundle = resolve_or_convert(TEAM)
    measured = {"task": "embed", "dataset": "d", "split": "dev", "metric": "m", "value": 1.0}
    row = Measurement(**measured, precision="fp32", machine="here")
    record_measurements(bundle.folder, [row])
    assert (bundle.folder / "bundle.json").read_bytes() != shared["bundle.json"]
    assert contents(fetch_checkpoint(TEAM))["bundle.json"] == shared["bundle.json"]


def test_a_bundle_with_a_file_that_is_another_is_not_kept(hub: StandInHub, shared: dict[str, bytes]) -> None:
    damaged = {**shared, "image_encoder.onnx": shared["image_encoder.onnx"][:-1] + b"!"}
    hub.add(TEAM, OLDER, damaged)
    with pytest.raises(BundleDamaged, match=r"image_encoder\.onnx"):
        resolve_or_convert(TEAM)
    assert [one.name for one in list_bundles() if one.name != "builtin"] == []
    missing = {name: data for name, data in shared.items() if name != "image_encoder.onnx"}
    hub.add(TEAM, "c" * 40, missing)
    with pytest.raises(BundleDamaged, match=r"image_encoder\.onnx"):
        resolve_or_convert(TEAM)


def test_without_torch_nothing_but_a_bundle_is_fetched(hub: StandInHub, shared: dict[str, bytes]) -> None:
    with pytest.raises(ConversionNeeded, match="seetell convert"):
        resolve_or_convert(ID)
    assert hub.fetched() == []


def test_a_bundle_in_the_hubs_cache_is_enough(
    hub: StandInHub, shared: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    fetch_checkpoint(TEAM)
    before = len(hub.requests)
    bundle = resolve_or_convert(TEAM, offline=True)
    assert bundle.manifest.name == "photo-model" and len(hub.requests) == before


def test_what_another_tool_fetched_of_the_repository_is_left_there(
    hub: StandInHub, shared: dict[str, bytes]
) -> None:
    for name in ("runs/log.txt", ".gitattributes", "old.bin"):
        huggingface_hub.hf_hub_download(TEAM, name)
    bundle = resolve_or_convert(TEAM)
    assert {path.name for path in bundle.folder.iterdir()} == shared.keys()


def test_a_disk_too_full_for_a_bundle_keeps_nothing(
    hub: StandInHub, shared: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both caches on other disks, so that files are copied."""

    def apart(*_: object) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    copied = shutil.copyfile

    def full(source: Path, target: Path) -> None:
        if target.name == "model.safetensors":
            raise OSError(errno.ENOSPC, "No space left on device", str(target))
        copied(source, target)

    monkeypatch.setattr(os, "link", apart)
    monkeypatch.setattr(shutil, "copyfile", full)
    with pytest.raises(StorageError):
        resolve_or_convert(TEAM)
    assert [one.name for one in list_bundles() if one.name != "builtin"] == []
    monkeypatch.setattr(shutil, "copyfile", copied)
    bundle = resolve_or_convert(TEAM)
    assert {path.name: path.read_bytes() for path in bundle.folder.iterdir()} == shared


def test_a_bundle_is_no_checkpoint_to_convert(hub: StandInHub, shared: dict[str, bytes]) -> None:
    folder = fetch_checkpoint(TEAM).folder
    with pytest.raises(BundleNotFound, match="it is a bundle already"):
        choose_files(names_in(folder), source=TEAM)
