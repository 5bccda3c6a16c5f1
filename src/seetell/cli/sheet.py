"""A contact sheet of search results: one HTML file with everything in it, for any browser, offline."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from seetell.core.results import Hit

THUMBNAIL_PX = 240

_STYLE = """
main { display: grid; grid-template-columns: repeat(auto-fill, minmax(200px, 1fr)); gap: 1rem; }
figure { margin: 0; }
img { width: 100%; aspect-ratio: 1; object-fit: cover; border-radius: 6px; background: #8884; }
figcaption { font-size: 13px; overflow-wrap: anywhere; }
.score { opacity: .6; }
"""
_FIGURE = """<figure><img src="data:image/jpeg;base64,{data}" alt="{name}">
<figcaption>{rank}. {name} <span class="score">{score:.3f}</span></figcaption></figure>"""


def write_sheet(path: Path, query: str, hits: Sequence[Hit]) -> None:
    """Write the hits as a page with inline thumbnails.

    Raises ImageError when a hit's photo has gone since, StorageError when the page cannot be written.
    """
    from seetell.core.files import atomic_write_text
    from seetell.core.html_page import escaped, html_page

    figures = "\n".join(
        _FIGURE.format(data=_thumbnail(hit.photo), name=escaped(hit.photo), rank=hit.rank, score=hit.score)
        for hit in hits
    )
    atomic_write_text(path, html_page(query, _STYLE, f"<main>\n{figures}\n</main>"))


def _thumbnail(photo: str) -> str:
    from PIL import Image

    from seetell.media.images import decode_image

    pixels = decode_image(photo, min_size=(THUMBNAIL_PX, THUMBNAIL_PX))
    image = Image.fromarray(pixels)
    image.thumbnail((2 * THUMBNAIL_PX, 2 * THUMBNAIL_PX))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=80)
    return base64.b64encode(buffer.getvalue()).decode("ascii")
