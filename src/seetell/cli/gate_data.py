"""What ``seetell compress`` judges a model by: the data, what tells them from others, and the measuring."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seetell.cli.evaluation_task import Task, measure

if TYPE_CHECKING:
    from seetell.cli.output import Output
    from seetell.evaluation.runner import Evaluation
    from seetell.tasks.model import Model


def gate_tasks(
    captions: Path | None,
    questions: Path | None,
    annotations: Path | None,
    images: Path | None,
    question_images: Path | None,
    labelled: Path | None,
) -> list[Task]:
    """What to judge by: each kind of data that was named. Raises UsageError for what goes with nothing."""
    from seetell.core.errors import UsageError

    tasks = []
    if captions is not None:
        # What compression changes is what the model writes; how often it is unsure is fitted anew.
        tasks.append(Task(captions=captions, images=images, guesses=True))
    if questions is not None:
        asked = images if question_images is None else question_images
        tasks.append(Task(questions=questions, annotations=annotations, images=asked))
    elif annotations is not None or question_images is not None:
        raise UsageError("compress: --annotations and --question-images go with --questions F")
    if labelled is not None:
        tasks.append(Task(labelled=labelled))
    if images is not None and captions is None and questions is None:
        raise UsageError("compress: --images goes with --captions F or --questions F")
    return tasks


def narrowed(
    tasks: Sequence[Task], *, language: str | None, holdout: str | None, limit: int | None
) -> list[Task]:
    """The tasks with the options that some of them know. Raises UsageError for one that no task knows."""
    from seetell.core.errors import UsageError

    by_language = [task.questions is None for task in tasks]
    by_holdout = [task.captions is None for task in tasks]
    for option, value, known, kinds in (
        ("limit", limit, tasks, "--captions, --questions and --labelled"),
        ("language", language, by_language, "--captions and --labelled"),
        ("holdout", holdout, by_holdout, "--questions and --labelled"),
    ):
        if value is not None and not any(known):
            raise UsageError(f"compress: --{option} goes with {kinds}")
    return [
        replace(
            task,
            limit=limit,
            language=language if speaks else None,
            holdout=holdout if held else None,
        )
        for task, speaks, held in zip(tasks, by_language, by_holdout, strict=True)
    ]


def named(tasks: Sequence[Task]) -> str:
    """What the data are called, in the manifest and the report."""
    return ", ".join(_named(task) for task in tasks) or "check set"


def _named(task: Task) -> str:
    data = task.captions or task.questions or task.labelled
    assert data is not None  # each task is about one of them
    first = "" if task.limit is None else f", {task.limit} photos"
    return f"{data.name}{first}"


def evaluator(tasks: Sequence[Task], output: Output) -> Callable[[Model], list[Evaluation]]:
    """Measures a model on all of them."""

    def evaluate(model: Model) -> list[Evaluation]:
        return [measure(model, task, output.progress) for task in tasks]

    return evaluate


def facts(tasks: Sequence[Task]) -> dict[str, Any]:
    """What tells these data from other data: files by their content, photos by name, size and time."""
    return {
        f"{number} {one.name}": _fact(value)
        for number, task in enumerate(tasks)
        for one in fields(task)
        if (value := getattr(task, one.name)) not in (None, False, ())
    }


def _fact(value: Any) -> Any:
    if not isinstance(value, Path):
        return value
    seen = hashlib.sha256()
    try:
        if value.is_dir():
            for folder, inner, names in os.walk(value):
                inner.sort()
                for name in sorted(names):
                    path = os.path.join(folder, name)
                    status = os.stat(path)
                    seen.update(f"{path!r} {status.st_size} {status.st_mtime_ns}".encode())
        else:
            with value.open("rb") as file:
                seen = hashlib.file_digest(file, "sha256")
    except OSError as error:
        return str(error)  # whoever reads them says it better
    return seen.hexdigest()
