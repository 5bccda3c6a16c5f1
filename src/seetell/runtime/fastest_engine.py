"""The fastest of several ways to run a bundle, found out when a graph is first run: what ``auto`` is.

What was found is kept beside the compiled graphs, under the bundle's fingerprint, so that a machine measures
once. Whoever is killed while measuring leaves nothing behind, and of processes that measure at the same time
all keep to the first answer.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from seetell.core.errors import EngineError
from seetell.core.kept import keep, read_kept
from seetell.core.processors import identity
from seetell.runtime.comparison import Comparison, Way, compare
from seetell.runtime.engine import Arrays, Engine
from seetell.runtime.graphs import GraphEngine, fingerprint, kept_folder

if TYPE_CHECKING:
    from pathlib import Path

    from seetell.bundle.store import Bundle

_FORMAT = 1
# Measurements of one process must not disturb one another.
_ONE_AT_A_TIME = threading.Lock()
# Where nothing can be kept, a process measures once all the same.
_FOUND: dict[str, Comparison] = {}


@dataclass(frozen=True, slots=True)
class Setting:
    """What makes another question of the same bundle: the engine and its version, and what it may use."""

    engine: str
    version: str
    device: str
    threads: int | None
    streams: int


class FastestEngine(GraphEngine):
    """One of several engines, settled when a graph is first run. Thread-safe.

    Args:
        bundle: gives the graphs.
        ways: what to choose among, the most exact first.
        make: the engine of a way.
        setting: what ``make`` makes it with.
        by_processor: as ``best_times_s`` has it.
    """

    def __init__(
        self,
        bundle: Bundle,
        ways: Sequence[Way],
        make: Callable[[Way], Engine],
        setting: Setting,
        *,
        by_processor: bool,
    ) -> None:
        super().__init__(bundle, ways[0].precision, setting.device)
        self._ways = tuple(ways)
        self._make = make
        self._by_processor = by_processor
        self._name = setting.engine
        asked = (_FORMAT, identity(), setting, [way.name for way in ways])
        key = hashlib.sha256(repr(asked).encode()).hexdigest()[:16]
        folder = kept_folder(bundle, setting.engine, setting.version)
        self._path: Path | None = None if folder is None else folder / f"fastest-{key}.json"
        self._place = f"{self._path or fingerprint(bundle, setting.version)} {key}"
        self._lock = threading.Lock()
        self._settled: tuple[Comparison, Engine] | None = None
        self._closed = False

    @property
    def name(self) -> str:
        return self._name

    @property
    def precision(self) -> str:
        alike = len({way.precision for way in self._ways}) == 1
        return self._ways[0].precision if alike else self.comparison.chosen.precision

    @property
    def comparison(self) -> Comparison:
        """What was measured, now or before."""
        return self._settle()[0]

    def run(
        self, role: str, inputs: Mapping[str, NDArray[Any]], outputs: Sequence[str] | None = None
    ) -> Arrays:
        if self._closed:
            raise EngineError(f"{role}: this model is closed; load it again")
        return self._settle()[1].run(role, inputs, outputs)

    def close(self) -> None:
        self._closed = True
        with self._lock:
            if self._settled is not None:
                self._settled[1].close()

    def _settle(self) -> tuple[Comparison, Engine]:
        with self._lock:
            if self._settled is None:
                known = self._known()
                self._settled = self._measured() if known is None else (known, self._make(known.chosen))
                if self._closed:
                    self._settled[1].close()
            return self._settled

    def _known(self) -> Comparison | None:
        document = read_kept(self._path)
        if document is not None and document.get("format") == _FORMAT:
            found = Comparison.of_document(document, self._ways)
            if found is not None:
                return found
        return _FOUND.get(self._place)

    def _measured(self) -> tuple[Comparison, Engine]:
        with _ONE_AT_A_TIME:
            known = self._known()  # by another model of this process, while this one waited
            if known is not None:
                return known, self._make(known.chosen)
            found, engines = compare(self._bundle, self._ways, self._make, by_processor=self._by_processor)
            found = self._known() or found  # by another process meanwhile
            if found.ms:
                _FOUND[self._place] = found
                keep(self._path, {"format": _FORMAT, **found.document()})
        for way, engine in engines.items():
            if way != found.chosen:
                engine.close()
        return found, engines.get(found.chosen) or self._make(found.chosen)
