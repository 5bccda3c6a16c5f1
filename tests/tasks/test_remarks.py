"""What is said of a text that the model can make little of."""

from __future__ import annotations

import pytest

from seetell.search.photo_index import PhotoIndex
from seetell.tasks.model import Model
from tests.runtime.toy import CONTEXT, ToyEngine, make_manifest, make_tokenizer


def model_of(*languages: str) -> Model:
    tokenizer = make_tokenizer()
    engine = ToyEngine(tokenizer.vocab_size)
    return Model(
        make_manifest(engine).model_copy(update={"name": "toy", "languages": languages}), tokenizer, engine
    )


@pytest.mark.parametrize(
    ("languages", "text", "script"),
    [
        (("en", "zh"), "собака", "Cyrillic"),
        (("en", "zh"), "犬が走る", "Hiragana"),
        (("en", "zh"), "강아지", "Hangul"),
        (("en", "zh"), "كلب على العشب", "Arabic"),
        (("en", "zh"), "ένας σκύλος", "Greek"),
        (("en", "zh"), "dog -люди", "Cyrillic"),
        (("en",), "一只狗", "Chinese"),
        (("zh",), "a dog", "Latin"),
        (("en", "zh"), "a dog on the grass", None),
        (("en", "zh"), "一只狗在雪地里", None),
        (("en", "zh"), "Café über Ålesund, 5 × 7", None),
        (("en", "zh"), "Ｗｉｄｅ", None),
        (("en", "zh"), "an angle called α", None),
        (("en", "zh"), "犬", None),  # as much Chinese as Japanese
        (("en", "zh"), "🐕 123 !?", None),
        (("ja",), "犬が走る", None),
        (("ru", "en"), "собака", None),
        (("mul",), "собака", None),  # which these are is not known
        ((), "собака", None),
    ],
)
def test_letters_it_was_never_taught(languages: tuple[str, ...], text: str, script: str | None) -> None:
    remarks = PhotoIndex(None, model_of(*languages)).remarks(text)
    if script is None:
        assert remarks == []
    else:
        (remark,) = remarks
        assert remark == (
            f"toy was taught {', '.join(languages)} and no {script} letters: what it says may be chance"
        )


@pytest.mark.parametrize("word", ["dog ", "狗"])
def test_an_end_that_is_not_read(word: str) -> None:
    model = model_of("en", "zh")
    each = model.count_tokens([word])[0] - 2  # less what marks the beginning and the end
    index = PhotoIndex(None, model)
    for count in range(1, 3 * CONTEXT // each):
        remarks = index.remarks(word * count)
        if each * count <= CONTEXT - 2:
            assert remarks == [], count
        else:
            (remark,) = remarks
            assert remark == (
                f"the text is longer than the {CONTEXT} tokens that toy reads: its end counts for nothing"
            )


def test_a_text_that_fits_exactly_is_not_cut() -> None:
    model = model_of("en")
    tokens = model.count_tokens(["dog"])[0] - 2
    fits = " ".join(["dog"] * ((CONTEXT - 2) // tokens))
    assert model.count_tokens([fits]) == [CONTEXT]
    index = PhotoIndex(None, model)
    assert index.remarks(fits) == []
    assert len(index.remarks(f"{fits} dog")) == 1
    assert len(index.remarks(f"a -{fits.replace(' ', '-')}-dog")) == 1
