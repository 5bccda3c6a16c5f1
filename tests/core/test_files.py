"""Atomic writes: whole or not at all, whatever happens on the way."""

from __future__ import annotations

import errno
import os
import signal
import stat
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seetell.core import files
from seetell.core.errors import SeetellError, StorageError
from seetell.core.files import (
    atomic_folder,
    atomic_write_bytes,
    atomic_write_text,
    cache_folder,
    require_writable,
)

SOURCE = str(Path(__file__).parents[2] / "src")


def run(script: str, *arguments: str) -> subprocess.Popen[bytes]:
    environment = os.environ | {"PYTHONPATH": SOURCE}
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script), *arguments],
        env=environment,
        stdout=subprocess.PIPE,
    )


@given(st.binary(max_size=2000), st.binary(max_size=2000))
def test_what_is_written_is_read(
    tmp_path_factory: pytest.TempPathFactory, first: bytes, second: bytes
) -> None:
    folder = tmp_path_factory.mktemp("files")
    path = folder / "one" / "two.bin"
    atomic_write_bytes(path, first)
    assert path.read_bytes() == first
    atomic_write_bytes(path, second)
    assert path.read_bytes() == second
    assert [entry.name for entry in path.parent.iterdir()] == ["two.bin"]


def test_text_is_utf8_and_unchanged(tmp_path: Path) -> None:
    atomic_write_text(tmp_path / "t.txt", "图\r\nü\n")
    assert (tmp_path / "t.txt").read_bytes() == "图\r\nü\n".encode()


def test_permissions_follow_the_umask_and_then_the_file(tmp_path: Path) -> None:
    path = tmp_path / "f"
    before = os.umask(0o027)
    try:
        atomic_write_bytes(path, b"1")
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o640
    path.chmod(0o600)
    atomic_write_bytes(path, b"2")
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_link_keeps_leading_to_its_file(tmp_path: Path) -> None:
    real, link = tmp_path / "real", tmp_path / "link"
    real.write_bytes(b"old")
    link.symlink_to(real)
    atomic_write_bytes(link, b"new")
    assert link.is_symlink()
    assert real.read_bytes() == b"new"


def test_a_long_name_fits(tmp_path: Path) -> None:
    path = tmp_path / ("n" * 255)
    atomic_write_bytes(path, b"x")
    assert path.read_bytes() == b"x"


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (errno.ENOSPC, "disk is full"),
        (errno.EDQUOT, "quota"),
        (errno.EROFS, "read-only"),
        (errno.EIO, "error"),
    ],
)
@pytest.mark.parametrize("call", ["fsync", "replace", "open"])
def test_a_failed_write_keeps_the_old_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, words: str, call: str
) -> None:
    path = tmp_path / "f.bin"
    path.write_bytes(b"old")

    def fail(*_: object, **__: object) -> int:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(files.os, call, fail)
    with pytest.raises(StorageError, match=words) as caught:
        atomic_write_bytes(path, b"new")
    monkeypatch.undo()
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["f.bin"]


@pytest.mark.parametrize("small_disk", ["256k"], indirect=True)
def test_a_disk_that_is_really_full(small_disk: Path) -> None:
    path = small_disk / "f.bin"
    atomic_write_bytes(path, b"old" * 1000)
    with pytest.raises(StorageError, match="disk is full"):
        atomic_write_bytes(path, bytes(1 << 20))
    with pytest.raises(StorageError, match="disk is full"), atomic_folder(small_disk / "bundle") as folder:
        (folder / "weights").write_bytes(bytes(1 << 20))
    assert path.read_bytes() == b"old" * 1000
    assert [entry.name for entry in small_disk.iterdir()] == ["f.bin"]
    atomic_write_bytes(path, b"room again" * 1000)


def test_a_folder_or_a_file_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(StorageError, match="a folder of that name"):
        atomic_write_bytes(tmp_path / "folder", b"x")
    (tmp_path / "file").write_bytes(b"x")
    with pytest.raises(StorageError, match="file"):
        atomic_write_bytes(tmp_path / "file" / "f", b"x")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["file", "folder"]


