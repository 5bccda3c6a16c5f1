"""``seetell chat`` with a tiny model: one message, lines of a pipe, and a terminal."""

from __future__ import annotations

import io
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from gguf import GGMLQuantizationType

import seetell as package
from seetell.core.lines import printable
from seetell.modeling.export.public import convert_checkpoint
from tests.cli.conftest import Seetell
from tests.parity.causal_files import save_tiny, tiny, write_gguf

HELLO = "Hello there"
USUAL = ("--precision", "fp32", "--threads", 1, "--max-tokens", 12)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("chat")
    save_tiny("qwen2", folder / "checkpoint", max_position_embeddings=2048)
    convert_checkpoint(folder / "checkpoint", folder / "bundle", weights_dtype="fp32")
    return folder / "bundle"


@pytest.fixture(scope="module")
def expected(bundle: Path) -> Iterator[package.Model]:
    with package.load(bundle, precision="fp32", threads=1) as model:
        yield model


def _shown(text: str) -> str:
    return "\n".join(printable(line) for line in text.replace("\t", "    ").split("\n"))


def test_one_message(seetell: Seetell, bundle: Path, expected: package.Model) -> None:
    reply = expected.chat(HELLO, max_tokens=12)
    said = seetell("chat", "--model", bundle, "--message", HELLO, *USUAL)
    assert (said.status, said.out) == (0, _shown(reply.text) + "\n")
    assert f"{reply.prompt_tokens} tokens read (0 of them before)" in said.err
    assert "12 written" in said.err and "tokens/s" in said.err
    assert "cut off at --max-tokens" in said.err
    quiet = seetell("chat", "--model", bundle, "--message", HELLO, "--quiet", *USUAL)
    assert (quiet.out, quiet.err) == (said.out, "")


def test_as_json(seetell: Seetell, bundle: Path, expected: package.Model) -> None:
    whole = seetell("chat", "--model", bundle, "--message", HELLO, "--json", "--logprobs", *USUAL)
    reply = expected.chat(HELLO, max_tokens=12)
    (line,) = whole.lines
    assert [one["token"] for one in line.pop("logprobs")] == [one.token for one in reply.logprobs]
    assert line == {
        "text": reply.text,
        "finish_reason": "length",
        "prompt_tokens": reply.prompt_tokens,
        "completion_tokens": 12,
        "reused_tokens": 0,
        "model": reply.model,
        "precision": "fp32",
    }
    assert seetell("chat", "--model", bundle, "--message", HELLO, "--json", *USUAL).lines == [line]


def test_a_system_message_and_options_reach_the_model(
    seetell: Seetell, bundle: Path, expected: package.Model
) -> None:
    messages = [{"role": "system", "content": "Be brief"}, {"role": "user", "content": HELLO}]
    options = {"temperature": 1.5, "top_p": 0.9, "min_p": 0.01, "repetition_penalty": 1.2, "seed": 3}
    reply = expected.chat(messages, max_tokens=12, stop=["zz", "q"], **options)  # type: ignore[arg-type]  # numbers
    words = [part for name, value in options.items() for part in ("--" + name.replace("_", "-"), value)]
    said = seetell(
        *("chat", "--model", bundle, "--message", HELLO, "--system", "Be brief", "--json"),
        *(*USUAL, *words, "--stop", "zz", "--stop", "q"),
    )
    assert said.lines[0]["text"] == reply.text
    assert said.lines[0]["text"] != expected.chat(messages, max_tokens=12).text


def test_lines_of_a_pipe_are_one_conversation(
    seetell: Seetell, bundle: Path, expected: package.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("Hello there\n\nAnd then?\n"))
    said = seetell("chat", "--model", bundle, "--json", *USUAL)
    messages = [{"role": "user", "content": HELLO}]
    first = expected.chat(messages, max_tokens=12)
    messages += [{"role": "assistant", "content": first.text}, {"role": "user", "content": "And then?"}]
    second = expected.chat(messages, max_tokens=12)
    assert [line["text"] for line in said.lines] == [first.text, second.text]
    assert said.lines[1]["reused_tokens"] >= first.prompt_tokens


