"""A compressed bundle's manifest: written last, when every other file lies in the folder."""

from __future__ import annotations

from pathlib import Path

from seetell.bundle.manifest import MANIFEST_NAME, Manifest, manifest_json
from seetell.bundle.store import file_record


def write_manifest(folder: Path, manifest: Manifest) -> Manifest:
    """Write ``manifest`` with the records of the files that are there, and return it."""
    names = sorted(path.name for path in folder.iterdir() if path.name != MANIFEST_NAME)
    recorded = manifest.model_copy(update={"files": {name: file_record(folder / name) for name in names}})
    (folder / MANIFEST_NAME).write_text(manifest_json(recorded), encoding="utf-8")
    return recorded
