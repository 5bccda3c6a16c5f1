"""Whether a caption was ended by its bound on tokens."""

from __future__ import annotations

from pathlib import Path

import pytest

from seetell.runtime.generation import GenerationOptions
from seetell.tasks.model import Model


@pytest.mark.parametrize("beams", [1, 3])
def test_what_may_not_end_is_cut(model: Model, photos: list[Path], beams: int) -> None:
    options = GenerationOptions(beams=beams, max_tokens=4, min_tokens=4)
    assert all(one.cut for one in model.caption(photos, options=options))


def test_what_would_go_on_is_cut_and_what_ended_is_not(model: Model, photos: list[Path]) -> None:
    short, long = (
        model.caption(photos, options=GenerationOptions(max_tokens=most, repetition_penalty=1.3))
        for most in (4, 20)
    )
    went_on = [one.text != other.text for one, other in zip(short, long, strict=True)]
    assert [one.cut for one in short] == went_on
    assert set(went_on) == {True, False}


def test_mask_predict_is_told_how_long_and_cuts_nothing(model: Model, photos: list[Path]) -> None:
    options = GenerationOptions(method="mask_predict", max_tokens=6)
    assert not any(one.cut for one in model.caption(photos, options=options))