def test_two_processes_writing_one_file(tmp_path: Path) -> None:
    path = tmp_path / "shared.bin"
    script = """
        import sys
        from pathlib import Path
        from seetell.core.files import atomic_write_bytes
        letter = sys.argv[2].encode()
        for _ in range(60):
            atomic_write_bytes(Path(sys.argv[1]), letter * 50_000)
        """
    writers = [run(script, str(path), letter) for letter in "ab"]
    seen = set()
    while any(writer.poll() is None for writer in writers):
        if path.exists():
            data = path.read_bytes()
            assert len(data) == 50_000
            assert len(set(data)) == 1
            seen.add(data[:1])
    assert all(writer.wait() == 0 for writer in writers)
    assert seen <= {b"a", b"b"}
    assert [entry.name for entry in tmp_path.iterdir()] == ["shared.bin"]


@pytest.mark.parametrize("pause_ms", [0, 3, 17])
def test_a_killed_writer_leaves_no_half_file(tmp_path: Path, pause_ms: int) -> None:
    path = tmp_path / "f.bin"
    path.write_bytes(b"0" * 300_000)
    script = """
        import sys
        from pathlib import Path
        from seetell.core.files import atomic_write_bytes
        print("ready", flush=True)
        while True:
            for letter in (b"1", b"2"):
                atomic_write_bytes(Path(sys.argv[1]), letter * 300_000)
        """
    writer = run(script, str(path))
    assert writer.stdout is not None
    writer.stdout.readline()
    for _ in range(pause_ms):
        signal.sigtimedwait([], 0.001)
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    writer.stdout.close()
    data = path.read_bytes()
    assert len(data) == 300_000
    assert len(set(data)) == 1
    # What may be left is hidden and of a name that says what it is.
    assert all(entry.name.startswith(".f.bin.") for entry in tmp_path.iterdir() if entry != path)


# --- folders --------------------------------------------------------------------------------------------


def test_a_folder_appears_whole(tmp_path: Path) -> None:
    target = tmp_path / "a" / "bundle"
    with atomic_folder(target) as folder:
        (folder / "sub").mkdir()
        (folder / "sub" / "f").write_text("x")
        assert not target.exists()
        assert folder.parent == target.parent
    assert (target / "sub" / "f").read_text() == "x"
    assert [entry.name for entry in target.parent.iterdir()] == ["bundle"]


def test_a_failed_folder_leaves_nothing_and_its_error_passes(tmp_path: Path) -> None:
    with pytest.raises(KeyError), atomic_folder(tmp_path / "b") as folder:
        (folder / "f").write_text("x")
        raise KeyError("the block's own")
    assert list(tmp_path.iterdir()) == []


def test_an_unreadable_input_is_not_called_a_failed_write(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), atomic_folder(tmp_path / "b"):
        (tmp_path / "no such input").read_bytes()
    with pytest.raises(StorageError, match="cannot write"), atomic_folder(tmp_path / "b") as folder:
        (folder / "no" / "such").write_bytes(b"x")
    assert list(tmp_path.iterdir()) == []


def test_an_occupied_folder_is_kept_unless_told(tmp_path: Path) -> None:
    target = tmp_path / "b"
    target.mkdir()
    with atomic_folder(target) as folder:  # an empty one is no one's
        (folder / "old").write_text("old")
    with pytest.raises(StorageError, match="exists already"), atomic_folder(target):
        pytest.fail("the work must not be done for nothing")
    with atomic_folder(target, overwrite=True) as folder:
        (folder / "new").write_text("new")
        assert (target / "old").exists()
    assert [entry.name for entry in target.iterdir()] == ["new"]
    assert [entry.name for entry in tmp_path.iterdir()] == ["b"]


