"""Sources: every photo once an epoch, nothing remembered between steps, and closed lists."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seetell.core.errors import RecipeError
from seetell.data.records import CaptionRecord, LabelRecord, QuestionRecord
from seetell.learning.augmentation import Augmentation, names_a_side
from seetell.learning.orders import Shuffle
from seetell.learning.sources import Row, SampleSource
from seetell.learning.wording import answer_list
from tests.learning.record_sources import of_captions, of_labels, of_questions

RULE = Augmentation()


def caption_source(count: int = 10, **changes: Any) -> SampleSource:
    records = [
        CaptionRecord(
            Path(f"{number}.jpg"),
            tuple(
                (f"{language} {number} {which}", language) for language in ("en", "zh") for which in range(5)
            ),
            number,
        )
        for number in range(count)
    ]
    settings: dict[str, Any] = {"batch_size": 3, "rule": RULE, "seed": (1, 0), "languages": ("en", "zh")}
    return of_captions(records, **{**settings, **changes})


def shown(rows: list[Row]) -> list[tuple[Any, ...]]:
    return [(row.photo, row.captions, row.questions, row.label, row.rng.random()) for row in rows]


@given(count=st.integers(1, 40), batch_size=st.integers(1, 17), epochs=st.integers(1, 3))
def test_every_place_comes_once_an_epoch(count: int, batch_size: int, epochs: int) -> None:
    shuffle = Shuffle(count, batch_size, (5,))
    steps = -(-count * epochs // batch_size)
    places = [place for step in range(steps) for place in shuffle.places(step)]
    for epoch in range(epochs):
        assert sorted(places[epoch * count : (epoch + 1) * count]) == list(range(count))


@given(st.data(), st.integers(1, 40), st.integers(0, 3))
def test_no_place_comes_twice_in_a_step_where_there_are_enough(
    data: st.DataObject, count: int, seed: int
) -> None:
    batch_size = data.draw(st.integers(1, count))
    shuffle = Shuffle(count, batch_size, (seed,))
    for step in (0, 1, 2, 3, 17):
        places = shuffle.places(step)
        assert len(set(places)) == batch_size
        # Whatever was drawn before.
        assert Shuffle(count, batch_size, (seed,)).places(step) == places


def test_orders_differ_between_epochs_seeds_and_sources() -> None:
    orders = [
        tuple(Shuffle(50, 50, seed).places(step)) for seed in ((1, 0), (1, 1), (2, 0)) for step in (0, 1)
    ]
    assert len(set(orders)) == 6


@pytest.mark.parametrize("order", [[0, 1, 2, 3, 9], [9, 3, 3, 0, 2, 1]])
def test_a_step_is_the_same_whatever_was_drawn_before(order: list[int]) -> None:
    expected = {step: shown(caption_source().draw(step)) for step in order}
    source = caption_source()
    for step in order:
        assert shown(source.draw(step)) == expected[step]


def test_captions_per_language_without_repetition() -> None:
    for row in caption_source(captions_per_photo=3).draw(4):
        assert [language for _, language in row.captions] == ["en"] * 3 + ["zh"] * 3
        assert len({text for text, _ in row.captions}) == 6
        assert all(text.split()[1] == row.photo.stem for text, _ in row.captions)
    over = caption_source(captions_per_photo=9, languages=("zh",)).draw(0)
    assert [len(row.captions) for row in over] == [5, 5, 5]


def test_all_captions_come_up_in_time() -> None:
    source = caption_source(count=3)
    seen = {text for step in range(60) for row in source.draw(step) for text, _ in row.captions}
    assert len(seen) == 30


def test_photos_without_the_language_are_left_out() -> None:
    records = [
        CaptionRecord(Path("a"), (("x", "en"),), 0),
        CaptionRecord(Path("b"), (("y", "zh"),), 1),
    ]
    source = of_captions(records, batch_size=2, rule=RULE, seed=(0,), languages=("zh",))
    assert source.num_photos == 1
    with pytest.raises(RecipeError, match="no photos"):
        of_captions(records, batch_size=2, rule=RULE, seed=(0,), languages=("fr",))


def test_questions_stay_with_their_photo_and_take_one_of_the_answers() -> None:
    records = [
        QuestionRecord(Path(f"{photo}.png"), f"q{photo}.{number}", ("yes", "Tape_Dispenser"), number, photo)
        for photo in range(4)
        for number in range(5)
    ]
    records.append(QuestionRecord(Path("unanswered.png"), "q", (), 99, 99))
    source = of_questions(records, batch_size=4, rule=RULE, seed=(3,), questions_per_photo=3)
    assert source.num_photos == 4
    answers: set[str] = set()
    for step in range(20):
        for row in source.draw(step):
            asked = [question for question, _ in row.questions]
            assert len(set(asked)) == 3
            assert all(question.startswith(f"q{row.photo.stem}.") for question in asked)
            answers.update(answer for _, answer in row.questions)
    assert answers == {"yes", "tape dispenser"}


def test_questions_with_rare_answers_come_up_in_inverse_proportion_to_how_common_they_are() -> None:
    def drawn(rare_answers: float) -> Counter[str]:
        # Per photo nine questions answered "yes" and one by a word of its own that three photos share.
        records = [
            QuestionRecord(Path(f"{photo}.png"), f"{photo} {number}", (answer,), number, photo)
            for photo in range(6)
            for number, answer in enumerate(["yes"] * 9 + ["red" if photo < 3 else "blue"])
        ]
        source = of_questions(
            records, batch_size=6, rule=RULE, seed=(3,), questions_per_photo=1, rare_answers=rare_answers
        )
        rows = [row for step in range(1000) for row in source.draw(step)]
        assert all(set(row.tags) == {"yes", "red" if int(row.photo.stem) < 3 else "blue"} for row in rows)
        return Counter(row.questions[0][1] for row in rows)

    even, inverse = drawn(0.0), drawn(1.0)
    assert even["yes"] / even.total() == pytest.approx(0.9, abs=0.02)
    # "yes" is the answer 54 times, "red" and "blue" 3 times each: weights 9 / 54 to 1 / 3.
    assert inverse["yes"] / inverse.total() == pytest.approx(1 / 3, abs=0.03)
    assert inverse["red"] == pytest.approx(inverse["blue"], rel=0.15)


@pytest.mark.parametrize("label", ["turn_left", "turn left", "右转"])
@pytest.mark.parametrize("templates", [None, {"en": ["a photo of a {}"]}])
def test_a_label_that_names_a_side_keeps_its_photo_from_being_mirrored(label: str, templates: Any) -> None:
    records = [LabelRecord(Path("a.png"), label), LabelRecord(Path("b.png"), "stop")]
    space = {one: place for place, one in enumerate(sorted({one.label for one in records}))}
    source = of_labels(records, batch_size=2, rule=RULE, seed=(1,), label_space=space, templates=templates)
    for row in source.draw(0):
        assert names_a_side(row.texts()) is (row.photo.name == "a.png")


def test_a_name_that_names_a_side_keeps_its_photo_from_being_mirrored() -> None:
    records = [LabelRecord(Path("a.png"), "p1"), LabelRecord(Path("b.png"), "p2")]
    names = {"en": {"p1": "left arrow", "p2": "circle"}}
    source = of_labels(
        records,
        batch_size=2,
        rule=RULE,
        seed=(1,),
        label_space={"p1": 0, "p2": 1},
        templates={"en": ["{}"]},
        names=names,
    )
    for row in source.draw(0):
        assert names_a_side(row.texts()) is (row.photo.name == "a.png")


def test_a_tag_that_names_a_side_keeps_its_photo_from_being_mirrored() -> None:
    records = [QuestionRecord(Path("a.png"), f"q{n}", (answer,), n, 0) for n, answer in enumerate("ab")]
    records.append(QuestionRecord(Path("a.png"), "where?", ("left",), 9, 0))
    source = of_questions(records, batch_size=1, rule=RULE, seed=(3,), questions_per_photo=1)
    assert all(names_a_side(source.draw(step)[0].texts()) for step in range(20))


def test_labels_are_numbered_by_the_label_space_and_named_among_their_own() -> None:
    records = [LabelRecord(Path(f"{label}.jpg"), label) for label in ("joshua_tree", "cat")]
    space = {label: number for number, label in enumerate(sorted({one.label for one in records}))}
    assert space == {"cat": 0, "joshua_tree": 1}
    source = of_labels(
        records,
        batch_size=2,
        rule=RULE,
        seed=(0,),
        label_space=space,
        templates={"en": ("a photo of a {}", "one {}"), "zh": ("一张{}",)},
        names={"zh": {"cat": "猫"}},
    )
    seen = set()
    for step in range(30):
        rows = {row.photo.stem: row for row in source.draw(step)}
        assert (rows["cat"].label, rows["joshua_tree"].label) == (0, 1)
        cat, tree = rows["cat"].named, rows["joshua_tree"].named
        assert cat is not None and tree is not None
        # One way of naming a step, so that the texts are encoded once.
        assert cat.names == tree.names
        seen.add((cat.names[cat.place], tree.names[tree.place]))
        assert not rows["cat"].captions
    assert seen == {
        ("a photo of a cat", "a photo of a joshua tree"),
        ("one cat", "one joshua tree"),
        ("一张猫", "一张joshua tree"),
    }
    unnamed = of_labels(records, batch_size=2, rule=RULE, seed=(0,), label_space=space)
    assert [row.named for row in unnamed.draw(0)] == [None, None]


def test_templates_caption_labelled_photos_in_each_language() -> None:
    source = of_labels(
        [LabelRecord(Path("cat.jpg"), "black_cat")],
        captions=True,
        batch_size=1,
        rule=RULE,
        seed=(0,),
        templates={"en": ("a photo of a {}", "one {}"), "zh": ("一张{}",)},
        names={"zh": {"black_cat": "黑猫"}},
    )
    drawn = [source.draw(step)[0] for step in range(20)]
    assert {row.captions[0] for row in drawn} == {("a photo of a black cat", "en"), ("one black cat", "en")}
    assert {row.captions[1] for row in drawn} == {("一张黑猫", "zh")}
    assert {(row.label, row.named) for row in drawn} == {(None, None)}


def test_the_answer_list_is_by_count_then_alphabet() -> None:
    def record(*answers: str) -> QuestionRecord:
        return QuestionRecord(Path("a"), "q", answers, 0, 0)

    records = [
        record("b"),
        record("a"),
        record("c"),
        record("c"),
        record("C ", "c"),
        record("d", "d", "d", "d"),
    ]
    assert answer_list(records, 10) == ("c", "a", "b", "d")
    assert answer_list(reversed(records), 3) == ("c", "a", "b")
    assert answer_list([], 5) == ()
