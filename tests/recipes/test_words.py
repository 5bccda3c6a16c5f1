"""What words mean, in one space for both languages."""

from __future__ import annotations

import numpy as np
from tokenizers import Tokenizer, decoders, models
from words import in_one_space, token_texts


def test_the_other_language_lies_where_its_meaning_does() -> None:
    """Two encoders that turn the same meanings differently, one of them with a direction for the language."""
    random = np.random.default_rng(0)
    meaning = random.normal(size=(60, 6)).astype(np.float32)
    is_english = np.arange(60) < 40
    meaning[40:] = meaning[:20]  # the first twenty words of the one are those of the other
    english = meaning @ np.linalg.qr(random.normal(size=(6, 6)))[0].astype(np.float32) + 3
    both = np.hstack([meaning @ random.normal(size=(6, 8)), np.where(is_english, 5.0, -5.0)[:, None]])
    found = in_one_space(english, both.astype(np.float32), is_english)
    cosines = found @ found.T / np.outer(*[np.linalg.norm(found, axis=1)] * 2)
    nearest = cosines[40:, :40].argmax(axis=1)
    assert (nearest == np.arange(20)).mean() > 0.9
    spread = found[is_english].std(axis=0)
    assert (np.diff(spread) <= 1e-4).all(), "the axes that tell most come first"


def test_one_language_alone() -> None:
    english = np.random.default_rng(0).normal(size=(9, 4)).astype(np.float32)
    found = in_one_space(english, english, np.full(9, True))
    own = english - english.mean(axis=0)
    np.testing.assert_allclose(found @ found.T / found.std() ** 2, own @ own.T / own.std() ** 2, atol=1e-4)


def test_marks_and_parts_of_letters_say_nothing() -> None:
    tokenizer = Tokenizer(models.BPE({"<pad>": 0, "dog": 1, "\u0120cat": 2, "\u00e7": 3}, []))
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<pad>"])
    assert token_texts(tokenizer) == ["", "dog", "cat", ""]
