"""The tokenizer inside a GGUF file as a ``tokenizer.json``: byte-pair encoding over bytes.

A GGUF file holds the vocabulary and the merges, and of how text falls into pieces before merging only a name
(``tokenizer.ggml.pre``). A wrong one gives other tokens for numbers and blanks, and nothing says so: names
that are not known here are refused.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
from tokenizers.normalizers import Normalizer
from tokenizers.pre_tokenizers import PreTokenizer

from seetell.core.errors import CheckpointError
from seetell.core.lines import said_by
from seetell.modeling.checkpoints.gguf_file import GgufFile

# ``tokenizer.ggml.token_type``
_CONTROL, _USER_DEFINED = 3, 4


def _by_words() -> PreTokenizer:
    """GPT-2's own (Radford et al. 2019)."""
    return pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)


def _digit_by_digit() -> PreTokenizer:
    return pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), _by_words()])


def _by_pattern(numbers: str) -> Callable[[], PreTokenizer]:
    """GPT-4's pattern (tiktoken's cl100k) with so many digits in a piece."""
    pattern = (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
        + numbers
        + r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    )

    def make() -> PreTokenizer:
        return pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(Regex(pattern), behavior="isolated"),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        )

    return make


@dataclass(frozen=True, slots=True)
class _Pieces:
    """How text falls into pieces. whole_words: a piece that is in the vocabulary is one token, whatever the
    merges say."""

    make: Callable[[], PreTokenizer]
    normalizer: Callable[[], Normalizer] | None = None
    whole_words: bool = False


_PIECES = {
    "gpt-2": _Pieces(_by_words),
    "smollm": _Pieces(_digit_by_digit),
    "qwen2": _Pieces(_by_pattern(r"\p{N}"), normalizers.NFC),
    "llama-bpe": _Pieces(_by_pattern(r"\p{N}{1,3}"), whole_words=True),
    "llama3": _Pieces(_by_pattern(r"\p{N}{1,3}"), whole_words=True),
}


def gguf_tokenizer_json(file: GgufFile) -> bytes:
    """The content of a ``tokenizer.json``. Raises CheckpointError for a tokenizer that is not known here."""
    kind = str(file.setting("tokenizer.ggml.model"))
    if kind != "gpt2":
        raise CheckpointError(
            f"{file.folder}: its tokenizer is {kind!r}, and only byte-pair encoding over bytes ('gpt2') is "
            "read from GGUF; convert the model's repository with safetensors and tokenizer.json"
        )
    pre = str(file.setting("tokenizer.ggml.pre", "unsaid"))
    pieces = _PIECES.get(pre)
    if pieces is None:
        raise CheckpointError(
            f"{file.folder}: its text falls into pieces as {pre!r} says (tokenizer.ggml.pre), which is not "
            f"known here; known are: {', '.join(_PIECES)}"
        )
    tokens = file.setting("tokenizer.ggml.tokens")
    merges = [tuple(pair.split(" ", 1)) for pair in file.setting("tokenizer.ggml.merges")]
    kinds = file.setting("tokenizer.ggml.token_type", [1] * len(tokens))
    try:
        tokenizer = Tokenizer(
            models.BPE(
                vocab={token: number for number, token in enumerate(tokens)},
                merges=merges,
                ignore_merges=pieces.whole_words,
            )
        )
    except Exception as error:  # the library raises bare Exception
        raise CheckpointError(
            f"{file.folder}: its vocabulary and merges do not fit each other ({said_by(error)}); fetch it "
            "again"
        ) from error
    tokenizer.pre_tokenizer = pieces.make()
    if pieces.normalizer is not None:
        tokenizer.normalizer = pieces.normalizer()
    tokenizer.decoder = decoders.ByteLevel()
    for token, told in zip(tokens, kinds, strict=True):
        if told in (_CONTROL, _USER_DEFINED):
            special = told == _CONTROL
            tokenizer.add_tokens([AddedToken(token, normalized=False, special=special)])
    if tokenizer.get_vocab_size(with_added_tokens=True) != len(tokens):
        raise CheckpointError(f"{file.folder}: a token stands twice in its vocabulary; fetch it again")
    return tokenizer.to_str(pretty=False).encode("utf-8")
