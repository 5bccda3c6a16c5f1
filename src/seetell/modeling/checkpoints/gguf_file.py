"""A GGUF file of a language model, seen as the folder that transformers would have written of it.

Settings and names are put into transformers' words here, so that one table per family reads both. Weights are
mapped and unpacked one at a time, when they are asked for, into float32: what they were packed into was
decided by whoever made the file.
"""

from __future__ import annotations

import re
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from seetell.core.errors import BundleNotFound, CheckpointError, MissingExtra
from seetell.core.lines import said_by
from seetell.modeling.checkpoints.source import CheckpointFolder
from seetell.modeling.checkpoints.weight_files import WeightInfo

SUFFIX = ".gguf"
_AGAIN = "fetch it again"
# Architectures whose weights are laid out as this file knows.
_KNOWN = ("llama", "qwen2", "qwen3")
# Of these, rows of queries and keys are stored with the two numbers that are turned together side by side,
# where transformers has them half a head apart.
_INTERLEAVED = ("llama",)

_LAYER = re.compile(r"blk\.(\d+)\.(\w+)\.(weight|bias)")
_IN_LAYER = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_OUTSIDE = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}
# No weight: by what each frequency of the rotary positions is divided.
_DIVISORS = "rope_freqs.weight"


def open_checkpoint(path: Path, *, allow_pickle: bool = False) -> CheckpointFolder:
    """A checkpoint's folder, or a GGUF file. Errors as those of each."""
    return GgufFile(path) if path.suffix == SUFFIX else CheckpointFolder(path, allow_pickle=allow_pickle)


