"""Metrics of a run: always one JSON object per line, and trackers beside it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from accelerate.tracking import GeneralTracker

from seetell.core.errors import StorageError
from seetell.core.files import atomic_write_text


class MetricsLog:
    """Appends rows to ``metrics.jsonl``; each is ``{"step": N, "kind": "train" | "validate", ...}``.

    A context manager. A run that goes on from step N first drops the rows after N, which it is about to
    live through again, so that the file reads as if nothing had happened.
    """

    def __init__(
        self,
        folder: Path,
        *,
        resume_step: int,
        trackers: Sequence[GeneralTracker] = (),
        tracked_every: int = 20,
    ) -> None:
        """``trackers``: closed with the log; of the steps they are told every ``tracked_every``-th."""
        self._path = folder / "metrics.jsonl"
        _drop_after(self._path, resume_step)
        try:
            self._stream = self._path.open("a", encoding="utf-8")
        except OSError as error:
            raise StorageError(f"{self._path}: cannot be written ({error.strerror or error})") from error
        self._every = tracked_every
        self._trackers = tuple(trackers)

    def __enter__(self) -> MetricsLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def write(self, step: int, kind: str, values: Mapping[str, float]) -> None:
        """Add one row. Raises StorageError when the disk refuses."""
        # NaN is no JSON; a metric that does not exist at this step is null.
        clean = {name: value if math.isfinite(value) else None for name, value in values.items()}
        try:
            self._stream.write(json.dumps({"step": step, "kind": kind, **clean}) + "\n")
            self._stream.flush()
        except OSError as error:
            raise StorageError(f"{self._path}: cannot be written ({error.strerror or error})") from error
        if kind != "train" or step % self._every == 0:
            for tracker in self._trackers:
                tracker.log({f"{kind}/{name}": value for name, value in values.items()}, step=step)

    def close(self) -> None:
        """Close the files."""
        self._stream.close()
        for tracker in self._trackers:
            tracker.finish()


class NoLog(MetricsLog):
    """Of a process that is not the first: writes nothing."""

    def __init__(self) -> None:
        pass

    def write(self, step: int, kind: str, values: Mapping[str, float]) -> None:
        pass

    def close(self) -> None:
        pass


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The rows of a ``metrics.jsonl``; a last line cut off by a kill is left out."""
    if not path.exists():
        return []
    rows: list[dict[str, Any]] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            continue
        if isinstance(row, dict):
            rows.append(row)
    return rows


def _drop_after(path: Path, step: int) -> None:
    if path.exists():
        kept = [row for row in read_metrics(path) if int(row.get("step", 0)) <= step]
        atomic_write_text(path, "".join(json.dumps(row) + "\n" for row in kept))
