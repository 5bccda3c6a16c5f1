"""Dotted overrides of a recipe: ``optimizer.lr=1e-5`` on the command line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import yaml

from seetell.core.errors import RecipeError

# Two ways to say one thing; overriding one of them replaces the other.
_ALTERNATIVES = (("epochs", "steps"), ("schedule.warmup_steps", "schedule.warmup_fraction"))


def apply_overrides(document: dict[str, Any], overrides: Sequence[str]) -> set[str]:
    """Apply ``key.sub=value`` overrides to ``document``, in place and in order; the keys they set.

    Overriding ``steps`` takes ``epochs`` out, and the like; the last one given counts. Raises RecipeError
    naming the override.
    """
    keys: set[str] = set()
    for override in overrides:
        apply_override(document, override)
        key = override.partition("=")[0]
        keys.add(key)
        for pair in _ALTERNATIVES:
            if key in pair:
                _remove(document, pair[1 - pair.index(key)])
    return keys


def _remove(document: dict[str, Any], key: str) -> None:
    *parents, last = key.split(".")
    at: Any = document
    for part in parents:
        at = at.get(part) if isinstance(at, dict) else None
    if isinstance(at, dict):
        at.pop(last, None)


def apply_override(document: dict[str, Any], override: str) -> None:
    """Set ``a.b.c=value`` in ``document``, in place; ``data.0.path=...`` reaches into lists.

    The value is read as YAML, so that ``true`` is a boolean and ``[1, 2]`` a list; the schema decides
    whether it fits, and turns ``1e-5``, a text to YAML 1.1, into a number. Raises RecipeError naming
    the override.
    """
    key, equals, raw = override.partition("=")
    if not equals or not key.strip("."):
        raise RecipeError(f"{override!r}: an override is written key.sub=value")
    parts = key.split(".")
    at: Any = document
    for part in parts[:-1]:
        at = _child(at, part, override)
    _assign(at, parts[-1], _value(raw, override), override)


def _value(raw: str, override: str) -> Any:
    try:
        return yaml.safe_load(raw)
    except yaml.YAMLError as error:
        raise RecipeError(f"{override!r}: the value is not YAML") from error


def _child(at: Any, part: str, override: str) -> Any:
    if isinstance(at, dict):
        child = at.get(part)
        if child is None:
            child = at[part] = {}
        return child
    return at[_place(at, part, override)]


def _assign(at: Any, part: str, value: Any, override: str) -> None:
    if isinstance(at, dict):
        at[part] = value
    else:
        at[_place(at, part, override)] = value


def _place(at: Any, part: str, override: str) -> int:
    if not isinstance(at, list):
        raise RecipeError(f"{override!r}: there is nothing below {part!r}'s parent to set it in")
    if not part.isdecimal() or int(part) >= len(at):
        raise RecipeError(f"{override!r}: {part!r} is not a place in a list of {len(at)}")
    return int(part)
