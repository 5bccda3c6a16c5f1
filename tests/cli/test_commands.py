"""Each command with a made-up model: what it prints for people and programs, and how it ends."""

from __future__ import annotations

import io
import json
import os
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from seetell.core.errors import TaskUnavailable, TextError, UsageError
from seetell.core.results import Caption
from tests.broken_files import make_broken_folder
from tests.cli.fake_model import FakeModel

MODEL_COMMANDS = {
    "caption": ["PHOTO"],
    "ask": ["PHOTO", "what?"],
    "match": ["PHOTO", "a dog"],
    "classify": ["PHOTO", "--labels", "dog,cat"],
    "embed": ["PHOTO", "--out", "OUT.npy"],
}


def arguments(command: str, photo: Path, out: Path) -> list[str]:
    places = {"PHOTO": str(photo), "OUT.npy": str(out / "out.npy")}
    return [command, *(places.get(word, word) for word in MODEL_COMMANDS[command])]


def test_caption_for_people(seetell: Any, fake: Any, photos: Path) -> None:
    result = seetell("caption", photos / "red.png")
    assert (result.status, result.err) == (0, "")
    assert result.out == f"{photos / 'red.png'}\ta photo of 10 by 8\n"


def test_caption_for_programs(seetell: Any, fake: Any, photos: Path) -> None:
    result = seetell("caption", photos, "--json", "--language", "zh")
    assert result.status == 0
    assert [Path(line["photo"]).name for line in result.lines] == ["blue.png", "green.png", "red.png"]
    assert result.lines[0].keys() == {
        *("photo", "text", "score", "language", "model", "precision"),
        *("confidence", "unsure", "guess", "cut"),
    }
    assert result.lines[0]["text"] == "一张30乘8的照片"
    assert "一张" in result.out, "not escaped"


def test_several_captions_are_several_lines(seetell: Any, fake: Any, photos: Path) -> None:
    result = seetell("caption", photos / "red.png", "--count", "3", "--json")
    assert [line["text"][-6:] for line in result.lines] == ["0 by 8", "take 2", "take 3"]


def test_an_unsure_caption_is_shown_as_one(seetell: Any, fake: Any, photos: Path, monkeypatch: Any) -> None:
    less = Caption("a picture", -2.0, "en", "fake", "fp32", 0.25, unsure=True, guess="a man")
    monkeypatch.setattr(FakeModel, "captions", lambda *_, **__: [less])
    photo = photos / "red.png"
    assert seetell("caption", photo).out == f"{photo}\tnot sure: a picture\n"
    (line,) = seetell("caption", photo, "--json").lines
    assert (line["text"], line["guess"], line["unsure"], line["confidence"]) == (
        *("a picture", "a man", True, 0.25),
    )
    # Of several it is also told what they would be.
    assert seetell("caption", photo, "--count", "2").out == f"{photo}\tnot sure: a picture\tperhaps a man\n"


def test_caption_options_reach_the_model(seetell: Any, fake: Any, photos: Path) -> None:
    seetell(
        *("caption", photos / "red.png", "--beams", "3", "--max-tokens", "7"),
        *("--model", "m", "--precision", "int8", "--threads", "1", "--batch-size", "4", "--exact-decode"),
    )
    assert fake.given == {
        "source": "m",
        "precision": "int8",
        "device": "auto",
        "threads": 1,
        "streams": 1,
        "batch_size": 4,
        "exact_decode": True,
    }
    options = fake.calls[0][1]["options"]
    assert (options.beams, options.max_tokens, options.method) == (3, 7, "autoregressive")
    seetell("caption", photos / "red.png", "--method", "mask-predict")
    assert fake.calls[1][1]["options"].method == "mask_predict"


def test_options_that_contradict_are_wrong_usage(seetell: Any, fake: Any, photos: Path) -> None:
    result = seetell("caption", photos, "--method", "mask-predict", "--beams", "3")
    assert result.status == 2
    assert len(result.err.splitlines()) == 1


