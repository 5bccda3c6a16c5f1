"""``seetell evaluate`` with a made-up model: which figures come out, and how it ends."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from seetell.bundle import conversion
from seetell.bundle.manifest import read_manifest
from seetell.bundle.store import open_bundle
from seetell.core.results import Caption, Classification, RankedLabel
from tests.bundle.test_store import make_bundle
from tests.cli.fake_model import FakeModel


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


def test_guesses_are_measured_where_asked_for(
    seetell: Any, fake: Any, photos: Path, captions: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    less = Caption("something", -2.0, "en", "fake", "fp32", 0.25, unsure=True, guess="a photo of 10 by 8")
    monkeypatch.setattr(FakeModel, "caption", lambda *_, **__: less)
    words = ("evaluate", "--captions", captions, "--images", photos, "--json")
    (shown,), (written,) = seetell(*words).lines, seetell(*words, "--guesses").lines
    assert shown["captions"]["unsure"] == written["captions"]["unsure"] == 100
    assert written["captions"]["rouge_l"] > shown["captions"]["rouge_l"]
    refused = seetell("evaluate", "--labelled", photos, "--guesses")
    assert refused.status == 2 and "--guesses goes with --captions" in refused.err


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


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    """Ten photos of each of three labels."""
    folder = tmp_path / "labelled"
    for label in ("red_kite", "tench", "church"):
        (folder / label).mkdir(parents=True)
        for number in range(10):
            Image.new("RGB", (8, 8), "red").save(folder / label / f"{number}.png")
    return folder


def test_labels(seetell: Any, fake: Any, labelled: Path) -> None:
    [found] = seetell("evaluate", "--labelled", labelled, "--holdout", "5:4", "--json").lines
    assert found["zero_shot"]["top_1"] == pytest.approx(100 / 3, abs=0.01), "the made-up model says the first"
    assert found["zero_shot"]["intervals"].keys() == {"top_1", "top_5", "mean_per_class"}
    assert (found["n_images"], found["n_texts"], found["language"]) == (6, 3, "en")
    assert found["holdout"] == {"modulo": 5, "remainder": 4}
    assert fake.calls == [("classify", {"labels": ["church", "red kite", "tench"], "language": "en"})]
    shown = seetell("evaluate", "--labelled", labelled, "--holdout", "0.2")
    assert (shown.status, shown.out.splitlines()[0].split("\t")[:3]) == (
        0,
        ["zero-shot labels", "top-1", "33.3"],
    )
    assert "held out" in shown.err


def test_labels_in_another_language(seetell: Any, fake: Any, labelled: Path, tmp_path: Path) -> None:
    names = tmp_path / "names.json"
    names.write_text(json.dumps({"red_kite": "赤鸢", "tench": "丁鲷", "church": "教堂"}))
    words = ("evaluate", "--labelled", labelled, "--label-names", names, "--json")
    refused = seetell(*words)
    assert (refused.status, refused.out) == (2, "")
    assert "one of en, zh" in refused.err
    [found] = seetell(*words, "--language", "zh").lines
    assert found["language"] == "zh"
    assert set(found["zero_shot"]["per_class"]) == {"赤鸢", "丁鲷", "教堂"}
    assert fake.calls[-1] == ("classify", {"labels": ["教堂", "赤鸢", "丁鲷"], "language": "zh"})


def test_labels_the_model_was_taught(
    seetell: Any, fake: Any, labelled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fake, "labels", ("church", "red kite"))
    refused = seetell("evaluate", "--labelled", labelled, "--own-labels")
    assert (refused.status, refused.out) == (2, "")
    assert "not taught 'tench'" in refused.err
    monkeypatch.setattr(fake, "labels", ("church", "other", "red kite", "tench"))
    ranking = tuple(RankedLabel(label, 0.25) for label in fake.labels)

    def classify(photo: Any, labels: Any = None) -> Classification:
        assert labels is None
        return Classification("church", 0.25, ranking, "fake", "fp32")

    monkeypatch.setattr(fake, "classify", classify)
    monkeypatch.setenv("SEETELL_LANGUAGE", "zh")  # set for all commands, and of no use to this one
    [found] = seetell("evaluate", "--labelled", labelled, "--own-labels", "--json").lines
    assert found["own_labels"]["top_1"] == pytest.approx(100 / 3, abs=0.01)
    assert "zero_shot" not in found and "language" not in found


@pytest.fixture
def objects(photos: Path) -> Path:
    lines = [
        {"image": "red.png", "objects": ["photo", "cup", "fork"]},
        {"image": "green.png", "objects": ["photo", "cup", "bowl"]},
        {"image": "blue.png", "objects": []},
    ]
    path = photos / "objects.json"
    path.write_text("\n".join(map(json.dumps, lines)))
    return path


def test_objects_are_asked_about(seetell: Any, fake: Any, photos: Path, objects: Path) -> None:
    [found] = seetell("evaluate", "--objects", objects, "--images", photos, "--json").lines
    assert found["pope"].keys() == {"random", "popular", "adversarial"}
    for setting in found["pope"].values():
        # The made-up model says red, which is no no.
        assert (setting["recall"], setting["yes_ratio"]) == (100, 100)
        assert setting["accuracy"] == 75, "of each photo three objects are there, and one is not"
    assert (found["n_images"], found["n_texts"], found["n_unclear"]) == (2, 8, 8)


def test_objects_are_asked_about_with_yes_and_no(
    seetell: Any, fake: Any, photos: Path, objects: Path
) -> None:
    [found] = seetell("evaluate", "--objects", objects, "--images", photos, "--yes-or-no", "--json").lines
    assert fake.calls[-1] == ("ask", {"answers": ["yes", "no"]})
    assert found["n_unclear"] == 0


def test_published_questions(seetell: Any, fake: Any, photos: Path) -> None:
    paths = []
    for setting, label in (("random", "yes"), ("popular", "no")):
        paths.append(photos / f"coco_pope_{setting}.json")
        line = {"question_id": 1, "image": "red.png", "text": "Is there a cup in the image?", "label": label}
        paths[-1].write_text(json.dumps(line) + "\n")
    words = ("evaluate", "--pope", paths[0], "--pope", paths[1], "--images", photos, "--json")
    [found] = seetell(*words).lines
    assert found["pope"]["random"]["accuracy"] == 100 and found["pope"]["popular"]["accuracy"] == 0
    again = seetell("evaluate", "--pope", paths[0], "--pope", paths[0], "--images", photos)
    assert again.status == 2 and "second 'random'" in again.err


def test_objects_in_captions(
    seetell: Any, fake: Any, photos: Path, captions: Path, objects: Path, tmp_path: Path
) -> None:
    words = ("evaluate", "--captions", captions, "--images", photos, "--json")
    synonyms = tmp_path / "synonyms.txt"
    synonyms.write_text("photo, picture\ncup, mug\nfork\nbowl\n")
    [found] = seetell(*words, "--synonyms", synonyms, "--objects", objects).lines
    # "a photo of 10 by 8": the photo is there, cup, fork and bowl are never named.
    assert (found["chair"]["chair_i"], found["chair"]["chair_s"]) == (0, 0)
    assert found["chair"]["object_recall"] == pytest.approx(100 * 3 / 7, abs=1e-5)
    [found] = seetell(*words, "--objects", objects).lines
    assert found["chair"]["object_recall"] == pytest.approx(100 * 3 / 7, abs=1e-5)
    refused = seetell(*words, "--synonyms", synonyms, "--language", "zh")
    assert (refused.status, refused.out) == (2, "")


def test_a_page_for_people(seetell: Any, fake: Any, labelled: Path, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    result = seetell("evaluate", "--labelled", labelled, "--report", page, "--json")
    assert result.status == 0 and len(result.lines) == 1
    assert str(page) in result.err
    text = page.read_text(encoding="utf-8")
    assert text.count("<img") == 10 + 12, "of those it got right there are ten"
    assert "zero-shot labels" in text
    refused = seetell("evaluate", "--labelled", labelled, "--report", labelled / "tench" / "0.png" / "x")
    assert refused.status == 1 and "cannot write" in refused.err


def test_figures_of_labels_are_recorded(seetell: Any, fake: Any, labelled: Path, tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "bundle")
    words = ("evaluate", "--labelled", labelled, "--model", bundle, "--record", "pets:held out")
    assert seetell(*words).status == 0
    recorded = {row.metric: row for row in read_manifest(bundle).measurements}
    top = recorded["zero_shot.top_1"]
    assert (top.task, top.dataset, top.split) == ("classify", "pets (en)", "held out")
    assert top.interval is not None and top.interval[0] < top.value < top.interval[1]


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


def test_figures_of_a_local_checkpoint_are_recorded_in_its_conversion(
    seetell: Any, fake: Any, photos: Path, captions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(b"weights")
    bundle = make_bundle(tmp_path / "converted")
    monkeypatch.setattr(conversion, "resolve_or_convert", lambda source, **_: open_bundle(bundle))
    words = ("--captions", captions, "--images", photos, "--record", "mine:dev")
    assert seetell("evaluate", *words, "--model", folder).status == 0
    assert read_manifest(bundle).measurements


def test_a_model_that_cannot_be_recorded_to_is_not_measured(
    seetell: Any, fake: Any, photos: Path, captions: Path, tmp_path: Path
) -> None:
    words = ("--captions", captions, "--images", photos, "--record", "mine:dev")
    result = seetell("evaluate", *words, "--model", tmp_path / "gone")
    assert (result.status, result.out, fake.calls) == (1, "", [])


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
    assert result.status == 1
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
        ["--captions", "F", "--images", "DIR", "--holdout", "10:9"],
        ["--captions", "F", "--images", "DIR", "--target-accuracy", "90"],
        ["--labelled", "DIR", "--target-accuracy", "101"],
        ["--pope", "F"],
        ["--captions", "F", "--images", "DIR", "--yes-or-no"],
        ["--objects", "F"],
        ["--pope", "F", "--images", "DIR", "--captions", "F"],
        ["--pope", "F", "--images", "DIR", "--objects", "F"],
        ["--objects", "F", "--labelled", "DIR"],
        ["--objects", "F", "--images", "DIR", "--synonyms", "F"],
        ["--objects", "F", "--images", "DIR", "--holdout", "10:9"],
        ["--labelled", "DIR", "--images", "DIR"],
        ["--labelled", "DIR", "--captions", "F", "--images", "DIR"],
        ["--labelled", "gone"],
        ["--labelled", "DIR", "--annotations", "F"],
        ["--captions", "F", "--images", "DIR", "--label-names", "F"],
        ["--captions", "F", "--images", "DIR", "--own-labels"],
        *(["--labelled", "DIR", "--holdout", rule] for rule in ("9", "x", "10:", "10:10", "1:0", "0", "nan")),
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
