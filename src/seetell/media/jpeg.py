"""JPEG, by libjpeg-turbo directly, which can decode at a fraction of the size and says what it missed.

libjpeg shows grey where image data is missing, and goes on. Here such a photo is refused, whether or not an
end marker stands behind the gap; one that lacks only the end marker is read.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from io import BytesIO

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import ImageFile
from PIL.JpegImagePlugin import JpegImageFile

from seetell.core.errors import ImageError
from seetell.core.settings import DEFAULT_MAX_PIXELS
from seetell.media.colour import pixels_to_srgb
from seetell.media.decoded import DecodedPhoto
from seetell.media.jpeg_structure import ends, has_all_scans, has_many_scans, mended
from seetell.media.pixels import from_pillow, orientation, upright
from seetell.media.refusals import incomplete, refuse_large, too_large, truncated

# How much larger than its target a photo decoded at reduced scale still is, so that the resizing that
# follows has enough to filter. Just above twice, embeddings of single photos fell below a centred cosine of
# 0.999 to those of the photo decoded in full. 12-megapixel photos are reduced as far as with twice, to 1/4
# for 224 pixels and to 1/8 for 128.
_REDUCED_MARGIN = 2.75
# From 1/2 on down, reduced decoding is faster than full; 5/8 to 7/8 are slower.
_LEAST_REDUCTION = 2
# However small a photo becomes, all of it is gone through, which takes seconds for so many pixels.
_MOST_PIXELS = 4 * DEFAULT_MAX_PIXELS

# For a photo that would be read were it stored in one scan.
_HELD_WHOLE = "all of a progressive JPEG is held in memory: save it as a baseline one, or raise the limit"

# What libjpeg says where values are missing, or whole stretches between restarts. It says only what it
# noticed first.
_MISSING = re.compile("premature end of data segment|instead of RST", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class _Wanted:
    """How large, at least, the pixels stay as they are stored (0: in full), and how many they may be.

    whole_limit: how many the whole photo may have. advice: for one that has more.
    """

    height: int
    width: int
    limit: int
    name: str
    whole_limit: int
    advice: str


def decode_jpeg(
    data: bytes, picture: ImageFile.ImageFile, name: str, target: tuple[int, int] | None, limit: int
) -> DecodedPhoto:
    """The photo of which ``picture`` is Pillow's reading of the header.

    target: (height, width) it will be resized to; None decodes in full. limit: of pixels that are decoded.

    Raises ImageError, and whatever the readers do.
    """
    turn = orientation(picture)
    many_scans = has_many_scans(data)
    # Of a photo in many scans libjpeg keeps as much as its pixels take in full.
    whole_limit = limit if target is None or many_scans else max(limit, _MOST_PIXELS)
    width, height = picture.size
    helps = many_scans and target is not None and width * height <= _MOST_PIXELS
    advice = _HELD_WHOLE if helps else ""
    wanted = _Wanted(*_least_size(picture, target, turn), limit, name, whole_limit, advice)
    refuse_large(picture.size, whole_limit, name, advice)
    # libjpeg stops at the mildest irregularity (stray bytes between segments, a missing end marker), which
    # many real photos have: then once more without those.
    for mend in (False, True):
        sound = mended(data) if mend else data
        try:
            found = _decoded(sound, picture, wanted)
        except ValueError as error:
            if _MISSING.search(str(error)):
                raise _gap(data, name) from error
            continue
        if many_scans and not has_all_scans(sound):
            raise _gap(data, name)
        if found is None:
            return _by_pillow(JpegImageFile(BytesIO(sound)), wanted, turn)
        pixels, stored = found
        return DecodedPhoto.reduced(upright(pixels_to_srgb(pixels, picture), turn), stored, turn)
    if many_scans and not has_all_scans(data):
        raise _gap(data, name)
    # Pillow goes on over more, and says itself when the file has no end.
    return _by_pillow(picture, wanted, turn)


def _gap(data: bytes, name: str) -> ImageError:
    return incomplete(name) if ends(data) else truncated(name)


def _least_size(picture: ImageFile.ImageFile, target: tuple[int, int] | None, turn: int) -> tuple[int, int]:
    """(height, width) that must be left after reducing, as the photo is stored."""
    if target is None:
        return 0, 0
    height, width = (math.ceil(edge * _REDUCED_MARGIN) for edge in target)
    if turn >= 5:  # stored lying down: its rows are the columns that will be seen
        height, width = width, height
    taller, wider = _uneven_colour(picture)
    return height * taller, width * wider


def _decoded(
    data: bytes, picture: ImageFile.ImageFile, wanted: _Wanted
) -> tuple[NDArray[np.uint8], tuple[int, int]] | None:
    """Pixels as stored, and (height, width) of the whole photo; None for inks, which are only gone through.

    Raises ValueError with libjpeg's words for whatever is irregular, and ImageError.
    """
    least = {"min_height": wanted.height, "min_width": wanted.width, "min_factor": _LEAST_REDUCTION}
    # libjpeg's own reading of the header: a crafted file may have told Pillow another size.
    height, width, _, _ = simplejpeg.decode_jpeg_header(data)
    refuse_large((width, height), wanted.whole_limit, wanted.name, wanted.advice)
    rows, columns, _, _ = simplejpeg.decode_jpeg_header(data, **least)
    if rows * columns > wanted.limit:
        raise too_large((width, height), wanted.limit, wanted.name)
    if picture.mode == "CMYK":
        simplejpeg.decode_jpeg(data, colorspace="CMYK", min_height=1, min_width=1)
        return None
    pixels: NDArray[np.uint8] = simplejpeg.decode_jpeg(data, colorspace="RGB", **least)
    return pixels, (height, width)


def _by_pillow(picture: ImageFile.ImageFile, wanted: _Wanted, turn: int) -> DecodedPhoto:
    width, height = picture.size
    if wanted.height:
        picture.draft(None, (wanted.width, wanted.height))
    if picture.size[0] * picture.size[1] > wanted.limit:
        raise too_large((width, height), wanted.limit, wanted.name)
    return DecodedPhoto.reduced(from_pillow(picture), (height, width), turn)


def _uneven_colour(picture: ImageFile.ImageFile) -> tuple[int, int]:
    """How much more (rows, columns) than of brightness must be left after reducing, for the colour to have
    enough to filter.

    Colour that is halved both ways (4:2:0) libjpeg reduces less, so that it stays as large as the rest. Where
    it is stored at less than full size in one direction only (4:2:2, 4:4:0, 4:1:1) libjpeg cannot.
    """
    # Of each component: its identifier, columns and rows per block, quantisation table (Pillow's own record).
    layers: list[tuple[int, int, int, int]] = getattr(picture, "layer", [])
    if len(layers) < 3:
        return 1, 1
    (_, columns, rows, _), (_, colour_columns, colour_rows, _) = layers[:2]
    wider, taller = max(1, columns // max(1, colour_columns)), max(1, rows // max(1, colour_rows))
    alike = min(wider, taller)
    return taller // alike, wider // alike
