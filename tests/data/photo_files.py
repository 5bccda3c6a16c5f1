"""Small photos for sources."""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image

from tests.broken_files import photo_pixels


def photo_bytes(seed: int, kind: str = "JPEG") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(photo_pixels(seed)).save(buffer, kind)
    return buffer.getvalue()


def put(folder: Path, name: str, content: bytes | str = b"") -> Path:
    """Write a file inside ``folder``; a photo of its name's hash where no content is given."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, str):
        path.write_text(content, encoding="utf-8")
    else:
        path.write_bytes(content or photo_bytes(sum(name.encode())))
    return path
