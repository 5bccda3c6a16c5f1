"""What Prometheus reads at ``/metrics``."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_SIZES = (1, 2, 4, 8, 16, 32, 64)
# Requests that are no task's: health, models, what was refused at the gate.
_NO_TASK = "other"


class Metrics:
    """Told by the gate about every request and by the batcher about every batch.

    Labels are tasks and statuses only, never what clients send, so that their number is bounded.
    """

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self._requests = Histogram(
            "seetell_request_seconds",
            "From a request's first byte until the last of its answer is handed over.",
            ("task",),
            buckets=_SECONDS,
            registry=registry,
        )
        self._answers = Counter(
            "seetell_answers", "Answers; 499: the client went away.", ("task", "status"), registry=registry
        )
        self._sizes = Histogram(
            "seetell_batch_items",
            "Photos or texts that ran together.",
            ("task",),
            buckets=_SIZES,
            registry=registry,
        )
        self._runs = Histogram(
            "seetell_batch_seconds", "How long batches ran.", ("task",), buckets=_SECONDS, registry=registry
        )
        self._waits = Histogram(
            "seetell_queue_seconds",
            "How long items waited before they ran.",
            ("task",),
            buckets=_SECONDS,
            registry=registry,
        )
        self._queue = Gauge("seetell_queue_items", "Items waiting now.", registry=registry)
        self._models = Gauge("seetell_models_loaded", "Models in memory.", registry=registry)

    def follow(self, waiting: Callable[[], int], loaded: Callable[[], int]) -> None:
        """Read the queue and the models from these whenever the page is asked for."""
        self._queue.set_function(waiting)
        self._models.set_function(loaded)

    def ended(self, task: str, status: int, took_s: float) -> None:
        """A request ended."""
        self._requests.labels(task or _NO_TASK).observe(took_s)
        self._answers.labels(task or _NO_TASK, str(status)).inc()

    def ran(self, task: str, items: int, waited_s: Sequence[float], took_s: float) -> None:
        """A batch ran."""
        self._sizes.labels(task).observe(items)
        self._runs.labels(task).observe(took_s)
        for one in waited_s:
            self._waits.labels(task).observe(one)

    def page(self) -> tuple[bytes, str]:
        """The page and its content type."""
        return generate_latest(self._registry), CONTENT_TYPE_LATEST