def test_what_a_terminal_would_obey_is_shown_as_it_is_spelt(
    seetell: Seetell, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from seetell.bundle.tokenizer import Tokenizer

    monkeypatch.setattr(Tokenizer, "decode", lambda self, ids: "a\x1b[2Jb\n\tc\r\x07"[: len(list(ids))])
    said = seetell("chat", "--model", bundle, "--message", HELLO, *USUAL)
    assert said.out == "a\\x1b[2Jb\n    c\\r\\x07\n"


def test_from_a_gguf_file_to_an_answer(seetell: Seetell, tmp_path: Path) -> None:
    write_gguf(tmp_path / "tiny.gguf", "llama", tiny("llama"), packed=GGMLQuantizationType.Q8_0)
    converted = seetell("convert", tmp_path / "tiny.gguf", tmp_path / "tiny")
    assert converted.status == 0, converted.err
    (line,) = seetell("chat", "--model", tmp_path / "tiny", "--message", HELLO, "--json", *USUAL).lines
    assert line["model"] == "tiny" and line["completion_tokens"] > 0
    manifest = json.loads((tmp_path / "tiny" / "bundle.json").read_text(encoding="utf-8"))
    assert (manifest["licence"], manifest["tasks"]) == ("apache-2.0", ["chat"])
    unconverted = seetell("chat", "--model", tmp_path / "tiny.gguf", "--message", HELLO)
    assert unconverted.status == 1
    assert f"run: seetell convert {tmp_path / 'tiny.gguf'} OUT" in unconverted.err
    missing = seetell("convert", tmp_path / "gone.gguf", tmp_path / "gone")
    assert missing.status == 1 and "gone.gguf: no such file" in missing.err
    assert not (tmp_path / "gone").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--message", " "), "message 1: the text is empty"),
        (("--message", "x", "--logprobs"), "--logprobs goes with --json"),
        (("--message", "x", "--top-p", "0"), "top_p is over 0 and at most 1"),
        (("--message", "word " * 900), "tokens long, and the model reads 2048"),
        (("--message", "x", "--max-tokens", "5000"), "there is room for after"),
    ],
)
def test_what_cannot_be_said(arguments: tuple[str, ...], words: str, seetell: Seetell, bundle: Path) -> None:
    said = seetell("chat", "--model", bundle, "--precision", "fp32", "--threads", 1, *arguments)
    assert said.status in (1, 2) and words in said.err
    assert said.out.strip() == ""


def test_a_model_of_photos_says_what_would_do(seetell: Seetell) -> None:
    said = seetell("chat", "--message", "x")
    assert said.status == 2 and "cannot chat; give --model a language model" in said.err


class _Terminal:
    """The command in a terminal of its own."""

    def __init__(self, *arguments: object) -> None:
        pty = pytest.importorskip("pty")
        self._ours, theirs = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "seetell", "chat", *map(str, arguments)],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env={**os.environ, "TERM": "dumb", "PYTHONPATH": os.pathsep.join(sys.path)},
            start_new_session=True,
        )
        os.close(theirs)
        self.text = ""

    def until(self, words: str, after: int = 0) -> str:
        """All that was printed so far, once ``words`` is among it beyond ``after``."""
        return self._read(lambda: words in self.text[after:], words)

    def longer(self, count: int) -> str:
        """All that was printed so far, once it is more than so many characters."""
        return self._read(lambda: len(self.text) > count, "more")

    def _read(self, is_there: Callable[[], bool], what: str) -> str:
        end = time.monotonic() + 120
        while not is_there():
            assert time.monotonic() < end, f"{what!r} never came: {self.text[-300:]!r}"
            if select.select([self._ours], [], [], 1)[0]:
                self.text += os.read(self._ours, 4096).decode("utf-8", "replace")
        return self.text

    def type(self, line: str) -> int:
        """Type a line; how much was printed before."""
        before = len(self.text)
        os.write(self._ours, line.encode() + b"\n")
        return before

    def end(self) -> int:
        os.close(self._ours)
        return self.process.wait(60)


@pytest.mark.slow
def test_a_conversation_on_a_terminal(bundle: Path, expected: package.Model, tmp_path: Path) -> None:
    terminal = _Terminal("--model", bundle, *USUAL)
    terminal.until("> ")
    first = expected.chat(HELLO, max_tokens=12)
    before = terminal.type(HELLO)
    terminal.until("tokens/s", before)
    before = terminal.type(f"/save {tmp_path / 'talk.jsonl'}")
    terminal.until("2 messages written", before)
    saved = [json.loads(line) for line in (tmp_path / "talk.jsonl").read_text(encoding="utf-8").splitlines()]
    assert saved == [
        {"role": "user", "content": HELLO},
        {"role": "assistant", "content": first.text},
    ]
    before = terminal.type("/new")
    before = terminal.type(HELLO)
    # The same conversation again: all but its last token was read before.
    terminal.until(f"{first.prompt_tokens} tokens read ({first.prompt_tokens - 1} of them before)", before)
    before = terminal.type("/what")
    terminal.until("forget what was said", before)
    os.write(terminal._ours, b"\x04")
    assert terminal.process.wait(60) == 0
    terminal.end()


@pytest.mark.slow
def test_ctrl_c_stops_the_answer_and_not_the_program(bundle: Path) -> None:
    terminal = _Terminal("--model", bundle, "--precision", "fp32", "--threads", 1, "--max-tokens", 1900)
    terminal.until("> ")
    before = terminal.type(HELLO)
    # A word or two of the answer, beyond the echo of the question.
    terminal.longer(before + len(HELLO) + 2 + 4)
    terminal.process.send_signal(signal.SIGINT)
    terminal.until("stopped", before)
    before = len(terminal.text)
    terminal.process.send_signal(signal.SIGINT)  # and at the prompt it ends nothing
    time.sleep(1)
    assert terminal.process.poll() is None
    before = terminal.type("/exit")
    assert terminal.process.wait(60) == 0
    terminal.end()
