"""Captions chosen among the beams by how well they fit their photo."""

from __future__ import annotations

import itertools
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from seetell.core.errors import TaskUnavailable, UsageError
from seetell.runtime.generation import GenerationOptions
from seetell.tasks.model import Model
from tests.tasks.conftest import MakeModel


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("weight", [0.3, 5.0, 1e6])
def test_the_first_is_the_likeliest_and_best_fitting(
    model: Model, photos: list[Path], weight: float, language: str
) -> None:
    plain = GenerationOptions(beams=5, max_tokens=12)
    fitted = GenerationOptions(beams=5, max_tokens=12, fit_weight=weight)
    moved = 0
    for photo in photos:
        beams = model.captions(photo, 5, language=language, options=plain)
        image = model.embed_images(photo)[0]
        # An empty text points nowhere.
        cosine = {one.text: float(image @ model.embed_texts(one.text)[0]) if one.text else 0 for one in beams}
        found = model.captions(photo, 5, language=language, options=fitted)
        assert sorted(found, key=lambda one: one.text) == sorted(beams, key=lambda one: one.text)
        worth = [one.score + weight * cosine[one.text] for one in found]
        assert all(later <= earlier + 1e-6 * (1 + weight) for earlier, later in itertools.pairwise(worth))
        assert model.caption(photo, language=language, options=fitted) == found[0]
        moved += found[0] != beams[0]
    assert moved or weight < 1


def test_many_photos_at_once_are_as_each_alone(model: Model, photos: list[Path]) -> None:
    options = GenerationOptions(beams=3, max_tokens=12, fit_weight=3.0)
    assert model.caption(photos, options=options) == [model.caption(one, options=options) for one in photos]


def test_few_numbers_of_texts_are_met(
    model: Model, photos: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """How many of the beams differ is chance; an engine makes a graph ready for every number of rows."""
    rows: list[int] = []
    run = model.engine.run

    def spied(role: str, inputs: Any, *more: Any) -> Any:
        if role == "text_encoder":
            rows.append(len(inputs["input_ids"]))
        return run(role, inputs, *more)

    monkeypatch.setattr(model.engine, "run", spied)
    for beams in range(2, 6):
        model.caption(photos, options=GenerationOptions(beams=beams, max_tokens=12, fit_weight=1.0))
        model.caption(photos[0], options=GenerationOptions(beams=beams, max_tokens=12, fit_weight=1.0))
    assert rows and all(count % 8 == 0 for count in rows)


def test_without_beams_there_is_nothing_to_choose(model: Model, photos: list[Path]) -> None:
    alone = model.caption(photos, options=GenerationOptions(max_tokens=12, fit_weight=3.0))
    assert alone == model.caption(photos, options=GenerationOptions(max_tokens=12))


@pytest.mark.parametrize("beams", range(2, 6))
def test_what_is_told_before_is_still_the_beginning(model: Model, photos: list[Path], beams: int) -> None:
    options = GenerationOptions(beams=beams, max_tokens=20, repetition_penalty=1.3, fit_weight=50.0)
    told: dict[int, list[str]] = defaultdict(list)

    def on_text(place: int, text: str) -> bool:
        told[place].append(text)
        return True

    found = list(model.stream("caption", photos, options=options, on_text=on_text))
    assert found == model.caption(photos, options=options)
    for place, starts in told.items():
        for earlier, later in zip(starts, [*starts[1:], found[place].text], strict=True):
            assert later.startswith(earlier)


def test_a_model_that_embeds_no_texts_says_so(make_model: MakeModel, photos: list[Path]) -> None:
    model = make_model(without=("text_encoder",))
    with pytest.raises(TaskUnavailable, match="fit_weight"):
        model.caption(photos[0], options=GenerationOptions(beams=3, fit_weight=1.0))
    assert model.caption(photos[0], options=GenerationOptions(beams=3)).text


@pytest.mark.parametrize("weight", [-1.0, float("nan"), float("inf")])
def test_weights_that_cannot_be_meant(weight: float) -> None:
    with pytest.raises(UsageError, match="fit_weight"):
        GenerationOptions(fit_weight=weight)


def test_the_models_default_is_left_behind_by_another_method(make_model: MakeModel) -> None:
    model = make_model(generation={"beams": 3, "fit_weight": 2.0})
    assert model.generation_options().fit_weight == 2.0
    assert model.generation_options(method="mask_predict").fit_weight == 0
    with pytest.raises(UsageError, match="fit_weight"):
        model.generation_options(method="mask_predict", fit_weight=1.0)