def test_a_failed_replacement_keeps_the_old_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "b"
    target.mkdir()
    (target / "old").write_text("old")
    real, calls = os.replace, []

    def second_fails(source: Path, destination: Path) -> None:
        calls.append(destination)
        if len(calls) == 2:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        real(source, destination)

    with pytest.raises(StorageError), atomic_folder(target, overwrite=True) as folder:
        (folder / "new").write_text("new")
        monkeypatch.setattr(files.os, "replace", second_fails)
    assert len(calls) == 3
    assert [entry.name for entry in target.iterdir()] == ["old"]
    assert [entry.name for entry in tmp_path.iterdir()] == ["b"]


def test_whoever_is_second_does_not_destroy_the_first(tmp_path: Path) -> None:
    target = tmp_path / "b"
    with pytest.raises(StorageError, match="exists already"), atomic_folder(target) as folder:
        (folder / "f").write_text("second")
        with atomic_folder(target) as other:
            (other / "f").write_text("first")
    assert (target / "f").read_text() == "first"
    assert [entry.name for entry in tmp_path.iterdir()] == ["b"]


def _aged(folder: Path) -> None:
    os.utime(folder, (0, 0))


def test_what_a_killed_writer_left_is_swept(tmp_path: Path) -> None:
    script = """
        import sys, time
        from pathlib import Path
        from seetell.core.files import atomic_folder
        with atomic_folder(Path(sys.argv[1])) as folder:
            (folder / "weights").write_bytes(bytes(1000))
            print("writing", flush=True)
            time.sleep(600)
        """
    target = tmp_path / "b"
    writer = run(script, str(target))
    assert writer.stdout is not None
    writer.stdout.readline()
    (left,) = tmp_path.iterdir()
    _aged(left)
    # As long as it lives, its folder is its own, however old.
    with atomic_folder(target, overwrite=True) as folder:
        (folder / "f").write_text("x")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [left.name, "b"]
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    writer.stdout.close()
    # Another name is another's affair, and a young one may be about to be locked.
    with atomic_folder(tmp_path / "other"):
        assert left.exists()
    os.utime(left)
    with atomic_folder(target, overwrite=True):
        assert left.exists()
    _aged(left)
    with atomic_folder(target, overwrite=True):
        assert not left.exists()
    assert {entry.name for entry in tmp_path.iterdir()} == {"b", "other"}


