"""What counts as saying the same again."""

from __future__ import annotations

import pytest

from seetell.runtime.generation.repeats import repeats, words_of


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a man in a blue shirt and a woman in a red dress",
        # Function words may stand together as often as they like, nouns too.
        "a man and a woman on the beach and a dog on the street",
        "two men, one in front, and two women",
        "Ein Hund",
        "一个男人和另一个女孩在草地上",
        "一只白色的狗和一只黑色的猫",
        # A character that makes a word by standing twice, and a word of two said twice.
        "爸爸和妈妈带着狗狗",
        "男人看着男人",
        "黑白相间",
        "a t-shirt and a shirt",
        "the dog's ball and the dog",
        "a man's hat and a boy's hat",
        "a boy's white t-shirt and a black t-shirt",
    ],
)
def test_what_people_say(text: str) -> None:
    assert repeats(words_of(text), 3) == 0


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("a man in a hat and a man in a coat", 2),  # "a man in", "man in a"
        ("A man in red. a man, in blue", 1),
        ("a blue shirt and blue shirt", 1),
        # Twice the pair, and once "blue shirt and", "shirt and blue" and "and blue shirt".
        ("a blue shirt and blue shirt and blue shirt", 5),
        ("the dog dog runs", 1),
        ("the the man", 1),
        ("wait!!", 1),
        ("一个小小孩", 1),
        ("狗狗狗", 1),
        ("男人男人在走", 1),
        ("红衣男子和红衣女子", 1),
        ("一个男人和一个男孩", 1),  # 一个男
        ("穿t恤的人和穿t恤的狗", 2),  # "穿 t 恤", "t 恤 的"
        ("22 2 2", 1),
        # As the metrics of captions have words: the man 's.
        ("the man's hat and the man's coat", 1),
    ],
)
def test_what_says_the_same_again(text: str, count: int) -> None:
    assert repeats(words_of(text), 3) == count


def test_longer_and_shorter_runs() -> None:
    text = "a man in a hat and a man in a coat"
    # a man, man in, in a; "a" four times and man, in twice.
    assert repeats(words_of(text), 2) == 3
    assert repeats(words_of(text), 1) == 5
    assert repeats(words_of(text), 4) == 1
    assert repeats(words_of(text), 5) == 0
