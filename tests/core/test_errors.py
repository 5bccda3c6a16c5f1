"""Errors keep what they say on the way from one process to another."""

from __future__ import annotations

import pickle

from seetell.core.errors import DataError, ImageError, MissingExtra


def test_errors_survive_pickling() -> None:
    image = pickle.loads(pickle.dumps(ImageError("truncated", "x.jpg: cut off")))
    assert (type(image), image.kind, str(image)) == (ImageError, "truncated", "x.jpg: cut off")
    extra = pickle.loads(pickle.dumps(MissingExtra("pyarrow", "prepare", "to read")))
    assert str(extra) == "pyarrow is needed to read: pip install 'seetell[prepare]'"
    assert (extra.package, extra.extra, extra.kind) == ("pyarrow", "prepare", "missing_extra")
    assert str(pickle.loads(pickle.dumps(DataError("x")))) == "x"
