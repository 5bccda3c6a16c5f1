"""What may stand at the door of a model: a policy sees every input before it is used and every result
before it is given. The room ``safety`` implements it; without one, nothing is checked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from seetell.media.images import Photo

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Request:
    """One thing asked of a model.

    verb: ``caption``, ``ask``, ``match``, ``classify``, ``embed``, ``features`` or ``fill``.
    photo: as the caller gave it; None where only texts are asked about.
    texts: the question, the texts to match, the labels, the text to fill or the texts to embed.
    """

    verb: str
    photo: Photo | None = None
    texts: tuple[str, ...] = ()


class Policy(Protocol):
    """Called at every entry and exit of the facade, possibly from several threads at once.

    To refuse one input, raise an ``InputError``: a list then fails with it, and a stream gives a Failure in
    its place. Any other exception ends the call.
    """

    def enter(self, request: Request, image: NDArray[np.uint8] | None) -> None:
        """Before anything is computed. image: the decoded photo, uint8[H, W, 3]."""
        ...

    def exit(self, request: Request, result: Any) -> Any:
        """After it is computed: the result to give, this one or another of its type."""
        ...
