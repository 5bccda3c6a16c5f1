"""Captions that know when they are unsure, and then say less."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from seetell.bundle.manifest import AskedThing
from seetell.core.results import Caption
from seetell.runtime.generation import GenerationOptions
from seetell.runtime.generation.repeats import repeats, words_of
from seetell.tasks.model import Model
from seetell.tasks.sureness import Naming, presence
from tests.tasks.conftest import MakeModel

LESS = {"en": ["a room", "a dog outside", "a picture of something"], "zh": ["一个男人", "草地"]}
# Of photo and text; so large that the nearest text is more probable than the others.
SCALE = 9.0
FITTED = {"bias": 4.0, "log_prob_weight": 2.0, "match_weight": 3.0}
GREEDY = GenerationOptions(max_tokens=12, min_tokens=4)
BEAMS = GenerationOptions(beams=4, max_tokens=12, min_tokens=4)


def with_threshold(make_model: MakeModel, unsure_below: float, **changes: Any) -> Model:
    fitted = {language: {**FITTED, "unsure_below": unsure_below} for language in ("en", "zh")}
    score = {"captions": fitted, "logit_scale": SCALE}
    return make_model(score=score, **{"prompts": {"unsure": LESS}, **changes})


def confidence_of(model: Model, photo: Path, caption: Caption) -> float:
    cosine = float(model.embed_images(photo)[0] @ model.embed_texts(caption.written)[0])
    return 1 / (1 + math.exp(-(4.0 + 2.0 * caption.score + 3.0 * cosine)))


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("beams", [1, 3])
@pytest.mark.parametrize("fit_weight", [0.0, 2.0])
def test_what_is_below_the_threshold_says_less(
    make_model: MakeModel, model: Model, photos: list[Path], language: str, beams: int, fit_weight: float
) -> None:
    options = GenerationOptions(beams=beams, max_tokens=12, min_tokens=4, fit_weight=fit_weight)
    plain = model.caption(photos, language=language, options=options)
    chances = [confidence_of(model, *pair) for pair in zip(photos, plain, strict=True)]
    below = float(np.median(chances))
    texts = LESS[language]
    vectors = model.embed_texts(texts)
    unsure = 0
    judging = with_threshold(make_model, below)
    for photo, before, chance in zip(photos, plain, chances, strict=True):
        found = judging.caption(photo, language=language, options=options)
        assert found.confidence == pytest.approx(chance, abs=1e-5)
        assert found.unsure == (chance < below)
        assert found.written == before.text
        unsure += found.unsure
        if found.unsure:
            fitting = texts[int((vectors @ model.embed_images(photo)[0]).argmax())]
            assert (found.text, found.guess) == (fitting, before.text)
            assert found.score == before.score
        else:
            assert found == replace(before, confidence=found.confidence)
    assert 0 < unsure < len(photos)
    assert judging.caption(photos, language=language, options=options) == [
        judging.caption(photo, language=language, options=options) for photo in photos
    ]


@pytest.mark.parametrize(("scale", "texts"), [(0.0, {2}), (SCALE, {0, 1, 2})])
def test_where_no_text_stands_out_the_last_is_said(
    make_model: MakeModel, photos: list[Path], scale: float, texts: set[int]
) -> None:
    fitted = {"en": {**FITTED, "unsure_below": 1.0}}
    model = make_model(score={"captions": fitted, "logit_scale": scale}, prompts={"unsure": LESS})
    vectors = model.embed_texts(LESS["en"])
    for photo in photos:
        logits = np.exp(scale) * (vectors @ model.embed_images(photo)[0]).astype(np.float64)
        chances = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
        place = int(chances.argmax()) if chances.max() >= 0.5 else 2
        assert place in texts
        assert model.caption(photo, options=GREEDY).text == LESS["en"][place]


def test_each_of_several_captions_is_judged(make_model: MakeModel, photos: list[Path]) -> None:
    below = 0.5
    model = with_threshold(make_model, below)
    options = GenerationOptions(beams=4, max_tokens=12, min_tokens=4)
    for photo in photos[:4]:
        found = model.captions(photo, 4, options=options)
        assert [one.written for one in found] == [
            one.text for one in make_model().captions(photo, 4, options=options)
        ]
        for one in found:
            assert one.confidence == pytest.approx(confidence_of(model, photo, one), abs=1e-5)
            assert one.unsure == (one.confidence is not None and one.confidence < below)


def test_what_the_bundle_does_not_say_is_not_known(make_model: MakeModel, photos: list[Path]) -> None:
    english = {"captions": {"en": {**FITTED, "unsure_below": 1.0}}}
    model = make_model(score=english, prompts={"unsure": LESS})
    assert model.caption(photos[0], options=GREEDY).unsure
    for found in (
        model.caption(photos[0], language="zh", options=GREEDY),
        # It was fitted on captions from the first word on, written one after the other.
        model.caption(photos[0], options=GenerationOptions(max_tokens=12, min_tokens=4, prompt="a dog")),
        model.caption(photos[0], options=model.generation_options(method="mask_predict")),
        make_model().caption(photos[0], options=GREEDY),
        make_model(without=("text_encoder",), score=english).caption(photos[0], options=GREEDY),
    ):
        assert (found.confidence, found.unsure, found.guess) == (None, False, None)


ASKED = {
    "en": [("is there a dog?", ["dog", "dogs"], ["hot dog"]), ("is there a man?", ["man"], [])],
    "zh": [("有狗吗？", ["狗"], []), ("有男人吗？", ["男", "草地"], [])],
}


def things_of(language: str) -> list[dict[str, Any]]:
    return [{"question": asked, "words": words, "unless": less} for asked, words, less in ASKED[language]]


@pytest.mark.parametrize(
    ("text", "language", "questions"),
    [
        ("Two Dogs beside a man", "en", ["is there a dog?", "is there a man?"]),
        ("a woman eats a hot dog", "en", []),
        ("a dog eats a hot dog", "en", ["is there a dog?"]),
        ("一只狗在草地上", "zh", ["有狗吗？", "有男人吗？"]),
        ("一只猫", "zh", []),
    ],
)
def test_what_a_text_names_is_asked_for(text: str, language: str, questions: list[str]) -> None:
    naming = Naming([AskedThing(**one) for one in things_of(language)], language)
    assert naming.questions(text) == questions


def test_presence_is_the_least_of_the_odds() -> None:
    assert presence([0.9, 0.5, None]) == 0
    assert presence([0.9, 0.8]) == pytest.approx(math.log(4))
    assert presence([]) == presence([None]) == 0
    assert [presence([0.0]), presence([1.0])] == pytest.approx([math.log(1e-4), -math.log(1e-4)], abs=1e-3)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_caption_is_held_against_what_the_model_answers(
    make_model: MakeModel, photos: list[Path], language: str
) -> None:
    """In one go with the captions, and as by one question after the other."""
    answers = ("yes", "no", "有", "没有", "red")
    plain = {
        photo: make_model(answers=answers).captions(photo, 2, language=language, options=BEAMS)
        for photo in photos
    }
    things = things_of(language)
    # Of what the toy says, half are named.
    said = sorted({one.text for several in plain.values() for one in several})
    things[0]["words"] = said[::2]
    fitted = {language: {**FITTED, "presence_weight": 1.5, "things": things}}
    model = make_model(score={"captions": fitted, "answer_temperature": 2.0}, answers=answers)
    naming = Naming([AskedThing(**one) for one in things], language)
    asked = 0
    for photo in photos:
        found = model.captions(photo, 2, language=language, options=BEAMS)
        assert [one.text for one in found] == [one.text for one in plain[photo]]
        for one in found:
            odds = []
            for question in naming.questions(one.text):
                told = model.ask(photo, question, top=2).alternatives
                yes = next(way.confidence for way in told if way.answer in ("yes", "有"))
                odds.append(math.log(yes / (1 - yes)))
            asked += len(odds)
            cosine = float(model.embed_images(photo)[0] @ model.embed_texts(one.text)[0])
            logit = 4.0 + 2.0 * one.score + 3.0 * cosine + 1.5 * min(odds, default=0.0)
            assert one.confidence == pytest.approx(1 / (1 + math.exp(-logit)), abs=1e-5)
    assert 0 < asked < 2 * len(photos)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_caption_is_held_against_what_says_less(
    make_model: MakeModel, photos: list[Path], language: str
) -> None:
    fitted = {language: {**FITTED, "contrast_weight": 2.5}}
    model = make_model(score={"captions": fitted}, prompts={"unsure": LESS})
    less = model.embed_texts(LESS[language])
    for photo in photos:
        found = model.caption(photo, language=language, options=GREEDY)
        image = model.embed_images(photo)[0]
        cosine = float(image @ model.embed_texts(found.text)[0])
        logit = 4.0 + 2.0 * found.score + 3.0 * cosine - 2.5 * float(less[-1] @ image)
        assert found.confidence == pytest.approx(1 / (1 + math.exp(-logit)), abs=1e-5)
    without = make_model(score={"captions": fitted}, prompts={})
    assert without.caption(photos[0], language=language, options=GREEDY).confidence is None


def test_what_nobody_can_be_asked_leaves_a_caption_unjudged(
    make_model: MakeModel, photos: list[Path]
) -> None:
    fitted = {"en": {**FITTED, "presence_weight": 1.5, "things": things_of("en"), "unsure_below": 1.0}}
    model = make_model(score={"captions": fitted}, without=("fusion_encoder",))
    assert model.caption(photos[0], options=GREEDY).confidence is None


def test_without_anything_to_say_instead_the_caption_stays(make_model: MakeModel, photos: list[Path]) -> None:
    model = with_threshold(make_model, 1.0, prompts={})
    found = model.caption(photos[0], options=GREEDY)
    assert found.unsure
    assert found.text == found.guess == make_model().caption(photos[0], options=GREEDY).text


def told_of(model: Model, photos: list[Path], wanted: int = 1000) -> tuple[dict[int, list[str]], list[Any]]:
    told: dict[int, list[str]] = defaultdict(list)

    def on_text(place: int, text: str) -> bool:
        told[place].append(text)
        return len(told[place]) < wanted

    return told, list(model.stream("caption", photos, options=GREEDY, on_text=on_text))


def test_nothing_is_told_before_a_caption_is_judged(make_model: MakeModel, photos: list[Path]) -> None:
    told, found = told_of(with_threshold(make_model, 0.5), photos)
    assert any(one.unsure for one in found) and not all(one.unsure for one in found)
    assert sorted(told) == list(range(len(photos)))
    assert {text for starts in told.values() for text in starts} == {""}
    # Nobody waits any more, and is still asked.
    told, _ = told_of(with_threshold(make_model, 0.5), photos[:1], wanted=2)
    assert len(told[0]) == 2


@pytest.mark.parametrize(("below", "texts"), [(0.0, LESS), (1.0, {})])
def test_what_cannot_be_replaced_is_told_as_it_is_written(
    make_model: MakeModel, photos: list[Path], below: float, texts: Any
) -> None:
    told, found = told_of(with_threshold(make_model, below, prompts={"unsure": texts}), photos)
    for place, starts in told.items():
        assert found[place].text.startswith(starts[-1]) and starts[-1]
        assert found[place].confidence is not None


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("changes", [{"beams": 1}, {"beams": 4}, {"method": "mask_predict"}])
def test_captions_say_nothing_again_where_the_bundle_says_so(
    make_model: MakeModel, photos: list[Path], changes: dict[str, Any], language: str
) -> None:
    model = make_model(generation={"no_repeat": 3, "max_tokens": 24, "min_tokens": 12})
    options = model.generation_options(**changes)
    assert options.no_repeat == 3
    for found in model.caption(photos[:4], language=language, options=options):
        assert found.text
        assert repeats(words_of(found.text), 3) == 0
    free = model.caption(photos[:4], language=language, options=replace(options, no_repeat=0))
    assert any(repeats(words_of(one.text), 3) for one in free)