class GgufFile(CheckpointFolder):
    """One GGUF file. ``folder`` is its path, ``config`` what transformers would have written."""

    def __init__(self, path: Path) -> None:
        """Map the file and read its settings.

        Raises:
            BundleNotFound: there is no such file.
            CheckpointError: it is cut off, no GGUF file, one of several parts, or of a model that is not
                known.
            MissingExtra: the package ``gguf`` is not installed.
        """
        if not path.is_file():
            raise BundleNotFound(f"{path}: no such file")
        self.folder = path
        self._reader = _opened(path)
        self._tensors = {str(one.name): one for one in self._reader.tensors}
        self.architecture = str(self.setting("general.architecture"))
        if self.architecture not in _KNOWN:
            raise CheckpointError(
                f"{path}: a GGUF file of {self.architecture!r}; those of {', '.join(_KNOWN)} are read"
            )
        if int(self.setting("split.count", 1)) > 1:
            raise CheckpointError(
                f"{path}: one of {self.setting('split.count')} parts; join them with llama-gguf-split --merge"
            )
        self.layout = "transformers"
        self.config = self._config()
        self._sources = self._named()

    @property
    def preprocessor(self) -> dict[str, Any] | None:
        return None

    @property
    def generation(self) -> dict[str, Any]:
        return {}

    @property
    def tokenizer_files(self) -> tuple[Path, ...]:
        return ()

    @property
    def weight_files(self) -> tuple[Path, ...]:
        return (self.folder,)

    def setting(self, key: str, default: Any = None) -> Any:
        """What the file says under ``key``. Raises CheckpointError where it says nothing and nothing will
        do."""
        field = self._reader.get_field(key)
        if field is None:
            if default is None:
                raise CheckpointError(f"{self.folder}: it does not say {key}; {_AGAIN}")
            return default
        return field.contents()

    def weight_names(self) -> dict[str, WeightInfo]:
        return {
            name: WeightInfo(self._shape(source), torch.float32) for name, source in self._sources.items()
        }

    def tensor(self, name: str) -> Tensor:
        source = self._sources.get(name)
        if source is None:
            raise CheckpointError(f"{self.folder}: no weight {name} in it, so it is of another model")
        rows = torch.from_numpy(self._unpacked(source))
        if self.architecture in _INTERLEAVED and ".self_attn." in name:
            heads = {
                "q_proj": self.config["num_attention_heads"],
                "k_proj": self.config["num_key_value_heads"],
            }
            for part, count in heads.items():
                if f".{part}." in name:
                    return _half_apart(rows, count)
        return rows

    def _unpacked(self, source: str) -> np.ndarray[Any, np.dtype[np.float32]]:
        from gguf.quants import dequantize

        stored = self._tensors[source]
        try:
            found = dequantize(stored.data, stored.tensor_type)
        except NotImplementedError as error:
            raise CheckpointError(
                f"{self.folder}: {source} is packed as {stored.tensor_type.name}, which cannot be unpacked "
                "here; take a file in F16, Q8_0 or Q4_K_M"
            ) from error
        # A copy where it is still the file's own: weights are written to.
        return np.array(found, np.float32).reshape(self._shape(source))

    def _shape(self, source: str) -> tuple[int, ...]:
        # The file counts its axes from the innermost.
        return tuple(int(size) for size in reversed(self._tensors[source].shape))

    def _named(self) -> dict[str, str]:
        """transformers' name -> the file's. Names that are not known stay, for who reads them to say so."""
        names = {}
        for source in self._tensors:
            layer = _LAYER.fullmatch(source)
            if source == _DIVISORS:
                continue
            if layer is not None and layer[2] in _IN_LAYER:
                names[f"model.layers.{layer[1]}.{_IN_LAYER[layer[2]]}.{layer[3]}"] = source
            else:
                names[_OUTSIDE.get(source, source)] = source
        return names

    def _config(self) -> dict[str, Any]:
        def said(key: str, default: Any = None) -> Any:
            return self.setting(f"{self.architecture}.{key}", default)

        width, heads = said("embedding_length"), said("attention.head_count")
        head_dim = said("attention.key_length", width // max(heads, 1))
        if said("rope.dimension_count", head_dim) != head_dim:
            raise CheckpointError(
                f"{self.folder}: only a part of each head is turned, which is not known here"
            )
        return {
            "model_type": self.architecture,
            "vocab_size": self._shape("token_embd.weight")[0] if "token_embd.weight" in self._tensors else 0,
            "hidden_size": width,
            "intermediate_size": said("feed_forward_length"),
            "num_hidden_layers": said("block_count"),
            "num_attention_heads": heads,
            "num_key_value_heads": said("attention.head_count_kv", heads),
            "head_dim": head_dim,
            "rms_norm_eps": said("attention.layer_norm_rms_epsilon"),
            "max_position_embeddings": said("context_length"),
            "rope_parameters": self._rope(said),
            "attention_bias": "blk.0.attn_q.bias" in self._tensors,
            "tie_word_embeddings": "output.weight" not in self._tensors,
        }

    def _rope(self, said: Any) -> dict[str, Any]:
        rope: dict[str, Any] = {"rope_type": "default", "rope_theta": said("rope.freq_base", 10000.0)}
        kind = said("rope.scaling.type", "none")
        if kind == "linear":
            rope |= {"rope_type": "linear", "factor": said("rope.scaling.factor")}
        elif kind != "none":
            rope["rope_type"] = kind
        if _DIVISORS in self._tensors:
            rope |= {"rope_type": "divided", "divisors": self._unpacked(_DIVISORS).tolist()}
        return rope

    @cached_property
    def licence(self) -> str | None:
        """What the file says of the terms of its weights."""
        told = self._reader.get_field("general.license")
        return None if told is None else str(told.contents())


def _opened(path: Path) -> Any:
    try:
        from gguf import GGUFReader
    except ImportError as error:
        raise MissingExtra("gguf", "chat", "to read a GGUF file") from error
    try:
        return GGUFReader(str(path))
    except (
        ValueError,
        IndexError,
        KeyError,
        OverflowError,
        OSError,
        UnicodeDecodeError,
        MemoryError,
    ) as error:
        raise CheckpointError(f"{path}: cut off or no GGUF file ({said_by(error)}); {_AGAIN}") from error


def _half_apart(rows: Tensor, heads: int) -> Tensor:
    """Rows [2i, 2i + 1] of each head to [i, i + head_dim / 2]."""
    pairs = rows.reshape(heads, rows.shape[0] // heads // 2, 2, *rows.shape[1:])
    return pairs.transpose(1, 2).reshape(rows.shape)
