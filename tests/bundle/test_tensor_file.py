"""Files of tensors that are written piece by piece: the library reads back what went in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from seetell.bundle.tensor_file import write_tensors

NAMES = {"float64": "F64", "int64": "I64", "float32": "F32", "float16": "F16", "int8": "I8"}


def test_the_library_reads_what_was_written(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    tensors = {
        f"{number}.{dtype}": random.integers(-99, 99, shape).astype(dtype)
        for dtype in NAMES
        for number, shape in enumerate([(3, 5), (7,), (), (0, 4), (2, 1, 3)])
    }
    path = tmp_path / "model.safetensors"
    places = write_tensors(
        path,
        {name: (NAMES[one.dtype.name], one.shape) for name, one in tensors.items()},
        lambda name: memoryview(tensors[name].tobytes()),
    )
    read = load_file(path)
    assert read.keys() == tensors.keys()
    data = path.read_bytes()
    for name, one in tensors.items():
        assert read[name].dtype == one.dtype and np.array_equal(read[name], one)
        offset, size_bytes = places[name]
        assert data[offset : offset + size_bytes] == one.tobytes()
        assert offset % one.dtype.itemsize == 0
