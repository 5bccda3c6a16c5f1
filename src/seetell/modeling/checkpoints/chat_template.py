"""What a checkpoint says of conversations: its template, and which tokens end an answer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from seetell.bundle.checkpoint_files import CHAT_TEMPLATE
from seetell.bundle.manifest import ChatSpec
from seetell.core.errors import CheckpointError
from seetell.core.lines import said_by
from seetell.modeling.checkpoints.gguf_file import GgufFile
from seetell.modeling.checkpoints.source import CheckpointFolder

# Tokens that end a turn in the layouts there are. Some files name only the one that ends a document.
_TURN_ENDS = ("<|im_end|>", "<|eot_id|>", "<end_of_utterance>")


def end_ids(folder: CheckpointFolder, tokenizer_json: bytes) -> tuple[int, ...]:
    """The ids that end a text, what the checkpoint names first. Raises CheckpointError where it names
    none."""
    if isinstance(folder, GgufFile):
        told = [
            folder.setting("tokenizer.ggml.eos_token_id"),
            folder.setting("tokenizer.ggml.eot_token_id", -1),
        ]
    else:
        both = (folder.generation.get("eos_token_id"), folder.config.get("eos_token_id"))
        given = next((one for one in both if one is not None), None)
        told = given if isinstance(given, list) else [given]
    if not told or not all(isinstance(one, int) and not isinstance(one, bool) for one in told):
        raise CheckpointError(
            f"{folder.folder}: texts end with {told!r} (eos_token_id), where an id or a list of them is "
            "meant; correct generation_config.json"
        )
    tokenizer = Tokenizer.from_str(tokenizer_json.decode("utf-8"))
    ends = [int(one) for one in told if one >= 0]
    for name in _TURN_ENDS:
        found = tokenizer.token_to_id(name)
        if found is not None and found not in ends and name in (_template(folder) or ""):
            ends.append(int(found))
    return tuple(ends)


def chat_spec(folder: CheckpointFolder, ends: tuple[int, ...]) -> ChatSpec | None:
    """None for a model that comes without a template, and was taught no conversation."""
    template = _template(folder)
    if template is None:
        return None
    return ChatSpec(template=template, tokens=_tokens(folder), stop_ids=ends)


def _template(folder: CheckpointFolder) -> str | None:
    if isinstance(folder, GgufFile):
        told = folder.setting("tokenizer.chat_template", "")
    elif (folder.folder / CHAT_TEMPLATE).is_file():
        told = _text(folder.folder / CHAT_TEMPLATE)
    else:
        told = _settings(folder).get("chat_template") or ""
    if isinstance(told, list):
        named = {one.get("name"): one.get("template") for one in told if isinstance(one, dict)}
        told = named.get("default") or ""
    if not isinstance(told, str):
        raise CheckpointError(
            f"{folder.folder}: its chat_template is no text; take the checkpoint without it"
        )
    return told or None


def _tokens(folder: CheckpointFolder) -> dict[str, str]:
    """What a template may write by name: ``bos_token`` and the like."""
    if isinstance(folder, GgufFile):
        tokens = folder.setting("tokenizer.ggml.tokens")
        ids = {
            "bos_token": folder.setting("tokenizer.ggml.bos_token_id", -1),
            "eos_token": folder.setting("tokenizer.ggml.eos_token_id", -1),
            "unk_token": folder.setting("tokenizer.ggml.unknown_token_id", -1),
            "pad_token": folder.setting("tokenizer.ggml.padding_token_id", -1),
        }
        return {name: tokens[number] for name, number in ids.items() if 0 <= number < len(tokens)}
    found = {}
    for name, told in _settings(folder).items():
        content = told.get("content") if isinstance(told, dict) else told
        if name.endswith("_token") and isinstance(content, str):
            found[name] = content
    return found


def _settings(folder: CheckpointFolder) -> dict[str, Any]:
    path = folder.folder / "tokenizer_config.json"
    if not path.is_file():
        return {}
    try:
        document = json.loads(_text(path))
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: cut off or no JSON ({said_by(error)}); fetch it again") from error
    return document if isinstance(document, dict) else {}


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{path}: cannot be read ({said_by(error)}); fetch it again") from error
