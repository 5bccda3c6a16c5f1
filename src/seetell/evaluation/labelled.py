"""Labelled photos made ready to be measured: what their labels are called, and an even part of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from seetell.core.errors import DataError
from seetell.data.documents import read_document, text_field
from seetell.data.records import LabelRecord


def read_label_names(path: Path) -> dict[str, str]:
    """A JSON object of label -> what it is called: ``{"n01440764": "tench"}``. Raises DataError."""
    document = read_document(path)
    return {label: text_field(document, label, f"{path}: the name of a label") for label in document}


def with_names(records: Sequence[LabelRecord], names: Mapping[str, str] | None = None) -> list[LabelRecord]:
    """The records with labels in words: as ``names`` says, else as they are, ``golden_retriever`` in two.

    Raises DataError when ``names`` lacks a label, or two labels would be called the same.
    """
    labels = dict.fromkeys(record.label for record in records)
    if names is None:
        called = {label: " ".join(label.replace("_", " ").split()) for label in labels}
    else:
        unnamed = [label for label in labels if label not in names]
        if unnamed:
            raise DataError(f"{len(unnamed)} labels have no name, {_few(unnamed)}; name them all")
        called = {label: names[label].strip() for label in labels}
    shared = [name for name, count in Counter(called.values()).items() if count > 1]
    if shared:
        both = [label for label, name in called.items() if name == shared[0]]
        raise DataError(
            f"the labels {_few(both)} are all called {shared[0]!r}: a model cannot choose between them"
        )
    return [replace(record, label=called[record.label]) for record in records]


def evenly(records: Sequence[LabelRecord], limit: int | None) -> list[LabelRecord]:
    """``limit`` records, as many of each label as can be, each label's first; in the given order.

    The first records of a folder would all carry its first label.
    """
    seen: Counter[str] = Counter()
    turns = []
    for place, record in enumerate(records):
        turns.append((seen[record.label], place))
        seen[record.label] += 1
    kept = {place for _, place in sorted(turns)[:limit]}
    return [record for place, record in enumerate(records) if place in kept]


def _few(labels: Sequence[str]) -> str:
    return ", ".join(map(repr, labels[:3])) + (", ..." if len(labels) > 3 else "")
