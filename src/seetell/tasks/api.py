"""What callers may use of a model, wherever it runs: the index, evaluation, the server and the command line
ask for an :class:`AnyModel` and nothing more, so that a model behind a server fits where one of this machine
does.

Its verbs for people, with one photo or a list, are those of :class:`seetell.tasks.facade.Facade`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from seetell.core.results import Match
from seetell.media.images import Photo

if TYPE_CHECKING:
    from seetell.runtime.generation import GenerationOptions
    from seetell.tasks.fitting import Fitting


class AnyModel(Protocol):
    """A model as its callers know it. What it cannot do raises TaskUnavailable, before any work."""

    @property
    def name(self) -> str:
        """What results call it."""
        ...

    @property
    def identity(self) -> str:
        """Changes when the model does: two models of one identity give the same vectors."""
        ...

    @property
    def answers_identity(self) -> str:
        """Changes with whatever may change an answer: with :attr:`identity`, and with prompts, thresholds and
        fits that lie beside the model's files."""
        ...

    @property
    def precision(self) -> str:
        """``fp32``, ``bf16`` or ``int8``, the one in force; ``remote`` where its server knows."""
        ...

    @property
    def device(self) -> str:
        """``cpu``, ``gpu`` or ``remote``."""
        ...

    @property
    def batch_size(self) -> int:
        """Photos that are worked on at once."""
        ...

    @property
    def tasks(self) -> frozenset[str]:
        """What it can do: ``caption``, ``ask``, ``match``, ``classify``, ``embed``, ``embed_texts``,
        ``features``, ``fill``."""
        ...

    @property
    def languages(self) -> tuple[str, ...]:
        """The languages it can be asked in, the default first."""
        ...

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels of its own, for ``classify`` without any."""
        ...

    @property
    def image_size(self) -> int | None:
        """The longer edge of a photo as it sees it, in pixels; None for a model without photos, or where that
        is not known."""
        ...

    @property
    def context_length(self) -> int | None:
        """How many tokens of a text it reads, marks counted; None where that is not known."""
        ...

    @property
    def text_marks(self) -> int:
        """How many of :meth:`count_tokens` mark a text's beginning and end."""
        ...

    @property
    def writes_answers(self) -> bool:
        """Whether it writes answers to questions, rather than choosing from a list of its own."""
        ...

    def close(self) -> None:
        """Let go of what it holds."""
        ...

    def generation_options(self, **changes: Any) -> GenerationOptions:
        """Its default options for captions, with ``changes``. Raises UsageError listing those there are."""
        ...

    def count_tokens(self, texts: Iterable[str] | str) -> list[int]:
        """How many tokens it reads of each text."""
        ...

    def stream(self, verb: str, photos: Iterable[Any], **options: Any) -> Iterator[Any]:
        """One result or Failure per photo, in order."""
        ...

    def match(self, photo: Photo, texts: Sequence[str]) -> list[Match]:
        """How well each text fits the photo."""
        ...

    def embed_images(self, photos: Photo | Sequence[Photo]) -> NDArray[np.float32]:
        """Photos as unit vectors float32[B, S]."""
        ...

    def embed_texts(self, texts: Iterable[str] | str) -> NDArray[np.float32]:
        """Texts as unit vectors float32[B, S]."""
        ...

    def fitting(self, text: str, vector: NDArray[np.float32]) -> Fitting | None:
        """What tells how probable it is that a text fits photos; ``vector`` float32[S] is its own."""
        ...
