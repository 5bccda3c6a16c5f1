"""``seetell evaluate`` with a made-up model: which figures come out, and how it ends."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from seetell.bundle.manifest import read_manifest
from tests.bundle.test_store import make_bundle


@pytest.fixture
def captions(photos: Path) -> Path:
    names = ("red.png", "green.png", "blue.png")
    document = {
        "images": [{"id": number, "file_name": name} for number, name in enumerate(names)],
        "annotations": [
            {"id": 10 * number + k, "image_id": number, "caption": text, "language": language}
            for number, name in enumerate(names)
            for k, (text, language) in enumerate(
                [(f"a {name[:-4]} photo of {10 * number + 10} by 8", "en"), (f"一张{name[:-4]}照片", "zh")]
            )
        ],
    }
    path = photos / "captions.json"
    path.write_text(json.dumps(document))
    return path


@pytest.fixture
def questions(photos: Path) -> tuple[Path, Path]:
    asked = [
        {"question_id": number, "image_id": number, "image": f"{colour}.png", "question": "what color?"}
        for number, colour in enumerate(("red", "green", "blue"))
    ]
    answers = [
        {"question_id": number, "image_id": number, "answers": [{"answer": colour}]}
        for number, colour in enumerate(("red", "green", "blue"))
    ]
    for one, colour in zip(answers, ("red", "green", "blue"), strict=True):
        one["multiple_choice_answer"] = colour
    paths = photos / "questions.json", photos / "annotations.json"
    paths[0].write_text(json.dumps({"questions": asked}))
    paths[1].write_text(json.dumps({"annotations": answers}))
    return paths


def test_captions_as_one_object(seetell: Any, fake: Any, photos: Path, captions: Path) -> None:
    result = seetell("evaluate", "--captions", captions, "--images", photos, "--json")
    assert result.status == 0, result.err
    [found] = result.lines
    assert found["image_to_text"]["r1"] == 100.0, "the made-up model matches colours"
    assert found["text_to_image"].keys() >= {"r1", "r5", "r10", "median_rank"}
    assert found["captions"].keys() >= {"bleu_4", "cider", "rouge_l"}
    assert (found["n_images"], found["n_texts"], found["language"]) == (3, 3, "en")
    assert (found["model"], found["precision"]) == ("fake", "fp32")
    assert "vqa" not in found


def test_another_language_and_a_limit(seetell: Any, fake: Any, photos: Path, captions: Path) -> None:
    words = (
        "evaluate",
        "--captions",
        captions,
        "--images",
        photos,
        "--language",
        "zh",
        "--limit",
        2,
        "--json",
    )
    [found] = seetell(*words).lines
    assert (found["language"], found["n_images"], found["limit"]) == ("zh", 2, 2)


def test_questions(seetell: Any, fake: Any, photos: Path, questions: tuple[Path, Path]) -> None:
    words = ("evaluate", "--questions", questions[0], "--annotations", questions[1], "--images", photos)
    [found] = seetell(*words, "--json").lines
    assert found["vqa"]["exact_match"] == pytest.approx(100 / 3, abs=0.01), "the made-up model says red"
    shown = seetell(*words)
    assert shown.status == 0
    assert "exact match\t33.3" in shown.out


def test_a_photo_that_fails_counts_and_is_said(seetell: Any, fake: Any, photos: Path, captions: Path) -> None:
    (photos / "blue.png").write_bytes(b"")
    words = ("evaluate", "--captions", captions, "--images", photos)
    result = seetell(*words, "--json")
    assert result.status == 1
    [found] = result.lines
    assert found["n_images"] == 3
    assert found["failed"][0]["error"]["kind"] == "empty"
    shown = seetell(*words)
    assert shown.status == 1
    assert "error: " in shown.err


def test_figures_recorded_in_the_manifest(
    seetell: Any, fake: Any, photos: Path, captions: Path, tmp_path: Path
) -> None:
    bundle = make_bundle(tmp_path / "bundle")
    words = (
        "evaluate",
        "--captions",
        captions,
        "--images",
        photos,
        "--model",
        bundle,
        "--record",
        "mine:dev",
    )
    assert seetell(*words).status == 0
    once = read_manifest(bundle).measurements
    assert {row.metric for row in once} >= {"text_to_image.r10", "captions.bleu_4"}
    [recall] = [row for row in once if row.metric == "image_to_text.r1"]
    assert (recall.value, recall.dataset, recall.split, recall.precision) == (
        100.0,
        "mine (en)",
        "dev",
        "fp32",
    )
    # Again, and in another language: replaced, and added.
    assert seetell(*words).status == 0
    assert len(read_manifest(bundle).measurements) == len(once)
    assert seetell(*words, "--language", "zh").status == 0
    assert len(read_manifest(bundle).measurements) == 2 * len(once)
    shown = seetell("models", "show", bundle)
    assert "mine (zh) dev" in shown.out


def test_nothing_is_recorded_when_an_input_failed(
    seetell: Any, fake: Any, photos: Path, captions: Path, tmp_path: Path
) -> None:
    bundle = make_bundle(tmp_path / "bundle")
    (photos / "blue.png").write_bytes(b"")
    words = (
        "evaluate",
        "--captions",
        captions,
        "--images",
        photos,
        "--model",
        bundle,
        "--record",
        "mine:dev",
    )
    result = seetell(*words)
    assert result.status == 2
    assert "nothing was recorded" in result.err
    assert read_manifest(bundle).measurements == ()


@pytest.mark.parametrize(
    "words",
    [
        ["--captions", "F", "--images", "DIR", "--record", "mine"],
        ["--captions", "F", "--images", "DIR", "--record", ":dev"],
        ["--captions", "F"],
        ["--images", "DIR"],
        ["--captions", "F", "--images", "gone"],
        ["--captions", "F", "--questions", "F", "--images", "DIR"],
        ["--questions", "F", "--images", "DIR"],
        ["--captions", "F", "--annotations", "F", "--images", "DIR"],
        ["--captions", "F", "--images", "DIR", "--limit", "0"],
    ],
    ids=" ".join,
)
def test_wrong_usage(seetell: Any, fake: Any, photos: Path, captions: Path, words: list[str]) -> None:
    places = {"F": str(captions), "DIR": str(photos)}
    result = seetell("evaluate", *(places.get(word, word) for word in words))
    assert result.status == 2
    assert result.out == ""


def test_a_file_that_breaks_its_format(seetell: Any, fake: Any, photos: Path) -> None:
    broken = photos / "broken.json"
    broken.write_text('{"images": 3}')
    result = seetell("evaluate", "--captions", broken, "--images", photos)
    assert (result.status, result.out) == (1, "")
    assert len(result.err.splitlines()) == 1
