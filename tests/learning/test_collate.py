"""Batches: a function of the step alone, with texts, answers and labels tied to the right photos."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from seetell.bundle.tokenizer import Tokenizer
from seetell.core.ahead import made_ahead
from seetell.core.errors import DataError, ImageError
from seetell.data.records import CaptionRecord, LabelRecord, QuestionRecord
from seetell.learning.augmentation import Augmentation
from seetell.learning.batch import Batch
from seetell.learning.collate import Collator
from seetell.learning.photos import PhotoCache
from seetell.learning.sources import Source
from seetell.learning.tokenizer_training import built_in_text_spec, train_tokenizer
from tests.learning.record_sources import of_captions, of_labels, of_questions

TOKENIZER = Tokenizer(train_tokenizer(["a dog", "一只狗"] * 4, 300), built_in_text_spec(24))
ANSWERS = {"yes": 0, "no": 1}
STILL = Augmentation(scale=(1, 1), aspect=(1, 1), flip=True, brightness=0, contrast=0, saturation=0)


def tensors(value: Any) -> Iterator[Any]:
    if is_dataclass(value):
        for one in fields(value):
            yield from tensors(getattr(value, one.name))
    else:
        yield value


def equal(one: Batch, other: Batch) -> bool:
    pairs = zip(tensors(one), tensors(other), strict=True)
    return all(torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b for a, b in pairs)


@pytest.fixture
def photos(tmp_path: Path) -> list[Path]:
    paths = []
    for number in range(6):
        pixels = np.random.default_rng(number).integers(0, 256, (20, 24, 3), dtype=np.uint8)
        pixels[:, :12] //= 4  # the left half is dark, so that a mirrored view shows
        paths.append(tmp_path / f"{number}.png")
        Image.fromarray(pixels).save(paths[-1])
    return paths


def sources(photos: list[Path], rule: Augmentation = Augmentation()) -> list[Source]:  # noqa: B008  # frozen
    captions = [
        CaptionRecord(path, (("a dog", "en"), ("一只狗", "zh")), number) for number, path in enumerate(photos)
    ]
    questions = [
        QuestionRecord(path, f"q{path.stem} {number}", ("maybe" if number else "yes",), number, number)
        for path in photos[:3]
        for number in range(2)
    ]
    labels = [LabelRecord(path, f"label{number}") for number, path in enumerate(photos)]
    space = {record.label: number for number, record in enumerate(labels)}
    return [
        of_captions(captions, batch_size=3, rule=rule, seed=(1, 0), languages=("en", "zh")),
        of_questions(questions, batch_size=2, rule=rule, seed=(1, 1)),
        of_labels(labels, batch_size=2, rule=rule, seed=(1, 2), label_space=space),
    ]


def collator(listed: list[Source], **changes: Any) -> Collator:
    settings: dict[str, Any] = {
        "size_at": lambda step: 16 if step < 5 else 24,
        "mean": (0.5, 0.5, 0.5),
        "std": (0.5, 0.5, 0.5),
        "answers": ANSWERS,
    }
    photos = PhotoCache(min_size=24, budget_bytes=10_000)
    return Collator(listed, TOKENIZER, photos, **{**settings, **changes})


def test_a_batch_holds_every_source_in_order(photos: list[Path]) -> None:
    batch = collator(sources(photos)).batch(0)
    assert batch.pixel_values.shape == (7, 3, 16, 16)
    assert batch.pixel_values.dtype == torch.float32
    assert batch.pixel_values.is_contiguous(memory_format=torch.channels_last)
    assert batch.captions is not None and batch.questions is not None and batch.labels is not None
    assert batch.captions.image_index.tolist() == [0, 0, 1, 1, 2, 2]
    assert batch.captions.languages == ("en", "zh") * 3
    assert batch.captions.ids[0].tolist()[0] == 1
    assert batch.questions.image_index.tolist() == [3, 3, 4, 4]
    assert batch.labels.image_index.tolist() == [5, 6]
    assert [batch.keys[5], batch.keys[6]] == [str(photos[int(number)]) for number in batch.labels.label]
    for row, place in enumerate(batch.questions.image_index.tolist()):
        text = TOKENIZER.decode(batch.questions.ids[row].tolist())
        assert text.startswith(f"q{Path(batch.keys[place]).stem} ")


def test_answers_off_the_list_are_ignored_by_the_head_but_written_out(photos: list[Path]) -> None:
    questions = collator(sources(photos)).batch(0).questions
    assert questions is not None
    for row, index in enumerate(questions.answer_index.tolist()):
        ids = questions.answer_ids[row][questions.answer_mask[row]].tolist()
        assert (ids[0], ids[-1]) == (7, 3)
        assert (TOKENIZER.decode(ids), index) in {("yes", 0), ("maybe", -100)}


def test_tags_are_all_answers_about_a_photo_that_are_listed(photos: list[Path]) -> None:
    records = [
        QuestionRecord(photos[0], "one", ("yes", "yes"), 0, 0),
        QuestionRecord(photos[0], "two", ("no",), 1, 0),
        QuestionRecord(photos[1], "three", ("No",), 2, 1),
        QuestionRecord(photos[2], "four", ("maybe",), 3, 2),
    ]
    source = of_questions(records, batch_size=3, rule=STILL, seed=(1,), questions_per_photo=1)
    batch = collator([source]).batch(0)
    assert batch.tags is not None
    found = {
        batch.keys[place]: target.tolist()
        for place, target in zip(batch.tags.image_index.tolist(), batch.tags.target, strict=True)
    }
    assert found == {str(photos[0]): [0.5, 0.5], str(photos[1]): [0.0, 1.0]}
    unlisted = of_questions(records[3:], batch_size=1, rule=STILL, seed=(1,))
    assert collator([unlisted]).batch(0).tags is None


def test_the_same_step_is_the_same_batch(photos: list[Path]) -> None:
    one = collator(sources(photos))
    first = [one.batch(step) for step in range(8)]
    other = collator(sources(photos))
    for step in (7, 0, 3, 3, 5):
        assert equal(other.batch(step), first[step])
    assert not torch.equal(first[0].pixel_values[0], first[1].pixel_values[0])
    assert [batch.pixel_values.shape[-1] for batch in first] == [16] * 5 + [24] * 3


def test_torch_random_state_is_left_alone(photos: list[Path]) -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    collator(sources(photos)).batch(0)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("text", "mirrors"), [("a dog", True), ("a dog left of a cat", False), ("左边的狗", False)]
)
def test_a_photo_whose_text_names_a_side_is_never_mirrored(
    photos: list[Path], text: str, mirrors: bool
) -> None:
    records = [CaptionRecord(photos[0], ((text, "en"),), 0)]
    source = of_captions(records, batch_size=1, rule=STILL, seed=(1,), languages=("en",))
    made = collator([source])
    brighter_left = [
        bool((view := made.batch(step).pixel_values[0])[..., :8].mean() > view[..., 8:].mean())
        for step in range(40)
    ]
    assert any(brighter_left) is mirrors


def test_questions_and_answers_forbid_mirroring_too(photos: list[Path]) -> None:
    records = [QuestionRecord(photos[0], "where is the dog?", ("left",), 0, 0)]
    made = collator([of_questions(records, batch_size=1, rule=STILL, seed=(1,))])
    for step in range(20):
        view = made.batch(step).pixel_values[0]
        assert view[..., :8].mean() < view[..., 8:].mean()


def test_an_unreadable_photo_stops_by_name_or_is_skipped_and_counted(photos: list[Path]) -> None:
    photos[4].write_bytes(b"no photo")
    photos[5].unlink()
    with pytest.raises(ImageError, match=r"[45]\.png"):
        for step in range(3):
            collator(sources(photos)).batch(step)
    patient = collator(sources(photos), skip_unreadable=True)
    batches = [patient.batch(step) for step in range(6)]
    assert patient.skipped == sum(7 - len(batch.keys) for batch in batches) > 0
    for batch in batches:
        assert batch.pixel_values.shape[0] == len(batch.keys)
        assert not {str(photos[4]), str(photos[5])} & set(batch.keys)
        assert batch.captions is None or batch.captions.image_index.max() < len(batch.keys)


def test_nothing_readable_is_an_error_even_when_skipping(photos: list[Path]) -> None:
    for path in photos:
        path.write_bytes(b"")
    with pytest.raises(DataError, match="step 0"):
        collator(sources(photos), skip_unreadable=True).batch(0)


def test_the_photo_cache_keeps_to_its_budget(photos: list[Path]) -> None:
    cache = PhotoCache(min_size=16, budget_bytes=2 * 20 * 24 * 3)
    first = [cache.read(path) for path in photos]
    again = [cache.read(path) for path in photos]
    assert [one is other for one, other in zip(first, again, strict=True)] == [True, True] + [False] * 4
    assert all(np.array_equal(one, other) for one, other in zip(first, again, strict=True))


@pytest.mark.parametrize("threads", [1, 3])
def test_prefetched_batches_come_in_order_and_equal(photos: list[Path], threads: int) -> None:
    expected = [collator(sources(photos)).batch(step) for step in range(2, 9)]
    make = collator(sources(photos)).batch
    found = list(made_ahead(make, range(2, 9), ahead=4, threads=threads, name="batches"))
    assert len(found) == 7
    assert all(equal(one, other) for one, other in zip(found, expected, strict=True))
