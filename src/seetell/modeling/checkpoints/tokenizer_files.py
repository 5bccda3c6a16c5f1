"""A checkpoint's tokenizer as one ``tokenizer.json``, built from the older files where there is none.

The older files are a vocabulary with merges (``vocab.json``, ``merges.txt``: byte-pair encoding, Sennrich et
al. 2016, over bytes as in GPT-2) or a word list (``vocab.txt``: WordPiece, as in BERT). What the classes of
transformers do to a text before and after is written down here, once per kind.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from seetell.core.errors import CheckpointError
from seetell.modeling.checkpoints.source import CheckpointFolder

_Kind = Literal["clip", "gpt2", "bert"]

# Tokenizer classes that read these files as the kinds do. Others read the same files in other ways
# (BertJapaneseTokenizer), so they are refused.
_CLASSES: dict[str, tuple[_Kind, ...]] = {
    "CLIPTokenizer": ("clip",),
    "GPT2Tokenizer": ("gpt2",),
    "BertTokenizer": ("bert",),
    "DistilBertTokenizer": ("bert",),
    # Not telling: the files decide.
    "PreTrainedTokenizer": ("clip", "gpt2", "bert"),
    "TokenizersBackend": ("clip", "gpt2", "bert"),
}
# The pieces CLIP's text falls into (Radford et al. 2021); GPT-2's are the byte-level pre-tokenizer's own.
_CLIP_PIECES = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
_WORD_END = "</w>"
_SPECIAL: dict[_Kind, dict[str, str]] = {
    "clip": {
        "bos_token": "<|startoftext|>",
        "eos_token": "<|endoftext|>",
        "unk_token": "<|endoftext|>",
        "pad_token": "<|endoftext|>",
    },
    "gpt2": {"bos_token": "<|endoftext|>", "eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>"},
    "bert": {
        "pad_token": "[PAD]",
        "unk_token": "[UNK]",
        "cls_token": "[CLS]",
        "sep_token": "[SEP]",
        "mask_token": "[MASK]",
    },
}


def tokenizer_json(folder: CheckpointFolder) -> bytes:
    """The content of a ``tokenizer.json``: the folder's own as it is, or built from its older files.

    Raises CheckpointError for files that are missing, damaged, or of a tokenizer that is not known here.
    """
    files = {path.name: path for path in folder.tokenizer_files}
    whole = files.get("tokenizer.json")
    if whole is not None:
        content = _bytes(whole)
        _parsed(content, str(whole))
        return content
    kind, vocabulary = _vocabulary(folder, files)
    settings = _json(files, "tokenizer_config.json")
    _check_class(folder, kind, settings)
    told = {**_named(_json(files, "special_tokens_map.json")), **_named(settings)}
    # Of the usual special tokens, those the vocabulary has; the files may name others beyond it.
    usual = {role: token for role, token in _SPECIAL[kind].items() if token in vocabulary}
    special = _spelt({**usual, **told})
    contents = {**_SPECIAL[kind], **{role: str(token["content"]) for role, token in special.items()}}
    if kind == "bert":
        tokenizer = _wordpiece(vocabulary, contents, settings)
    else:
        merges = list(_merges(files["merges.txt"]))
        make = _clip if kind == "clip" else _gpt2
        try:
            tokenizer = make(vocabulary, merges, contents, settings)
        except Exception as error:  # the library raises bare Exception
            raise CheckpointError(
                f"{folder.folder}: vocab.json and merges.txt do not fit each other ({_line(error)}); fetch "
                "both again"
            ) from error
    _add_tokens(folder, tokenizer, special, files, settings)
    _finish(folder, kind, tokenizer, contents)
    return tokenizer.to_str(pretty=False).encode("utf-8")


def token_id(tokenizer_json: bytes, content: str) -> int:
    """The id of the token that is spelt ``content``. Raises CheckpointError where there is none."""
    found = _parsed(tokenizer_json, "tokenizer.json").token_to_id(content)
    if found is None:
        raise CheckpointError(f"tokenizer.json: no token {content!r} in it, which this family needs")
    return int(found)


def _vocabulary(folder: CheckpointFolder, files: Mapping[str, Path]) -> tuple[_Kind, dict[str, int]]:
    """What kind of tokenizer the files are of, told by the files, and its vocabulary."""
    if "vocab.txt" in files:
        # Only "\n" ends a word: some vocabularies hold other line separators as words.
        lines = _text(files["vocab.txt"]).replace("\r\n", "\n").split("\n")
        return "bert", {word: number for number, word in enumerate(lines if lines[-1] else lines[:-1])}
    if "vocab.json" in files and "merges.txt" in files:
        vocabulary = _json(files, "vocab.json")
        if not vocabulary or not all(isinstance(number, int) for number in vocabulary.values()):
            raise CheckpointError(f"{files['vocab.json']}: no mapping of tokens to numbers; fetch it again")
        return ("clip" if any(word.endswith(_WORD_END) for word in vocabulary) else "gpt2"), vocabulary
    half = next((name for name in ("vocab.json", "merges.txt") if name in files), None)
    pieces = next((name for name in files if name.endswith(".model")), None)
    if half is not None:
        other = "merges.txt" if half == "vocab.json" else "vocab.json"
        raise CheckpointError(f"{folder.folder}: {half} is there and {other} is missing; fetch it as well")
    if pieces is not None:
        raise CheckpointError(
            f"{folder.folder}: its tokenizer is {pieces} (SentencePiece) and tokenizer.json is missing; take "
            "it from a repository of the same model that has one"
        )
    raise CheckpointError(
        f"{folder.folder}: its tokenizer is missing: tokenizer.json, or vocab.txt, or vocab.json with "
        "merges.txt; fetch it as well"
    )


def _check_class(folder: CheckpointFolder, kind: _Kind, settings: Mapping[str, Any]) -> None:
    told = settings.get("tokenizer_class")
    if told is None:
        return
    if kind not in _CLASSES.get(str(told).removesuffix("Fast"), ()):
        raise CheckpointError(
            f"{folder.folder}: tokenizer.json is missing, and one for {told} cannot be built from the files "
            "that are there; take it from a repository of the same model that has one"
        )


def _merges(path: Path) -> Iterator[tuple[str, str]]:
    """Pairs in the order of their rank; the first line names the format's version."""
    for number, line in enumerate(_text(path).split("\n"), start=1):
        if not line.strip() or (number == 1 and line.startswith("#version")):
            continue
        pair = line.rstrip("\r").split(" ")
        if len(pair) != 2:
            raise CheckpointError(f"{path}: line {number} is no pair of tokens; fetch it again")
        yield pair[0], pair[1]


