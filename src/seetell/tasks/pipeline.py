"""How every verb runs: read photos ahead, look at them in batches, let the verb answer, ask the policy."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from seetell.core.errors import BundleInvalid, InputError
from seetell.core.results import Failure
from seetell.media.images import photo_name
from seetell.runtime.scheduling import Refused, at_once, in_batches
from seetell.tasks.context import Context, PhotoTask, Seen, checked_text, photo_and_question
from seetell.tasks.policy import Policy, Request
from seetell.tasks.reading import ReadPhoto, batch_of, identities, read_photo


@dataclass(frozen=True, slots=True)
class Plan:
    """A verb set up for one call.

    texts: what the policy is told besides the photo. asks: whether items are (photo, question) pairs.
    """

    verb: str
    task: PhotoTask[Any]
    texts: tuple[str, ...] = ()
    asks: bool = False


class First:
    """A task whose answers are lists, cut down to the first of each."""

    def __init__(self, task: PhotoTask[Any]) -> None:
        self._task = task

    @property
    def image_outputs(self) -> tuple[str, ...]:
        return self._task.image_outputs

    def answer(self, seen: Seen, questions: Sequence[str]) -> list[Any]:
        return [several[0] for several in self._task.answer(seen, questions)]


class Pipeline:
    """Runs plans. Holds nothing that changes, so any number of threads may run at once."""

    def __init__(self, context: Context, policy: Policy | None, batch_size: int, exact_decode: bool) -> None:
        self._context = context
        self._policy = policy
        self._batch_size = batch_size
        self._exact_decode = exact_decode

    def results(self, plan: Plan, items: Iterable[Any]) -> Iterator[Any]:
        """One result or Failure per item, in order."""

        def read(numbered: tuple[int, Any]) -> ReadPhoto | Refused[Any]:
            return self._read(plan, *numbered)

        def run(photos: list[ReadPhoto]) -> list[Any]:
            return self._run(plan, photos)

        if isinstance(items, list) and len(items) == 1:
            return iter(at_once(enumerate(items), read, run))
        kept = items if isinstance(items, list) else map(held, items)
        return in_batches(enumerate(kept), read, run, batch_size=self._batch_size)

    def _read(self, plan: Plan, place: int, item: Any) -> ReadPhoto | Refused[Any]:
        spec = self._context.manifest.image
        if spec is None:
            raise BundleInvalid(f"{self._context.manifest.name} says nothing on how to prepare photos")
        photo, question = photo_and_question(item) if plan.asks else (item, "")
        try:
            texts = (checked_text(question, "question"),) if plan.asks else plan.texts
            request = Request(plan.verb, photo, texts)
            return read_photo(
                request, question, photo, place, spec, exact=self._exact_decode, policy=self._policy
            )
        except InputError as error:
            return Refused(Failure(photo_name(photo), error))

    def _run(self, plan: Plan, photos: list[ReadPhoto]) -> list[Any]:
        # Several questions on one photo, as question sets have them, look at it once.
        places: dict[Any, int] = {}
        row = [places.setdefault(one, len(places)) for one in identities(photos)]
        distinct = [photos[row.index(place)] for place in range(len(places))]
        outputs = self._context.run("image_encoder", batch_of(distinct), plan.task.image_outputs)
        if len(distinct) < len(photos):
            outputs = {name: value[row] for name, value in outputs.items()}
        seen = Seen(outputs, tuple(photo.place for photo in photos))
        results = plan.task.answer(seen, [photo.question for photo in photos])
        if self._policy is None:
            return results
        return [
            _let_out(self._policy, photo.request, result)
            for photo, result in zip(photos, results, strict=True)
        ]


def held(item: Any) -> Any:
    """An item of a stream as it is now: who gives it may fill one array anew before it has been read."""
    if isinstance(item, tuple):
        return tuple(map(held, item))
    return item.copy() if isinstance(item, np.ndarray) else item


def _let_out(policy: Policy, request: Request, result: Any) -> Any:
    try:
        return policy.exit(request, result)
    except InputError as error:
        return Failure("" if request.photo is None else photo_name(request.photo), error)
