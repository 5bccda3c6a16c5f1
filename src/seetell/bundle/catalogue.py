"""The known public checkpoints: what they can do, their size, licence and published figures.

The facts are data, in ``catalogue.json``. A figure carries its source, or it is not there; parameters are
counted from the published configuration; a licence nobody states on the checkpoint's page is not guessed.
"""

from __future__ import annotations

import json
from functools import cache
from importlib import resources
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from seetell.bundle.architecture import Architecture
from seetell.bundle.flops import Work
from seetell.bundle.manifest import Task
from seetell.core.errors import BundleInvalid
from seetell.core.strict import Strict

CATALOGUE_NAME = "catalogue.json"

# ISO 639-2 for "several languages": which, and how well each, its page does not break down.
MULTILINGUAL = "mul"

LICENCE_UNSTATED = "see model card"

RunPrecision = Literal["fp32", "bf16", "int8"]
BYTES_PER_PARAMETER: dict[RunPrecision, int] = {"fp32": 4, "bf16": 2, "int8": 1}

# What a person chooses a model for, and the task a bundle needs for it.
Purpose = Literal["caption", "ask", "search"]
TASK_OF: dict[Purpose, Task] = {"caption": "caption", "ask": "ask", "search": "embed"}


class Figure(Strict):
    """A published or measured figure. Higher is better.

    Two are comparable only if metric, dataset and setting are the same. ``setting`` says whether the model
    was taught on such data, and ``language`` is that of the texts.
    """

    task: Literal["caption", "ask", "search", "classify"]
    metric: str
    dataset: str
    setting: str
    language: str
    value: float
    source: Annotated[str, Field(min_length=1)]


class Entry(Strict):
    """One checkpoint. ``languages`` are those of the texts it reads or writes; no ``tasks``: a part to build
    models from."""

    hub_id: Annotated[str, Field(pattern=r"^[\w.\-]+/[\w.\-]+$")]
    aliases: tuple[str, ...] = ()
    family: str
    tasks: tuple[Task, ...]
    languages: tuple[str, ...]
    parameters: int = Field(gt=0)
    licence: Annotated[str, Field(min_length=1)]
    architecture: Architecture
    figures: tuple[Figure, ...] = ()
    note: str = ""

    def work(self, purpose: Purpose) -> Work | None:
        """The arithmetic of one photo; None for something it cannot do."""
        if TASK_OF[purpose] not in self.tasks:
            return None
        if purpose == "caption":
            return self.architecture.caption_work()
        return self.architecture.answer_work() if purpose == "ask" else self.architecture.embedding_work()


class Catalogue(Strict):
    """``catalogue.json``. ``parameters_from`` says how parameters were counted."""

    parameters_from: str
    models: tuple[Entry, ...]


def weights_bytes(parameters: int, precision: RunPrecision) -> int:
    """Bytes of so many weights. In int8 a little more in truth: biases, and the layers left in floats."""
    return parameters * BYTES_PER_PARAMETER[precision]


@cache
def known_models() -> tuple[Entry, ...]:
    """The known checkpoints, by family as the file has them. Raises BundleInvalid if it was damaged."""
    path = resources.files("seetell.bundle") / CATALOGUE_NAME
    try:
        return Catalogue.model_validate(json.loads(path.read_text(encoding="utf-8"))).models
    except (OSError, ValueError, ValidationError) as error:
        reason = " ".join(str(error).split())[:200]
        raise BundleInvalid(
            f"{CATALOGUE_NAME} of this installation is damaged ({reason}); install it again"
        ) from error
