"""The recipe that ``seetell train --from MODEL --data FOLDER OUT`` writes: fine-tuning, cautiously.

What it says is what ``docs/fine-tune.md`` recommends: adapters beside frozen weights, small steps, a warm-up,
a measurement every epoch on photos that were kept apart, and a stop when it no longer gets better. From there
it is a recipe like any other, to be changed by hand and run again.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from seetell.core.errors import RecipeError, StorageError
from seetell.core.files import atomic_write_text
from seetell.data.preparing.folder import read_summary
from seetell.data.shards import Shards, open_shards
from seetell.learning.training.cautious import cautious
from seetell.learning.training.corpus import at_key
from seetell.learning.training.description import taught_before
from seetell.learning.training.objective_spec import ObjectiveName
from seetell.learning.training.overrides import apply_overrides
from seetell.learning.training.recipe import parse_recipe
from seetell.modeling.models.unified import UnifiedModel
from seetell.modeling.start import Start, locate, read_start

RECIPE_NAME = "train.yaml"
EPOCHS, BATCH_SIZE = 5, 48
# Measuring more photos takes longer and says little more.
_MOST_MEASURED = 1000
_FOR_VALIDATION = ("val", "valid", "validation", "dev")


@dataclass(frozen=True, slots=True)
class _Held:
    """What prepared data hold to learn from. languages: of captions, the commonest first."""

    photos: int
    languages: tuple[str, ...]
    captioned: bool
    answered: bool
    labelled: bool
    validation: str | None


def write_recipe(model: str, data: Path, out: Path, overrides: Sequence[str] = ()) -> Path:
    """Write ``out/train.yaml``, the recipe that teaches ``model`` with what ``seetell prepare`` wrote into
    ``data``, with ``key.sub=value`` overrides applied; its path. Run again, it finds what it wrote.

    Raises DataError and UsageError for data that are not prepared or teach the model nothing, BundleError for
    no such model, and StorageError where ``out`` holds other files, or the recipe with changes.
    """
    with at_key("--data"):
        held = _look(data)
    document = _document(model, read_start(model, "--from"), data, out, held)
    apply_overrides(document, overrides)
    path = out / RECIPE_NAME
    parse_recipe(document, str(path))
    told = shlex.join(["seetell", "train", "--from", model, "--data", str(data), str(out), *overrides])
    text = (
        f"# Written by: {told}\n"
        f"# Change it as you like and run it: seetell train {shlex.quote(str(path))}\n"
        f"# What the keys mean: docs/fine-tune.md\n"
        f"{yaml.safe_dump(document, sort_keys=False, allow_unicode=True)}"
    )
    _check_place(path, text)
    atomic_write_text(path, text)
    return path


def _check_place(path: Path, text: str) -> None:
    if path.is_file():
        if path.read_text(encoding="utf-8", errors="replace") != text:
            raise StorageError(
                f"{path} is another recipe than this would be; run that one (seetell train {path}), or name "
                "another folder"
            )
    elif path.parent.exists() and (not path.parent.is_dir() or any(path.parent.iterdir())):
        raise StorageError(f"{path.parent} holds other files; name a new folder")


def _look(data: Path) -> _Held:
    shards = open_shards(data, "train")
    languages: dict[str, int] = {}
    answered = labelled = False
    for place in range(len(shards.paths)):
        index = shards.index(place)
        for codes in index.languages:
            for code in codes:
                languages[code] = languages.get(code, 0) + 1
        answered |= bool((index.n_answered > 0).any())
        labelled |= any(label is not None for label in index.labels)
    return _Held(
        len(shards),
        tuple(sorted((code for code in languages if code), key=lambda code: (-languages[code], code))),
        bool(languages),
        answered,
        labelled,
        _validation_split(data, shards),
    )


def _validation_split(data: Path, learned: Shards) -> str | None:
    """The split to measure on, where the data have one beside what is learned from."""
    summary = read_summary(data) or {}
    for name in summary.get("splits", {}):
        if name.lower() in _FOR_VALIDATION and open_shards(data, name).paths != learned.paths:
            return str(name)
    return None


def _document(model: str, start: Start, data: Path, out: Path, held: _Held) -> dict[str, Any]:
    batch_size = min(BATCH_SIZE, held.photos)
    known = start.facts.languages
    # A caption whose language nobody knows counts as one in the first of them.
    languages = [code for code in held.languages if code in known or not known] or list(known[:1])
    # Whole paths: the recipe may be run from anywhere, and its data lie where they lie.
    source: dict[str, Any] = {"format": "webdataset", "path": str(data.resolve())}
    if languages:
        source["languages"] = tuple(languages)
    folder = locate(model)
    named = Path(model).expanduser()
    document: dict[str, Any] = {
        "init": str(folder.resolve()) if folder is not None and named.is_dir() else model,
        "data": [{**_fresh(source), "split": "train", "batch_size": batch_size}],
        "tune": {"lora": {"rank": 8}},
        "epochs": EPOCHS,
        "checkpoint": {"dir": str(out.resolve())},
    }
    if isinstance(start.model, UnifiedModel):
        document["objectives"] = [{"name": name} for name in _objectives(model, start, data, held)]
    if held.validation is not None:
        measured = {**_fresh(source), "split": held.validation, "limit": _MOST_MEASURED}
        document["validate"] = {"every": max(1, -(-held.photos // batch_size)), "data": [measured]}
    return cautious(document)


def _fresh(source: dict[str, Any]) -> dict[str, Any]:
    """A copy that shares no list, which YAML would write as a reference from one place to the other."""
    return {key: list(value) if isinstance(value, tuple) else value for key, value in source.items()}


def _objectives(model: str, start: Start, data: Path, held: _Held) -> list[str]:
    """What the data can teach of what the model has learned before: nothing here makes it another model."""
    served: dict[ObjectiveName, bool] = {
        "contrastive": held.captioned,
        "captioning": held.captioned,
        "answer_list": held.answered,
        "answer_text": held.answered,
        "labels": held.labelled,
    }
    taught = taught_before(start)
    found: list[str] = [name for name, there in served.items() if there and name in taught]
    if not found:
        raise RecipeError(
            f"--data: {data} has no captions, answered questions or labels that {model} has learned from; "
            "write a recipe of your own (docs/train-your-own.md)"
        )
    return found