def _clip(
    vocabulary: dict[str, int],
    merges: list[tuple[str, str]],
    special: Mapping[str, str],
    settings: Mapping[str, Any],
) -> Tokenizer:
    tokenizer = Tokenizer(
        models.BPE(
            vocab=vocabulary,
            merges=merges,
            continuing_subword_prefix="",
            end_of_word_suffix=_WORD_END,
            unk_token=special["unk_token"],
        )
    )
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_CLIP_PIECES), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def _gpt2(
    vocabulary: dict[str, int],
    merges: list[tuple[str, str]],
    special: Mapping[str, str],
    settings: Mapping[str, Any],
) -> Tokenizer:
    tokenizer = Tokenizer(
        models.BPE(vocab=vocabulary, merges=merges, continuing_subword_prefix="", end_of_word_suffix="")
    )
    spaced = settings.get("add_prefix_space") is True
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=spaced)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def _wordpiece(
    vocabulary: dict[str, int], special: Mapping[str, str], settings: Mapping[str, Any]
) -> Tokenizer:
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token=special["unk_token"]))
    tokenizer.normalizer = normalizers.BertNormalizer(
        clean_text=True,
        handle_chinese_chars=settings.get("tokenize_chinese_chars") is not False,
        # None: as lower-casing does.
        strip_accents=settings.get("strip_accents"),
        lowercase=settings.get("do_lower_case") is not False,
    )
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece(prefix="##")
    return tokenizer


