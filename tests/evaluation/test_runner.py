"""Whole evaluations with made-up models: what is measured, what is left out, and what fails."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest

from seetell.bundle.manifest import Measurement
from seetell.core.errors import DataError, EngineError, ImageError, TextError, UsageError
from seetell.core.results import Answer, Caption, Classification, Failure, RankedLabel
from seetell.data.holdout import Holdout
from seetell.data.records import CaptionRecord, LabelRecord, QuestionRecord
from seetell.evaluation.chair import Vocabulary
from seetell.evaluation.hallucination import known_objects
from seetell.evaluation.objects import ObjectRecord
from seetell.evaluation.pope import PopeQuestion
from seetell.evaluation.pope_runner import evaluate_pope
from seetell.evaluation.predictors import Predictors
from seetell.evaluation.report import as_dict, as_table, measurement_rows, rows
from seetell.evaluation.runner import evaluate_captions, evaluate_labels, evaluate_questions

T = TypeVar("T")

N = 12
WORDS = ["red", "green", "blue", "small", "large", "old", "new", "wet", "dry", "fast", "slow", "loud"]
EN = [f"photo of a {word} thing in the grass" for word in WORDS]
ZH = [f"第{place}张照片里的东西" for place in range(N)]


def records(n: int = N) -> list[CaptionRecord]:
    return [
        CaptionRecord(
            Path(f"{place}.jpg"), ((EN[place], "en"), (ZH[place], "zh"), (EN[place] + " too", "en")), place
        )
        for place in range(n)
    ]


class Oracle:
    """Knows every photo by its number; fails on those it was told to."""

    def __init__(self, bad: Sequence[str] = (), bad_texts: Sequence[str] = ()) -> None:
        self.bad = {f"{name}.jpg" for name in bad}
        self.bad_texts = set(bad_texts)
        self.texts_per_call: list[int] = []

    def _each(self, photos: Iterable[Path], result: Any) -> Iterator[Any]:
        for photo in photos:
            if photo.name in self.bad:
                yield Failure(str(photo), ImageError("truncated", f"{photo}: ends too early"))
            else:
                yield result(int(photo.stem))

    def embed_images(self, photos: Iterable[Path]) -> Iterator[Any]:
        return self._each(photos, lambda place: np.eye(N, dtype=np.float32)[place])

    def embed_texts(self, texts: Sequence[str]) -> Any:
        self.texts_per_call.append(len(texts))
        for text in texts:
            if text in self.bad_texts:
                raise TextError(f"{text!r}: too long")
        known = {**{text: place for place, text in enumerate(EN)}, **{text: i for i, text in enumerate(ZH)}}
        return np.eye(N, dtype=np.float32)[[known[text.removesuffix(" too")] for text in texts]]

    def caption(self, photos: Iterable[Path]) -> Iterator[Any]:
        return self._each(photos, lambda place: Caption(EN[place], -1.0, "en", "oracle", "fp32"))

    def ask(self, pairs: Iterable[tuple[Path, str]]) -> Iterator[Any]:
        return self._each(
            (photo for photo, _ in pairs),
            lambda place: Answer("Yes!" if place % 2 else "no", 0.9, (), True, "oracle", "fp32"),
        )

    def classify(self, photos: Iterable[Path]) -> Iterator[Any]:
        ranking = (RankedLabel("cat", 0.9), RankedLabel("dog", 0.1))
        return self._each(photos, lambda place: Classification("cat", 0.9, ranking, "oracle", "fp32"))

    def predictors(self) -> Predictors:
        return Predictors(
            "oracle", "fp32", self.embed_images, self.embed_texts, self.caption, self.ask, self.classify
        )


def questions(n: int = N, each: int = 1) -> list[QuestionRecord]:
    return [
        QuestionRecord(
            photo=Path(f"{place}.jpg"),
            question="is it odd?",
            answers=("yes" if place % 2 else "no",),
            question_id=place * each + number,
            photo_id=place,
        )
        for place in range(n)
        for number in range(each)
    ]


def test_a_model_that_knows_everything_is_measured_as_perfect() -> None:
    found = as_dict(evaluate_captions(Oracle().predictors(), records(), "en"))
    for direction in ("image_to_text", "text_to_image"):
        assert found[direction] == {
            "r1": 100,
            "r5": 100,
            "r10": 100,
            "median_rank": 1,
            "intervals": {"r1": [100, 100], "r5": [100, 100], "r10": [100, 100], "median_rank": [1, 1]},
        }
    assert found["captions"]["bleu_4"] == pytest.approx(100, abs=1e-4)
    assert set(found["captions"]) == {
        *(f"bleu_{k}" for k in (1, 2, 3, 4)),
        *("rouge_l", "cider", "repeats", "intervals"),
    }
    assert (found["n_images"], found["n_texts"], found["language"]) == (N, 2 * N, "en")
    assert (found["model"], found["precision"]) == ("oracle", "fp32")
    assert (found["n_failed"], found["failed"]) == (0, [])
    assert "vqa" not in found and "limit" not in found


def test_the_object_is_plain_json() -> None:
    for found in (
        evaluate_captions(Oracle(bad=["3"]).predictors(), records(), "en"),
        evaluate_questions(Oracle().predictors(), questions()),
        evaluate_labels(Oracle().predictors(), [LabelRecord(Path("0.jpg"), "cat")]),
    ):
        document = as_dict(found)
        assert json.loads(json.dumps(document, allow_nan=False)) == document


def test_only_captions_of_the_language_are_used() -> None:
    mixed = [*records(), CaptionRecord(Path("99.jpg"), (("nur deutsch", "de"),), 99)]
    found = evaluate_captions(replace(Oracle().predictors(), caption=None), mixed, "zh")
    assert (found.n_images, found.n_texts, found.captions) == (N, N, None)
    assert found.image_to_text is not None and found.image_to_text["r1"].value == 100
    with pytest.raises(DataError, match=r"'fr'.*de, en, zh"):
        evaluate_captions(Oracle().predictors(), mixed, "fr")


def test_what_the_model_cannot_do_is_left_out() -> None:
    captions_only = Predictors("m", "fp32", caption=Oracle().caption)
    found = evaluate_captions(captions_only, records(), "en")
    assert found.image_to_text is None and found.captions is not None
    assert "image_to_text" not in as_dict(found)
    half = Predictors("m", "fp32", embed_images=Oracle().embed_images)
    with pytest.raises(UsageError, match="m can neither"):
        evaluate_captions(half, records(), "en")
    with pytest.raises(UsageError, match="m cannot ask"):
        evaluate_questions(half, questions())
    with pytest.raises(UsageError, match="m cannot classify"):
        evaluate_labels(half, [LabelRecord(Path("0.jpg"), "cat")])


def test_failed_photos_count_as_wrong_and_are_listed_once() -> None:
    found = as_dict(evaluate_captions(Oracle(bad=["3", "7"]).predictors(), records(), "en"))
    share = pytest.approx(100 * 10 / 12)
    assert (found["n_images"], found["n_texts"], found["n_failed"]) == (N, 2 * N, 2)
    for direction in ("image_to_text", "text_to_image"):
        assert found[direction]["r10"] == pytest.approx(100 * 10 / 12, abs=1e-5)
    assert found["captions"]["rouge_l"] == pytest.approx(100 * 10 / 12, abs=1e-5)
    assert [one["photo"] for one in found["failed"]] == ["3.jpg", "7.jpg"]
    assert found["failed"][0]["error"] == {"kind": "truncated", "message": "3.jpg: ends too early"}
    answers = evaluate_questions(Oracle(bad=["3", "7"]).predictors(), questions(each=3))
    assert answers.vqa is not None and answers.vqa["exact_match"].value == share
    assert len(answers.failed) == 2
    labels = [LabelRecord(Path(f"{place}.jpg"), "cat") for place in range(N)]
    labelled = evaluate_labels(Oracle(bad=["3", "7"]).predictors(), labels)
    assert labelled.zero_shot is not None and labelled.zero_shot.scores["top_5"].value == share


def test_when_everything_fails_the_folder_is_wrong() -> None:
    blind = Oracle(bad=[str(place) for place in range(N)]).predictors()
    with pytest.raises(DataError, match=r"none of 12 inputs.*0\.jpg: ends too early"):
        evaluate_captions(blind, records(), "en")
    with pytest.raises(DataError, match="none of 12"):
        evaluate_questions(blind, questions())


def test_a_text_that_fails_spoils_only_itself() -> None:
    found = evaluate_captions(Oracle(bad_texts=[EN[5]]).predictors(), records(), "en")
    assert found.text_to_image is not None and found.image_to_text is not None
    assert found.text_to_image["r1"].value == pytest.approx(100 * 23 / 24)
    assert found.image_to_text["r1"].value == 100  # its other caption is found
    assert [failure.photo for failure in found.failed] == [EN[5]]


def test_texts_are_embedded_many_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("seetell.evaluation.runner._TEXTS_AT_ONCE", 7)
    oracle = Oracle()
    evaluate_captions(oracle.predictors(), records(), "en")
    assert oracle.texts_per_call == [7, 7, 7, 3]


def test_an_engine_that_breaks_is_not_swallowed() -> None:
    def broken(texts: Sequence[str]) -> Any:
        raise EngineError("out of memory")

    with pytest.raises(EngineError):
        evaluate_captions(replace(Oracle().predictors(), embed_texts=broken), records(), "en")


def test_a_predict_function_that_loses_photos_is_found_out() -> None:
    def lossy(photos: Iterable[Path]) -> Iterator[Any]:
        return Oracle().caption(list(photos)[1:])

    with pytest.raises(UsageError, match="11 results for 12"):
        evaluate_captions(Predictors("m", "fp32", caption=lossy), records(), "en")


def test_a_limit_keeps_the_first_photos() -> None:
    found = evaluate_captions(Oracle().predictors(), records(), "en", limit=5)
    assert (found.n_images, found.n_texts, found.limit) == (5, 10, 5)
    answers = evaluate_questions(Oracle().predictors(), questions(each=3), limit=2)
    assert (answers.n_images, answers.n_texts, answers.limit) == (2, 6, 2)
    assert evaluate_captions(Oracle().predictors(), records(), "en", limit=N).limit is None
    assert evaluate_questions(Oracle().predictors(), questions(), limit=99).limit is None
    with pytest.raises(UsageError, match="at least 1"):
        evaluate_captions(Oracle().predictors(), records(), "en", limit=0)


def test_a_limit_counts_photos_by_first_appearance() -> None:
    scattered = [questions()[place] for place in (4, 1, 4, 2, 1)]
    found = evaluate_questions(Oracle().predictors(), scattered, limit=2)
    assert (found.n_images, found.n_texts) == (2, 4)


def test_progress_is_told_about_every_item() -> None:
    seen: dict[str, list[Any]] = {}

    def track(items: Iterable[T], label: str, total: int | None = None) -> Iterator[T]:
        seen[label] = [0, total]
        for item in items:
            seen[label][0] += 1
            yield item

    evaluate_captions(Oracle().predictors(), records(), "en", track=track)
    evaluate_questions(Oracle().predictors(), questions(), track=track)
    assert seen == {"photos": [12, 12], "texts": [1, 1], "captions": [12, 12], "questions": [12, 12]}


def test_answers_are_compared_as_guessed_even_when_the_model_abstains() -> None:
    found = evaluate_questions(Oracle().predictors(), questions())
    assert found.vqa is not None
    assert found.vqa["exact_match"].value == 100
    # One person each: leaving one out leaves nobody, and a figure of 0 would only mislead.
    assert "accuracy" not in found.vqa
    assert found.answers_per_question == 1
    # Ten people each: of one mind about the odd photos, not quite about the even ones.
    ten = [
        replace(one, answers=one.answers * 10 if place % 2 else (*one.answers * 9, "?"))
        for place, one in enumerate(questions())
    ]
    official = evaluate_questions(Oracle().predictors(), ten)
    # "Yes!" against ten times "yes" is wrong by the official rule for unanimous people.
    assert official.vqa is not None and official.vqa["accuracy"].value == 50


def test_questions_need_answers() -> None:
    unanswered = [replace(questions()[0], answers=())]
    with pytest.raises(DataError, match="give annotations"):
        evaluate_questions(Oracle().predictors(), unanswered)
    with pytest.raises(DataError):
        evaluate_questions(Oracle().predictors(), [])
    with pytest.raises(DataError):
        evaluate_labels(Oracle().predictors(), [])
    only_majority = [replace(questions()[1], answers=(), majority="yes")]
    found = evaluate_questions(Oracle().predictors(), only_majority)
    assert found.vqa is not None and found.vqa["exact_match"].value == 100


def test_labels_are_measured() -> None:
    labels = [LabelRecord(Path(f"{place}.jpg"), "cat" if place < 9 else "dog") for place in range(N)]
    found = as_dict(evaluate_labels(Oracle().predictors(), labels))
    assert found["zero_shot"]["top_1"] == 75
    dog = found["zero_shot"]["per_class"]["dog"]
    assert dog.pop("interval") == pytest.approx([0, 56.1497], abs=1e-3)
    assert dog == {"n_images": 3, "top_1": 0, "top_5": 100}
    assert (found["n_images"], found["n_texts"]) == (12, 2)


def test_labels_of_a_held_out_part() -> None:
    labels = [LabelRecord(Path(f"{place}.jpg"), "cat" if place < 9 else "dog") for place in range(N)]
    # Each label's photos are numbered on their own: 0..8 and 0..2, of which 2, 5 and 8, and 2 are held out.
    found = evaluate_labels(Oracle().predictors(), labels, holdout=Holdout(modulo=3, remainder=2))
    assert found.n_images == 4
    assert found.zero_shot is not None and found.zero_shot.scores["top_1"].value == 75
    assert as_dict(found)["holdout"] == {"modulo": 3, "remainder": 2}
    # Beside the figures of all photos of the same name these are others.
    split = "dev, photos whose number leaves 2 when divided by 3"
    assert measurement_rows(found, "pets", "dev")[0]["split"] == split
    assert "leaves 2 when divided by 3" in rendered(as_table(found))
    with pytest.raises(DataError, match="the holdout leaves none of 12"):
        evaluate_labels(Oracle().predictors(), labels, holdout=Holdout(modulo=30, remainder=29))


def test_a_limit_takes_of_every_label() -> None:
    labels = [LabelRecord(Path(f"{place}.jpg"), "cat" if place < 9 else "dog") for place in range(N)]
    found = evaluate_labels(Oracle().predictors(), labels, limit=4)
    assert (found.n_images, found.n_texts, found.limit) == (4, 2, 4)
    assert found.zero_shot is not None and found.zero_shot.scores["top_1"].value == 50
    assert "4 photos only" in rendered(as_table(found))
    assert "first 4" not in rendered(as_table(found))
    assert measurement_rows(found, "pets", "dev")[0]["split"] == "dev, 4 photos"


def test_own_labels_are_another_figure_than_zero_shot() -> None:
    labels = [LabelRecord(Path("0.jpg"), "cat"), LabelRecord(Path("1.jpg"), "dog")]
    found = evaluate_labels(Oracle().predictors(), labels, own_labels=True, language="en")
    document = as_dict(found)
    assert document["own_labels"]["top_1"] == 50 and "zero_shot" not in document
    [top, *_] = measurement_rows(found, "pets", "dev")
    assert (top["metric"], top["task"], top["dataset"]) == ("own_labels.top_1", "classify", "pets (en)")


def test_questions_of_a_held_out_part() -> None:
    found = evaluate_questions(
        Oracle().predictors(), questions(each=2), holdout=Holdout(last_fraction=0.25), limit=2
    )
    assert (found.n_images, found.n_texts, found.limit) == (2, 4, 2)
    assert found.holdout == Holdout(last_fraction=0.25)
    assert as_dict(found)["holdout"] == {"last_fraction": 0.25}
    with pytest.raises(DataError, match="the holdout leaves none"):
        evaluate_questions(Oracle().predictors(), questions(), holdout=Holdout(modulo=99, remainder=98))


def test_confidence_is_measured_and_a_threshold_found() -> None:
    def ask(pairs: Iterable[tuple[Path, str]]) -> Iterator[Any]:
        for photo, _ in pairs:
            place = int(photo.stem)
            # Sure and right about the first 40, unsure and wrong about the rest, which it abstains from.
            said = ("yes" if place % 2 else "no") if place < 40 else "?"
            yield Answer(said, 0.9 if place < 40 else 0.3, (), place >= 40, "m", "fp32")

    found = evaluate_questions(Predictors("m", "fp32", ask=ask), questions(100), target_accuracy=95)
    document = as_dict(found)["calibration"]
    assert document["of"] == "exact_match"
    assert document["ece"] == pytest.approx(0.4 * 10 + 0.6 * 30)
    assert (document["coverage"], document["accuracy_answered"]) == (40, 100)
    assert document["abstain_below"]["threshold"] == pytest.approx(0.6)
    assert document["abstain_below"]["coverage"] == 40
    assert document["curve"][0]["coverage"] == 100 and document["curve"][0]["accuracy"] == 40
    assert len(document["bins"]) == 15
    text = rendered(as_table(found))
    for words in ("calibration error (ECE)", "22.0", "right of the most", "abstain below 0.6", "40.0% are"):
        assert words in text
    recorded = {row["metric"]: row for row in measurement_rows(found, "mine", "dev")}
    assert recorded["calibration.ece"]["task"] == "ask"
    unreachable = evaluate_questions(
        Predictors("m", "fp32", ask=ask),
        [replace(one, answers=("other",)) for one in questions(100)],
        target_accuracy=95,
    )
    assert as_dict(unreachable)["calibration"]["abstain_below"] is None
    assert "no confidence is high enough for 95% right" in rendered(as_table(unreachable))
    for wrong in (-1, 101, float("nan")):
        with pytest.raises(UsageError, match="accuracy lies between"):
            evaluate_questions(Predictors("m", "fp32", ask=ask), questions(), target_accuracy=wrong)


def test_with_enough_people_an_answer_is_right_as_far_as_they_agree() -> None:
    people = ("no", "no", "no", *["never"] * 7)
    ten = [replace(one, answers=people) for one in questions()]
    found = evaluate_questions(Oracle().predictors(), ten)
    assert found.calibration is not None and found.calibration.of == "accuracy"
    # "no" of three in ten: 0.9; "Yes!" of none.
    assert found.calibration.curve[0].accuracy.value == pytest.approx(45)
    [shown] = found.examples
    assert (shown.best[0].verdict, shown.best[0].said, shown.worst[0].verdict) == ("90% right", "no", "wrong")


def test_a_model_that_states_no_confidence_is_measured_all_the_same() -> None:
    def ask(pairs: Iterable[tuple[Path, str]]) -> Iterator[Any]:
        return (Answer("no", float("nan"), (), False, "m", "fp32") for _ in pairs)

    found = evaluate_questions(Predictors("m", "fp32", ask=ask), questions())
    assert found.vqa is not None and found.vqa["exact_match"].value == 50
    assert found.calibration is None and "calibration" not in as_dict(found)


def test_labels_are_calibrated_too() -> None:
    labels = [LabelRecord(Path(f"{place}.jpg"), "cat" if place < 9 else "dog") for place in range(N)]
    found = evaluate_labels(Oracle(bad=["0"]).predictors(), labels)
    assert found.calibration is not None
    # Always 0.9; 8 of the 11 that could be read are right.
    assert found.calibration.scores["ece"].value == pytest.approx(90 - 800 / 11)
    assert found.calibration.curve[0].coverage == pytest.approx(1100 / 12)
    assert measurement_rows(found, "pets", "dev")[-1]["task"] == "classify"


def test_examples_are_what_the_model_did_best_and_worst_on() -> None:
    def caption(photos: Iterable[Path]) -> Iterator[Any]:
        for photo in photos:
            place = int(photo.stem)
            said = EN[place] if place != 7 else "something else entirely"
            yield Caption(said, -1.0, "en", "m", "fp32")

    found = evaluate_captions(Predictors("m", "fp32", caption=caption), records(), "en")
    [shown] = found.examples  # it cannot embed
    assert shown.part == "captions"
    assert shown.worst[0].photo == Path("7.jpg")
    assert shown.worst[0].said == "something else entirely"
    assert shown.worst[0].wanted == (EN[7], EN[7] + " too")
    assert "7.jpg" not in {one.photo.name for one in shown.best}
    bad = evaluate_captions(Oracle(bad=["3"]).predictors(), records(), "en").examples
    assert all(one.photo.name != "3.jpg" for part in bad for one in (*part.best, *part.worst))


def test_unsure_captions_are_measured_as_they_are_shown_or_as_they_were_written() -> None:
    def caption(photos: Iterable[Path]) -> Iterator[Any]:
        for photo in photos:
            said = EN[int(photo.stem)]
            unsure = ("something", -1.0, "en", "m", "fp32", 0.2, True, said)
            sure = (said, -1.0, "en", "m", "fp32", 0.9)
            yield Caption(*(unsure if int(photo.stem) % 4 == 0 else sure))

    predict = Predictors("m", "fp32", caption=caption)
    shown = evaluate_captions(predict, records(), "en")
    written = evaluate_captions(predict, records(), "en", guesses=True)
    assert shown.captions is not None and written.captions is not None
    # Every fourth, and nothing that it says is right.
    assert shown.captions["unsure"].value == written.captions["unsure"].value == 25
    assert shown.captions["rouge_l"].value == pytest.approx(75)
    assert written.captions["rouge_l"].value == pytest.approx(100)
    assert "guesses" not in as_dict(shown) and as_dict(written)["guesses"] is True
    assert "unsure of" in rendered(as_table(shown)) and "as they were written" in rendered(as_table(written))
    assert {row["split"] for row in measurement_rows(shown, "pets", "dev")} == {"dev"}
    assert {row["split"] for row in measurement_rows(written, "pets", "dev")} == {
        "dev, unsure captions as written"
    }


def test_searches_that_went_wrong_are_shown_with_what_was_found() -> None:
    def embed_texts(texts: Sequence[str]) -> Any:
        rows = Oracle().embed_texts(texts)
        # The captions of photo 4 lead to photo 9.
        return np.array([np.eye(N, dtype=np.float32)[9] if row[4] else row for row in rows])

    oracle = Oracle(bad=["2"])
    found = evaluate_captions(Predictors("m", "fp32", oracle.embed_images, embed_texts), records(), "en")
    to_text, to_photo = found.examples
    assert (to_text.part, to_photo.part) == ("image_to_text", "text_to_image")
    worst = to_photo.worst[0]
    assert (worst.photo, worst.found, worst.question) == (Path("4.jpg"), Path("9.jpg"), EN[4])
    # Not found at all: the 10 other photos that could be read score the same, and a tie counts against it.
    assert worst.verdict == "at place 11 of 12"
    assert to_text.worst[0].photo == Path("4.jpg")
    assert to_text.worst[0].wanted == (EN[4], EN[4] + " too")
    best = to_text.best[0]
    assert best.verdict == "found first" and best.said in best.wanted
    everything = [*to_text.best, *to_text.worst, *to_photo.best, *to_photo.worst]
    assert "2.jpg" not in {one.photo.name for one in everything}, "it could not be read"


def test_objects_in_captions_that_are_not_there() -> None:
    words = Vocabulary([["dog", "puppy"], ["cat"], ["grass"], ["thing"]])
    annotated = [ObjectRecord(Path("0.jpg"), ("thing",)), ObjectRecord(Path("1.jpg"), ("cat",))]

    def caption(photos: Iterable[Path]) -> Iterator[Any]:
        for photo in photos:
            said = {"1.jpg": "a puppy and a cat", "2.jpg": "a cat"}.get(photo.name, "a thing in the grass")
            yield Caption(said, -1.0, "en", "m", "fp32")

    found = evaluate_captions(
        Predictors("m", "fp32", caption=caption), records(), "en", objects=known_objects(words, annotated)
    )
    # All photos show a thing and grass, as their captions say. 23 words name an object, "puppy" and a
    # second "cat" none that is there.
    document = as_dict(found)["chair"]
    assert document["chair_i"] == pytest.approx(100 * 2 / 23, abs=1e-5)
    assert document["chair_s"] == pytest.approx(100 * 2 / 12, abs=1e-5)
    assert document["intervals"]["chair_s"][0] < document["chair_s"] < document["intervals"]["chair_s"][1]
    shown = {one.part: one for one in found.examples}["chair"]
    assert {one.verdict for one in shown.worst} == {"not there: puppy", "not there: cat"}
    assert "CHAIRs" in rendered(as_table(found))
    assert measurement_rows(found, "x", "dev")[-1]["task"] == "caption"
    with pytest.raises(UsageError, match="English captions only"):
        evaluate_captions(
            Predictors("m", "fp32", caption=caption), records(), "zh", objects=known_objects(words, None)
        )
    blind = Predictors("m", "fp32", Oracle().embed_images, Oracle().embed_texts)
    with pytest.raises(UsageError, match="cannot caption"):
        evaluate_captions(blind, records(), "en", objects=known_objects(words, None))


def test_objects_go_by_their_names_where_there_are_no_synonyms() -> None:
    known = known_objects(
        None, [ObjectRecord(Path("0.jpg"), ("thing",)), ObjectRecord(Path("0.jpg"), ("wall",))]
    )
    assert known.vocabulary.mentions("things on walls in the grass") == [("thing", "thing"), ("wall", "wall")]
    assert known.annotated == {Path("0.jpg"): ("thing", "wall")}
    with pytest.raises(UsageError, match="no words"):
        known_objects(None, [])


def test_pope_asks_every_question_once_and_scores_each_setting() -> None:
    asked: list[tuple[Path, str]] = []

    def ask(pairs: Iterable[tuple[Path, str]]) -> Iterator[Any]:
        for photo, question in pairs:
            asked.append((photo, question))
            if photo.name == "2.jpg":
                yield Failure(str(photo), ImageError("truncated", f"{photo}: ends too early"))
            else:
                said = "No, it is not." if "dog" in question else "a cat, I think"
                yield Answer(said, 0.5, (), False, "m", "fp32")

    def question(number: int, name: str, label: bool) -> PopeQuestion:
        return PopeQuestion(Path(f"{number}.jpg"), f"Is there a {name}?", label)

    settings = {
        "random": [question(0, "cat", True), question(0, "dog", False), question(1, "cat", True)],
        "popular": [question(0, "cat", True), question(0, "bus", False), question(2, "cat", True)],
    }
    found = evaluate_pope(Predictors("m", "fp32", ask=ask), settings)
    assert len(asked) == len(set(asked)) == 5
    document = as_dict(found)
    assert document["pope"]["random"]["accuracy"] == 100
    assert document["pope"]["popular"]["accuracy"] == pytest.approx(100 / 3, abs=1e-5)
    assert document["pope"]["popular"]["intervals"].keys() == {
        "accuracy",
        "precision",
        "recall",
        "f1",
        "yes_ratio",
    }
    assert (document["n_images"], document["n_texts"], document["n_unclear"], document["n_failed"]) == (
        3,
        5,
        3,
        1,
    )
    text = rendered(as_table(found))
    assert "POPE popular" in text and "3 of 5 answers say neither yes nor no" in text
    assert "VQA accuracy" not in text
    metrics = {row["metric"]: row["task"] for row in measurement_rows(found, "coco", "val")}
    assert metrics["pope.random.f1"] == "ask"
    assert [one.part for one in found.examples] == ["pope.random", "pope.popular"]
    assert found.examples[1].worst[0].question == "Is there a bus?"
    limited = evaluate_pope(Predictors("m", "fp32", ask=ask), settings, limit=1)
    assert (limited.n_images, limited.n_texts, limited.limit) == (1, 3, 1)
    for wrong in ({}, {"random": []}):
        with pytest.raises(DataError, match="no questions"):
            evaluate_pope(Predictors("m", "fp32", ask=ask), wrong)
    with pytest.raises(UsageError, match="cannot ask"):
        evaluate_pope(Predictors("m", "fp32"), settings)
    with pytest.raises(UsageError, match="at least 1"):
        evaluate_pope(Predictors("m", "fp32", ask=ask), settings, limit=0)


def rendered(table: Any) -> str:
    from rich.console import Console

    console = Console(width=100, record=True, file=io.StringIO())
    console.print(table)
    return console.export_text()


def test_the_table_shows_every_figure_and_what_to_know() -> None:
    found = evaluate_captions(Oracle(bad=["3"]).predictors(), records(), "en", limit=10)
    text = rendered(as_table(replace(found, model="[bold]odd[/] name")))
    assert "[bold]odd[/] name (fp32): 10 photos, 20 texts, en" in text
    for word in ("photo -> text", "text -> photo", "R@10", "median rank", "BLEU-4", "ROUGE-L", "CIDEr-D"):
        assert word in text
    assert "1 inputs failed" not in text and "1 input failed and counts as wrong" in text
    assert "first 10 photos only" in text
    asked = rendered(as_table(evaluate_questions(Oracle().predictors(), questions())))
    assert "read exact match" in asked and "VQA accuracy" in asked


def test_of_one_photo_there_is_no_cider_and_it_is_said() -> None:
    alone = evaluate_captions(Oracle().predictors(), records(), "en", limit=1)
    assert "cider" not in as_dict(alone)["captions"]
    table = rendered(as_table(alone))
    assert "BLEU-4" in table and "of one photo there is none" in table
    assert not any(shown.best or shown.worst for shown in alone.examples if shown.part == "captions")
    several = rendered(as_table(evaluate_captions(Oracle().predictors(), records(), "en", limit=2)))
    assert "there is none" not in several


def test_rows_name_their_part_and_the_table_only_once() -> None:
    found = evaluate_captions(Oracle().predictors(), records(), "en")
    assert [part for part, *_ in rows(found)].count("photo -> text") == 4
    assert ("captions", "CIDEr-D") in {(part, name) for part, name, *_ in rows(found)}
    assert rendered(as_table(found)).count("photo -> text") == 1


def test_rows_for_the_manifest_fit_its_schema() -> None:
    found = evaluate_captions(Oracle().predictors(), records(), "zh", limit=4)
    parsed = [Measurement.model_validate(row) for row in measurement_rows(found, "flickr", "dev")]
    by_metric = {row.metric: row for row in parsed}
    one = by_metric["text_to_image.r10"]
    assert (one.task, one.dataset, one.split) == ("embed", "flickr (zh)", "dev, first 4 photos")
    assert (one.value, one.interval, one.precision) == (100, (100, 100), "fp32")
    assert "core" in one.machine and "\n" not in one.machine
    assert by_metric["captions.cider"].task == "caption"
    answers = evaluate_questions(Oracle().predictors(), questions())
    row = measurement_rows(answers, "easy", "held out", machine="a desk")[0]
    assert (row["task"], row["dataset"], row["split"], row["machine"]) == (
        "ask",
        "easy",
        "held out",
        "a desk",
    )
