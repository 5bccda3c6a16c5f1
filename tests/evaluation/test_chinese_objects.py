"""Objects in Chinese captions: the longest word counts, and what only looks like an object is none."""

from __future__ import annotations

import pytest

from seetell.evaluation.chinese_objects import chinese_mentions, in_chinese


@pytest.mark.parametrize(
    ("caption", "objects"),
    [
        ("一个男人牵着一只狗", ["person", "dog"]),
        ("两只狗狗", ["dog", "dog"]),
        ("骑自行车的女孩", ["bicycle", "person"]),
        ("公共汽车和汽车", ["bus", "car"]),
        ("滑雪板，滑板，冲浪板", ["skis", "skateboard", "surfboard"]),
        ("斗牛犬在追牛", ["dog", "cow"]),
        ("穿牛仔裤的牛仔在马路上", ["person"]),
        ("熊猫抱着玩具熊", ["bear", "teddy bear"]),
        ("猫头鹰和猫", ["bird", "cat"]),
        ("在蹦床上跳", []),
        ("足球场上的球员在踢足球", ["person", "sports ball"]),
        ("拿着气球", []),
        ("坐在长椅上看书包里的书", ["chair", "backpack", "book"]),
        ("背着降落伞，打着雨伞", ["umbrella"]),
        ("海滩上的雪人", []),
        ("", []),
    ],
)
def test_what_a_caption_names(caption: str, objects: list[str]) -> None:
    assert [name for _, name in chinese_mentions(caption)] == objects


def test_words_are_given_as_they_stand() -> None:
    assert chinese_mentions("摩托车旁的孩子") == [("摩托车", "motorcycle"), ("孩", "person")]


def test_what_chinese_does_not_tell_apart_is_one() -> None:
    assert [in_chinese(name) for name in ("bench", "snowboard", "dog")] == ["chair", "skis", "dog"]
