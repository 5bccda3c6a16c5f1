"""How the process ends: statuses, Ctrl-C, a reader that goes away, errors nobody foresaw."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from seetell.cli import main
from seetell.core import errors

HERE = Path(__file__).resolve().parent
SOURCE = HERE.parents[1] / "src"

# A process of its own in which every command gets the made-up model, one photo per 20 ms.
PROGRAM = """
import sys
sys.path.insert(0, {here!r})
from fake_model import FakeModel
import seetell.tasks.model
seetell.tasks.model.load = lambda source=None, **options: FakeModel(delay_s={delay})
from seetell.cli.main import main
main()
"""

needs_posix = pytest.mark.skipif(os.name != "posix", reason="signals and pipes of POSIX")


def heed_ctrl_c() -> None:
    """A shell that starts tests in the background has them ignore it, and what they start."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def start(*arguments: object, delay: float = 0.02, **more: Any) -> subprocess.Popen[bytes]:
    program = PROGRAM.format(here=str(HERE), delay=delay)
    environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
    return subprocess.Popen(
        [sys.executable, "-c", program, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
        preexec_fn=heed_ctrl_c if os.name == "posix" else None,
        **more,
    )


@pytest.fixture
def many(tmp_path: Path) -> Path:
    for number in range(200):
        Image.new("RGB", (8, 8)).save(tmp_path / f"{number:03}.png")
    return tmp_path


@needs_posix
def test_ctrl_c_ends_cleanly(many: Path) -> None:
    process = start("caption", many, "--json")
    assert process.stdout is not None
    first = process.stdout.readline()
    process.send_signal(signal.SIGINT)
    rest, said = process.communicate(timeout=300)
    assert process.returncode == 130
    assert b"Traceback" not in said
    lines = (first + rest).splitlines()
    assert 1 <= len(lines) < 200
    assert all(line.startswith(b"{") and line.endswith(b"}") for line in lines), "no half lines"


@needs_posix
def test_ctrl_c_inside_generated_code_ends_the_same(tmp_path: Path) -> None:
    """Python counts an interrupt inside exec of a text as unhandled, whoever handles it later."""
    (tmp_path / "interrupted.py").write_text(
        "from seetell.cli import main\n"
        "def run(arguments):\n"
        "    print('{}')\n"
        "    try:\n"
        "        exec('import os, signal; os.kill(os.getpid(), signal.SIGINT); [0 for _ in range(10**7)]')\n"
        "    except KeyboardInterrupt:\n"
        "        return 130\n"
        "main.run = run\n"
        "main.main()\n",
        encoding="utf-8",
    )
    ended = subprocess.run(
        [sys.executable, "-m", "interrupted"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{SOURCE}"},
        capture_output=True,
        check=False,
        preexec_fn=heed_ctrl_c,
    )
    assert (ended.returncode, ended.stdout.strip(), ended.stderr) == (130, b"{}", b"")


@needs_posix
def test_a_reader_that_goes_away_is_no_error(many: Path) -> None:
    process = start("caption", many, delay=0.0)
    assert process.stdout is not None and process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait(timeout=300) == main.EXIT_OUTPUT_CLOSED


@needs_posix
def test_help_into_a_closed_pipe_is_silent() -> None:
    shell = textwrap.dedent(
        f"""
        {sys.executable} -c 'from seetell.cli.main import main; main()' --help | true
        """
    )
    environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
    done = subprocess.run(["sh", "-c", shell], capture_output=True, env=environment, timeout=300, check=False)
    assert done.stderr == b""


@needs_posix
def test_a_full_disk_is_one_line(many: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    with open("/dev/full", "wb") as full:
        environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
        program = PROGRAM.format(here=str(HERE), delay=0.0)
        done = subprocess.run(
            [sys.executable, "-c", program, "caption", str(many)],
            stdout=full,
            stderr=subprocess.PIPE,
            env=environment,
            timeout=300,
            check=False,
        )
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1, done.stderr.decode()


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.UsageError("no such thing"), 2),
        (errors.MissingExtra("torch", "train", "to train"), 2),
        (errors.BundleNotFound("x: no such model"), 1),
        (errors.ImageError("missing", "x.jpg: no such file"), 1),
        (errors.GateFailed("too large a drop"), 3),
        (ValueError("boom"), 1),
        (KeyError(), 1),
        (MemoryError(), 1),
        (RecursionError("deep\nvery"), 1),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else str(value),
)
def test_any_error_is_one_line_and_a_status(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: Exception, status: int
) -> None:
    def fail(arguments: list[str]) -> int:
        raise error

    monkeypatch.setattr("seetell.cli.app.invoke", fail)
    assert main.run(["caption"]) == status
    shown = capsys.readouterr()
    assert shown.out == ""
    [line] = shown.err.splitlines()
    assert line.startswith(("error: ", "unexpected error: "))
    assert ("SEETELL_DEBUG=1" in line) == (not isinstance(error, errors.SeetellError))


def test_the_traceback_can_be_seen(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(arguments: list[str]) -> int:
        raise ValueError("boom")

    monkeypatch.setattr("seetell.cli.app.invoke", fail)
    monkeypatch.setenv("SEETELL_DEBUG", "1")
    assert main.run(["caption"]) == 1
    shown = capsys.readouterr().err
    assert "Traceback" in shown and "boom" in shown


def test_ctrl_c_while_still_importing(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(arguments: list[str]) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("seetell.cli.app.invoke", interrupted)
    assert main.run([]) == 130


@pytest.mark.parametrize("arguments", [["--help"], ["-h"], ["caption", "--help"], ["models", "show", "-h"]])
def test_help(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    assert main.run(arguments) == 0
    shown = capsys.readouterr()
    assert "Usage: seetell" in shown.out
    assert shown.err == ""


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    from importlib.metadata import version

    assert main.run(["--version"]) == 0
    assert capsys.readouterr().out == f"seetell {version('seetell')}\n"


@needs_posix
@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_started_without_a_standard_stream(tmp_path: Path, closed: str) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    program = tmp_path / "program.py"
    program.write_text(PROGRAM.format(here=str(HERE), delay=0.0))
    photo = "-" if closed == "<&-" else str(tmp_path / "a.png")
    done = subprocess.run(
        ["sh", "-c", f'"$0" "$@" {closed}', sys.executable, str(program), "caption", photo],
        capture_output=True,
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
        timeout=300,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")


@needs_posix
def test_ctrl_c_that_gets_lost_still_ends_the_run(many: Path) -> None:
    # An exception raised inside a destructor is dropped by Python.
    program = PROGRAM.format(here=str(HERE), delay=0.0).replace(
        "main()\n",
        """
import os, signal
class Swallows:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)
        sum(range(100_000))
caption = FakeModel.stream
def stream(self, *words, **options):
    for number, result in enumerate(caption(self, *words, **options)):
        if number == 20:
            Swallows()
        yield result
FakeModel.stream = stream
main()
""",
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "caption", str(many), "--json"],
        capture_output=True,
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
        check=False,
        timeout=300,
    )
    assert done.returncode == main.EXIT_INTERRUPTED, done.stderr
    assert len(done.stdout.splitlines()) == 20


def test_as_a_module() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "seetell", "--version"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(r"seetell \d+\.\d+\S*\n", done.stdout)


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("seetell capt", ["caption"]),
        ("seetell caption --lang", ["--language"]),
        ("seetell models re", ["recommend", "remove"]),
    ],
)
def test_bash_completes(typed: str, offered: list[str]) -> None:
    asked = {
        "_SEETELL_COMPLETE": "complete_bash",
        "COMP_WORDS": typed,
        "COMP_CWORD": str(typed.count(" ")),
    }
    done = subprocess.run(
        [sys.executable, "-m", "seetell"],
        capture_output=True,
        text=True,
        env={**os.environ, **asked},
        check=False,
    )
    assert done.stdout.split() == offered


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_that_completes_is_printed(shell: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "seetell"],
        capture_output=True,
        text=True,
        env={**os.environ, "_SEETELL_COMPLETE": f"source_{shell}"},
        check=False,
    )
    assert done.returncode == 0 and f"_SEETELL_COMPLETE=complete_{shell}" in done.stdout
