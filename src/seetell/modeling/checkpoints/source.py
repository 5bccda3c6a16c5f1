"""A public checkpoint on the disk: its config, its preprocessing, and its weights one by one.

Nothing is loaded before it is asked for, and weights are mapped, not read: a converter that goes through
them tensor by tensor never holds the whole checkpoint in memory. safetensors are parsed as data; pickles
only when allowed, and then through torch's restricted unpickler, which builds tensors and containers and
refuses every other object.
"""

from __future__ import annotations

import difflib
import json
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from seetell.bundle.checkpoint_files import (
    GENERATION_CONFIG,
    OPEN_CLIP_CONFIG,
    PREPROCESSOR_CONFIG,
    PROCESSOR_CONFIG,
    TOKENIZER_FILES,
    choose_files,
    names_in,
)
from seetell.core.errors import BundleNotFound, CheckpointError
from seetell.core.lines import said_by
from seetell.modeling.checkpoints.weight_files import (
    PickleFile,
    SafetensorsFile,
    WeightInfo,
)

Layout = Literal["transformers", "timm", "open_clip"]

_AGAIN = "fetch it again"


class CheckpointFolder:
    """A folder with a public checkpoint, laid out by transformers, timm or open_clip.

    Attributes:
        folder: where it is.
        layout: whose file names and tensor names it has; read from its files, never from its name.
        config: what ``config.json`` says (``open_clip_config.json`` in open_clip's layout).
    """

    def __init__(self, folder: Path, *, allow_pickle: bool = False) -> None:
        """Find the files and read the config; weights are opened when first asked for.

        Args:
            allow_pickle: pickled weights will do where there are no safetensors.

        Raises:
            BundleNotFound: there is no such folder, or no checkpoint in it.
            CheckpointError: its config cannot be read.
            PickleRefused: its weights are pickles, and ``allow_pickle`` is false.
        """
        try:
            names = names_in(folder)
        except OSError as error:
            raise BundleNotFound(
                f"{folder}: cannot be listed ({error.strerror}); give a folder with a checkpoint"
            ) from error
        self.folder = folder
        self._files = choose_files(names, source=str(folder), allow_pickle=allow_pickle)
        self._files_opened: dict[str, SafetensorsFile | PickleFile] = {}
        self.config: dict[str, Any] = _mapping(folder / self._files.config)
        self.layout: Layout = self._read_layout()

    def __repr__(self) -> str:
        return f"CheckpointFolder({str(self.folder)!r}, layout={self.layout!r})"

    def _read_layout(self) -> Layout:
        if self._files.config == OPEN_CLIP_CONFIG:
            return "open_clip"
        # Every config of transformers names a model_type; timm's names an architecture of timm.
        if "model_type" not in self.config and isinstance(self.config.get("architecture"), str):
            return "timm"
        return "transformers"

    @cached_property
    def preprocessor(self) -> dict[str, Any] | None:
        """How photos are prepared: ``image_processor`` within ``processor_config.json``, where transformers 5
        writes it and looks first, else ``preprocessor_config.json``; None if neither is there."""
        path = self.folder / PROCESSOR_CONFIG
        if PROCESSOR_CONFIG in self._files.small:
            nested = _mapping(path).get("image_processor")
            if isinstance(nested, dict):
                return nested
            if nested is not None:
                raise CheckpointError(f"{path}: image_processor is no mapping of keys; {_AGAIN}")
        if PREPROCESSOR_CONFIG in self._files.small:
            return _mapping(self.folder / PREPROCESSOR_CONFIG)
        return None

    @cached_property
    def generation(self) -> dict[str, Any]:
        """The generation options that go with the weights; empty if there are none."""
        return _mapping(self.folder / GENERATION_CONFIG) if GENERATION_CONFIG in self._files.small else {}

    @property
    def tokenizer_files(self) -> tuple[Path, ...]:
        """Those of the tokenizer's files that are there."""
        return tuple(self.folder / name for name in TOKENIZER_FILES if name in self._files.small)

    @property
    def weight_files(self) -> tuple[Path, ...]:
        """The file of weights, or its shards."""
        return tuple(self.folder / name for name in self._files.weights)

    def weight_names(self) -> dict[str, WeightInfo]:
        """Every tensor's shape and dtype, from the files' headers. Raises as :meth:`tensor`."""
        return {
            name: info
            for file in dict.fromkeys(self._places.values())
            for name, info in self._opened(file).infos.items()
            if self._places.get(name) == file
        }

    def tensor(self, name: str) -> Tensor:
        """One tensor as stored, mapped from its file: pages are read when they are used, and changing it
        changes no file.

        Raises:
            CheckpointError: there is no such tensor, or a file is missing, cut off or otherwise damaged.
            PickleRefused: a pickle holds something that is no weight.
        """
        file = self._places.get(name)
        if file is None:
            near = difflib.get_close_matches(name, self._places, 1)
            hint = f"; the nearest is {near[0]}" if near else ""
            raise CheckpointError(f"{self.folder}: no weight {name} in it, so it is of another model{hint}")
        return self._opened(file).tensor(name)

    def _opened(self, file: str) -> SafetensorsFile | PickleFile:
        if file not in self._files_opened:
            kind = PickleFile if self._files.pickled else SafetensorsFile
            self._files_opened[file] = kind(self.folder / file)
        return self._files_opened[file]

    @cached_property
    def _places(self) -> dict[str, str]:
        """Tensor -> the file it is in."""
        if self._files.index is not None:
            return self._indexed()
        if self._files.missing_shards:
            missing = self.folder / self._files.missing_shards[0]
            raise CheckpointError(f"{missing}: missing, though the other shards count on it; {_AGAIN}")
        places: dict[str, str] = {}
        for file in self._files.weights:
            for name in self._opened(file).infos:
                if name in places:
                    raise CheckpointError(
                        f"{self.folder / file}: it holds {name}, and so does {places[name]}; fetch both again"
                    )
                places[name] = file
        return places

    def _indexed(self) -> dict[str, str]:
        """What the index says, checked against the shards it names."""
        path = self.folder / str(self._files.index)
        places = _mapping(path).get("weight_map")
        if not isinstance(places, dict) or not all(isinstance(file, str) for file in places.values()):
            raise CheckpointError(f"{path}: no weight_map in it, which says where each weight is; {_AGAIN}")
        for file in dict.fromkeys(places.values()):
            # Only names among the files chosen from this folder: an index cannot lead out of it.
            if file not in self._files.weights:
                raise CheckpointError(
                    f"{self.folder / str(file)}: missing, though {path.name} names it; {_AGAIN}"
                )
            held = self._opened(file).infos
            for name in places:
                if places[name] == file and name not in held:
                    raise CheckpointError(
                        f"{self.folder / file}: no {name} in it, though {path.name} says so; fetch both again"
                    )
        return places


def _mapping(path: Path) -> dict[str, Any]:
    """A JSON file whose content is an object. Raises CheckpointError."""
    try:
        document = json.loads(path.read_bytes())
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: cut off or no JSON ({said_by(error)}); {_AGAIN}") from error
    if not isinstance(document, dict):
        raise CheckpointError(
            f"{path}: a mapping of keys is expected, not {type(document).__name__}; {_AGAIN}"
        )
    return document
