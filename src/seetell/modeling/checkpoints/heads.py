"""What the numbers of a classification head mean, by ``problem_type`` of public configurations."""

from __future__ import annotations

from seetell.bundle.manifest import ScoreSpec
from seetell.core.errors import CheckpointError
from seetell.modeling.checkpoints.source import CheckpointFolder

# Each label was taught by itself: true or not, whatever the others are.
INDEPENDENT = ScoreSpec(heads="sigmoid")


def head_score(folder: CheckpointFolder, outputs: int) -> ScoreSpec | None:
    """How the logits of a head with so many outputs become probabilities; None for shares of one, and where
    there is no head.

    Raises CheckpointError for a head whose numbers are no probabilities of labels.
    """
    told = folder.config.get("problem_type")
    if outputs == 0:
        return None
    if told == "multi_label_classification":
        return INDEPENDENT
    if told == "regression":
        raise _refused(folder, "its head gives quantities (problem_type 'regression')")
    if told not in (None, "single_label_classification"):
        raise _refused(folder, f"its problem_type is {told!r}, which is unknown here")
    if outputs == 1:
        # As transformers teaches such a head where nothing else is said.
        raise _refused(folder, "its head has one output, a quantity and no choice among labels")
    return None


def _refused(folder: CheckpointFolder, what: str) -> CheckpointError:
    return CheckpointError(
        f"{folder.folder}: {what}, and no probabilities can be made of it; convert one with a head over "
        "labels (problem_type single_label_classification or multi_label_classification), or without a head"
    )
