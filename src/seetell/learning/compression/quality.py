"""How good a bundle is, by the data the user named or by a check set: what the gate compares."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from seetell.bundle.store import Bundle
from seetell.core.errors import DataError, UsageError
from seetell.evaluation.bootstrap import Estimate
from seetell.evaluation.runner import Evaluation
from seetell.learning.compression.gate import Tolerance, agreement, main_metrics
from seetell.runtime.select import choose_engine
from seetell.tasks.model import Model, load

Evaluate = Callable[[Model], Sequence[Evaluation]]


@dataclass(frozen=True, slots=True)
class Judge:
    """reference: the bundle that is compressed, to whose check set the others are held. evaluate: measures a
    model on the user's data; None for the check set. dataset: what that data is called. tolerance: how far
    quality may fall. facts: what tells the user's data from other data, None where that is not known."""

    reference: Bundle
    evaluate: Evaluate | None
    dataset: str
    tolerance: Tolerance
    facts: Mapping[str, Any] | None = None

    def quality(self, bundle: Bundle) -> dict[str, Estimate]:
        """Each metric that decides, higher is better, out of 100.

        Raises DataError where inputs of the evaluation fail, UsageError without any data to judge by.
        """
        precision = "fp32" if bundle.has_floats else "int8"
        if self.evaluate is not None:
            with load(bundle.folder, precision=precision, device="cpu") as model:
                found = self.evaluate(model)
            failed = [one for evaluation in found for one in evaluation.failed]
            if failed:
                raise DataError(
                    f"{len(failed)} inputs of the evaluation failed, so the gate cannot judge; the first: "
                    f"{failed[0].error}"
                )
            return main_metrics(found)
        engine = choose_engine(bundle, precision=precision, device="cpu")
        try:
            found_here = agreement(self.reference, engine, bundle.manifest)
        finally:
            engine.close()
        if not found_here:
            raise UsageError(
                f"{self.reference.manifest.name} has no check set; name data for the gate, as in "
                "--captions F --images DIR"
            )
        return found_here
