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
.gap { display: grid; place-items: center; aspect-ratio: 1; padding: 1rem; border: 2px dashed #8888;
  border-radius: 6px; box-sizing: border-box; text-align: center; }
"""
_FIGURE = """<figure>{picture}
<figcaption>{rank}. {name} <span class="score">{score:.3f}</span></figcaption></figure>"""
_PICTURE = '<img src="data:image/jpeg;base64,{data}" alt="{name}">'
_GAP = '<div class="gap">{why}</div>'


def write_sheet(path: Path, query: str, hits: Sequence[Hit]) -> None:
    """Write the hits as a page with inline thumbnails. A photo that is gone, or cannot be read any more,
    leaves a gap that says so.

    Raises StorageError when the page cannot be written.
    """
    from seetell.core.files import atomic_write_text
    from seetell.core.html_page import html_page

    figures = "\n".join(map(_figure, hits))
    atomic_write_text(path, html_page(query, _STYLE, f"<main>\n{figures}\n</main>"))


def _figure(hit: Hit) -> str:
    from seetell.core.errors import ImageError
    from seetell.core.html_page import escaped

    name = escaped(hit.photo)
    try:
        picture = _PICTURE.format(data=_thumbnail(hit.photo), name=name)
    except ImageError as error:
        why = "this photo is not there any more" if error.kind == "missing" else str(error)
        picture = _GAP.format(why=escaped(why))
    return _FIGURE.format(picture=picture, name=name, rank=hit.rank, score=hit.score)


def _thumbnail(photo: str) -> str:
    from PIL import Image

    from seetell.media.images import decode_image

    pixels = decode_image(photo, min_size=(THUMBNAIL_PX, THUMBNAIL_PX))
    image = Image.fromarray(pixels)
    image.thumbnail((2 * THUMBNAIL_PX, 2 * THUMBNAIL_PX))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=80)
    return base64.b64encode(buffer.getvalue()).decode("ascii")
