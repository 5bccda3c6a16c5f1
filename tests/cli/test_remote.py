"""``--model openai:NAME``: what a person sees of a server that answers, one that misbehaves, and ours."""

from __future__ import annotations

import base64
import io
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import seetell
from seetell.remote import client
from seetell.remote.names import DEFAULT_PX
from seetell.remote.photos import data_url
from tests.cli.test_process import SOURCE, heed_ctrl_c, needs_posix
from tests.remote.stand_in import KEY, Asked, Reply, StandIn, failed, said, standing_in
from tests.serving.conftest import listening

NAME = "openai:big-model"
SAMPLES = Path(seetell.__file__).parent / "samples"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setattr(client, "_FIRST_PAUSE_S", 0.001)
    with standing_in() as stand_in:
        stand_in.otherwise = colour
        yield stand_in


def colour(asked: Asked) -> Reply:
    with Image.open(io.BytesIO(asked.photo)) as image:
        means = np.asarray(image).reshape(-1, 3).mean(axis=0)
    return said(("red", "green", "blue")[int(means.argmax())], log_probs=[-0.1])


@pytest.fixture
def remote(seetell: Any, server: StandIn) -> Any:
    """The command line with a model behind the stand-in; of its key nothing may ever be seen."""

    def call(command: str, *arguments: object) -> Any:
        result = seetell(command, *arguments, "--model", NAME, "--base-url", server.base_url)
        for shown in (result.out, result.err):
            assert not any(part in shown for part in (KEY, KEY[:8], KEY[-4:], "Bearer"))
        return result

    return call


def test_captions(remote: Any, server: StandIn, photos: Path, tmp_path: Path) -> None:
    table = tmp_path / "captions.csv"
    result = remote("caption", photos, "--prices", "1,2", "--out", table)
    assert (result.status, len(result.out.splitlines())) == (0, 3)
    assert result.out.splitlines()[0] == f"{photos / 'blue.png'}\tblue"
    told = f"{NAME} at {server.base_url}: 3 answers, 300 + 21 tokens, cost 0.000342"
    assert result.err.splitlines() == [told, f"{table}: written"]
    assert f"{photos / 'red.png'},en,red,,false,,-0.1,false,{NAME},remote," in table.read_text("utf-8-sig")
    assert remote("caption", photos, "--quiet").err == ""


def test_fields_of_a_caption(remote: Any, server: StandIn, photos: Path) -> None:
    server.otherwise = said("一只风筝", finish="length")
    [found] = remote("caption", photos / "red.png", "--language", "zh", "--max-tokens", 4, "--json").lines
    assert found == {
        "photo": str(photos / "red.png"),
        "text": "一只风筝",
        "score": None,
        "language": "zh",
        "model": NAME,
        "precision": "remote",
        "confidence": None,
        "unsure": False,
        "guess": None,
        "cut": True,
    }
    assert server.asked[0].fields["max_tokens"] == 4


def test_answers_and_labels(remote: Any, server: StandIn, photos: Path, tmp_path: Path) -> None:
    red = photos / "red.png"
    assert remote("ask", red, "what colour is it?").out == f"{red}\tred 90%\t\n"
    server.replies = [said("yes")]
    assert remote("ask", red, "is it red?", "--answers", "yes,no").out == f"{red}\tyes\t\n"
    questions = tmp_path / "questions.jsonl"
    asked = [{"photo": str(red), "question": "what?"}, {"photo": "nosuch.png", "question": "what?"}]
    questions.write_text("".join(json.dumps(one) + "\n" for one in asked))
    result = remote("ask", "--questions", questions, "--json", "--min-confidence", 0.95)
    assert result.status == 1
    assert [line.get("abstained") for line in result.lines] == [True, None]
    result = remote("classify", photos, "--labels", "red,green,blue", "--json")
    assert [line["label"] for line in result.lines] == ["blue", "green", "red"]
    assert result.lines[0]["ranking"] == [{"label": "blue", "probability": pytest.approx(0.905, abs=1e-3)}]


