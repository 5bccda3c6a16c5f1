"""Captions told while they are written: always a beginning of the caption that comes in the end."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from seetell.core.errors import UsageError
from seetell.core.results import Failure
from seetell.runtime.generation import GenerationOptions
from seetell.tasks.model import Model
from tests.tasks.conftest import MakeModel
from tests.tasks.test_policy import Watcher


class Told:
    """What was told of each photo. ``wanted`` until told so often."""

    def __init__(self, wanted: int = 1000) -> None:
        self.starts: dict[int, list[str]] = defaultdict(list)
        self._wanted = wanted

    def __call__(self, place: int, text: str) -> bool:
        self.starts[place].append(text)
        return len(self.starts[place]) < self._wanted


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("beams", range(1, 6))
def test_pieces_join_to_the_caption(model: Model, photos: list[Path], beams: int, language: str) -> None:
    options = GenerationOptions(beams=beams, max_tokens=20, repetition_penalty=1.3, prompt="a dog")
    told = Told()
    found = list(model.stream("caption", photos, language=language, options=options, on_text=told))
    assert found == model.caption(photos, language=language, options=options)
    assert sorted(told.starts) == list(range(len(photos)))
    for place, starts in told.starts.items():
        for earlier, later in zip(starts, [*starts[1:], found[place].text], strict=True):
            assert later.startswith(earlier)
        # The prompt is certain from the beginning.
        assert starts[0].startswith("a dog")
    assert any(len(set(starts)) > 2 for starts in told.starts.values())


def test_without_beams_words_come_one_by_one(model: Model, photos: list[Path]) -> None:
    told = Told()
    (found,) = model.stream("caption", photos[:1], options=GenerationOptions(max_tokens=20), on_text=told)
    assert len(told.starts[0]) > 10
    assert len(set(told.starts[0])) > 5
    assert told.starts[0][-2] != found.text


def test_bad_photos_between_do_not_mix_up_whose_text_it_is(make_model: MakeModel, photos: list[Path]) -> None:
    model = make_model(batch_size=2)
    items: list[Any] = [b"no photo", photos[0], photos[1], b"neither", photos[2]]
    told = Told()
    found = list(model.stream("caption", items, on_text=told))
    assert [isinstance(one, Failure) for one in found] == [True, False, False, True, False]
    assert sorted(told.starts) == [1, 2, 4]
    for place, starts in told.starts.items():
        assert found[place].text.startswith(starts[-1])
        assert starts[-1]


def test_what_nobody_waits_for_is_not_written_on(model: Model, photos: list[Path]) -> None:
    options = GenerationOptions(max_tokens=20, min_tokens=20)
    told = Told(wanted=3)
    (found,) = model.stream("caption", photos[:1], options=options, on_text=told)
    assert len(told.starts[0]) == 3
    assert len(found.text) < len(model.caption(photos[0], options=options).text)


def test_a_policy_sees_captions_before_anybody(make_model: MakeModel, photos: list[Path]) -> None:
    told = Told()
    found = list(make_model(policy=Watcher()).stream("caption", photos[:2], on_text=told))
    assert [one.text for one in found] == ["replaced", "replaced"]
    assert not told.starts


def test_mask_predict_and_other_verbs_tell_nothing(model: Model, photos: list[Path]) -> None:
    told = Told()
    options = model.generation_options(method="mask_predict")
    assert list(model.stream("caption", photos[:1], options=options, on_text=told))
    assert not told.starts
    with pytest.raises(UsageError, match="on_text"):
        model.stream("embed_images", photos, on_text=told)
