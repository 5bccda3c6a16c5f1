"""Tokenizer files built from the older kinds, against transformers reading the same folder."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import tokenizers
from tokenizers import models, pre_tokenizers, trainers
from transformers import BertTokenizer, CLIPTokenizer, GPT2Tokenizer

from seetell.bundle.manifest import TextSpec
from seetell.bundle.tokenizer import Tokenizer
from seetell.core.errors import CheckpointError
from seetell.modeling.checkpoints.source import CheckpointFolder
from seetell.modeling.checkpoints.tokenizer_files import token_id, tokenizer_json
from tests.parity.checkpoint_files import folder_without_weights

# The conftest takes settings of the person away before a test runs; this one says where data lies.
DATA = Path(os.environ.get("SEETELL_DATA", "no-data")) / "tokenizers"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="SEETELL_DATA names no folder with tokenizers/")

_WORDS = [
    *("a", "photo", "of", "the", "cat", "dogs", "running", "isn't", "we'll", "THEY'RE", "don’t", "ﬁn"),
    *("naïve", "café", "Ünïcode", "straße", "İstanbul", "猫", "狗在草地上跑", "東京", "한국어", "русский"),
    *(
        "العربية",
        "ไทย",
        "😀",
        "👨‍👩‍👧‍👦",
        "🇨🇭",
        "1234",
        "3.14",
        "x²",
        "½",
        "...",
        "!?",
        "«quoted»",
        "$5",
        "#tag",
    ),
    *("e-mail@host.org", "http://a.b/c?d=e&f", "_under_", "snake_case", "CamelCase"),
    *("\u200bzero\u00a0space", "\u0301combining"),
]
_EDGES = [
    "",
    " ",
    "\n\t mixed \r\n white\u3000space ",
    "a",
    "é",
    "e\u0301",
    "word" * 60,
    "the cat " * 80,
    "\x00null\x07bell\ufffdreplacement",
    "''''s't've",
]


def _texts() -> list[str]:
    chance = random.Random(3)
    texts = [*_EDGES]
    while len(texts) < 50:
        texts.append(" ".join(chance.choice(_WORDS) for _ in range(chance.randint(1, 24))))
    return texts


TEXTS = _texts()


def _bpe(suffix: str) -> tuple[dict[str, int], str]:
    """A byte-level vocabulary learned from the texts, and its merges as ``merges.txt``."""
    backend = tokenizers.Tokenizer(models.BPE(**({"end_of_word_suffix": suffix} if suffix else {})))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=700,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
        **({"end_of_word_suffix": suffix} if suffix else {}),
    )
    backend.train_from_iterator([text.lower() for text in TEXTS], trainer)
    model = json.loads(backend.to_str())["model"]
    vocabulary: dict[str, int] = model["vocab"]
    for letter in pre_tokenizers.ByteLevel.alphabet() if suffix else ():
        vocabulary.setdefault(letter + suffix, len(vocabulary))
    merges = "\n".join(" ".join(pair) for pair in model["merges"])
    return vocabulary, f"#version: 0.2\n{merges}\n"


def _clip_files() -> dict[str, Any]:
    vocabulary, merges = _bpe("</w>")
    for token in ("<|startoftext|>", "<|endoftext|>"):
        vocabulary[token] = len(vocabulary)
    token = {
        "__type": "AddedToken",
        "lstrip": False,
        "normalized": True,
        "rstrip": False,
        "single_word": False,
    }
    settings = {
        "tokenizer_class": "CLIPTokenizer",
        "bos_token": {**token, "content": "<|startoftext|>"},
        "eos_token": {**token, "content": "<|endoftext|>"},
        "unk_token": {**token, "content": "<|endoftext|>"},
        "pad_token": "<|endoftext|>",
        "errors": "replace",
        "do_lower_case": True,
        "name_or_path": "openai/clip-vit-base-patch32",
    }
    return {"vocab.json": vocabulary, "merges.txt": merges, "tokenizer_config.json": settings}


def _gpt2_files(**settings: Any) -> dict[str, Any]:
    vocabulary, merges = _bpe("")
    vocabulary["<|endoftext|>"] = len(vocabulary)
    return {
        "vocab.json": vocabulary,
        "merges.txt": merges,
        "tokenizer_config.json": {"tokenizer_class": "GPT2Tokenizer", **settings},
    }


def _bert_files(**settings: Any) -> dict[str, Any]:
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    letters = sorted({letter for text in TEXTS for letter in text + text.lower() if not letter.isspace()})
    words = ["the", "cat", "dog", "##s", "run", "##ning", "photo", "cafe", "café", "naive", "is", "##n"]
    rest = [f"##{letter}" for letter in letters if letter not in "猫狗"]
    listed = [*special, *letters, *(word for word in words if word not in letters), *rest, "\u2028"]
    # A set would lose the order: a word's line is its number.
    vocabulary = "\n".join(dict.fromkeys(listed)) + "\n"
    return {
        "vocab.txt": vocabulary,
        "tokenizer_config.json": {"tokenizer_class": "BertTokenizer", **settings},
    }


CASES: dict[str, tuple[type[Any], Callable[[], dict[str, Any]]]] = {
    "clip": (CLIPTokenizer, _clip_files),
    "gpt2": (GPT2Tokenizer, _gpt2_files),
    "gpt2, spaced": (GPT2Tokenizer, lambda: _gpt2_files(add_prefix_space=True)),
    "bert": (BertTokenizer, _bert_files),
    "bert, cased": (BertTokenizer, lambda: _bert_files(do_lower_case=False)),
    "bert, accents kept": (BertTokenizer, lambda: _bert_files(do_lower_case=True, strip_accents=False)),
    "bert, chinese uncut": (BertTokenizer, lambda: _bert_files(tokenize_chinese_chars=False)),
}


def _ids(document: bytes, texts: list[str], *, special: bool = False) -> list[list[int]]:
    backend = tokenizers.Tokenizer.from_str(document.decode("utf-8"))
    return [backend.encode(text, add_special_tokens=special).ids for text in texts]


def _reference_ids(tokenizer: Any, texts: list[str], *, special: bool = False) -> list[list[int]]:
    return [tokenizer(text, add_special_tokens=special)["input_ids"] for text in texts]


@pytest.mark.parametrize("name", CASES)
def test_ids_are_those_of_the_reference(name: str, tmp_path: Path) -> None:
    kind, make = CASES[name]
    folder = folder_without_weights(tmp_path, {"model_type": "any"}, files=make())
    reference = kind.from_pretrained(tmp_path)
    built = tokenizer_json(folder)
    assert len(TEXTS) == 50
    assert _ids(built, TEXTS) == _reference_ids(reference, TEXTS)
    special = list(reference.all_special_tokens)
    mixed = [f"{one}the cat {one} sat{one}\n{one}{one.upper()}x" for one in special]
    assert _ids(built, mixed) == _reference_ids(reference, mixed)
    assert [token_id(built, one) for one in special] == reference.convert_tokens_to_ids(special)


@pytest.mark.parametrize("name", ["clip", "bert"])
def test_whole_rows_too(name: str, tmp_path: Path) -> None:
    """Rows as the bundle's tokenizer makes them, and as others would from the same file."""
    kind, make = CASES[name]
    folder = folder_without_weights(tmp_path, {"model_type": "any"}, files=make())
    reference = kind.from_pretrained(tmp_path)
    built = tokenizer_json(folder)
    expected = _reference_ids(reference, TEXTS, special=True)
    assert _ids(built, TEXTS, special=True) == expected
    lead, end = ("[CLS]", "[SEP]") if name == "bert" else ("<|startoftext|>", "<|endoftext|>")
    spec = TextSpec(context_length=1000, bos_id=token_id(built, lead), eos_id=token_id(built, end), pad_id=0)
    ids, mask = Tokenizer(built.decode("utf-8"), spec).encode(TEXTS, lead_id=spec.bos_id)
    assert [row[kept].tolist() for row, kept in zip(ids, mask, strict=True)] == expected