def test_ask(seetell: Any, fake: Any, photos: Path) -> None:
    result = seetell("ask", photos / "red.png", "what colour?", "--answers", "yes,no", "--json")
    [line] = result.lines
    assert line["question"] == "what colour?"
    assert line["answer"] == "yes"
    assert line["alternatives"] == [
        {"answer": "yes", "confidence": 0.5},
        {"answer": "no", "confidence": 0.5},
    ]
    assert line["abstained"] is False


def test_ask_may_abstain(seetell: Any, fake: Any, photos: Path) -> None:
    result = seetell("ask", photos / "red.png", "what?", "--min-confidence", "0.9")
    assert result.status == 0
    assert "not sure" in result.out


def test_ask_from_a_file(seetell: Any, fake: Any, photos: Path) -> None:
    lines: list[Any] = [
        {"photo": "red.png", "question": "what colour?"},
        {"photo": "gone.png", "question": "what colour?"},
        {"photo": "blue.png", "question": "is it blue?", "answers": ["maybe"]},
        {"photo": "blue.png"},
        {"photo": "blue.png", "question": "which?", "answers": "yes"},
        [1],
    ]
    file = photos / "questions.jsonl"
    file.write_text("\n".join([*(json.dumps(line) for line in lines), "", "{no json"]))
    result = seetell("ask", "--questions", file, "--json")
    assert result.status == 1
    kinds = [line.get("error", {}).get("kind") for line in result.lines]
    assert kinds == [None, "missing", None, "data", "data", "data", "data"]
    assert result.lines[0]["photo"] == str(photos / "red.png"), "relative to the file"
    assert result.lines[1]["question"] == "what colour?"
    assert result.lines[2]["answer"] == "maybe"
    assert "questions.jsonl:8" in result.lines[6]["error"]["message"]


@pytest.mark.parametrize(
    "wrong",
    [
        ["ask"],
        ["ask", "photo.jpg"],
        ["ask", "photo.jpg", " "],
        ["ask", "photo.jpg", "what?", "--questions", "f.jsonl"],
        ["ask", "--questions", "gone.jsonl"],
        ["ask", "photo.jpg", "what?", "--answers", ","],
        ["ask", "photo.jpg", "what?", "--min-confidence", "1.5"],
        ["embed", "--text", "a"],
        ["embed", "--out", "f.npy"],
        ["caption"],
        ["caption", "a.jpg", "--count", "0"],
        ["match", "a.jpg"],
        ["classify", "a.jpg", "--labels", "@gone.txt"],
        ["search", "--in", "."],
        ["evaluate"],
        ["nonsense"],
        ["caption", "a.jpg", "--precision", "int4"],
    ],
    ids=" ".join,
)
def test_wrong_usage_is_status_2_and_says_why(seetell: Any, fake: Any, wrong: list[str]) -> None:
    result = seetell(*wrong)
    assert result.status == 2
    assert result.out == ""
    assert result.err.strip()


def test_match(seetell: Any, fake: Any, photos: Path) -> None:
    result = seetell("match", photos / "red.png", "a dog", "a cat", "--json")
    assert [line["text"] for line in result.lines] == ["a dog", "a cat"]
    assert result.lines[0].keys() == {"photo", "text", "probability", "similarity", "model", "precision"}


def test_classify(seetell: Any, fake: Any, photos: Path, tmp_path: Path) -> None:
    labels = tmp_path / "labels.txt"
    labels.write_text("dog\ncat\n")
    for given in ("dog,cat", f"@{labels}"):
        result = seetell("classify", photos, "--labels", given, "--json")
        assert [line["label"] for line in result.lines] == ["dog"] * 3
        assert [one["label"] for one in result.lines[0]["ranking"]] == ["dog", "cat"]


