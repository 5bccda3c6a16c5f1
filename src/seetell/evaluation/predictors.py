"""What an evaluation asks of a model: functions, so that anything that predicts can be measured.

The facade's methods fit as they are::

    Predictors(
        model.name,
        model.precision,
        embed_images=partial(model.stream, "embed_images"),
        embed_texts=model.embed_texts,
        caption=partial(model.stream, "caption", language="en"),
        ask=partial(model.stream, "ask"),
        classify=partial(model.stream, "classify", labels=labels),
    )
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from seetell.core.results import Answer, Caption, Classification, Failure

Embeds = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Predictors:
    """A model's name, the precision it runs in, and what it can do; None for what it cannot or need not.

    Functions of photos take an iterable and give one result, or a Failure, per item and in order.

    embed_images: photos -> float32[S], unit length. embed_texts: texts -> float32[len(texts), S], unit
    length; raises InputError for a text it cannot take. caption: photos -> Caption, in the language that is
    evaluated. ask: (photo, question) pairs -> Answer. classify: photos -> Classification.

    An Answer's confidence and a Classification's probability are in 0..1; where one is not (None or NaN
    for a model that states none), its calibration is left out.
    """

    model: str
    precision: str
    embed_images: Callable[[Iterable[Path]], Iterable[Embeds | Failure]] | None = None
    embed_texts: Callable[[Sequence[str]], Embeds] | None = None
    caption: Callable[[Iterable[Path]], Iterable[Caption | Failure]] | None = None
    ask: Callable[[Iterable[tuple[Path, str]]], Iterable[Answer | Failure]] | None = None
    classify: Callable[[Iterable[Path]], Iterable[Classification | Failure]] | None = None
