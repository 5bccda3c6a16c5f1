"""What the wording of a question says about its answer."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seetell.tasks.question import Question
from seetell.tasks.question_kinds import (
    absence,
    fitting,
    is_colour,
    is_number,
    presence_question,
    read_question,
    spelled,
)


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("is it day or night?", ("day", "night")),
        ("Day or night", ("day", "night")),
        ("is this a man or woman?", ("man", "woman")),
        ("is the dog black or white?", ("black", "white")),
        ("is it a cat, a dog or a horse?", ("cat", "dog", "horse")),
        ("is it red, blue, or green?", ("red", "blue", "green")),
        ("was this photo taken inside or outside?", ("inside", "outside")),
        ("is this an indoor or an outdoor scene?", ("indoor", "outdoor")),
        ("is the car on the left or on the right?", ("left", "right")),
        ("is the person to the left or to the right of the car?", ("left", "right")),
        ("is the car left or right of the train?", ("left", "right")),
        ("which side is the cat on, left or right?", ("left", "right")),
        ("which animal is this: a cat or a dog?", ("cat", "dog")),
        ("is there a man or a woman in the picture?", ("man", "woman")),
        ("is it a man or a woman riding the horse?", ("man", "woman")),
        ("is he sitting or standing?", ("sitting", "standing")),
        ("are the people standing in line or sitting down?", ("standing in line", "sitting down")),
        ("is it raining or is it sunny?", ("raining", "sunny")),
        ("was this taken during the day or the night?", ("day", "night")),
        ("是白天还是晚上？", ("白天", "晚上")),
        ("猫还是狗", ("猫", "狗")),
        ("图里是女人还是男人？", ("女人", "男人")),
        ("这是在室内还是室外？", ("室内", "室外")),
        ("照片是在室内还是室外拍的？", ("室内", "室外")),
        ("火车在汽车的左边还是右边？", ("左边", "右边")),
        ("车是红色的还是蓝色的？", ("红色", "蓝色")),
        ("这是猫、狗还是鸟？", ("猫", "狗", "鸟")),
        ("这是一只猫还是一只狗？", ("猫", "狗")),
        ("现在是白天还是晚上呢", ("白天", "晚上")),
    ],
)
def test_a_choice_offers_its_options(text: str, options: tuple[str, ...]) -> None:
    found = read_question(text)
    assert (found.kind, found.options) == ("choice", options)
    assert spelled(found) == options


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("is there a dog?", ("yes", "no")),
        ("Can you see any dogs", ("yes", "no")),
        ("any dogs?", ("yes", "no")),
        ("In this picture, is there a dog?", ("yes", "no")),
        ("can you tell me if there is a dog?", ("yes", "no")),
        ("is there a dog or not?", ("yes", "no")),
        ("is there a dog, yes or no?", ("yes", "no")),
        ("are there two or more dogs?", ("yes", "no")),
        ("does the image not contain a circle?", ("yes", "no")),
        ("有狗吗？", ("有", "没有")),
        ("图里有没有狗", ("有", "没有")),
        ("能看到狗吗？", ("有", "没有")),
        ("有人戴帽子吗？", ("有", "没有")),
        ("他戴帽子了没有？", ("有", "没有")),
        ("这是在室内吗？", ("是", "不是")),
        ("是不是晚上？", ("是", "不是")),
        ("天黑了吗？", ("是", "不是")),
        ("这个有胡子的人是男的吗？", ("是", "不是")),
    ],
)
def test_yes_and_no_in_the_question_s_words(text: str, options: tuple[str, ...]) -> None:
    found = read_question(text)
    assert (found.kind, found.options) == ("yes_no", options)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("how many dogs are there?", "count"),
        ("how many cats or dogs are there?", "count"),
        ("what is the man doing?", "doing"),
        ("where is this?", "where"),
        ("what place is this?", "where"),
        ("what kind of animal is it?", "animal"),
        ("what is this?", "other"),
        ("what is on the left or right of the table?", "other"),
        ("which of these are there: a person, a car or a cat?", "other"),
        ("有几只狗？", "count"),
        ("图里有多少人？", "count"),
        ("狗在做什么？", "doing"),
        ("这是哪里？", "where"),
        ("图里是什么动物？", "animal"),
        ("这是什么？", "other"),
        ("现在几点？", "other"),
    ],
)
def test_other_kinds(text: str, kind: str) -> None:
    found = read_question(text)
    assert (found.kind, found.options) == (kind, ())


@pytest.mark.parametrize(
    ("text", "thing", "asked", "said"),
    [
        ("what colour is the car?", "car", "is there a car?", "there is no car"),
        ("What color is the apple on the left?", "apple", "is there an apple?", "there is no apple"),
        ("what color is the man's shirt?", "shirt", "is there a shirt?", "there is no shirt"),
        ("which color are the flowers?", "flowers", "are there any flowers?", "there are no flowers"),
        ("what's the color of the bus?", "bus", "is there a bus?", "there is no bus"),
        ("what is the colour of the grass?", "grass", "is there any grass?", "there is no grass"),
        ("can you tell me what colour the car is?", "car", "is there a car?", "there is no car"),
        ("what colour is the apartment building?", "apartment building", "is there an apartment building?",
         "there is no apartment building"),
        ("图里的车是什么颜色的？", "车", "图里有车吗？", "没有车"),
        ("男人的上衣是什么颜色？", "上衣", "图里有上衣吗？", "没有上衣"),
        ("衣服的颜色是什么？", "衣服", "图里有衣服吗？", "没有衣服"),
    ],
)  # fmt: skip
def test_a_colour_is_asked_of_something(text: str, thing: str, asked: str, said: str) -> None:
    found = read_question(text)
    assert (found.kind, found.thing) == ("colour", thing)
    assert presence_question(found) == asked
    assert read_question(asked).kind == "yes_no"
    assert absence(found) == said


@pytest.mark.parametrize(
    "text",
    ["what color is it?", "what is the colour of the shape?", "what color is the sky?", "这是什么颜色？"],
)
def test_a_word_for_anything_takes_nothing_for_given(text: str) -> None:
    found = read_question(text)
    assert (found.kind, presence_question(found)) == ("colour", None)


def test_numbers_and_colours() -> None:
    assert all(is_number(one, "en") for one in ("0", "12", "two", "None"))
    assert not any(is_number(one, "en") for one in ("two dogs", "red", "", "2 or 3"))
    assert all(is_number(one, "zh") for one in ("3", "两个", "三", "2只"))
    assert not any(is_number(one, "zh") for one in ("三明治", "狗", "two"))
    assert all(
        is_colour(one, "en") for one in ("red", "black and white", "light blue", "red, white and blue")
    )
    assert not any(is_colour(one, "en") for one in ("red car", "3", "orange juice", ""))
    assert all(is_colour(one, "zh") for one in ("红色", "黑白色", "棕色和白色", "深蓝色"))
    assert not any(is_colour(one, "zh") for one in ("红旗", "3", "有"))


def test_what_of_a_list_fits() -> None:
    answers = ("Yes", "3", "no", "red", "two", "black and white", "day", "有", "没有", "红色", "蓝色")
    assert fitting(read_question("is there a dog?"), answers) == (0, 2)
    assert fitting(read_question("how many dogs are there?"), answers) == (1, 4)
    assert fitting(read_question("what colour is it?"), answers) == (3, 5)
    assert fitting(read_question("什么颜色？"), answers) == (9, 10)
    assert fitting(read_question("没有狗吗？"), answers) == (7, 8)
    # "night" is not in it; a single number is no choice; what is bounded by nothing takes none.
    assert fitting(read_question("is it day or night?"), answers) == ()
    assert fitting(read_question("有几只狗？"), answers) == ()
    assert fitting(read_question("what is this?"), answers) == ()


WORDS = st.sampled_from(
    ["is", "it", "a", "the", "or", "dog", "night", ",", "what", "colour", "how many", "there", "on", "left",
     ":", "yes", "no", "是", "还是", "白天", "有", "吗", "什么颜色", "的", "、", "在", "几", "?", "？", " "]
)  # fmt: skip


@given(st.one_of(st.text(max_size=60), st.lists(WORDS, max_size=14).map(" ".join)))
def test_any_text_is_read_and_offers_only_what_it_says(text: str) -> None:
    found = read_question(text)
    assert isinstance(found, Question)
    if found.kind == "choice":
        plain = re.sub(r"[’`]", "'", " ".join(text.casefold().split()))
        squeezed = re.sub(r"\s+", "", text)
        assert len(set(found.options)) == len(found.options) > 1
        assert all(option and (option in plain or option in squeezed) for option in found.options)
    else:
        assert found.options in {(), ("yes", "no"), ("有", "没有"), ("是", "不是")}
        assert bool(found.options) == (found.kind == "yes_no")
    if found.thing is not None:
        assert found.thing.strip() == found.thing != ""