def test_classify_says_that_none_fits(
    seetell: Any, fake: Any, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    classify = fake.classify

    def doubting(photo: Any, labels: Any = None) -> Any:
        none = "red" not in str(photo)
        return replace(classify(photo, labels), none=none, none_probability=0.9 if none else 0.2)

    monkeypatch.setattr(fake, "classify", doubting)
    fits, doubted = (
        seetell("classify", photos / f"{name}.png", "--labels", "dog,cat") for name in ("red", "blue")
    )
    assert fits.out == f"{photos / 'red.png'}\tdog 50%\tcat 50%\n"
    assert doubted.out == f"{photos / 'blue.png'}\tnone of these 90%\tdog 50%, cat 50%\n"
    (line,) = seetell("classify", photos / "blue.png", "--labels", "dog,cat", "--json").lines
    assert (line["label"], line["none"], line["none_probability"]) == ("dog", True, 0.9)


def test_what_a_model_cannot_do_is_wrong_usage(seetell: Any, fake: Any, photos: Path) -> None:
    result = seetell("classify", photos)
    assert result.status == 2
    assert "--labels" in result.err


def test_texts_alone_ask_for_no_photos(
    seetell: Any, fake: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sentence encoder has no vectors of photos."""

    def refuse(*arguments: object, **options: object) -> None:
        raise TaskUnavailable("no photos here")

    monkeypatch.setattr(fake, "stream", refuse)
    out = tmp_path / "v.npy"
    assert seetell("embed", "--text", "a red kite", "--text", "blue", "--out", out).status == 0
    assert len(np.load(out)) == 2


def test_embed(seetell: Any, fake: Any, photos: Path, tmp_path: Path) -> None:
    (photos / "broken.png").write_bytes(b"")
    out = tmp_path / "new" / "vectors.npy"
    result = seetell("embed", photos, "--text", "a red kite", "--text", "blue", "--out", out, "--json")
    assert result.status == 1
    vectors = np.load(out)
    assert (vectors.dtype, vectors.shape) == (np.float32, (5, 3))
    rows = {line.get("photo", line.get("text")): line.get("row") for line in result.lines}
    assert rows[str(photos / "broken.png")] is None
    assert rows["a red kite"] == 3 and rows["blue"] == 4
    assert np.argmax(vectors[rows[str(photos / "green.png")]]) == 1


def test_paths_from_standard_input(
    seetell: Any, fake: Any, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = f"{photos / 'red.png'}\n\r\n{photos / 'blue.png'}\r\n"
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(lines.encode())))
    result = seetell("caption", "-", "--json")
    assert [Path(line["photo"]).name for line in result.lines] == ["red.png", "blue.png"]


def test_questions_from_standard_input(
    seetell: Any, fake: Any, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = json.dumps({"photo": str(photos / "red.png"), "question": "what?"})
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(line.encode())))
    assert [line["question"] for line in seetell("ask", "--questions", "-", "--json").lines] == ["what?"]


def test_a_folder_without_photos_is_said(seetell: Any, fake: Any, tmp_path: Path) -> None:
    result = seetell("caption", tmp_path)
    assert result.status == 2
    assert "no photos" in result.err


@pytest.mark.parametrize("command", ["caption", "classify", "embed"])
def test_a_folder_without_photos_among_others_fails_alone(
    seetell: Any, fake: Any, photos: Path, tmp_path: Path, command: str
) -> None:
    (tmp_path / "none").mkdir()
    first, second = photos / "red.png", photos / "blue.png"
    more = MODEL_COMMANDS[command][1:]
    words = [str(tmp_path / "out.npy") if word == "OUT.npy" else word for word in more]
    result = seetell(command, first, tmp_path / "none", second, *words, "--json")
    assert result.status == 1
    by_photo = {line["photo"]: line.get("error") for line in result.lines}
    assert by_photo[str(first)] is None and by_photo[str(second)] is None
    message = f"{tmp_path / 'none'}: a folder without photos"
    assert by_photo[str(tmp_path / "none")] == {"kind": "directory", "message": message}


def test_an_empty_path_among_others_is_said_before_anything_is_done(
    seetell: Any, fake: Any, photos: Path
) -> None:
    result = seetell("caption", photos / "red.png", "", "--json")
    assert (result.status, result.out) == (2, "")


@pytest.mark.skipif(sys.platform != "linux", reason="file names are bytes on Linux only")
def test_a_name_that_is_no_utf8(seetell: Any, fake: Any, photos: Path) -> None:
    odd = os.fsencode(photos) + b"/\xff\n.png"
    os.rename(os.fsencode(photos / "red.png"), odd)
    result = seetell("caption", photos, "--json")
    assert result.status == 0
    assert os.fsencode(result.lines[-1]["photo"]) == odd
    assert len(seetell("caption", photos).out.splitlines()) == 3


@pytest.mark.parametrize("command", MODEL_COMMANDS)
def test_a_broken_photo_fails_alone(
    seetell: Any, fake: Any, photos: Path, tmp_path: Path, command: str
) -> None:
    (photos / "broken.png").write_text("not a photo")
    words = arguments(command, photos, tmp_path)
    result = seetell(*words, "--json")
    assert result.status == 1
    failed = [line for line in result.lines if "error" in line]
    assert [line["photo"] for line in failed] == [str(photos / "broken.png")]
    assert failed[0]["error"].keys() == {"kind", "message"}
    assert len({line["photo"] for line in result.lines if "error" not in line}) == 3
    shown = seetell(*words)
    assert shown.status == 1
    assert sum(line.startswith("error: ") for line in shown.err.splitlines()) == 1


def test_twenty_broken_files_among_twenty_good(seetell: Any, fake: Any, tmp_path: Path) -> None:
    made = make_broken_folder(tmp_path / "photos")
    result = seetell("caption", *made.paths, "--json")
    assert result.status == 1
    failed = {line["photo"]: line["error"] for line in result.lines if "error" in line}
    assert {Path(photo).name: error["kind"] for photo, error in failed.items()} == made.kinds
    assert sum("text" in line for line in result.lines) == len(made.good) == 20
    assert all(error["message"].isprintable() for error in failed.values())
    shown = seetell("caption", *made.paths)
    assert shown.status == 1
    assert len(shown.out.splitlines()) == 20
    *errors, summary = shown.err.splitlines()
    assert len(errors) == 20
    assert all(line.startswith("error: ") for line in errors)
    assert summary == "20 done, 20 failed"


def test_the_folder_itself_finds_them_all(seetell: Any, fake: Any, tmp_path: Path) -> None:
    made = make_broken_folder(tmp_path / "photos")
    result = seetell("caption", made.folder, "--json")
    assert {Path(line["photo"]).name for line in result.lines} == {*made.good, *made.kinds}


@pytest.mark.parametrize("command", MODEL_COMMANDS)
def test_a_missing_photo_is_not_wrong_usage(seetell: Any, fake: Any, tmp_path: Path, command: str) -> None:
    result = seetell(*arguments(command, tmp_path / "gone.jpg", tmp_path), "--json")
    assert result.status == 1
    assert result.lines[0]["error"]["kind"] == "missing"


@pytest.mark.parametrize("command", MODEL_COMMANDS)
def test_a_model_that_is_not_there(seetell: Any, photos: Path, tmp_path: Path, command: str) -> None:
    result = seetell(*arguments(command, photos, tmp_path), "--model", tmp_path / "gone", "--json")
    assert (result.status, result.out) == (1, "")
    assert len(result.err.splitlines()) == 1
    assert "gone" in result.err


def test_an_empty_path_is_not_the_current_folder(
    seetell: Any, fake: Any, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(photos)
    for words in (["caption", ""], ["ask", "", "what?"], ["search", "red", "--in", ""]):
        result = seetell(*words)
        assert (result.status, result.out) == (2, ""), words


def test_answers_that_cannot_be_chosen_among_fail_their_own_lines_only(
    seetell: Any, fake: Any, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stream(verb: str, pairs: Any, *, answers: Any = None, **options: Any) -> Any:
        if answers == ["yes " * 99]:
            raise UsageError("the answer is too long")
        return original(verb, pairs, answers=answers, **options)

    original = fake.stream
    monkeypatch.setattr(fake, "stream", stream)
    own: list[Any] = [None, [""], ["yes", " "], ["yes " * 99], ["yes " * 99], ["no"]]
    file = photos / "questions.jsonl"
    file.write_text(
        "\n".join(json.dumps({"photo": "red.png", "question": "what?", "answers": one}) for one in own)
    )
    result = seetell("ask", "--questions", file, "--json")
    assert result.status == 1
    kinds = [line.get("error", {}).get("kind") for line in result.lines]
    assert kinds == [None, "data", "data", "usage", "usage", None]
    monkeypatch.setattr(fake, "stream", lambda *a, **o: stream("ask", [], answers=["yes " * 99]))
    assert seetell("ask", photos / "red.png", "what?", "--answers", "yes").status == 2


def test_a_text_that_is_none_costs_no_photos(
    seetell: Any, fake: Any, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(texts: Any) -> Any:
        raise TextError("the text to embed is empty")

    monkeypatch.setattr(fake, "embed_texts", refuse)
    for words in (
        ["embed", photos, "--text", "", "--out", tmp_path / "o.npy"],
        ["search", "", "--in", photos],
    ):
        result = seetell(*words)
        assert (result.status, result.out) == (1, "")
        assert "empty" in result.err
    assert fake.calls == []
    assert not (tmp_path / "o.npy").exists()


# --- where results go, and where lists come from ----------------------------------------------------------


def test_nothing_is_embedded_that_cannot_be_written(
    seetell: Any, fake: Any, photos: Path, tmp_path: Path
) -> None:
    blocked = photos / "red.png"
    (tmp_path / "folder.html").mkdir()
    for arguments in (
        ("embed", photos, "--out", blocked / "out.npy"),
        ("embed", photos, "--out", tmp_path),
        ("search", "red", "--in", photos, "--sheet", blocked / "out.html"),
        ("caption", photos, "--sheet", blocked / "out.html"),
        ("caption", photos, "--sheet", tmp_path / "folder.html"),
    ):
        result = seetell(*arguments)
        assert (result.status, result.out) == (1, ""), arguments
        assert "error: cannot write" in result.err
    assert fake.calls == []


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes with names are POSIX's")
@pytest.mark.parametrize("command", ["embed", "search"])
def test_a_pipe_is_written_through(
    seetell: Any, fake: Any, photos: Path, tmp_path: Path, command: str
) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()))
    reader.start()
    arguments = (photos, "--out", pipe) if command == "embed" else ("red", "--in", photos, "--sheet", pipe)
    result = seetell(command, *arguments)
    reader.join(30)
    assert result.status == 0, result.err
    assert pipe.is_fifo()
    if command == "embed":
        assert np.load(io.BytesIO(read[0])).shape == (3, 3)
    else:
        assert read[0].count(b"<figure>") == 3


def test_labels_in_chinese_and_a_list_of_one(seetell: Any, fake: Any, photos: Path) -> None:
    several = seetell("classify", photos / "red.png", "--labels", "狗，人、雪", "--json")
    assert [one["label"] for one in several.lines[0]["ranking"]] == ["狗", "人", "雪"]
    assert several.err == ""
    for command, option in (("classify", "--labels"), ("ask", "--answers")):
        question = ["what is it?"] if command == "ask" else []
        one = seetell(command, photos / "red.png", *question, option, "dog; cat")
        assert one.status == 0
        assert one.err.startswith(f"{option} has one entry, 'dog; cat', which is always chosen")


def test_paths_that_begin_with_a_mark(
    seetell: Any, fake: Any, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As PowerShell hands them on."""
    lines = f"\ufeff{photos / 'red.png'}\r\n{photos / 'blue.png'}\r\n"
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(lines.encode())))
    result = seetell("caption", "-", "--json")
    assert [line["photo"] for line in result.lines] == [str(photos / "red.png"), str(photos / "blue.png")]
    assert result.status == 0


def test_what_is_doubtful_about_a_text_is_said(seetell: Any, fake: Any, photos: Path, tmp_path: Path) -> None:
    photo = photos / "red.png"
    doubt = "fake was taught en, zh and no Cyrillic letters: what it says may be chance\n"
    for words in (("match", photo, "собака", "a dog"), ("classify", photo, "--labels", "собака,dog")):
        result = seetell(*words)
        assert (result.status, result.err) == (0, doubt), words
        assert result.out
    assert seetell("ask", photo, "собака?").err == doubt
    assert seetell("ask", photo, "what is it?", "--answers", "собака,dog").err == doubt
    assert seetell("ask", photo, "собака?", "--quiet").err == ""
    # Of a file's questions each doubt is told once.
    file = tmp_path / "questions.jsonl"
    file.write_text(
        "".join(
            json.dumps({"photo": str(photo), "question": q}) + "\n" for q in ("да?", "is it red?", "нет?")
        )
    )
    assert seetell("ask", "--questions", file).err == doubt
