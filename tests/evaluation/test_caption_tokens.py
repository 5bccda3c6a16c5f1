"""Tokens of captions, as the Penn Treebank tokenizer of coco-caption gives them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seetell.evaluation.caption_tokens import caption_tokens

# Left: the caption. Right: what edu.stanford.nlp.process.PTBTokenizer 3.4.1 -lowerCase printed for it, less
# the tokens coco-caption drops.
TREEBANK = [
    ("A man's dog doesn't like cats, and can't see!", "a man 's dog does n't like cats and ca n't see"),
    ("cannot gonna wanna gotta lemme gimme", "can not gon na wan na got ta lem me gim me"),
    ("black/white photo 50% off $5 & more #1", "black/white photo 50 % off $ 5 & more # 1"),
    (
        'a "quoted" word (in brackets) [x] {y}',
        "a quoted word -lrb- in brackets -rrb- -lsb- x -rsb- -lcb- y -rcb-",
    ),
    ("Mr. Smith in the U.S. at 10:30 a.m.", "mr. smith in the u.s. at 10:30 a.m."),
    ("1,000 people -- 3.5 miles...", "1,000 people 3.5 miles"),
    ("t-shirt mother-in-law's rock 'n' roll", "t-shirt mother-in-law 's rock 'n' roll"),
    (
        "the boys' toys it's he'd we'll they're I'm you've",
        "the boys toys it 's he 'd we 'll they 're i 'm you 've",
    ),
    ("café über naïve", "café über naïve"),
    ("semi;colon:dash - end", "semi colon dash end"),
    ("o'clock d'accord y'all ma'am", "o'clock d'accord y' all ma'am"),
    ("two-year-old 2-year-old 1/2 cup 9x4", "two-year-old 2-year-old 1/2 cup 9x4"),
    ("it’s “fancy” ‘quotes’ – dash — em … dots", "it 's fancy quotes dash em dots"),
    ("50's 1980s '80s", "50 's 1980s '80s"),
    ("and/or he/she", "and/or he/she"),
    ("wow!!! what?? ok", "wow !!! what ?? ok"),
    ("dogs, cats,birds", "dogs cats birds"),
    ("an AT & T sign", "an at & t sign"),
    ("that'll 'tis 'twas", "that 'll 't is 't was"),
    ("tee-shirts- end -start", "tee-shirts end start"),
    ("shan't won't ain't", "sha n't wo n't ai n't"),
    ("O'Brien's", "o'brien 's"),
    ("a child 's pool by the ocean 's edge .", "a child 's pool by the ocean 's edge"),
    ("A dog .", "a dog"),
    ("sun.", "sun"),
    ("on Jan. 5 at 5 ft. by the ave.", "on jan. 5 at 5 ft. by the ave."),
    ("No. 5 and no. fig. 2 of a fig.", "no. 5 and no fig. 2 of a fig"),
    ("approx. 3 sat. by the sun.", "approx 3 sat by the sun"),
    ("Coast Guard Capt. Bob and Co.", "coast guard capt. bob and co."),
    ("", ""),
]


@pytest.mark.parametrize(("caption", "tokens"), TREEBANK)
def test_english_is_split_as_coco_caption_does(caption: str, tokens: str) -> None:
    assert caption_tokens(caption, "en") == tokens.split()


@pytest.mark.parametrize(
    ("caption", "tokens"),
    [
        ("一个男孩在跳跃。", list("一个男孩在跳跃")),
        ("两只狗，在玩！", list("两只狗在玩")),
        ("穿T恤的孩子", ["穿", "t", "恤", "的", "孩", "子"]),
        ("穿Ｔ恤", ["穿", "t", "恤"]),
        ("2个人用iPhone 15拍照（晚上）", ["2", "个", "人", "用", "iphone", "15", "拍", "照", "晚", "上"]),
        ("“好”、《书》……—", ["好", "书"]),
        ("𠮷野家", ["𠮷", "野", "家"]),
        ("", []),
        ("。！？", []),
    ],
)
def test_chinese_is_split_by_character(caption: str, tokens: list[str]) -> None:
    assert caption_tokens(caption, "zh") == tokens
    assert caption_tokens(caption, "zh-CN") == tokens


@given(
    st.text(alphabet=st.sampled_from("ab dog's-.,!?'\"()/19:$&\n中。é"), max_size=40),
    st.sampled_from(["en", "zh"]),
)
def test_tokens_of_any_text_are_words_in_lower_case(text: str, language: str) -> None:
    tokens = caption_tokens(text, language)
    assert all(token and not any(one.isspace() for one in token) for token in tokens)
    assert tokens == [token.lower() for token in tokens]
    # Every letter and digit of the text is in some token, in order.
    assert [one for one in "".join(tokens) if one in "abdogsé19中"] == [
        one for one in text.lower() if one in "abdogsé19中"
    ] or any(bracket in text for bracket in "()")


@given(st.text(max_size=60), st.sampled_from(["en", "zh"]))
def test_no_text_breaks_it(text: str, language: str) -> None:
    assert all(caption_tokens(text, language))


def test_a_long_text_takes_no_time() -> None:
    # Patterns with nested repetition can take forever on a text made for it.
    for text in ("a-" * 20_000, "a." * 20_000, "'" * 40_000, "1," * 20_000, "a" * 40_000 + "'"):
        caption_tokens(text, "en")
