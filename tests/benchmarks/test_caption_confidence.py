"""Fitting a bundle's confidence of captions: on one half of the photos, and into its manifest."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from benchmarks.caption_confidence import NamedPhoto, fit_captions, keep_fitted, read_named, read_things
from numpy.typing import NDArray

from seetell.bundle.manifest import (
    MANIFEST_NAME,
    AskedThing,
    CaptionConfidence,
    manifest_json,
    read_manifest,
)
from seetell.core.errors import UsageError
from seetell.core.results import Alternative, Answer, Caption
from seetell.data.records import CaptionRecord
from seetell.evaluation.chair import Vocabulary
from tests.runtime.toy import ToyEngine, make_manifest

WORDS = Vocabulary([["dog"], ["person", "man"]])


class Writer:
    """Says "a dog" of every photo, the surer of it the nearer the photo's vector is to the text's."""

    def __init__(self, unsure: bool = False) -> None:
        self._unsure = unsure

    def caption(self, photos: Sequence[Path], *, language: str) -> list[Caption]:
        said = ("a room", 0.1, True, "a dog") if self._unsure else ("a dog", None, False, None)
        text, *judged = said
        return [Caption(text, -1.0 + _nearness(path), language, "m", "fp32", *judged) for path in photos]

    def embed_images(self, photos: Sequence[Path]) -> NDArray[np.float32]:
        return np.array([[_nearness(path), np.sqrt(1 - _nearness(path) ** 2)] for path in photos], np.float32)

    def embed_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        assert list(texts) == ["a dog"]
        return np.array([[1.0, 0.0]], np.float32)


class Vague(Writer):
    """Neither how likely it finds its captions nor how well they fit tells anything."""

    def caption(self, photos: Sequence[Path], *, language: str) -> list[Caption]:
        return [Caption("a dog", -1.0, language, "m", "fp32") for _ in photos]

    def embed_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return np.array([[0.0, 1.0 if text == "a photo" else 0.0] for text in texts], np.float32)


def _nearness(path: Path) -> float:
    return int(path.stem) % 97 / 100


@pytest.fixture
def records() -> list[CaptionRecord[Path]]:
    """Photos with a dog, the more the nearer their vectors are to "a dog", and others with a man."""
    draw = np.random.default_rng(0)
    found = []
    for number in range(400):
        path = Path(f"{number}.png")
        there = "the dog" if draw.random() < _nearness(path) else "a man"
        found.append(CaptionRecord(path, ((there, "en"),), number))
    return found


def fit(records: Sequence[CaptionRecord[Path]], model: Writer | None = None, **more: Any) -> Any:
    return fit_captions(model or Writer(), records, "en", WORDS, **more)  # type: ignore[arg-type]


def test_it_is_fitted_on_even_photos_and_measured_on_odd_ones(records: list[CaptionRecord[Path]]) -> None:
    fitted, report = fit(records, right_percent=70, least=0.1)
    assert report["fitted_on"]["n"] == report["others"]["n"] == 200
    for half in ("fitted_on", "others"):
        assert report[half]["right_of_unsure"] < 50 < 65 < report[half]["right_of_shown"]
        assert report[half]["ece"] < 12
    assert report["fitted_on"]["right_of_shown"] >= 70
    assert 20 < report["others"]["unsure"] < 80
    # What stands with the other photos has no part in it.
    other = [
        CaptionRecord(one.photo, (("a dog", "en"),), one.photo_id) if int(one.photo_id) % 2 else one
        for one in records
    ]
    again, measured = fit(other, right_percent=70, least=0.1)
    assert again == fitted
    assert measured["others"]["right"] == 100.0


def test_what_says_less_is_held_against_it(records: list[CaptionRecord[Path]]) -> None:
    """The better "a photo" fits a photo, the less there is a dog."""
    fitted, report = fit(records, Vague(), right_percent=60, instead=["a photo"])
    assert fitted.contrast_weight > 1
    assert report["contrast_weight"] == pytest.approx(fitted.contrast_weight, abs=1e-4)
    assert report["others"]["right_of_unsure"] < 50 < 60 < report["others"]["right_of_shown"]
    assert fit(records, Vague(), right_percent=40)[0].contrast_weight == 0


def test_what_was_fitted_before_has_no_part_in_it(records: list[CaptionRecord[Path]]) -> None:
    """What the model wrote is judged, and not what it says instead."""
    assert fit(records, Writer(unsure=True), right_percent=60) == fit(records, right_percent=60)


def test_a_caption_that_is_likelier_wrong_is_never_shown(records: list[CaptionRecord[Path]]) -> None:
    assert fit(records, right_percent=1)[0].unsure_below == 0.5
    assert fit(records, right_percent=1, least=0.77)[0].unsure_below == 0.77


def test_what_cannot_be_reached_is_said(records: list[CaptionRecord[Path]]) -> None:
    with pytest.raises(UsageError, match="100 of 100"):
        fit(records, right_percent=100)


@pytest.mark.parametrize(
    ("caption", "language", "names", "right"),
    [
        ("two Dogs in the snow", "en", ("dog",), True),
        ("a hotdog stand", "en", ("dog",), False),
        ("a tin can", "en", ("cup", "can"), True),
        ("一只狗在雪里", "zh", ("狗",), True),
        ("a dog", "en", (), False),
    ],
)
def test_a_caption_says_what_a_photo_shows(
    caption: str, language: str, names: tuple[str, ...], right: bool
) -> None:
    assert NamedPhoto(Path("a.png"), names).said_by(caption, language) is right


def test_photos_of_other_kinds_have_their_part_in_it(records: list[CaptionRecord[Path]]) -> None:
    """Pictures of nothing that look as near as photos of dogs make the model surer of less."""
    alone, _ = fit(records, right_percent=40)
    nothing = [NamedPhoto(Path(f"{number}.png"), ()) for number in range(200)]
    fitted, report = fit_captions(Writer(), records, "en", WORDS, named=nothing, right_percent=40)  # type: ignore[arg-type]
    assert fitted.unsure_below >= alone.unsure_below and fitted != alone
    assert report["captioned"]["n"] == 200 and report["of_nothing"] == {**report["of_nothing"], "n": 100}
    assert report["of_nothing"]["right"] == 0.0 and "named" not in report
    dogs = [NamedPhoto(Path(f"{number}.png"), ("dog",)) for number in range(200)]
    _, report = fit_captions(Writer(), records, "en", WORDS, named=dogs, right_percent=40)  # type: ignore[arg-type]
    assert report["named"]["right"] == 100.0


class Knowing(Writer):
    """Also answers whether there is a dog, and knows it better than its captions do."""

    def ask(self, photos: Sequence[Path], questions: Sequence[str], *, top: int) -> list[Answer]:
        assert set(questions) == {"is there a dog?"} and top == 2
        found = []
        for path in photos:
            yes = 0.95 if _dogs(int(path.stem)) else 0.05
            told = (Alternative("no", 1 - yes), Alternative("yes", yes))
            found.append(Answer(told[0].answer, told[0].confidence, told, False, "m", "fp32"))
        return found


def _dogs(number: int) -> bool:
    return number % 7 < 4


def test_what_the_model_answers_is_held_against_its_captions() -> None:
    records = [
        CaptionRecord(Path(f"{n}.png"), ((("the dog" if _dogs(n) != (n % 31 == 0) else "a man"), "en"),), n)
        for n in range(400)
    ]
    things = [AskedThing(question="is there a dog?", words=("dog",))]
    blind, blindly = fit_captions(Knowing(), records, "en", WORDS, things=(), right_percent=60, least=0.1)  # type: ignore[arg-type]
    fitted, report = fit_captions(Knowing(), records, "en", WORDS, things=things, right_percent=60, least=0.5)  # type: ignore[arg-type]
    assert (blind.presence_weight, blind.things) == (0.0, ())
    assert fitted.presence_weight > 0 and fitted.things == tuple(things)
    assert report["others"]["right_of_shown"] > 90 > blindly["others"]["right_of_shown"]
    assert report["others"]["right_of_unsure"] < 10
    # A caption that names nothing is asked nothing about.
    nothing = [AskedThing(question="is there a cat?", words=("cat",))]
    unasked, _ = fit_captions(Knowing(), records, "en", WORDS, things=nothing, right_percent=55, least=0.1)  # type: ignore[arg-type]
    assert unasked.presence_weight == 0


def test_things_are_read_by_language(tmp_path: Path) -> None:
    (tmp_path / "things.json").write_text(
        '{"en": [{"question": "is there a dog?", "words": ["dog", "dogs"], "unless": ["hot dog"]}], "zh": []}'
    )
    (dog,) = read_things(tmp_path / "things.json")["en"]
    assert dog == AskedThing(question="is there a dog?", words=("dog", "dogs"), unless=("hot dog",))


def test_names_are_read_from_where_their_file_lies(tmp_path: Path) -> None:
    (tmp_path / "names.json").write_text(
        '{"a/b.png": {"en": ["cup"]}, "c.png": {"en": [], "zh": []}}', "utf-8"
    )
    assert read_named(tmp_path / "names.json", "zh") == [NamedPhoto(tmp_path / "c.png", ())]
    assert read_named(tmp_path / "names.json", "en")[0] == NamedPhoto(tmp_path / "a/b.png", ("cup",))


def test_the_manifest_keeps_it(tmp_path: Path) -> None:
    old = make_manifest(ToyEngine(), format=1)
    (tmp_path / MANIFEST_NAME).write_text(manifest_json(old), "utf-8")
    one, other = (
        CaptionConfidence(bias=bias, log_prob_weight=1, match_weight=2, unsure_below=0.5) for bias in (1, 2)
    )
    keep_fitted(tmp_path, {"en": one, "zh": one})
    keep_fitted(tmp_path, {"zh": other})
    found = read_manifest(tmp_path)
    assert found.score.captions == {"en": one, "zh": other}
    assert found.format == 2
    assert found.model_copy(update={"score": old.score, "format": 1}) == old
