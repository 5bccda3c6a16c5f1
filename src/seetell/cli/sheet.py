"""``--sheet``: photos with what was found about them on one HTML page, for any browser, offline.

Small pictures lie inside the page; the photos themselves are linked to, from where the page lies.
"""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO
from urllib.parse import quote

from seetell.cli.options import option

if TYPE_CHECKING:
    from seetell.core.results import Hit

THUMBNAIL_PX = 240

SheetOption = Annotated[
    Path | None,
    option(
        "--sheet",
        metavar="F.html",
        help="Also write the photos with their results as one HTML page.",
        show_default="none",
    ),
]

_STYLE = """
main { display: grid; grid-template-columns: repeat(auto-fill, minmax(200px, 1fr)); gap: 1rem; }
figure { margin: 0; }
img { width: 100%; aspect-ratio: 1; object-fit: cover; border-radius: 6px; background: #8884; }
figcaption { font-size: 14px; overflow-wrap: anywhere; }
figcaption div { margin: .2rem 0; }
.name { font-size: 12px; color: inherit; opacity: .7; }
.gap { display: grid; place-items: center; aspect-ratio: 1; padding: 1rem; border: 2px dashed #8888;
  border-radius: 6px; box-sizing: border-box; text-align: center; }
"""
_FIGURE = """<figure>{picture}
<figcaption>{lines}
{name}</figcaption></figure>
"""
_PICTURE = '<a href="{link}"><img src="data:image/jpeg;base64,{data}" alt="{name}"></a>'
_GAP = '<div class="gap">{why}</div>'
_LINE = "<div>{line}</div>"
_LINKED = '<a class="name" href="{link}">{name}</a>'
_NAMED = '<span class="name">{name}</span>'

# Where the figures go.
_HERE = "<!-- figures -->"


@contextmanager
def sheet_file(path: Path, title: str) -> Iterator[Sheet]:
    """A page that appears when the block has ended well, written as the results come.

    Raises UsageError for a name that is no page's, before anything is done, and StorageError.
    """
    from seetell.core.files import atomic_file
    from seetell.core.html_page import html_page

    require_page(path)
    head, _, tail = html_page(title, _STYLE, f"<main>\n{_HERE}</main>").rpartition(_HERE)
    with atomic_file(path) as file:
        file.write(head.encode())
        sheet = Sheet(path, file)
        yield sheet
        sheet.finish()
        file.write(tail.encode())


def require_page(path: Path) -> None:
    """Raises UsageError for a file that no browser would open as a page."""
    from seetell.core.errors import UsageError

    # What is no file, a pipe with a name say, may be called anything.
    special = path.exists() and not path.is_file() and not path.is_dir()
    if path.suffix.lower() not in (".html", ".htm") and not special:
        raise UsageError(f"--sheet {path}: a page is written, so name a file .html")


def write_sheet(path: Path, query: str, hits: Sequence[Hit]) -> None:
    """Write the hits of a search as a page. A photo that is gone, or cannot be read any more, leaves a gap
    that says so.

    Raises as :func:`sheet_file` does.
    """
    with sheet_file(path, query) as sheet:
        for hit in hits:
            sheet.add(hit.photo, [f"{hit.rank}. {hit.score:.3f}"])


class Sheet:
    """Keeps results on a page; those of a photo that come one after the other stand under one picture."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self.path = path
        self._file = file
        self._photo: str | None = None
        self._lines: list[str] = []

    def result(self, fields: Mapping[str, Any], cells: Sequence[str]) -> None:
        if fields["photo"] != self._photo:
            self.finish()
            self._photo = fields["photo"]
        self._lines += [cell for cell in cells[1:] if cell]

    def failure(self, name: str, fields: Mapping[str, Any], error: BaseException) -> None:
        self.finish()
        self._write(name, [], _GAP.format(why=_escaped(fields["error"]["message"])), link=None)

    def finish(self) -> None:
        """Write what is still waiting for more."""
        if self._photo is not None:
            self.add(self._photo, self._lines)
        self._photo, self._lines = None, []

    def add(self, photo: str, lines: Sequence[str]) -> None:
        """A photo, and lines of text below it."""
        from seetell.core.errors import ImageError

        link: str | None = self._link(photo)
        try:
            picture = _PICTURE.format(link=link, data=_thumbnail(photo), name=_escaped(photo))
        except ImageError as error:
            gone = error.kind == "missing"
            link = None if gone else link
            why = "this photo is not there any more" if gone else str(error)
            picture = _GAP.format(why=_escaped(why))
        self._write(photo, lines, picture, link)

    def _write(self, photo: str, lines: Sequence[str], picture: str, link: str | None) -> None:
        name = (_NAMED if link is None else _LINKED).format(link=link, name=_escaped(photo))
        shown = "".join(_LINE.format(line=_escaped(line)) for line in lines)
        self._file.write(_FIGURE.format(picture=picture, lines=shown, name=name).encode())

    def _link(self, photo: str) -> str:
        """Relative, so that the page and its photos may be moved together."""
        there = os.path.abspath(photo)
        try:
            if not self.path.is_file() and self.path.exists():
                raise ValueError  # a pipe: where the page will lie is not known
            path = os.path.relpath(there, os.path.dirname(os.path.abspath(self.path)))
        except ValueError:  # on another drive of Windows
            return Path(there).as_uri()
        return quote(os.fsencode(path.replace(os.sep, "/")))


def _escaped(text: str) -> str:
    from seetell.core.html_page import escaped

    return escaped(text)


def _thumbnail(photo: str) -> str:
    from PIL import Image

    from seetell.media.images import decode_image

    pixels = decode_image(photo, min_size=(THUMBNAIL_PX, THUMBNAIL_PX))
    image = Image.fromarray(pixels)
    image.thumbnail((2 * THUMBNAIL_PX, 2 * THUMBNAIL_PX))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=80)
    return base64.b64encode(buffer.getvalue()).decode("ascii")
