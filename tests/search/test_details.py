"""What a photo's file says about itself."""

from __future__ import annotations

import io
from typing import Any

import pytest
from PIL import Image

from seetell.search.details import Details, details_of

TAKEN, DIGITIZED, CHANGED = 0x9003, 0x9004, 0x0132


def said(times: dict[int, str] | None = None, place: dict[int, Any] | None = None) -> Details:
    exif = Image.Exif()
    for tag, value in (times or {}).items():
        if tag == CHANGED:
            exif[tag] = value
        else:
            exif.get_ifd(0x8769)[tag] = value
    exif.get_ifd(0x8825).update(place or {})
    file = io.BytesIO()
    Image.new("RGB", (40, 30)).save(file, "JPEG", exif=exif)
    return details_of(file.getvalue())


@pytest.mark.parametrize(
    ("times", "taken"),
    [
        ({TAKEN: "2025:07:02 10:20:30", CHANGED: "2026:01:01 00:00:00"}, "2025-07-02 10:20:30"),
        # A slide scanned and then edited.
        ({DIGITIZED: "2011:03:04 05:06:07", CHANGED: "2026:01:01 00:00:00"}, "2011-03-04 05:06:07"),
        ({CHANGED: "2026:01:01 00:00:00"}, "2026-01-01 00:00:00"),
        # Clocks that were never set, and times that there are not.
        ({TAKEN: "0000:00:00 00:00:00", DIGITIZED: "2011:03:04 05:06:07"}, "2011-03-04 05:06:07"),
        ({TAKEN: "    :  :     :  :  "}, None),
        ({TAKEN: "2025:02:30 10:20:30"}, None),
        ({TAKEN: "2025:07:02 24:00:00"}, None),
        ({TAKEN: "2025:07:02 10:60:30"}, None),
        ({}, None),
    ],
)
def test_when_it_was_taken(times: dict[int, str], taken: str | None) -> None:
    assert said(times).taken == taken


ZERO = (0.0, 0.0, 0.0)


def test_where_it_was_taken() -> None:
    sydney = said(place={1: "S", 2: (33.0, 51.0, 36.0), 3: "E", 4: (151.0, 12.0, 0.0)})
    assert (sydney.latitude, sydney.longitude) == (pytest.approx(-33.86), pytest.approx(151.2))
    greenwich = said(place={1: "N", 2: (51.0, 30.0, 0.0), 3: "E", 4: ZERO})
    assert (greenwich.latitude, greenwich.longitude) == (pytest.approx(51.5), 0.0)
    nowhere = said(place={1: "N", 2: ZERO, 3: "E", 4: ZERO})
    assert (nowhere.latitude, nowhere.longitude) == (None, None)
    impossible = said(place={1: "N", 2: (91.0, 0.0, 0.0), 3: "E", 4: (181.0, 0.0, 0.0)})
    assert (impossible.latitude, impossible.longitude) == (None, None)


def test_a_photo_that_says_nothing() -> None:
    assert said() == Details(width=40, height=30)
    assert details_of(b"Dear reader,") == Details()
