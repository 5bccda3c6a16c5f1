"""How probable it is that a text fits a photo, and that none of some labels does."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seetell.bundle.manifest import FitProbability
from seetell.core.errors import BundleInvalid
from seetell.tasks.context import unit
from seetell.tasks.fitting import (
    BESIDE,
    EVIDENCE,
    Fitting,
    background_text,
    background_vectors,
    evidence,
)
from seetell.tasks.model import Model
from tests.tasks.conftest import MakeModel

CONTRAST = {"en": ["a cat", "a room", "a dog outside", "water", "a man", "grass", "two men"]}
WEIGHTS = {"cosine": 9.0, "contrast": -4.0, "mean": -5.0, "spread": 2.0, "skewness": 0.3, "best": -1.0}
DIM = 8


def vectors(count: int, seed: int, dim: int = DIM) -> Any:
    return unit(np.random.default_rng(seed).normal(size=(count, dim)).astype(np.float32))


def test_evidence_is_what_its_names_say() -> None:
    (text,), photos, others, contrast = vectors(1, 0), vectors(3, 1), vectors(20, 2), vectors(16, 3)
    found = evidence(text, photos, others, contrast)
    assert found.shape == (3, len(EVIDENCE))
    around = [float(one @ text) for one in others]
    mean = sum(around) / 20
    spread = math.sqrt(sum((one - mean) ** 2 for one in around) / 20)
    skewness = sum((one - mean) ** 3 for one in around) / 20 / spread**3
    best = max(around + [float(photo @ text) for photo in photos])
    # The five contrast texts nearest to the text are left out; of the others the best five count.
    others_said = sorted(contrast, key=lambda one: -float(one @ text))[5:]
    for row, photo in zip(found, photos, strict=True):
        cosine = float(photo @ text)
        against = sorted(float(one @ photo) for one in others_said)[-5:]
        said = dict(zip(EVIDENCE, row, strict=True))
        assert said == pytest.approx(
            {
                "cosine": cosine,
                "contrast": sum(against) / 5 - cosine,
                "mean": mean,
                "spread": spread,
                "skewness": skewness,
                "best": best,
            },
            abs=1e-5,
        )


def test_photos_that_are_all_alike_are_no_error() -> None:
    (text,) = vectors(1, 0)
    same = np.repeat(vectors(1, 1), 4, axis=0)
    assert np.isfinite(evidence(text, same, same, vectors(6, 3))).all()


@given(st.floats(-1e4, 1e4), st.floats(-1e4, 1e4), st.integers(1, 9), st.integers(0, 2**31))
def test_chances_are_probabilities_and_grow_with_what_speaks_for_a_photo(
    bias: float, cosine: float, count: int, seed: int
) -> None:
    fitted = FitProbability(bias=bias, cosine=cosine, contrast=0, mean=0, spread=0, skewness=0)
    text, photos = vectors(1, seed)[0], vectors(count, seed + 1)
    chances = Fitting(fitted, text, vectors(9, 3), vectors(7, 4)).chances(photos)
    assert chances.shape == (count,)
    assert ((chances >= 0) & (chances <= 1)).all()
    order = np.argsort(photos @ text)
    grows = np.diff(chances[order]) * np.sign(cosine)
    assert (grows >= 0).all()


def test_few_photos_are_judged_beside_the_background() -> None:
    fitted = FitProbability(bias=0, cosine=1, contrast=0, mean=-1, spread=0, skewness=0)
    (text,), photos, background = vectors(1, 0), vectors(2, 1), vectors(BESIDE + 30, 2)
    judge = Fitting(fitted, text, vectors(9, 3), background)
    alone = photos @ text - (background @ text).mean()
    assert judge.chances(photos) == pytest.approx(1 / (1 + np.exp(-alone)), abs=1e-5)
    among = np.concatenate([photos, background[:BESIDE]])
    beside = photos @ text - (among @ text).mean()
    assert judge.chances(photos, photos) == pytest.approx(1 / (1 + np.exp(-beside)), abs=1e-5)
    assert judge.chances(photos[:0]).shape == (0,)


def test_a_background_is_kept_as_text() -> None:
    given = vectors(5, 0, 64)
    kept = background_vectors(background_text(given), 64)
    assert np.abs(np.linalg.norm(kept, axis=1) - 1).max() < 1e-5
    assert ((kept * given).sum(axis=1) > 0.9999).all()
    for broken in ("no base64!", background_text(vectors(1, 0, 9))):
        with pytest.raises(ValueError, match=r"."):
            background_vectors(broken, 64)


def fitted_model(make_model: MakeModel, nothing_below: float, **score: Any) -> Model:
    plain = make_model()
    dim = plain.embed_texts(["a dog"]).shape[1]
    fit = {"bias": 0.5, **WEIGHTS, "nothing_below": nothing_below}
    return make_model(
        prompts={"contrast": CONTRAST, "classify": {"en": ["a photo of a {}", "{}"]}},
        score={
            "search": {"en": fit},
            "labels": {"en": fit},
            "background": background_text(vectors(12, 5, dim)),
            **score,
        },
    )


def test_the_model_judges_texts_in_languages_that_were_fitted(make_model: MakeModel, model: Model) -> None:
    (text,) = model.embed_texts(["a dog"])
    assert model.fitting("a dog", text) is None
    judging = fitted_model(make_model, 0.5)
    judge = judging.fitting("a dog", text)
    assert judge is not None
    photos = vectors(4, 9, len(text))
    background = background_vectors(judging.manifest.score.background, len(text))
    seen = evidence(text, photos, background, model.embed_texts(CONTRAST["en"]))
    logits = 0.5 + seen @ [WEIGHTS[name] for name in EVIDENCE]
    assert judge.chances(photos) == pytest.approx(1 / (1 + np.exp(-logits)), abs=1e-4)
    assert judging.fitting("一只狗", text) is None
    assert fitted_model(make_model, 0.5, background="").fitting("a dog", text) is None
    with pytest.raises(BundleInvalid, match="background"):
        fitted_model(make_model, 0.5, background="AAAA").fitting("a dog", text)


def test_none_of_the_labels(make_model: MakeModel, model: Model, photos: list[Path]) -> None:
    labels = ["cat", "dog", "tree"]
    for one in model.classify(photos, labels):
        assert (one.none, one.none_probability) == (False, None)
    judging = fitted_model(make_model, 0.0)
    found = judging.classify(photos, labels)
    texts = [form.format(name) for name in labels for form in ("a photo of a {}", "{}")]
    as_labels = unit(model.embed_texts(texts).reshape(3, 2, -1).mean(axis=1))
    contrast = [form.format(name) for name in CONTRAST["en"] for form in ("a photo of a {}", "{}")]
    against = unit(model.embed_texts(contrast).reshape(len(CONTRAST["en"]), 2, -1).mean(axis=1))
    background = background_vectors(judging.manifest.score.background, as_labels.shape[1])
    for one, photo in zip(found, photos, strict=True):
        vector = model.embed_images(photo)
        seen = evidence(as_labels[labels.index(one.label)], vector, background, against)[0]
        chance = 1 / (1 + math.exp(-(0.5 + sum(WEIGHTS[n] * x for n, x in zip(EVIDENCE, seen, strict=True)))))
        assert one.none_probability == pytest.approx(1 - chance, abs=1e-4)
        assert not one.none
    middle = float(np.median([1 - (one.none_probability or 0) for one in found]))
    for before, after in zip(found, fitted_model(make_model, middle).classify(photos, labels), strict=True):
        assert after.none == (1 - (before.none_probability or 0) < middle)
        assert (after.label, after.ranking) == (before.label, before.ranking)