def _named(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Entries such as ``bos_token``: a text, or the fields of an added token."""
    return {
        role: token
        for role, token in settings.items()
        if role.endswith("_token") and isinstance(token, (str, dict))
    }


def _spelt(special: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    return {
        role: {"content": token} if isinstance(token, str) else dict(token) for role, token in special.items()
    }


def _add_tokens(
    folder: CheckpointFolder,
    tokenizer: Tokenizer,
    special: Mapping[str, Mapping[str, Any]],
    files: Mapping[str, Path],
    settings: Mapping[str, Any],
) -> None:
    """Tokens that stand outside the vocabulary or must not be cut up, at the ids they are said to have."""
    wanted: dict[int, Mapping[str, Any]] = {}
    for content, number in _json(files, "added_tokens.json").items():
        wanted[int(number)] = {"content": content, "special": False}
    for number, token in (settings.get("added_tokens_decoder") or {}).items():
        wanted[int(number)] = token
    known = {str(token["content"]) for token in wanted.values()}
    ordered = [wanted[number] for number in sorted(wanted)]
    # Roles that are in no list of added tokens come first where the vocabulary has them, else last.
    ordered += [{**token, "special": True} for token in special.values() if token["content"] not in known]
    roles = {str(token["content"]) for token in special.values()}
    for token in ordered:
        content = str(token["content"])
        is_special = bool(token.get("special", True)) or content in roles
        tokenizer.add_tokens(
            [
                AddedToken(
                    content,
                    single_word=bool(token.get("single_word", False)),
                    lstrip=bool(token.get("lstrip", False)),
                    rstrip=bool(token.get("rstrip", False)),
                    normalized=bool(token.get("normalized", not is_special)),
                    special=is_special,
                )
            ]
        )
    for number, token in wanted.items():
        if tokenizer.token_to_id(str(token["content"])) != number:
            raise CheckpointError(
                f"{folder.folder}: the added token {token['content']!r} cannot have the id {number} over "
                "this vocabulary; fetch the tokenizer's files again"
            )


def _finish(folder: CheckpointFolder, kind: _Kind, tokenizer: Tokenizer, special: Mapping[str, str]) -> None:
    """What the file says of whole rows, for others who read it; seetell leads and ends rows by itself."""
    lead, end = ("cls_token", "sep_token") if kind == "bert" else ("bos_token", "eos_token")
    numbers: dict[str, int] = {}
    for role in (lead, end, "unk_token"):
        number = tokenizer.token_to_id(special[role])
        if number is None:
            raise CheckpointError(
                f"{folder.folder}: no token {special[role]!r} in its vocabulary; fetch it again"
            )
        numbers[role] = number
    first, last = (special[lead], numbers[lead]), (special[end], numbers[end])
    if kind == "bert":
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{first[0]}:0 $A:0 {last[0]}:0",
            pair=f"{first[0]}:0 $A:0 {last[0]}:0 $B:1 {last[0]}:1",
            special_tokens=[first, last],
        )
    elif kind == "clip":
        tokenizer.post_processor = processors.RobertaProcessing(
            last, first, trim_offsets=False, add_prefix_space=False
        )
    else:
        tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)


def _json(files: Mapping[str, Path], name: str) -> dict[str, Any]:
    """A JSON object; empty where the file is not there."""
    path = files.get(name)
    if path is None:
        return {}
    try:
        document = json.loads(_bytes(path))
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: cut off or no JSON ({_line(error)}); fetch it again") from error
    if not isinstance(document, dict):
        raise CheckpointError(f"{path}: a mapping is expected, not {type(document).__name__}; fetch it again")
    return document


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from error


def _text(path: Path) -> str:
    try:
        return _bytes(path).decode("utf-8")
    except UnicodeDecodeError as error:
        raise CheckpointError(f"{path}: no UTF-8 text ({_line(error)}); fetch it again") from error


def _parsed(content: bytes, where: str) -> Tokenizer:
    try:
        return Tokenizer.from_str(content.decode("utf-8"))
    except Exception as error:  # the library raises bare Exception
        raise CheckpointError(
            f"{where}: cut off or no tokenizer file ({_line(error)}); fetch it again"
        ) from error


def _line(error: object) -> str:
    return " ".join(str(error).split())[:200]