def test_written_text_is_that_of_the_reference(tmp_path: Path) -> None:
    folder = folder_without_weights(tmp_path, {"model_type": "any"}, files=_gpt2_files())
    reference = GPT2Tokenizer.from_pretrained(tmp_path)
    built = tokenizer_json(folder)
    end = token_id(built, "<|endoftext|>")
    ours = Tokenizer(built.decode("utf-8"), TextSpec(context_length=1000, bos_id=end, eos_id=end, pad_id=end))
    for text, ids in zip(TEXTS, _ids(built, TEXTS), strict=True):
        assert ours.decode([*ids, end]) == reference.decode(ids, skip_special_tokens=True).strip()
        assert ours.decode(ids) == text.strip()


def test_a_tokenizer_file_is_taken_as_it_is(tmp_path: Path) -> None:
    built = tokenizer_json(folder_without_weights(tmp_path / "old", {}, files=_bert_files()))
    again = folder_without_weights(
        tmp_path / "new", {}, files={"tokenizer.json": b" " + built, "vocab.txt": "of another model\n"}
    )
    assert tokenizer_json(again) == b" " + built


def test_added_tokens_keep_their_ids(tmp_path: Path) -> None:
    files = _bert_files()
    size = len(files["vocab.txt"].split("\n")) - 1
    files["added_tokens.json"] = {"[ENC]": size + 1, "[DEC]": size}
    files["special_tokens_map.json"] = {"bos_token": "[DEC]", "mask_token": "[MASK]"}
    built = tokenizer_json(folder_without_weights(tmp_path, {}, files=files))
    assert token_id(built, "[DEC]") == size
    assert token_id(built, "[ENC]") == size + 1
    assert _ids(built, ["the [ENC] cat"])[0].count(size + 1) == 1
    files["added_tokens.json"] = {"[DEC]": size + 3}
    with pytest.raises(CheckpointError, match=r"'\[DEC\]' cannot have the id"):
        tokenizer_json(folder_without_weights(tmp_path, {}, files=files))


