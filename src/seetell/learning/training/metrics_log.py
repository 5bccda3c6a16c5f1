"""Metrics of a run: always one JSON object per line, and TensorBoard where it is installed."""

from __future__ import annotations

import importlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from seetell.core.errors import StorageError
from seetell.core.files import atomic_write_text


class MetricsLog:
    """Appends rows to ``metrics.jsonl``; each is ``{"step": N, "kind": "train" | "validate", ...}``.

    A context manager. A run that goes on from step N first drops the rows after N, which it is about to
    live through again, so that the file reads as if nothing had happened.
    """

    def __init__(self, folder: Path, *, resume_step: int, tensorboard_every: int = 20) -> None:
        self._path = folder / "metrics.jsonl"
        _drop_after(self._path, resume_step)
        try:
            self._stream = self._path.open("a", encoding="utf-8")
        except OSError as error:
            raise StorageError(f"{self._path}: cannot be written ({error.strerror or error})") from error
        self._every = tensorboard_every
        self._board = _summary_writer(folder / "tensorboard", resume_step)

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
        if self._board is not None and (kind != "train" or step % self._every == 0):
            for name, value in values.items():
                self._board.add_scalar(f"{kind}/{name}", value, step)

    def close(self) -> None:
        """Close the files."""
        self._stream.close()
        if self._board is not None:
            self._board.close()


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


def _summary_writer(folder: Path, step: int) -> Any:
    try:
        module = importlib.import_module("torch.utils.tensorboard")
    except ImportError:
        return None
    # purge_step makes TensorBoard hide what an interrupted run wrote after its last checkpoint.
    return module.SummaryWriter(str(folder), purge_step=step + 1)
