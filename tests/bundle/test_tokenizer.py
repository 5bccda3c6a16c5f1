"""The running half of the tokenizer, over a small tokenizer of the library's own making."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import decoders, models, pre_tokenizers

from seetell.bundle.manifest import TextSpec
from seetell.bundle.tokenizer import Tokenizer
from seetell.core.errors import BundleDamaged, TextError

WORDS = ["[PAD]", "[CLS]", "[FUSE]", "[EOS]", "[MASK]", "[UNK]", "a", "dog", "cat", "Dog"]
SPEC = TextSpec(context_length=6, bos_id=1, fusion_bos_id=2, eos_id=3, pad_id=0, mask_id=4)


def library_tokenizer() -> tokenizers.Tokenizer:
    backend = tokenizers.Tokenizer(
        models.WordLevel({word: number for number, word in enumerate(WORDS)}, unk_token="[UNK]")
    )
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    backend.add_special_tokens(WORDS[:5])
    return backend


def tokenizer(**changes: object) -> Tokenizer:
    return Tokenizer(library_tokenizer().to_str(), SPEC.model_copy(update=changes))


def test_rows_have_lead_words_end_and_padding() -> None:
    ids, mask = tokenizer().encode(["a dog", "cat", ""], lead_id=2)
    np.testing.assert_array_equal(ids, [[2, 6, 7, 3], [2, 8, 3, 0], [2, 3, 0, 0]])
    np.testing.assert_array_equal(mask, [[1, 1, 1, 1], [1, 1, 1, 0], [1, 1, 0, 0]])
    assert (ids.dtype, mask.dtype) == (np.int64, np.bool_)


def test_long_texts_are_cut_before_the_end_token() -> None:
    long = "a dog a cat a dog a cat"
    ids, _ = tokenizer().encode([long], lead_id=1)
    np.testing.assert_array_equal(ids, [[1, 6, 7, 6, 8, 3]])
    ids, _ = tokenizer().encode([long], lead_id=None, max_length=4)
    np.testing.assert_array_equal(ids, [[6, 7, 6, 3]])
    # Never more than the model has positions for.
    ids, _ = tokenizer().encode([long], lead_id=1, max_length=99)
    assert ids.shape == (1, 6)
    with pytest.raises(TextError):
        tokenizer().encode([long], lead_id=1, max_length=2)


def test_fixed_padding_and_the_left_side() -> None:
    ids, mask = tokenizer(padding="fixed").encode(["a"], lead_id=1)
    np.testing.assert_array_equal(ids, [[1, 6, 3, 0, 0, 0]])
    ids, mask = tokenizer(side="left").encode(["a", "a dog"], lead_id=None)
    np.testing.assert_array_equal(ids, [[0, 6, 3], [6, 7, 3]])
    np.testing.assert_array_equal(mask, [[0, 1, 1], [1, 1, 1]])


def test_no_texts_give_no_rows() -> None:
    ids, mask = tokenizer().encode([], lead_id=1)
    assert ids.shape == mask.shape == (0, 0)


def test_a_file_that_pads_and_cuts_by_itself_is_overruled() -> None:
    backend = library_tokenizer()
    backend.enable_padding(length=20)
    backend.enable_truncation(1)
    assert Tokenizer(backend.to_str(), SPEC).encode_words("a dog") == [6, 7]


def test_special_names_typed_by_a_user_do_nothing_but_the_mask() -> None:
    assert tokenizer().encode_words("a [EOS] dog [PAD][CLS]") == [6, 7]
    assert tokenizer().encode_words("a [MASK] dog") == [6, 4, 7]


def with_unknown(name: str) -> Tokenizer:
    """Over a file whose sign for what is unknown is special, as BERT's and CLIP's are."""
    backend = tokenizers.Tokenizer(
        models.WordLevel({word: number for number, word in enumerate(WORDS)}, unk_token=name)
    )
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    backend.add_special_tokens(WORDS[:6])
    return Tokenizer(backend.to_str(), SPEC)


def test_an_unknown_word_keeps_its_place() -> None:
    made = with_unknown("[UNK]")
    assert made.encode_words("a bird dog") == [6, 5, 7]
    np.testing.assert_array_equal(made.encode(["bird"], lead_id=1)[0], [[1, 5, 3]])
    assert made.decode([6, 5, 7]) == "a dog"


def test_an_unknown_piece_keeps_its_place() -> None:
    pieces = [(word, -float(number)) for number, word in enumerate(WORDS)]
    backend = tokenizers.Tokenizer(models.Unigram(pieces, 5, byte_fallback=False))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    backend.add_special_tokens(WORDS[:6])
    assert Tokenizer(backend.to_str(), SPEC).encode_words("a bird dog") == [6, 5, 7]


def test_an_end_that_also_means_unknown_never_ends_a_text_early() -> None:
    assert with_unknown("[EOS]").encode_words("a bird [EOS] dog") == [6, 7]


def test_lower_casing_spares_the_mask() -> None:
    assert tokenizer().encode_words("Dog [MASK]") == [9, 4]
    assert tokenizer(lower_case=True).encode_words("Dog [MASK]") == [7, 4]


def test_decode_drops_special_tokens_and_takes_arrays() -> None:
    assert tokenizer().decode(np.array([1, 6, 7, 3, 0, 0])) == "a dog"
    assert tokenizer().decode([]) == ""


LLAMA = [
    decoders.Replace("▁", " "),
    decoders.ByteFallback(),
    decoders.Fuse(),
    decoders.Strip(content=" ", left=1, right=0),
]
# What each way of decoding reads: pieces of characters, bytes of them, space, punctuation that joins.
MIXED = ["▁a", "a", "##b", "b</w>", "</w>", "Ġ", "ĠĠc", "ä¸", "Ń", "ä", "ãĢĢ", "Ċ", ".", ",", "'", "n't", "▁"]
MIXED += ["<0xE4>", "<0xB8>", "<0xAD>", "<0x20>", "<0x0A>", "中", "。", "\ufffd", " ", "!", "do", "not", "'s"]
DECODERS = {
    "none": None,
    "byte level": decoders.ByteLevel(),
    "word pieces": decoders.WordPiece(),
    "word pieces, not cleaned": decoders.WordPiece(cleanup=False),
    "ends of words": decoders.BPEDecoder(),
    "metaspace": decoders.Metaspace(),
    "metaspace, never before": decoders.Metaspace(prepend_scheme="never"),
    "byte fallback": decoders.Sequence(LLAMA),
}


def decoding(decoder: decoders.Decoder | None) -> Tokenizer:
    names = [*WORDS[:5], *MIXED]
    backend = tokenizers.Tokenizer(models.WordLevel({name: at for at, name in enumerate(names)}, "[CLS]"))
    backend.add_special_tokens(WORDS[:5])
    if decoder is not None:
        backend.decoder = decoder
    return Tokenizer(backend.to_str(), SPEC)


@pytest.mark.parametrize("made", [decoding(one) for one in DECODERS.values()], ids=DECODERS.keys())
@given(ids=st.lists(st.integers(0, 4 + len(MIXED)), max_size=12))
@settings(max_examples=100)
def test_what_a_text_is_said_to_begin_with_it_begins_with(made: Tokenizer, ids: list[int]) -> None:
    whole, before = made.decode(ids), ""
    for length in range(len(ids) + 1):
        start = made.decode_start(ids[:length])
        assert whole.startswith(start)
        assert start.startswith(before)
        before = start


def test_a_beginning_is_told_as_soon_as_it_is_certain() -> None:
    place = {name: at for at, name in enumerate([*WORDS[:5], *MIXED])}

    def starts(made: Tokenizer, *names: str) -> list[str]:
        ids = [place[name] for name in names]
        return [made.decode_start(ids[: length + 1]) for length in range(len(ids))]

    assert starts(decoding(decoders.ByteLevel()), "a", "Ġ", "ä¸", "Ń", "ä", "a") == [
        "a",
        "a",
        "a",
        "a 中",
        "a 中",
        "a 中\ufffda",
    ]
    assert starts(decoding(decoders.WordPiece()), "a", "##b", "do", ".", "中") == [
        "a",
        "ab",
        "ab do",
        "ab do.",
        "ab do. 中",
    ]
    # Bytes wait for the end of their run: one more of them may undo the character before.
    assert starts(decoding(decoders.Sequence(LLAMA)), "▁a", "<0xE4>", "<0xB8>", "<0xAD>", "▁a") == [
        "a",
        "a",
        "a",
        "a",
        "a中 a",
    ]


@pytest.mark.parametrize(
    "decoder",
    [
        decoders.CTC(),
        decoders.Sequence([decoders.Fuse(), decoders.Replace("ab", "c")]),
        decoders.Sequence([decoders.Fuse(), decoders.Replace(tokenizers.Regex("a+"), "c")]),
        decoders.Sequence([decoders.Fuse(), decoders.Strip(content="a", left=0, right=1)]),
        decoders.Sequence([decoders.Fuse(), decoders.WordPiece()]),
    ],
)
def test_of_other_ways_to_decode_nothing_is_said(decoder: decoders.Decoder) -> None:
    made = decoding(decoder)
    assert made.decode([6, 6, 7]) != ""
    assert made.decode_start([6, 6, 7]) == ""


def test_names_and_ids() -> None:
    made = tokenizer()
    assert made.vocab_size == len(WORDS)
    assert (made.token(7), made.token(999)) == ("dog", None)
    assert (made.token_id("cat"), made.token_id("bird")) == (8, None)


@pytest.mark.parametrize("text", [None, 3, b"dog"])
def test_what_is_no_text_is_a_text_error(text: object) -> None:
    with pytest.raises(TextError):
        tokenizer().encode([text], lead_id=1)  # type: ignore[list-item]  # the point of the test


def test_lone_surrogates_do_not_crash() -> None:
    ids, _ = tokenizer().encode(["dog \ud800"], lead_id=1)
    assert 7 in ids


def test_damaged_files_are_named(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    with pytest.raises(BundleDamaged, match=r"tokenizer\.json"):
        Tokenizer.from_file(path, SPEC)
    for content in (b"", b"{}", b"[1]", b"\xff\xfe", b'{"model": 3}'):
        path.write_bytes(content)
        with pytest.raises(BundleDamaged, match=r"tokenizer\.json") as caught:
            Tokenizer.from_file(path, SPEC)
        assert "\n" not in str(caught.value)


def test_a_spec_of_another_tokenizer_is_noticed() -> None:
    with pytest.raises(BundleDamaged, match="99"):
        tokenizer(eos_id=99)


def test_threads_share_one_tokenizer() -> None:
    made = tokenizer()
    texts = ["a dog " * count for count in range(8)]
    expected = [made.encode([text], lead_id=1)[0].tolist() for text in texts]
    with ThreadPoolExecutor(8) as pool:
        found = list(
            pool.map(lambda place: made.encode([texts[place % 8]], lead_id=1)[0].tolist(), range(400))
        )
    assert found == [expected[place % 8] for place in range(400)]
