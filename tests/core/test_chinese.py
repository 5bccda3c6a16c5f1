"""What counts as Chinese, wherever words are counted or a language is guessed."""

from __future__ import annotations

import pytest

from seetell.core.chinese import has_chinese
from seetell.data.cleaning.texts import count_words
from seetell.evaluation.caption_tokens import caption_tokens
from seetell.runtime.generation.repeats import words_of
from seetell.tasks.context import language_of
from seetell.tasks.question_kinds import read_question

# Common, an extension, the iteration mark, zero, beyond 16 bits, the last that Unicode has.
CHINESE = ("\u72d7", "\u3401", "\u3005", "\u3007", "\U00020000", "\U000323af")


@pytest.mark.parametrize("character", CHINESE)
def test_every_room_agrees(character: str) -> None:
    text = character * 3
    assert has_chinese(f"a {character}")
    assert count_words(text) == 3
    assert caption_tokens(text, "zh") == [character] * 3
    assert words_of(text) == (character,) * 3
    assert language_of("model", ("en", "zh"), None, [text]) == "zh"
    assert read_question(f"{character}?").language == "zh"


@pytest.mark.parametrize("text", ["a dog", "\u3042", "\uac1c", "\u3001\u3002", ""])
def test_kana_hangul_and_signs_are_none(text: str) -> None:
    assert not has_chinese(text)
    assert language_of("model", ("en", "zh"), None, [text]) == "en"
