"""Fitting how probable it is that hits and labels fit: queries from captions, and the fit into a manifest."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from benchmarks.search_confidence import (
    LABELS,
    LANGUAGES,
    SCENERY_FROM,
    Photos,
    Things,
    absent,
    composed,
    listed,
    present,
    read_labelled,
    read_things,
    with_fit,
)

from seetell.bundle.manifest import FORMAT, FitProbability, manifest_json, parse_manifest
from tests.runtime.toy import ToyEngine, make_manifest

THINGS = read_things()
EN = [
    "a man and his dog run on the grass .",
    "two puppies play with a red ball in the snow .",
    "a boy rides a bicycle down the street .",
    "a girl in a blue hat sits on a bench .",
]
ZH = [
    "男人和狗在草地上奔跑。",
    "两只狗在雪地里玩红色的球。",
    "男孩在街上骑自行车。",
    "戴蓝色帽子的女孩坐在长椅上。",
]


@pytest.fixture
def photos() -> Photos:
    captions = {"en": [[text] for text in EN], "zh": [[text] for text in ZH]}
    fits = THINGS.said("en", EN) | THINGS.said("zh", ZH)
    return Photos([Path(f"{number}.jpg") for number in range(4)], captions, fits)


def test_every_thing_has_a_name_of_its_own_in_both_languages() -> None:
    for language in LANGUAGES:
        names = THINGS.names(language)
        assert len(names) == len(set(names)) > 400
    assert SCENERY_FROM in THINGS.names("en")


def test_what_captions_name() -> None:
    things = Things(
        {"en": [["dog", "puppy"], ["hot dog"], ["bus"], ["sheep"]], "zh": [["狗"], ["热狗"], ["车"], ["羊"]]}
    )
    texts = ["Two puppies.", "a hot dog", "dogs, buses and sheep", "a doghouse"]
    assert things.said("en", texts).tolist() == [
        [True, False, False, False],
        [True, True, False, False],
        [True, False, True, True],
        [False, False, False, False],
    ]
    assert things.said("zh", ["两只狗在车里"]).tolist() == [[True, False, True, False]]


@pytest.mark.parametrize("language", LANGUAGES)
def test_queries_for_what_is_there_and_what_is_not(photos: Photos, language: str) -> None:
    there = present(photos, THINGS, language, 9, 0)
    assert len(there) == len({query.text for query in there}) > 4
    for query in there:
        assert query.fits.any()
        named = THINGS.said(language, [query.text])[0]
        if query.kind != "caption":
            # Other words for a thing name it as well.
            assert (photos.fits[query.fits][:, named].any(axis=0)).any()
    gone = absent(photos, THINGS, language, 50, 0)
    assert len({query.text for query in gone}) == 50
    places = [THINGS.names(language).index(query.text) for query in gone]
    assert not photos.fits[:, places].any()
    assert not any(query.fits.any() for query in [*gone, *composed(photos, language)])
    assert [one.text for one in absent(photos, THINGS, language, 50, 0)] == [one.text for one in gone]


def test_every_second_list_has_a_label_that_fits(photos: Photos) -> None:
    lists = listed(photos, THINGS, 40, 0)
    scenery = THINGS.names("en").index(SCENERY_FROM)
    for number, one in enumerate(lists):
        assert len(one.labels) == len(set(one.labels)) == LABELS
        assert max(one.labels) < scenery
        assert one.fits.tolist() == photos.fits[one.photo, one.labels].tolist()
        assert one.fits.any() == (number % 2 == 0)


def test_a_fit_is_kept_in_the_manifest() -> None:
    manifest = make_manifest(ToyEngine(40)).model_copy(update={"format": 1})
    fit = FitProbability(
        bias=1, cosine=2, contrast=3, mean=4, spread=5, skewness=6, nothing_below=0.4, hit_below=0.1
    )
    updated = with_fit(manifest, {"en": fit}, {"en": fit}, THINGS, "AAAA")
    again = parse_manifest(manifest_json(updated), "here")
    assert again == updated
    assert (again.format, again.score.search["en"], again.score.background) == (FORMAT, fit, "AAAA")
    assert list(again.prompts["contrast"]) == ["en"]
    assert again.prompts["contrast"]["en"] == tuple(THINGS.names("en"))
    assert {**again.prompts} == {**manifest.prompts, "contrast": again.prompts["contrast"]}
    assert np.isclose(again.score.logit_scale, manifest.score.logit_scale)


def test_labelled_photos_show_what_their_folder_says(tmp_path: Path) -> None:
    for name, numbers in {"crocodile": range(12), "airplanes": range(2), "qwerty": range(3)}.items():
        (tmp_path / name).mkdir()
        for number in numbers:
            (tmp_path / name / f"{number:04}.jpg").touch()
    taught = read_labelled(tmp_path, THINGS, 4, held_out=False)
    assert [path.parent.name for path in taught.paths] == ["airplanes"] * 2 + ["crocodile"] * 4
    held = read_labelled(tmp_path, THINGS, 4, held_out=True)
    assert [path.name for path in held.paths] == ["0009.jpg"]
    assert held.captions == {"en": [["alligator"]], "zh": [["鳄鱼"]]}
    both = taught + held
    assert len(both.paths) == len(both.fits) == 7
    (query,) = [one for one in present(both, THINGS, "en", 3, 0) if one.text == "alligator"]
    assert query.fits.tolist() == [False] * 2 + [True] * 5