def test_a_photo_that_fails_costs_the_others_nothing(remote: Any, server: StandIn, photos: Path) -> None:
    (photos / "half.png").write_bytes((photos / "red.png").read_bytes()[:40])

    def picky(asked: Asked) -> Reply:
        good = colour(asked)
        return failed(500, "out of memory") if b'"green"' in good.body else good

    server.otherwise = picky
    result = remote("caption", photos)
    assert result.status == 1
    assert [line.split("\t")[1] for line in result.out.splitlines()] == ["blue", "red"]
    first, second, usage, summary = result.err.splitlines()
    assert first == (
        f"error: {photos / 'green.png'}: {server.base_url} answered 500: out of memory; tried 6 times"
    )
    assert second.startswith(f"error: {photos / 'half.png'}")
    assert usage.endswith("2 answers, 200 + 14 tokens, 5 tried again")
    assert summary == "2 done, 2 failed"


@pytest.mark.parametrize(
    ("reply", "told"),
    [
        (failed(401, f"Incorrect API key provided: {KEY}"), "answered 401: Incorrect API key provided: ***"),
        (failed(404, "no such model"), "answered 404: no such model"),
        (Reply(302, headers={"Location": "http://127.0.0.1:1/v1"}), "answered 302, which leads to"),
        (Reply(200, b"<html>"), "answered with a page and not with JSON"),
    ],
)
def test_what_ends_it_all_is_one_line(
    remote: Any, server: StandIn, photos: Path, reply: Reply, told: str
) -> None:
    server.otherwise = reply
    result = remote("caption", photos)
    assert (result.status, result.out) == (1, "")
    [line] = result.err.splitlines()
    assert line.startswith("error: ") and told in line


def test_a_traceback_has_no_key(
    remote: Any, server: StandIn, photos: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    server.otherwise = failed(401, f"wrong: {KEY}")
    monkeypatch.setenv("SEETELL_DEBUG", "1")
    from seetell.cli.main import run

    assert run(["caption", str(photos), "--model", NAME, "--base-url", server.base_url]) == 1
    shown = capsys.readouterr().err
    assert "Traceback" in shown and KEY not in shown and KEY[-4:] not in shown


@pytest.mark.parametrize(
    "words",
    [
        ("match", "PHOTO", "a kite"),
        ("embed", "PHOTO", "--out", "OUT"),
        ("search", "a kite", "--in", "PHOTOS"),
        ("index", "PHOTOS", "--index", "OUT"),
        ("demo", "PHOTO"),
        ("serve",),
        ("evaluate", "--labelled", "PHOTOS", "--record", "a:b"),
    ],
    ids=lambda words: words[0],
)
def test_what_a_remote_model_lacks_is_told_before_any_work(
    remote: Any, server: StandIn, photos: Path, tmp_path: Path, words: tuple[str, ...]
) -> None:
    places = {"PHOTO": photos / "red.png", "PHOTOS": photos, "OUT": tmp_path / "out.npy"}
    result = remote(*(places.get(word, word) for word in words))
    assert (result.status, result.out) == (2, "")
    [line] = result.err.splitlines()
    assert f"{NAME} is a model behind a server" in line
    assert server.asked == [] and not places["OUT"].exists()


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (("--beams", "3"), "no generation options beams; there are: max_tokens"),
        (("--count", "2"), "one caption for a photo, not 2"),
        (("--prices", "3"), "two numbers"),
        (("--language", "fr"), "it knows: en, zh"),
    ],
)
def test_options_that_cannot_be_meant(remote: Any, photos: Path, more: tuple[str, ...], told: str) -> None:
    result = remote("caption", photos, *more)
    [line] = result.err.splitlines()
    assert (result.status, result.out) == (2, "") and told in line


