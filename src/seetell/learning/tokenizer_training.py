"""Training the built-in's tokenizer: byte-level BPE over English and Chinese.

Byte-level BPE (Radford et al. 2019, "Language Models are Unsupervised Multitask Learners", section
2.2) leaves no text unknown. Three choices for this project's texts:

- Han characters stand alone: captions are short, Chinese has no spaces, and pieces made of several
  words ("一个男人") would be too rare to learn from tens of thousands of captions.
- Digits stand alone, so that numbers are spelled and not memorised.
- Every English word carries its leading space, the first one too, so that a word is one token
  wherever it stands.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from seetell.bundle.manifest import TextSpec
from seetell.core.errors import RecipeError
from seetell.core.files import atomic_write_text

# Ids are the places in this list; the built-in's manifest and the models count on the order.
SPECIAL_TOKENS = (
    "[PAD]", "[CLS]", "[FUSE]", "[EOS]", "[MASK]", "[EN]", "[ZH]", "[ANSWER]", "[FILL_EN]", "[FILL_ZH]",
)  # fmt: skip
DEFAULT_VOCAB_SIZE = 6000
_BYTES = 256

_CONTRACTION = r"'(?:s|t|re|ve|m|ll|d)(?![\p{L}\p{M}])"
_PIECES = (
    rf"{_CONTRACTION}"
    r"| ?[\p{L}\p{M}&&[^\p{Han}]]+"  # words of alphabetic scripts, with their space
    r"|\p{Han}"
    r"| ?\p{N}"
    r"| ?[^\s\p{L}\p{M}\p{N}]"  # punctuation, sign by sign
    r"|\s+"
)


def built_in_text_spec(context_length: int) -> TextSpec:
    """The TextSpec that goes with :data:`SPECIAL_TOKENS`."""
    ids = {token: place for place, token in enumerate(SPECIAL_TOKENS)}
    return TextSpec(
        context_length=context_length,
        bos_id=ids["[CLS]"],
        fusion_bos_id=ids["[FUSE]"],
        eos_id=ids["[EOS]"],
        pad_id=ids["[PAD]"],
        mask_id=ids["[MASK]"],
        decoder_start_ids={"en": ids["[EN]"], "zh": ids["[ZH]"]},
        answer_start_id=ids["[ANSWER]"],
        fill_start_ids={"en": ids["[FILL_EN]"], "zh": ids["[FILL_ZH]"]},
    )


def train_tokenizer(texts: Iterable[str], vocab_size: int = DEFAULT_VOCAB_SIZE) -> str:
    """Learn merges from ``texts`` and return the JSON of a ``tokenizer.json``.

    The same texts in the same order give the same JSON. The vocabulary may stay smaller than
    ``vocab_size`` when the texts run out of repeated pairs. Raises RecipeError for a ``vocab_size``
    without room for the bytes and the special tokens.
    """
    smallest = _BYTES + len(SPECIAL_TOKENS)
    if vocab_size < smallest:
        raise RecipeError(f"tokenizer.vocab_size: {vocab_size} is too small; at least {smallest}")
    tokenizer = _untrained()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=2,
        special_tokens=[_special(token) for token in SPECIAL_TOKENS],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer=trainer)
    return str(tokenizer.to_str())


def write_tokenizer(path: Path, document: str) -> None:
    """Write the JSON of :func:`train_tokenizer` to ``path``, atomically. Raises StorageError."""
    atomic_write_text(path, document)


def _special(token: str) -> AddedToken:
    # The mask swallows the space before it: what it hides is a word with its leading space.
    return AddedToken(token, special=True, normalized=False, lstrip=token == "[MASK]")


def _untrained() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.NFKC(),
            normalizers.Lowercase(),
            normalizers.Replace(Regex(r"\s+"), " "),
            # Caption files write "a dog 's ear ." with spaces; people do not. Both become one text.
            normalizers.Replace(Regex(rf" (?=[.,!?;:]|{_CONTRACTION})"), ""),
            normalizers.Strip(),
            normalizers.Prepend(" "),
            # ... but only words have a variant with a space in front.
            normalizers.Replace(Regex(r"^ (?![\p{L}\p{M}\p{N}&&[^\p{Han}]])"), ""),
        ]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_PIECES), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer
