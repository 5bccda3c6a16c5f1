"""Makers of checkpoint folders for the parity tests."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tokenizers import pre_tokenizers

from seetell.modeling.checkpoints.source import CheckpointFolder

END = "<|endoftext|>"


def folder_without_weights(
    path: Path,
    config: Mapping[str, Any],
    *,
    files: Mapping[str, str | bytes | Mapping[str, Any]] | None = None,
    config_name: str = "config.json",
    weights_name: str = "model.safetensors",
) -> CheckpointFolder:
    """A checkpoint of which only the descriptions are read. files: text, bytes or JSON by name."""
    path.mkdir(parents=True, exist_ok=True)
    (path / weights_name).touch()
    for name, content in {config_name: dict(config), **(files or {})}.items():
        if isinstance(content, Mapping):
            content = json.dumps(content)
        data = content if isinstance(content, bytes) else content.encode("utf-8")
        (path / name).write_bytes(data)
    return CheckpointFolder(path)


def save_byte_tokenizer(path: Path) -> int:
    """GPT-2's files over bytes alone, with a merge or two. Returns the number of tokens; the last is END."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: number for number, token in enumerate([*letters, "th", "the", "\u0120a", END])}
    merges = "#version: 0.2\nt h\nth e\n\u0120 a\n"
    settings = {"tokenizer_class": "GPT2Tokenizer", "eos_token": END, "bos_token": END}
    path.mkdir(parents=True, exist_ok=True)
    (path / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    (path / "merges.txt").write_text(merges, encoding="utf-8")
    (path / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    return len(vocabulary)
