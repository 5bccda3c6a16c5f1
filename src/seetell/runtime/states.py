"""Keys and values that stay where they are computed: a decoder's graph with a memory of what it has read.

An engine that can keep them (OpenVINO) hands none of them out; for the others they are carried from run to
run here, so that whoever writes text sees no difference.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from seetell.core.errors import BundleInvalid
from seetell.runtime.engine import Engine

if TYPE_CHECKING:
    from seetell.bundle.manifest import GraphSpec

_PAST, _PRESENT = "past_key_values.", "present."
ROLE = "text_decoder"


class DecoderState(Protocol):
    """Rows that a text decoder has read. Not to be used by two threads at once."""

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
        """Read on: the graph's inputs without the caches, the attention mask over all read so far and now.

        Returns the logits float32[B, K, V]. Raises EngineError.
        """
        ...

    def clear(self) -> None:
        """Forget all that was read."""
        ...


@runtime_checkable
class KeepsStates(Protocol):
    """An engine that keeps keys and values itself."""

    def decoder_state(self) -> DecoderState:
        """A new one, empty. Raises EngineError."""
        ...


def open_state(engine: Engine, graph: GraphSpec) -> DecoderState:
    """A new state, empty. graph: the manifest's entry for the text decoder.

    Raises EngineError, and BundleInvalid for caches without fixed sizes.
    """
    return engine.decoder_state() if isinstance(engine, KeepsStates) else CarriedState(engine, graph)


def cache_names(graph: GraphSpec) -> dict[str, tuple[int, int]]:
    """Cache inputs and (kv_heads, head_dim) of each. Raises BundleInvalid where these are not fixed."""
    found = {}
    for name, tensor in graph.inputs.items():
        if not name.startswith(_PAST):
            continue
        heads, head_dim = (tensor.axes[1], tensor.axes[3]) if len(tensor.axes) == 4 else ("", "")
        if not (isinstance(heads, int) and isinstance(head_dim, int)):
            raise BundleInvalid(
                f"{ROLE}: {name} has axes {list(tensor.axes)}, without the number of heads and their width"
            )
        found[name] = (heads, head_dim)
    return found


def present_name(past: str) -> str:
    """The output that becomes the cache input ``past`` of the next run."""
    return _PRESENT + past.removeprefix(_PAST)


class CarriedState:
    """A :class:`DecoderState` over any engine: the caches go out and in again with every run."""

    def __init__(self, engine: Engine, graph: GraphSpec) -> None:
        self._engine = engine
        self._sizes = cache_names(graph)
        self._caches: dict[str, NDArray[Any]] | None = None

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
        caches = self._caches
        if caches is None:
            rows = len(inputs["beam_idx"])
            caches = {
                name: np.zeros((rows, heads, 0, head_dim), np.float32)
                for name, (heads, head_dim) in self._sizes.items()
            }
        outputs = ["logits", *map(present_name, self._sizes)]
        found = self._engine.run(ROLE, {**inputs, **caches}, outputs)
        self._caches = {name: found[present_name(name)] for name in self._sizes}
        logits: NDArray[np.float32] = found["logits"]
        return logits

    def clear(self) -> None:
        self._caches = None