def test_an_address_without_a_remote_model(
    seetell: Any, fake: Any, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = seetell("caption", photos, "--base-url", "http://localhost:1/v1")
    assert result.status == 2 and "--base-url goes with --model openai:NAME, not with builtin" in result.err
    monkeypatch.setenv("SEETELL_BASE_URL", "http://localhost:1/v1")
    assert seetell("caption", photos).status == 0, "in the environment it may be there for other commands"
    result = seetell("caption", photos, "--model", "openai:x", "--base-url", "")
    assert result.status in (1, 2)


def test_evaluators(remote: Any, server: StandIn, photos: Path, tmp_path: Path) -> None:
    names = ("red.png", "green.png", "blue.png")
    captions = tmp_path / "captions.json"
    document = {
        "images": [{"id": number, "file_name": name} for number, name in enumerate(names)],
        "annotations": [
            {"id": number, "image_id": number, "caption": name[:-4]} for number, name in enumerate(names)
        ],
    }
    captions.write_text(json.dumps(document))
    [found] = remote("evaluate", "--captions", captions, "--images", photos, "--json").lines
    assert (found["model"], found["precision"], found["captions"]["bleu_1"]) == (NAME, "remote", 100.0)

    for name in names:
        (tmp_path / "labelled" / name[:-4]).mkdir(parents=True)
        (photos / name).rename(tmp_path / "labelled" / name[:-4] / name)
    [found] = remote("evaluate", "--labelled", tmp_path / "labelled", "--json").lines
    assert found["zero_shot"]["top_1"] == 100.0 and found["calibration"]
    server.otherwise = lambda asked: Reply(body=colour(asked).body.replace(b'"logprobs"', b'"none"'))
    [found] = remote("evaluate", "--labelled", tmp_path / "labelled", "--json").lines
    assert found["zero_shot"]["top_1"] == 100.0 and "calibration" not in found, "no probability is claimed"


@needs_posix
def test_ctrl_c_ends_at_once_and_keeps_what_was_had(server: StandIn, photos: Path) -> None:
    never, hanging = threading.Event(), threading.Event()

    def hang(asked: Asked) -> Reply:
        good = colour(asked)
        if b'"blue"' in good.body:
            return good
        hanging.set()
        return Reply(wait=never)

    server.otherwise = hang
    command = [
        sys.executable,
        "-m",
        "seetell",
        "caption",
        photos,
        "--model",
        NAME,
        "--base-url",
        server.base_url,
    ]
    environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment, preexec_fn=heed_ctrl_c
    )
    assert process.stdout is not None
    first = process.stdout.readline()
    assert hanging.wait(30)
    process.send_signal(signal.SIGINT)
    rest, told = process.communicate(timeout=25)
    never.set()
    assert process.returncode == 130 and rest == b""
    assert first.decode() == f"{photos / 'blue.png'}\tblue\n"
    assert told.decode() == f"{NAME} at {server.base_url}: 1 answer, 100 + 7 tokens\n"


@pytest.fixture(scope="module")
def own_server() -> Iterator[str]:
    """Ours, with the built-in model."""
    from seetell.serving.app import App
    from seetell.serving.model_pool import Source

    app = App([Source("seetell-builtin", 1, lambda: seetell.load(threads=1))], keys=[KEY])
    with listening(app) as address:
        yield address


def as_sent(photo: Path, folder: Path) -> Path:
    """The very file that a server is sent: less sharp, which can be enough for other words."""
    with Image.open(photo) as image:
        url = data_url(np.asarray(image.convert("RGB")), DEFAULT_PX)
    path = folder / f"sent-{photo.name}"
    path.write_bytes(base64.b64decode(url.partition(",")[2]))
    return path


def test_our_own_server(
    seetell: Any, own_server: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What is asked through it is what is asked of its model, at the size of the photos that are sent."""
    import seetell as package

    monkeypatch.setenv("SEETELL_REMOTE_API_KEY", KEY)
    cat, rocket = SAMPLES / "chelsea.jpg", SAMPLES / "rocket.jpg"
    model = package.load("openai:seetell-builtin", base_url=own_server)
    with package.load(threads=1) as local:
        sent = [as_sent(photo, tmp_path) for photo in (cat, rocket)]
        for language in ("en", "zh"):
            expected = [one.text for one in local.caption(sent, language=language)]
            found = [one.text for one in model.caption([cat, rocket], language=language)]
            # Ours says in words what it is unsure of.
            assert all(text.endswith(one) for text, one in zip(found, expected, strict=True)), found
        question = "what animal is this?"
        assert model.ask(cat, question).answer == local.ask(cat, question).answer
    words = ("--model", "openai:seetell-builtin", "--base-url", own_server)
    result = seetell("caption", cat, "--json", *words)
    assert result.lines[0]["text"] == model.caption(cat).text and result.status == 0
    assert "1 answer" in result.err and KEY not in result.err
    result = seetell("ask", cat, "is there a cat?", "--answers", "yes,no", *words)
    assert result.out == f"{cat}\tyes\t\n"
    monkeypatch.setenv("SEETELL_REMOTE_API_KEY", "another-key-than-that")
    result = seetell("caption", cat, *words)
    assert result.status == 1 and "answered 401" in result.err and "another-key" not in result.err
