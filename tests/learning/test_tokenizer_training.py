"""The built-in's tokenizer: its layout, its splitting, and that nothing is lost but case and spaces."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seetell.bundle.tokenizer import Tokenizer
from seetell.core.errors import RecipeError
from seetell.learning.tokenizer_training import (
    SPECIAL_TOKENS,
    built_in_text_spec,
    train_tokenizer,
    write_tokenizer,
)

TEXTS = [
    "A black dog is running after a white dog in the snow .",
    "Two dogs play together in the snow .",
    "The man 's hat isn't red , is it ?",
    "在雪地中奔跑的狗。",
    "一个男人和一个女人在雪地里。",
    "what colour is the dog?",
    "24 dogs",
] * 3
SPEC = built_in_text_spec(32)
DOCUMENT = train_tokenizer(TEXTS, 420)
TOKENIZER = Tokenizer(DOCUMENT, SPEC)


def names(text: str) -> list[str | None]:
    return [TOKENIZER.token(number) for number in TOKENIZER.encode_words(text)]


def test_special_tokens_stand_first_in_the_agreed_order() -> None:
    assert tuple(TOKENIZER.token(number) for number in range(10)) == (
        "[PAD]", "[CLS]", "[FUSE]", "[EOS]", "[MASK]", "[EN]", "[ZH]", "[ANSWER]", "[FILL_EN]", "[FILL_ZH]",
    )  # fmt: skip
    assert len(SPECIAL_TOKENS) == 10
    assert (SPEC.pad_id, SPEC.bos_id, SPEC.fusion_bos_id, SPEC.eos_id, SPEC.mask_id) == (0, 1, 2, 3, 4)
    assert SPEC.decoder_start_ids == {"en": 5, "zh": 6}
    assert (SPEC.answer_start_id, SPEC.fill_start_ids) == (7, {"en": 8, "zh": 9})


def test_training_is_repeatable_and_depends_on_the_texts() -> None:
    assert train_tokenizer(iter(TEXTS), 420) == DOCUMENT
    assert train_tokenizer(TEXTS[:9], 420) != DOCUMENT


def test_a_word_is_one_token_wherever_it_stands() -> None:
    (first,) = TOKENIZER.encode_words("dog")
    assert TOKENIZER.encode_words("the dog")[-1] == first
    assert TOKENIZER.encode_words("a [MASK] dog")[-1] == first
    assert TOKENIZER.encode_words("DOG") == [first]


def test_the_mask_stands_for_a_word_with_its_space() -> None:
    with_mask = TOKENIZER.encode_words("a black [MASK] is running")
    whole = TOKENIZER.encode_words("a black dog is running")
    assert [SPEC.mask_id if place == 2 else word for place, word in enumerate(whole)] == with_mask


def test_han_characters_and_digits_stand_alone() -> None:
    # A token of Chinese never holds more than one character.
    for token_id in range(10, TOKENIZER.vocab_size):
        text = TOKENIZER.decode([token_id])
        assert sum("\u4e00" <= sign <= "\u9fff" for sign in text) <= 1
    assert len(TOKENIZER.encode_words("一个狗")) == 3
    assert len(TOKENIZER.encode_words("2424")) == 4


def test_no_token_spans_two_words() -> None:
    tokens = [TOKENIZER.token(number) or "" for number in range(10, TOKENIZER.vocab_size)]
    assert not [token for token in tokens if "Ġ" in token[1:] and token.strip("Ġ")]


def test_spaces_of_tokenised_captions_do_not_matter() -> None:
    assert names("The man 's hat , red .") == names("the man's hat, red.")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A black dog .", "a black dog."),
        ("  Two\n dogs ", "two dogs"),
        ("在雪地中奔跑的狗。", "在雪地中奔跑的狗。"),
        ("穿Ｔ恤的男人，２４", "穿t恤的男人,24"),
        ("😀 naïve ﬁne", "😀 naïve fine"),
        ("", ""),
    ],
)
def test_decoding_gives_the_text_back(text: str, expected: str) -> None:
    assert TOKENIZER.decode(TOKENIZER.encode_words(text)) == expected


@given(st.text(alphabet=st.characters(codec="utf-8", exclude_categories=("C", "Z", "P", "M")), max_size=20))
def test_any_letters_signs_and_numbers_come_back(text: str) -> None:
    # Punctuation and marks are left out only because they may swallow the space before them.
    normal = " ".join(unicodedata.normalize("NFKC", text).lower().split())
    again = TOKENIZER.decode(TOKENIZER.encode_words(text))
    assert again == TOKENIZER.decode(TOKENIZER.encode_words(again))
    if normal.isascii():
        assert again == normal


@given(st.lists(st.sampled_from("abcdog猫狗雪 12é"), max_size=20).map("".join))
def test_english_and_chinese_round_trip_exactly(text: str) -> None:
    assert TOKENIZER.decode(TOKENIZER.encode_words(text)) == " ".join(text.split())


def test_too_small_a_vocabulary_is_refused_and_few_texts_are_enough() -> None:
    with pytest.raises(RecipeError, match=r"tokenizer\.vocab_size"):
        train_tokenizer(TEXTS, 100)
    bare = Tokenizer(train_tokenizer([], 6000), SPEC)
    assert bare.vocab_size == 266
    assert bare.decode(bare.encode_words("a 狗")) == "a 狗"


def test_writing(tmp_path: Path) -> None:
    write_tokenizer(tmp_path / "new" / "tokenizer.json", DOCUMENT)
    again = Tokenizer.from_file(tmp_path / "new" / "tokenizer.json", SPEC)
    assert again.encode_words(TEXTS[0]) == TOKENIZER.encode_words(TEXTS[0])
