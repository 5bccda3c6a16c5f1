"""One file of a public checkpoint's weights: safetensors, or a pickle of torch.save, without running it.

Both are mapped, not read. safetensors are parsed as data; a pickle goes through torch's restricted
unpickler, which builds tensors and containers and refuses every other object.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from seetell.core.errors import CheckpointError, PickleRefused
from seetell.core.lines import said_by

# The dtypes of safetensors that torch computes with.
_DTYPES = {
    "BOOL": torch.bool,
    "U8": torch.uint8,
    "I8": torch.int8,
    "I16": torch.int16,
    "I32": torch.int32,
    "I64": torch.int64,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F32": torch.float32,
    "F64": torch.float64,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
}
# What torch's unpickler names when it refuses a class or function.
_REFUSED_GLOBAL = re.compile(r"GLOBAL ([\w.]+)")
_AGAIN = "fetch it again"


@dataclass(frozen=True, slots=True)
class WeightInfo:
    """A tensor's shape and dtype as stored, known without reading it."""

    shape: tuple[int, ...]
    dtype: torch.dtype


class SafetensorsFile:
    """A file of safetensors, mapped. Opening it checks its header, and its length against that."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._handle: Any = safe_open(str(path), framework="pt", device="cpu")
        except (OSError, SafetensorError) as error:
            raise CheckpointError(
                f"{path}: cut off or no safetensors file ({said_by(error)}); {_AGAIN}"
            ) from error

    @cached_property
    def infos(self) -> dict[str, WeightInfo]:
        """Every tensor's shape and dtype, in the order of the file."""
        found = {}
        for name in self._handle.offset_keys():
            part = self._handle.get_slice(name)
            dtype = _DTYPES.get(part.get_dtype())
            if dtype is None:
                raise CheckpointError(
                    f"{self.path}: {name} is stored as {part.get_dtype()}, which is not supported; take a "
                    "checkpoint in float32, float16 or bfloat16"
                )
            found[name] = WeightInfo(tuple(part.get_shape()), dtype)
        return found

    def tensor(self, name: str) -> Tensor:
        """One tensor, mapped from the file."""
        try:
            tensor = self._handle.get_tensor(name)
        except (OSError, SafetensorError) as error:
            raise CheckpointError(
                f"{self.path}: {name} cannot be read ({said_by(error)}); {_AGAIN}"
            ) from error
        assert isinstance(tensor, Tensor)
        return tensor


class PickleFile:
    """A file of torch.save, read without running anything in it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            document = _unpickled(path)
        except pickle.UnpicklingError as error:
            refused = _REFUSED_GLOBAL.search(str(error))
            if refused is None:  # torch's own text advises to switch the restriction off
                raise self._damaged("nothing that torch.save writes") from error
            raise PickleRefused(
                f"{path}: it holds more than weights ({refused[1]}), which would run code when read; it is "
                "not read even with --allow-pickle, take a safetensors version of it"
            ) from error
        except Exception as error:  # a parser that meets nonsense raises anything
            raise self._damaged(f"{type(error).__name__}: {said_by(error)}") from error
        if not isinstance(document, Mapping) or not all(
            isinstance(name, str) and isinstance(value, Tensor) for name, value in document.items()
        ):
            raise CheckpointError(
                f"{path}: no plain mapping of names to weights; save the model's state_dict alone"
            )
        self._tensors: dict[str, Tensor] = dict(document)

    def _damaged(self, said: str) -> CheckpointError:
        return CheckpointError(f"{self.path}: cut off or no file of torch.save ({said}); {_AGAIN}")

    @cached_property
    def infos(self) -> dict[str, WeightInfo]:
        """Every tensor's shape and dtype."""
        return {name: WeightInfo(tuple(one.shape), one.dtype) for name, one in self._tensors.items()}

    def tensor(self, name: str) -> Tensor:
        """One tensor, mapped from the file if it is an archive, as all since torch 1.6 are."""
        return self._tensors[name].detach()


def _unpickled(path: Path) -> object:
    """What a file of torch.save holds, of weights and plain containers alone, mapped where that can be."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except RuntimeError as error:
        # Files from before torch 1.6 are no archives and have to be read.
        if "mmap can only be used" not in str(error):
            raise
    return torch.load(path, map_location="cpu", weights_only=True)
