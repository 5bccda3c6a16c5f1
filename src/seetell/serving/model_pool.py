"""The models of a server: loaded when first asked for, put away when memory is needed for others."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from seetell.core.errors import UsageError
from seetell.serving.problems import Problem
from seetell.tasks.model import Model


@dataclass(frozen=True, slots=True)
class Source:
    """A model that can be served. name: what requests call it. memory_bytes: an estimate, once loaded.
    identity: the model's, where it is known before the model is open."""

    name: str
    memory_bytes: int
    open: Callable[[], Model] = field(repr=False)
    identity: str | None = None


@dataclass(slots=True)
class _Place:
    source: Source
    model: Model | None = None
    leases: int = 0
    used: float = 0.0
    opening: asyncio.Task[None] | None = None

    @property
    def has_room(self) -> bool:
        """Whether it is in memory, or on its way there."""
        return self.model is not None or self.opening is not None


class ModelPool:
    """Opens models in another thread, one at a time, and keeps them within a budget.

    The first source is the default. The model used least recently goes first, and never one in use or one
    that would go in vain; a request for which there is no room waits until there is, and holds up no other.

    Args:
        sources: what may be asked for, at least one.
        budget_bytes: for all loaded models together; None for no bound.
        default_stays: somebody will hold the default as long as the pool lives.

    Raises UsageError for two models of one name, and one for which there can never be room.
    """

    def __init__(
        self, sources: Sequence[Source], budget_bytes: int | None = None, *, default_stays: bool = False
    ) -> None:
        self._places = {source.name: _Place(source) for source in sources}
        if len(self._places) < len(sources):
            names = ", ".join(source.name for source in sources)
            raise UsageError(f"two models of one name: {names}; serve them with two servers")
        self._default = sources[0].name
        self._budget_bytes = budget_bytes
        for source in sources:
            beside = sources[0] if default_stays and source is not sources[0] else None
            needed = source.memory_bytes + (0 if beside is None else beside.memory_bytes)
            if budget_bytes is not None and needed > budget_bytes:
                names = source.name if beside is None else f"{source.name} beside {beside.name}, which stays,"
                raise UsageError(
                    f"{names} needs about {needed // 1_000_000:,} MB, more than the "
                    f"{budget_bytes // 1_000_000:,} MB allowed for models"
                )
        self._released = asyncio.Condition()
        self._one_opens = asyncio.Lock()

    @property
    def names(self) -> list[str]:
        """What may be asked for, the default first."""
        return list(self._places)

    @property
    def default(self) -> str:
        """The model of requests that name none."""
        return self._default

    @property
    def loaded(self) -> list[str]:
        """The names of the models in memory."""
        return [name for name, place in self._places.items() if place.model is not None]

    @asynccontextmanager
    async def lease(self, name: str | None = None) -> AsyncIterator[Model]:
        """The model, which stays loaded within the block. Raises Problem 404 for an unknown one, and what
        opening it raises."""
        place = self._places.get(self._default if name is None else name)
        if place is None:
            raise Problem(
                404,
                f"no model {str(name)[:100]!r}; there are: {', '.join(self.names)}",
                type="model_not_found",
                param="model",
            )
        async with self._released:
            # Room is waited for here, and not in the task that opens: whoever goes away waits no longer.
            await self._released.wait_for(lambda: place.has_room or self._make_room(place))
            if not place.has_room:
                place.opening = asyncio.create_task(self._open(place))
            place.leases += 1
        try:
            if place.opening is not None:
                # Who asked first may go away; the others, and whoever comes next, still get the model.
                await asyncio.shield(place.opening)
            assert place.model is not None  # open, and in use from before it was
            yield place.model
        finally:
            place.used = time.monotonic()
            place.leases -= 1
            async with self._released:
                self._released.notify_all()

    async def _open(self, place: _Place) -> None:
        try:
            # One at a time: each uses all processors.
            async with self._one_opens:
                place.model = await asyncio.to_thread(place.source.open)
        finally:
            place.opening = None
            async with self._released:
                self._released.notify_all()

    def close(self) -> None:
        """Free all models."""
        for place in self._places.values():
            if place.model is not None:
                place.model.close()
                place.model = None

    def _make_room(self, wanted: _Place) -> bool:
        """Put away idle models until ``wanted`` fits, and none where it cannot fit; whether it does."""
        if self._budget_bytes is None:
            return True
        others = [place for place in self._places.values() if place.has_room]
        idle = [place for place in others if place.model is not None and place.leases == 0]
        total = sum(place.source.memory_bytes for place in others) + wanted.source.memory_bytes
        if total - sum(place.source.memory_bytes for place in idle) > self._budget_bytes:
            return False
        for place in sorted(idle, key=lambda one: one.used):
            if total <= self._budget_bytes:
                break
            if place.model is not None:
                place.model.close()
            place.model = None
            total -= place.source.memory_bytes
        return True
