"""Photos that the page has sent, held for what it asks of them next: each is then sent but once.

They lie in memory alone, for a bounded time after they were last asked about, and take a bounded room.
Whoever asks about one that is not held any more, or was held by a server that has ended since, is told so and
sends it again.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from seetell.serving.problems import Problem

SCHEME = "held"
# What a client does about it: send the photo again.
NOT_HELD = "not_held"

# Looked for so often within the time that a photo is held.
_SWEEPS = 10


@dataclass(slots=True)
class _Held:
    photo: bytes
    used: float


class HeldPhotos:
    """Photos by names that nobody can guess, so that none can be asked about who did not send it.

    Args:
        most_bytes: of all photos together; those used least recently make room.
        longest_s: how long after its last use a photo is held.
        clock: seconds that only ever grow.
    """

    def __init__(
        self, most_bytes: int, longest_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._most_bytes = most_bytes
        self._longest_s = longest_s
        self._clock = clock
        self._photos: OrderedDict[str, _Held] = OrderedDict()
        self._bytes = 0

    @property
    def size_bytes(self) -> int:
        """Of all that are held."""
        return self._bytes

    def hold(self, photo: bytes) -> str | None:
        """Its name, ``held:...``, which stands for it in requests; None for one that there is no room for."""
        if len(photo) > self._most_bytes:
            return None
        self.drop_old()
        name = f"{SCHEME}:{secrets.token_urlsafe(18)}"
        self._photos[name] = _Held(photo, self._clock())
        self._bytes += len(photo)
        while self._bytes > self._most_bytes:
            self.drop(next(iter(self._photos)))
        return name

    def get(self, name: str) -> bytes:
        """Raises Problem for what is not held, or not any more."""
        self.drop_old()
        held = self._photos.get(name)
        if held is None:
            raise Problem(404, "this server does not hold that photo any more; send it again", type=NOT_HELD)
        held.used = self._clock()
        self._photos.move_to_end(name)
        return held.photo

    def drop(self, name: str) -> None:
        """Hold it no longer, if it is held."""
        held = self._photos.pop(name, None)
        self._bytes -= 0 if held is None else len(held.photo)

    def drop_old(self) -> None:
        """Hold those no longer whose time has passed."""
        oldest = self._clock() - self._longest_s
        while self._photos and next(iter(self._photos.values())).used < oldest:
            self.drop(next(iter(self._photos)))

    async def drop_old_for_ever(self) -> None:
        """Until it is cancelled; so that a photo goes although nobody asks any more."""
        while True:
            await asyncio.sleep(self._longest_s / _SWEEPS)
            self.drop_old()
