"""How a sentence encoder makes one vector of a text's tokens, as sentence-transformers writes it down.

``modules.json`` lists the steps, ``1_Pooling/config.json`` says how tokens are pooled, and
``sentence_bert_config.json`` how long a text may be.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Literal

from seetell.bundle.checkpoint_files import POOLING_CONFIG, PROMPTS_CONFIG, SENTENCE_CONFIG, SENTENCE_MODULES
from seetell.core.errors import CheckpointError
from seetell.modeling.checkpoints.source import CheckpointFolder

Pooling = Literal["mean", "first", "max"]

# What its configuration calls the ways; of all others True means a vector of another making.
_WAYS: dict[str, Pooling] = {
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_cls_token": "first",
    "pooling_mode_max_tokens": "max",
}
_STEPS = ("Transformer", "Pooling", "Normalize")


@dataclass(frozen=True, slots=True)
class Sentences:
    """pooling: of a text's tokens to its vector. most_tokens: of a text, None for what the model reads.
    lower_case: texts are made lower case first."""

    pooling: Pooling
    most_tokens: int | None = None
    lower_case: bool = False


def read_sentences(folder: CheckpointFolder) -> Sentences | None:
    """None for a checkpoint that is no sentence encoder.

    Raises CheckpointError for one whose vectors are made in a way that is not known here.
    """
    steps = _json(folder, SENTENCE_MODULES)
    if steps is None:
        return None
    if not isinstance(steps, list) or not all(isinstance(step, dict) for step in steps):
        raise _refused(folder, f"{SENTENCE_MODULES} is no list of steps")
    names = [str(step.get("type")).rpartition(".")[2] for step in steps]
    # Vectors are made unit length here in any case.
    if tuple(names) not in (_STEPS, _STEPS[:2]):
        raise _refused(
            folder, f"they are made in the steps {', '.join(names)}; known are {', '.join(_STEPS)}"
        )
    prompts = _mapping(folder, PROMPTS_CONFIG)
    if prompts.get("default_prompt_name"):
        raise _refused(
            folder, f"every text is led by a prompt (default_prompt_name {prompts['default_prompt_name']!r})"
        )
    limits = _mapping(folder, SENTENCE_CONFIG)
    most = limits.get("max_seq_length")
    if most is not None and (isinstance(most, bool) or not isinstance(most, int) or most < 1):
        raise _refused(folder, f"max_seq_length is {most!r}")
    return Sentences(_pooling(folder), most, limits.get("do_lower_case") is True)


def _pooling(folder: CheckpointFolder) -> Pooling:
    told = _mapping(folder, POOLING_CONFIG)
    named = told.get("pooling_mode")
    chosen = [key for key, value in told.items() if key.startswith("pooling_mode_") and value is True]
    if isinstance(named, str):
        chosen.append({"cls": "pooling_mode_cls_token"}.get(named, f"pooling_mode_{named}_tokens"))
    if len(set(chosen)) != 1 or chosen[0] not in _WAYS:
        raise _refused(
            folder,
            f"tokens are pooled by {', '.join(chosen) or 'nothing'}; known is one of {', '.join(_WAYS)}",
        )
    return _WAYS[chosen[0]]


def _refused(folder: CheckpointFolder, what: str) -> CheckpointError:
    return CheckpointError(
        f"{folder.folder}: its vectors of sentences: {what}; to convert the encoder alone, make a folder "
        f"without {SENTENCE_MODULES}"
    )


def _mapping(folder: CheckpointFolder, name: str) -> dict[str, Any]:
    document = _json(folder, name)
    if document is not None and not isinstance(document, dict):
        raise _refused(folder, f"{name} is no mapping of keys")
    return document or {}


def _json(folder: CheckpointFolder, name: str) -> Any:
    path = folder.folder / name
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: cut off or no JSON; fetch it again") from error
