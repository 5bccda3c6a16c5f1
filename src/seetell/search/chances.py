"""How probable it is that what was found fits what was looked for, and what is too improbable to be shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from seetell.core.errors import UsageError
from seetell.search.query import Query
from seetell.search.rows import Scored
from seetell.tasks.api import AnyModel
from seetell.tasks.fitting import Fitting


@dataclass(frozen=True, slots=True)
class Chances:
    """Of one search. least: what fits less probably is left out; None for what the bundle says. order: the
    most probable come first, and not the nearest."""

    fitting: Fitting
    least: float | None
    order: bool = True

    def kept(self, found: Sequence[Scored], among: NDArray[np.float32]) -> list[tuple[Scored, float]]:
        """Of those found, at least one, those that fit, with their probabilities, in the search's order.

        among: float32[N, S], photos of the index; N may be 0.
        """
        photos = np.stack([one.vector for one in found])
        chances = self.fitting.chances(photos, among if len(among) else None).tolist()
        fitted = self.fitting.fitted
        if self.least is None and max(chances) < fitted.nothing_below:
            return []
        least = fitted.hit_below if self.least is None else self.least
        kept = [(one, chance) for one, chance in zip(found, chances, strict=True) if chance >= least]
        # The nearest is not always the most probable: other texts may be nearer to it still.
        return sorted(kept, key=lambda one: -one[1]) if self.order else kept


def chances_of(
    query: Query, vector: NDArray[np.float32], model: AnyModel, least: float | None
) -> Chances | None:
    """None where there are no probabilities: of a photo, and of a model whose bundle does not say.

    vector: float32[S], of the query. Raises UsageError for a ``least`` outside 0..1, and for one above 0
    where there are none.
    """
    if least is not None and not 0 <= least <= 1:
        raise UsageError(f"a probability lies between 0 and 1, not {least:g}")
    fitting = None
    if query.wanted is not None and query.image is None:
        # What is not wanted moves the vector away from where it was fitted.
        text = model.embed_texts([query.wanted])[0] if query.unwanted else vector
        fitting = model.fitting(query.wanted, text)
    if fitting is not None:
        # Of what is not wanted the probabilities know nothing, and would undo its part in the order.
        return Chances(fitting, least, order=not query.unwanted)
    if least:
        what = model.name if query.image is None else "a photo looked for"
        raise UsageError(f"{what} has no probabilities; leave --min-probability (min_probability) out")
    return None
