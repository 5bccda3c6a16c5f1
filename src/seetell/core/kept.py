"""Small measured things kept in the cache: a damaged or missing one costs measuring again, and no answer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from seetell.core.errors import StorageError
from seetell.core.files import atomic_write_text


def read_kept(path: Path | None) -> dict[str, Any] | None:
    """What :func:`keep` wrote there; None where there is nothing, or nothing that can be read."""
    if path is None:
        return None
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return document if isinstance(document, dict) else None


def keep(path: Path | None, document: Mapping[str, Any]) -> None:
    """Write it whole or not at all; where nothing can be written, nothing is kept."""
    if path is not None:
        with suppress(StorageError):
            atomic_write_text(path, json.dumps(document, ensure_ascii=False) + "\n")