@pytest.mark.parametrize(
    ("files", "what"),
    [
        ({}, r"tokenizer\.json, or vocab\.txt, or vocab\.json with merges\.txt"),
        ({"vocab.json": {"a": 0}}, r"vocab\.json is there and merges\.txt is missing"),
        ({"merges.txt": "a b\n"}, r"merges\.txt is there and vocab\.json is missing"),
        ({"spiece.model": b"\x00"}, r"spiece\.model \(SentencePiece\)"),
        ({"tokenizer.json": b"{"}, r"tokenizer\.json: cut off"),
        ({"tokenizer.json": b"\xff\xfe"}, r"tokenizer\.json: cut off"),
        ({"vocab.txt": b"\xff\xfe"}, "no UTF-8"),
        ({"vocab.txt": "the\ncat\n"}, r"\[CLS\]|\[UNK\]"),
        ({"vocab.txt": ""}, r"\[CLS\]|\[UNK\]|missing"),
        ({"vocab.json": b"[", "merges.txt": ""}, r"vocab\.json: cut off"),
        ({"vocab.json": {"a": "b"}, "merges.txt": ""}, r"vocab\.json: no mapping"),
        ({"vocab.json": {"a": 0}, "merges.txt": "#version: 0.2\na b\n"}, "do not fit"),
        ({"vocab.json": {"a": 0}, "merges.txt": "#version: 0.2\nabc\n"}, "line 2 is no pair"),
        (
            {"vocab.txt": "a\n", "tokenizer_config.json": {"tokenizer_class": "BertJapaneseTokenizer"}},
            "BertJapaneseTokenizer cannot be built",
        ),
        (
            {
                "vocab.json": {"a": 0},
                "merges.txt": "",
                "tokenizer_config.json": {"tokenizer_class": "BertTokenizerFast"},
            },
            "BertTokenizerFast cannot be built",
        ),
        ({"vocab.txt": "a\n", "tokenizer_config.json": b"{"}, r"tokenizer_config\.json: cut off"),
    ],
)
def test_what_is_missing_or_damaged_is_named(files: Mapping[str, Any], what: str, tmp_path: Path) -> None:
    folder: CheckpointFolder = folder_without_weights(tmp_path, {"model_type": "any"}, files=files)
    with pytest.raises(CheckpointError, match=what) as caught:
        tokenizer_json(folder)
    assert "\n" not in str(caught.value)


def test_a_token_that_is_not_there(tmp_path: Path) -> None:
    built = tokenizer_json(folder_without_weights(tmp_path, {}, files=_bert_files()))
    with pytest.raises(CheckpointError, match=r"no token '\[DEC\]'"):
        token_id(built, "[DEC]")


@needs_data
def test_clips_own_vocabulary(tmp_path: Path) -> None:
    published = (DATA / "clip" / "tokenizer.json").read_bytes()
    model = json.loads(published)["model"]
    pairs = (pair if isinstance(pair, str) else " ".join(pair) for pair in model["merges"])
    merges = "\n".join(["#version: 0.2", *pairs, ""])
    files = {"vocab.json": model["vocab"], "merges.txt": merges}
    built = tokenizer_json(folder_without_weights(tmp_path, {"model_type": "clip"}, files=files))
    expected = _reference_ids(CLIPTokenizer.from_pretrained(DATA / "clip"), TEXTS, special=True)
    assert _ids(built, TEXTS, special=True) == expected
    assert _ids(published, TEXTS, special=True) == expected


@needs_data
def test_berts_own_vocabulary(tmp_path: Path) -> None:
    files = {"vocab.txt": (DATA / "bert_uncased_vocab.txt").read_bytes()}
    built = tokenizer_json(folder_without_weights(tmp_path, {"model_type": "bert"}, files=files))
    reference = BertTokenizer(vocab=str(DATA / "bert_uncased_vocab.txt"))
    assert _ids(built, TEXTS, special=True) == _reference_ids(reference, TEXTS, special=True)
    assert [token_id(built, one) for one in ("[PAD]", "[CLS]", "[SEP]", "[MASK]")] == [0, 101, 102, 103]
