"""Settings read from the environment that more than one room needs: ``SEETELL_*``.

Options of the command line have their own variables, read by the command line; those that open a model are
read here, too, for programs. A value that does not parse is refused, never guessed:
``SEETELL_OFFLINE=flase`` must not mean "online" by accident.
"""

from __future__ import annotations

import math
import os
from pathlib import Path

from seetell.core.errors import UsageError

_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"0", "false", "no", "off"})
_HUBS = ("huggingface", "modelscope")

# Twice Pillow's own limit: a 178-megapixel photo takes half a gigabyte decoded.
DEFAULT_MAX_PIXELS = 178_956_970


def parse_bool(text: str, name: str) -> bool:
    """``1 true yes on`` or ``0 false no off``, in any case. ``name`` says in the error what was being read.

    Raises UsageError on anything else.
    """
    word = text.strip().lower()
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    raise UsageError(f"{name}={text!r} is neither true nor false: use 1 or 0")


def parse_positive(text: str, name: str) -> int:
    """A whole number of at least 1. Raises UsageError on anything else."""
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise UsageError(f"{name}={text!r} is not a whole number of at least 1")
    return value


def _value(name: str) -> str | None:
    """The variable's text; one set to nothing counts as not set."""
    return os.environ.get(name, "").strip() or None


def model() -> str | None:
    """``SEETELL_MODEL``: the model where none is named, as it is the command line's ``--model``."""
    return os.environ.get("SEETELL_MODEL") or None


def offline() -> bool:
    """``SEETELL_OFFLINE``: nothing may be fetched from the network. Raises UsageError on nonsense."""
    text = _value("SEETELL_OFFLINE")
    return False if text is None else parse_bool(text, "SEETELL_OFFLINE")


def hub() -> str:
    """``SEETELL_HUB``: the hub of ids that name none, ``huggingface`` or ``modelscope``.

    Raises UsageError on any other.
    """
    text = _value("SEETELL_HUB")
    if text is None:
        return _HUBS[0]
    if text.lower() not in _HUBS:
        raise UsageError(f"SEETELL_HUB={text!r} is no hub known here: use {' or '.join(_HUBS)}")
    return text.lower()


def base_url() -> str | None:
    """``SEETELL_BASE_URL``: where the API of a server is whose model is asked, or None if not set."""
    return _value("SEETELL_BASE_URL")


def threads() -> int | None:
    """``SEETELL_THREADS``: processor threads an engine may use; None leaves it to the engine."""
    text = _value("SEETELL_THREADS")
    return None if text is None else parse_positive(text, "SEETELL_THREADS")


def precision() -> str | None:
    """``SEETELL_PRECISION``: what a model computes in where nothing is said, or None if not set."""
    return _value("SEETELL_PRECISION")


def device() -> str | None:
    """``SEETELL_DEVICE``: what a model runs on where nothing is said, or None if not set."""
    return _value("SEETELL_DEVICE")


def batch_size() -> int | None:
    """``SEETELL_BATCH_SIZE``: photos worked on at once; None leaves it to the model."""
    text = _value("SEETELL_BATCH_SIZE")
    return None if text is None else parse_positive(text, "SEETELL_BATCH_SIZE")


def exact_decode() -> bool:
    """``SEETELL_EXACT_DECODE``: JPEGs are decoded in full. Raises UsageError on nonsense."""
    text = _value("SEETELL_EXACT_DECODE")
    return False if text is None else parse_bool(text, "SEETELL_EXACT_DECODE")


def photo_px() -> int | None:
    """``SEETELL_PHOTO_PX``: the longer edge of photos that are sent to a server, or None if not set."""
    text = _value("SEETELL_PHOTO_PX")
    return None if text is None else parse_positive(text, "SEETELL_PHOTO_PX")


def patience_s() -> float | None:
    """``SEETELL_PATIENCE``: seconds that a server has for one photo, or None if not set. Raises UsageError
    on what is no number over 0."""
    text = _value("SEETELL_PATIENCE")
    try:
        seconds = None if text is None else float(text)
    except ValueError:
        seconds = math.nan
    if seconds is not None and not 0 < seconds < math.inf:
        raise UsageError(f"SEETELL_PATIENCE={text!r} is not a number of seconds over 0")
    return seconds


def prices() -> str | None:
    """``SEETELL_PRICES``: what a server's tokens cost, as ``0.15,0.60``, or None if not set."""
    return _value("SEETELL_PRICES")


def max_pixels() -> int:
    """``SEETELL_MAX_PIXELS``: photos of more pixels than this are refused before they are decoded."""
    text = _value("SEETELL_MAX_PIXELS")
    return DEFAULT_MAX_PIXELS if text is None else parse_positive(text, "SEETELL_MAX_PIXELS")


def cache_override() -> Path | None:
    """``SEETELL_CACHE``: the folder for converted models and compiled graphs, or None if not set.

    Raises UsageError for a ``~`` without a home.
    """
    text = _value("SEETELL_CACHE")
    try:
        return None if text is None else Path(text).expanduser()
    except RuntimeError as error:
        raise UsageError(f"SEETELL_CACHE={text!r}: no home folder is known for it; give a path") from error
