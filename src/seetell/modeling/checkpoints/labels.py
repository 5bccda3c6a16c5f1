"""The labels of a classification head, as public configurations list them."""

from __future__ import annotations

from collections.abc import Mapping

from seetell.core.errors import CheckpointError
from seetell.modeling.checkpoints.source import CheckpointFolder


def label_names(folder: CheckpointFolder, count: int) -> tuple[str, ...]:
    """The ``count`` names of ``id2label``, by number.

    transformers leaves the list out where labels have no names, and so calls them LABEL_0 and so on.

    Raises CheckpointError for a list of another length or with gaps.
    """
    told = folder.config.get("id2label")
    if told is None:
        return tuple(f"LABEL_{number}" for number in range(count))
    if not isinstance(told, Mapping) or {str(key) for key in told} != {str(one) for one in range(count)}:
        length = len(told) if isinstance(told, Mapping) else 0
        raise CheckpointError(
            f"{folder.folder}: config.json names {length} labels (id2label) and the head has {count}; take "
            "config.json and weights from the same place"
        )
    by_number = {int(key): str(value) for key, value in told.items()}
    return tuple(by_number[number] for number in range(count))
