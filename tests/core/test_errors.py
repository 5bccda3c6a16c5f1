"""Errors keep what they say on the way from one process to another."""

from __future__ import annotations

import pickle

import pytest

from seetell.core import errors
from seetell.core.errors import DataError, ImageError, MissingExtra


def test_errors_survive_pickling(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(errors, "install_command", lambda extra: f"install {extra}")
    image = pickle.loads(pickle.dumps(ImageError("truncated", "x.jpg: cut off")))
    assert (type(image), image.kind, str(image)) == (ImageError, "truncated", "x.jpg: cut off")
    extra = pickle.loads(pickle.dumps(MissingExtra("pyarrow", "prepare", "to read")))
    assert str(extra) == "pyarrow is needed to read: install prepare"
    assert (extra.package, extra.extra, extra.kind) == ("pyarrow", "prepare", "missing_extra")
    assert str(pickle.loads(pickle.dumps(DataError("x")))) == "x"