def test_a_folder_that_stepped_aside_is_never_swept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process is killed between the two renames of a replacement: the old folder is all there is."""
    target = tmp_path / "b"
    target.mkdir()
    (target / "old").write_text("old")
    real = os.replace

    def dies(source: Path, destination: Path) -> None:
        if Path(destination) == target:
            raise SystemExit
        real(source, destination)

    monkeypatch.setattr(files.os, "replace", dies)
    with pytest.raises(SystemExit), atomic_folder(target, overwrite=True):
        pass
    monkeypatch.undo()
    (aside,) = tmp_path.iterdir()
    _aged(aside)
    with atomic_folder(target):
        pass
    assert (aside / "old").read_text() == "old"


def test_a_file_can_be_replaced_by_a_folder_only_when_told(tmp_path: Path) -> None:
    target = tmp_path / "b"
    target.write_text("a file")
    with pytest.raises(StorageError, match="exists already"), atomic_folder(target):
        pass
    with atomic_folder(target, overwrite=True) as folder:
        (folder / "f").write_text("x")
    assert (target / "f").read_text() == "x"
    assert [entry.name for entry in tmp_path.iterdir()] == ["b"]


def test_a_name_is_text_in_any_locale(tmp_path: Path) -> None:
    assert files.folder_name(tmp_path / "vit ö 船") == "vit ö 船"
    # As a locale of ASCII alone decodes the same bytes, and bytes that are no text at all.
    assert files.folder_name(tmp_path / os.fsencode("船").decode("ascii", "surrogateescape")) == "船"
    assert files.folder_name(tmp_path / b"a\xff".decode("utf-8", "surrogateescape")) == "a\ufffd"


# --- the cache ------------------------------------------------------------------------------------------


def test_the_cache_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SEETELL_CACHE", str(tmp_path / "mine"))
    assert cache_folder() == tmp_path / "mine"
    assert not cache_folder().exists()
    monkeypatch.delenv("SEETELL_CACHE")
    monkeypatch.setattr(files.sys, "platform", "linux")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert cache_folder() == tmp_path / ".cache" / "seetell"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "seetell"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert cache_folder() == tmp_path / ".cache" / "seetell"
    monkeypatch.setattr(files.sys, "platform", "darwin")
    assert cache_folder() == tmp_path / "Library" / "Caches" / "seetell"


def test_no_home_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SEETELL_CACHE", raising=False)

    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(files.Path, "home", homeless)
    with pytest.raises(SeetellError, match="SEETELL_CACHE"):
        cache_folder()


# --- what is no file ------------------------------------------------------------------------------------


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    if not hasattr(os, "mkfifo"):
        pytest.skip("pipes with names are POSIX's")
    path = tmp_path / "pipe"
    os.mkfifo(path)
    return path


def read_in_background(pipe: Path) -> tuple[threading.Thread, list[bytes]]:
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()))
    reader.start()
    return reader, read


@pytest.mark.parametrize("through_a_link", [False, True])
def test_a_pipe_is_written_to_and_stays_one(pipe: Path, through_a_link: bool) -> None:
    path = pipe
    if through_a_link:
        path = pipe.with_name("link")
        path.symlink_to(pipe)
    reader, read = read_in_background(pipe)
    atomic_write_bytes(path, b"x" * 200_000)
    reader.join(30)
    assert read == [b"x" * 200_000]
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert sorted(entry.name for entry in pipe.parent.iterdir()) == sorted({pipe.name, path.name})


def test_what_has_no_path_of_its_own_is_written_to() -> None:
    """As /dev/stdout has not, where it is a pipe."""
    if not os.path.isdir("/dev/fd"):
        pytest.skip("no /dev/fd here")
    ours, theirs = os.pipe()
    try:
        atomic_write_text(Path(f"/dev/fd/{theirs}"), "a dog")
        assert os.read(ours, 100) == b"a dog"
    finally:
        os.close(ours)
        os.close(theirs)


def test_a_reader_that_goes_away_is_a_failed_write(pipe: Path) -> None:
    reader = threading.Thread(target=lambda: open(pipe, "rb").close())
    reader.start()
    with pytest.raises(StorageError, match=f"cannot write {pipe}: "):
        atomic_write_bytes(pipe, b"x" * 2_000_000)
    reader.join(30)
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_a_folder_never_takes_the_place_of_a_pipe(pipe: Path) -> None:
    for overwrite in (False, True):
        with pytest.raises(StorageError, match="exists already"), atomic_folder(pipe, overwrite=overwrite):
            pass
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_that_nothing_can_be_written_is_known_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in (tmp_path / "new.npy", tmp_path / "new" / "folder" / "f.npy"):
        require_writable(path)
    (tmp_path / "there.npy").write_bytes(b"as it was")
    require_writable(tmp_path / "there.npy")
    assert [(entry.name, entry.read_bytes()) for entry in tmp_path.iterdir()] == [("there.npy", b"as it was")]
    for path, words in (
        (tmp_path, "a folder of that name"),
        (tmp_path / "there.npy" / "f.npy", "a file stands where a folder is needed"),
    ):
        with pytest.raises(StorageError, match=words):
            require_writable(path)

    def refused(*_: object) -> int:
        raise PermissionError(errno.EACCES, "Permission denied", str(tmp_path))

    monkeypatch.setattr(files.os, "open", refused)
    with pytest.raises(StorageError, match="no permission to write there"):
        require_writable(tmp_path / "new.npy")


def test_a_pipe_that_nobody_reads_yet_can_be_written(pipe: Path) -> None:
    require_writable(pipe)  # and does not wait for a reader
