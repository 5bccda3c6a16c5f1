"""The recorded check set: read strictly, compared honestly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import save_file

from seetell.bundle.check import (
    CHECK_NAME,
    Difference,
    cosine,
    max_abs_diff,
    read_check,
    run_check,
    run_cosines,
)
from seetell.bundle.store import Bundle, open_bundle
from seetell.core.errors import BundleDamaged
from tests.bundle.test_store import make_bundle


class Doubler:
    """An engine whose graphs double ``x``, off by ``error``."""

    def __init__(self, error: float = 0.0) -> None:
        self.error = error
        self.asked: list[tuple[str, tuple[str, ...]]] = []

    def run(
        self, role: str, inputs: Mapping[str, NDArray[Any]], outputs: Sequence[str] | None = None
    ) -> dict[str, NDArray[Any]]:
        self.asked.append((role, tuple(outputs or ())))
        values = inputs["x"] * 2
        values.flat[0] += self.error
        return {"y": values, "mask": inputs["x"] > 0}


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    folder = make_bundle(tmp_path / "b")
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    tensors = {
        "image_encoder/input/x": x,
        "image_encoder/output/y": x * 2,
        "image_encoder/output/mask": x > 0,
    }
    save_file(tensors, folder / CHECK_NAME)
    return open_bundle(folder)


def test_agreement_and_difference(bundle: Bundle) -> None:
    engine = Doubler()
    differences = run_check(bundle, engine)
    assert engine.asked == [("image_encoder", ("mask", "y"))]
    assert differences == [Difference("image_encoder", "mask", 0.0), Difference("image_encoder", "y", 0.0)]
    off = {entry.output: entry.max_abs_diff for entry in run_check(bundle, Doubler(error=0.25))}
    assert off == {"mask": 0.0, "y": 0.25}
    assert run_check(bundle, Doubler(error=float("nan")))[1].max_abs_diff == float("inf")
    assert run_cosines(bundle, engine) == {("image_encoder", "y"): pytest.approx(1.0)}
    assert 0.9 < run_cosines(bundle, Doubler(error=5.0))["image_encoder", "y"] < 0.99


def test_a_bundle_without_a_check_set(tmp_path: Path) -> None:
    assert run_check(open_bundle(make_bundle(tmp_path / "b")), Doubler()) == []


@pytest.mark.parametrize(
    "key", ["text_decoder/input/x", "image_encoder/inputs/x", "image_encoder/input/", "x"]
)
def test_unknown_names_are_damage(bundle: Bundle, key: str) -> None:
    save_file({key: np.zeros(2, np.float32)}, bundle.folder / CHECK_NAME)
    with pytest.raises(BundleDamaged, match="names no input or output"):
        read_check(bundle)


@pytest.mark.parametrize("data", [b"", b"\x08", b"\xff" * 100, b"\x02\x00\x00\x00\x00\x00\x00\x00{}garbage"])
def test_damaged_files(bundle: Bundle, data: bytes) -> None:
    (bundle.folder / CHECK_NAME).write_bytes(data)
    with pytest.raises(BundleDamaged, match=CHECK_NAME):
        read_check(bundle)


def test_names_keep_their_dots_and_slashes(bundle: Bundle) -> None:
    value = np.ones(2, np.float32)
    save_file({"image_encoder/output/stage_features.0": value}, bundle.folder / CHECK_NAME)
    assert list(read_check(bundle)["image_encoder"].outputs) == ["stage_features.0"]


def test_differences_of_infinities_shapes_and_types() -> None:
    one = np.array([1.0, -np.inf, np.nan])
    assert max_abs_diff(one, one.copy()) == 0.0
    assert max_abs_diff(one, np.array([1.0, np.inf, np.nan])) == float("inf")
    assert max_abs_diff(one, np.array([1.0, -np.inf, 0.0])) == float("inf")
    assert max_abs_diff(np.zeros(3), np.zeros((3, 1))) == float("inf")
    assert max_abs_diff(np.zeros((0, 2)), np.zeros((0, 2))) == 0.0
    assert max_abs_diff(np.array([True, False]), np.array([True, True])) == 1.0
    assert max_abs_diff(np.array([250], np.uint8), np.array([5], np.uint8)) == 245.0


def test_cosine() -> None:
    one = np.array([[1.0, 0.0, -np.inf]], np.float32)
    assert cosine(one, one) == 1
    assert cosine(one, -one) == -1
    assert cosine(np.zeros(3), np.zeros(3)) == 1 and cosine(np.zeros(3), np.ones(3)) == 0
    assert np.isnan(cosine(np.array([np.nan, 1.0]), np.array([1.0, 1.0])))
    assert np.isnan(cosine(np.ones(3), np.ones(2)))
