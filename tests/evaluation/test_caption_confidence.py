"""Which captions are right, a logistic regression on what is known of them, and whether it is believable."""

from __future__ import annotations

import numpy as np
import pytest

from seetell.core.errors import UsageError
from seetell.evaluation.caption_confidence import (
    FittedConfidence,
    equal_mass_ece,
    fit_confidence,
    names_only,
)
from seetell.evaluation.chair import Vocabulary

WORDS = Vocabulary([["person", "man", "boy"], ["dog", "puppy"], ["bench"], ["cat"]])
SAID = [("a man sits on a bench with his puppy", "en"), ("a boy outside", "en"), ("一个人和狗", "zh")]


@pytest.mark.parametrize(
    ("caption", "language", "right"),
    [
        ("a dog runs", "en", True),
        ("a boy and two dogs on a bench", "en", True),
        ("a cat sleeps", "en", False),
        ("a man and his cat", "en", False),
        ("something blue", "en", True),
        ("", "en", True),
        ("一只狗", "zh", True),
        # English captions name it, and Chinese tells benches and chairs not apart.
        ("一个男人坐在椅子上", "zh", True),
        ("一只猫", "zh", False),
    ],
)
def test_a_caption_names_only_what_somebody_named(caption: str, language: str, right: bool) -> None:
    assert names_only(caption, language, SAID, WORDS) == right


def test_without_english_words_the_chinese_captions_alone_count() -> None:
    assert names_only("一只狗", "zh", SAID, None)
    assert not names_only("一把椅子", "zh", SAID, None)
    with pytest.raises(UsageError, match="synonyms"):
        names_only("a dog", "en", SAID, None)
    with pytest.raises(UsageError, match="'de'"):
        names_only("ein Hund", "de", SAID, WORDS)


def test_the_weights_that_made_the_data_are_found() -> None:
    draw = np.random.default_rng(0)
    scores, cosines = draw.normal(-1.0, 0.4, 40_000), draw.normal(0.3, 0.1, 40_000)
    made = FittedConfidence(bias=0.5, log_prob_weight=2.0, match_weight=6.0)
    right = draw.random(40_000) < made.chances(scores, cosines)
    found = fit_confidence(scores.tolist(), cosines.tolist(), right.tolist())
    assert found.bias == pytest.approx(0.5, abs=0.15)
    assert found.log_prob_weight == pytest.approx(2.0, abs=0.1)
    assert found.match_weight == pytest.approx(6.0, abs=0.4)
    assert equal_mass_ece(found.chances(scores, cosines).tolist(), right.tolist()) < 1.5
    assert found.chances(np.array([-1.0]), np.array([0.25])) == pytest.approx(1 / (1 + np.exp(0.0)), abs=0.03)


def test_what_the_model_answers_weighs_too() -> None:
    draw = np.random.default_rng(2)
    scores, cosines, there = (draw.normal(size=20_000) for _ in range(3))
    made = FittedConfidence(0.5, 1.0, 0.5, 2.0)
    right = draw.random(20_000) < made.chances(scores, cosines, there)
    found = fit_confidence(scores.tolist(), cosines.tolist(), right.tolist(), there.tolist())
    assert found.presence_weight == pytest.approx(2.0, abs=0.15)
    assert found.match_weight == pytest.approx(0.5, abs=0.1)
    assert fit_confidence(scores.tolist(), cosines.tolist(), right.tolist()).presence_weight == 0
    with pytest.raises(UsageError, match="give all of each"):
        fit_confidence([-1.0, -2.0], [0.1, 0.2], [True, False], [0.0])


def test_what_fits_and_says_less_weighs_against() -> None:
    draw = np.random.default_rng(4)
    scores, cosines, less = (draw.normal(size=20_000) for _ in range(3))
    made = FittedConfidence(0.5, 1.0, 2.0, contrast_weight=1.5)
    right = draw.random(20_000) < made.chances(scores, cosines, None, less)
    found = fit_confidence(scores.tolist(), cosines.tolist(), right.tolist(), contrast=less.tolist())
    assert found.contrast_weight == pytest.approx(1.5, abs=0.15)
    assert (found.match_weight, found.presence_weight) == (pytest.approx(2.0, abs=0.15), 0)
    # Where it speaks for a caption, chance is at work, and it counts for nothing.
    found = fit_confidence(scores.tolist(), cosines.tolist(), right.tolist(), contrast=(-less).tolist())
    assert found.contrast_weight == 0


def test_what_speaks_for_a_caption_never_speaks_against_it() -> None:
    """Where the likelier are more often wrong, likelihood tells nothing, and the rest is fitted alone."""
    draw = np.random.default_rng(3)
    scores, cosines, there = (draw.normal(size=5_000) for _ in range(3))
    right = draw.random(5_000) < FittedConfidence(0.5, -2.0, 1.0, 1.0).chances(scores, cosines, there)
    found = fit_confidence(scores.tolist(), cosines.tolist(), right.tolist(), there.tolist())
    assert found.log_prob_weight == 0 and found.match_weight > 0.3 and found.presence_weight > 0.3
    alone = fit_confidence([0.0] * 5_000, cosines.tolist(), right.tolist(), there.tolist())
    assert (alone.bias, alone.match_weight) == pytest.approx((found.bias, found.match_weight), abs=1e-6)
    # Nothing that speaks for any of them is left: all are as probable as their share.
    none = fit_confidence((-cosines).tolist(), (-there).tolist(), right.tolist())
    assert (none.log_prob_weight, none.match_weight) == (0, 0)
    assert none.chances(scores, cosines) == pytest.approx(right.mean(), abs=1e-6)


def test_the_mean_of_what_is_fitted_is_the_share_that_is_right() -> None:
    """Of the score equations of maximum likelihood, that of the bias."""
    draw = np.random.default_rng(1)
    scores, cosines = draw.normal(size=200), draw.normal(size=200)
    right = draw.random(200) < 0.7
    found = fit_confidence(scores.tolist(), cosines.tolist(), right.tolist())
    assert found.chances(scores, cosines).mean() == pytest.approx(right.mean(), abs=1e-6)


def test_what_is_told_apart_without_a_mistake_has_finite_weights() -> None:
    found = fit_confidence([-1.0, -2.0, -3.0, -4.0], [0.0] * 4, [True, True, False, False])
    assert np.isfinite([found.bias, found.log_prob_weight]).all()
    assert found.match_weight == 0
    assert found.chances(np.array([-1.0, -4.0]), np.zeros(2)).round().tolist() == [1, 0]


@pytest.mark.parametrize("right", [[True, True], [False, False], [True]])
def test_nothing_to_fit(right: list[bool]) -> None:
    with pytest.raises(UsageError):
        fit_confidence([-1.0, -2.0], [0.1, 0.2], right)


def test_calibration_error_over_bins_of_equally_many() -> None:
    assert equal_mass_ece([0.0, 1.0, 0.0, 1.0], [False, True, False, True], bins=2) == 0
    # The lower half says 0.2 where half are right, the upper 0.9 where all are.
    chances, right = [0.2, 0.2, 0.9, 0.9], [True, False, True, True]
    assert equal_mass_ece(chances, right, bins=2) == pytest.approx(100 * (0.6 + 0.2) / 4)
    assert equal_mass_ece([0.5], [True], bins=10) == pytest.approx(50)
