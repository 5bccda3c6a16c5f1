"""The text decoder as the decoding loops see it: memories projected once, a cache carried along."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from seetell.core.errors import BundleInvalid, UsageError
from seetell.runtime.engine import Arrays, Engine

if TYPE_CHECKING:
    from seetell.bundle.manifest import GraphSpec

_CACHE_NAME = re.compile(r"past_key_values\.\d+\.(key|value)")


class TextDecoder:
    """The roles ``decoder_memory`` and ``text_decoder`` of one engine.

    Args:
        engine: runs the roles.
        graph: the manifest's entry for ``text_decoder``; the sizes of an empty cache are read from it.
        eos_id, context_length: from the manifest's text spec.

    Raises BundleInvalid when a cache input lacks fixed num_heads and head_dim.
    """

    def __init__(self, engine: Engine, graph: GraphSpec, *, eos_id: int, context_length: int) -> None:
        self.engine = engine
        self.eos_id = eos_id
        self.context_length = context_length
        self._inputs = engine.inputs("text_decoder")
        self._caches: dict[str, tuple[int, int]] = {}
        for name, tensor in graph.inputs.items():
            if not _CACHE_NAME.fullmatch(name):
                continue
            heads, head_dim = (tensor.axes[1], tensor.axes[3]) if len(tensor.axes) == 4 else ("", "")
            if not (isinstance(heads, int) and isinstance(head_dim, int)):
                raise BundleInvalid(
                    f"text_decoder: {name} has axes {list(tensor.axes)}, without num_heads and head_dim"
                )
            self._caches[name] = (heads, head_dim)

    def check_room(self, prompt_length: int, max_tokens: int) -> None:
        """Raises UsageError when a prompt and what may follow exceed the model's context."""
        # The last token written is never read back, hence the one more.
        room = self.context_length - prompt_length + 1
        if max_tokens > room:
            raise UsageError(
                f"max_tokens {max_tokens} is more than the {max(room, 0)} this model has room for "
                f"after a prompt of {prompt_length} tokens"
            )

    def memory(self, memory_tokens: NDArray[np.float32]) -> Arrays:
        """Keys and values of the memory, float32[B, num_heads, N, head_dim] each. Once per photo."""
        return self.engine.run("decoder_memory", {"memory_tokens": memory_tokens})

    def run(
        self,
        input_ids: NDArray[np.int64],
        attention_mask: NDArray[np.bool_],
        memory: Arrays,
        memory_mask: NDArray[np.bool_],
        cache: Arrays | None = None,
        beam_idx: NDArray[np.int64] | None = None,
        *,
        keep_cache: bool = True,
    ) -> tuple[NDArray[np.float32], Arrays]:
        """One pass. input_ids: int64[B, T]; attention_mask: bool[B, P + T]; memory_mask: bool[B, N].

        Returns logits float32[B, T, V] and the cache to hand in next time (empty unless ``keep_cache``).
        """
        rows = input_ids.shape[0]
        if cache is None:
            cache = {
                name: np.zeros((rows, heads, 0, head_dim), np.float32)
                for name, (heads, head_dim) in self._caches.items()
            }
        feeds: dict[str, NDArray[Any]] = {
            "input_ids": input_ids,
            "attention_mask": attention_mask,
            "beam_idx": np.arange(rows, dtype=np.int64) if beam_idx is None else beam_idx,
            "memory_mask": memory_mask,
            **cache,
            **memory,
        }
        present = [name.replace("past_key_values", "present") for name in self._caches] if keep_cache else []
        found = self.engine.run(
            "text_decoder",
            {name: value for name, value in feeds.items() if name in self._inputs},
            ["logits", *present],
        )
        logits = found["logits"]
        return logits, {name.replace("present", "past_key_values"): found[name] for name in present}


class Decoding:
    """Rows being written, each with its memory and its part of the cache."""

    def __init__(
        self, decoder: TextDecoder, memory_tokens: NDArray[np.float32], memory_mask: NDArray[np.bool_]
    ) -> None:
        """memory_tokens: float32[B, N, D]; memory_mask: bool[B, N]."""
        self._decoder = decoder
        self._memory = decoder.memory(memory_tokens)
        self._memory_mask = memory_mask
        self._cache: Arrays | None = None
        self._written = 0

    @property
    def rows(self) -> int:
        return int(self._memory_mask.shape[0])

    def advance(
        self, input_ids: NDArray[np.int64], beam_idx: NDArray[np.int64] | None = None
    ) -> NDArray[np.float32]:
        """Feed int64[R, T] more tokens, row r continuing the cache's row ``beam_idx[r]``.

        Returns the logits of the next token, float32[R, V].
        """
        self._written += input_ids.shape[1]
        logits, self._cache = self._decoder.run(
            input_ids,
            np.ones((input_ids.shape[0], self._written), np.bool_),
            self._memory,
            self._memory_mask,
            self._cache,
            beam_idx,
        )
        return logits[:, -1]

    def select(self, rows: NDArray[np.intp]) -> None:
        """Go on with these rows: repeats them for beams, or leaves out those that are finished."""
        self._memory = {name: value[rows] for name, value in self._memory.items()}
        self._memory_mask = self._memory_mask[rows]
        if self._cache is not None:
            self._cache = {name: value[rows] for name, value in self._cache.items()}
