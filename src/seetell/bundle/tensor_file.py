"""Writing safetensors files tensor by tensor: a model is never in memory twice.

By hand, because the library wants all of them at once, and reports a full disk as an error of its own.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Callable, Mapping
from pathlib import Path

_ITEM_BYTES = {"F64": 8, "I64": 8, "F32": 4, "F16": 2, "I8": 1}


def write_tensors(
    path: Path,
    tensors: Mapping[str, tuple[str, tuple[int, ...]]],
    read: Callable[[str], memoryview],
) -> dict[str, tuple[int, int]]:
    """Write the file; name -> (offset from its first byte, bytes).

    tensors: name -> (dtype as safetensors calls it, shape). read: the bytes of one of them.
    """
    # Widest first, as safetensors has it, so that each is aligned to its width.
    names = sorted(tensors, key=lambda name: (-_ITEM_BYTES[tensors[name][0]], name))
    header: dict[str, dict[str, object]] = {}
    sizes: dict[str, tuple[int, int]] = {}
    end = 0
    for name in names:
        dtype, shape = tensors[name]
        start, end = end, end + math.prod(shape) * _ITEM_BYTES[dtype]
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [start, end]}
        sizes[name] = start, end - start
    document = json.dumps(header, separators=(",", ":")).encode("utf-8")
    document += b" " * (-len(document) % 8)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(document)))
        file.write(document)
        for name in names:
            file.write(read(name))
    first = 8 + len(document)
    return {name: (first + start, size_bytes) for name, (start, size_bytes) in sizes.items()}
