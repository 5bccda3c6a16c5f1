"""A contact sheet of search results: one HTML file with everything in it, for any browser, offline."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from seetell.core.results import Hit

THUMBNAIL_PX = 240

# No script and nothing fetched; the names of files and the query are escaped where they are put in.
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; }}
body {{ font: 15px/1.4 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem; padding: 0 1rem; }}
main {{ display: grid; grid-template-columns: repeat(auto-fill, minmax(200px, 1fr)); gap: 1rem; }}
figure {{ margin: 0; }}
img {{ width: 100%; aspect-ratio: 1; object-fit: cover; border-radius: 6px; background: #8884; }}
figcaption {{ font-size: 13px; overflow-wrap: anywhere; }}
.score {{ opacity: .6; }}
</style>
</head>
<body>
<h1>{title}</h1>
<main>
{figures}
</main>
</body>
</html>
"""
_FIGURE = """<figure><img src="data:image/jpeg;base64,{data}" alt="{name}">
<figcaption>{rank}. {name} <span class="score">{score:.3f}</span></figcaption></figure>"""


def write_sheet(path: Path, query: str, hits: Sequence[Hit]) -> None:
    """Write the hits as a page with inline thumbnails.

    Raises ImageError when a hit's photo has gone since, StorageError when the page cannot be written.
    """
    from seetell.core.files import atomic_write_text

    figures = "\n".join(
        _FIGURE.format(data=_thumbnail(hit.photo), name=_escaped(hit.photo), rank=hit.rank, score=hit.score)
        for hit in hits
    )
    atomic_write_text(path, _PAGE.format(title=_escaped(query), figures=figures))


def _escaped(text: str) -> str:
    # A file name need not be valid UTF-8; the page is.
    return html.escape(text.encode("utf-8", "backslashreplace").decode("utf-8"))


def _thumbnail(photo: str) -> str:
    from PIL import Image

    from seetell.media.images import decode_image

    pixels = decode_image(photo, min_size=(THUMBNAIL_PX, THUMBNAIL_PX))
    image = Image.fromarray(pixels)
    image.thumbnail((2 * THUMBNAIL_PX, 2 * THUMBNAIL_PX))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=80)
    return base64.b64encode(buffer.getvalue()).decode("ascii")
