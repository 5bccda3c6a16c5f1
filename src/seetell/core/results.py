"""What tasks return: frozen dataclasses, the same in Python, on the command line and over HTTP.

The command line prints ``dataclasses.asdict`` of these plus the photo's name, so a field added here
is a field promised there. ``model`` is the bundle's name and ``precision`` the one it ran in
(``fp32``, ``bf16``, ``int8``; never ``auto``). Arrays appear only in :class:`Features`, which is never
printed.

Of a model behind a server ``precision`` is ``remote``, and what its server does not tell is None: ``score``,
``confidence`` and ``probability``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Caption:
    """A description. ``score`` is the mean log-probability per generated token (natural log), None where the
    model does not tell it.

    ``confidence`` is the probability that everything the model named is in the photo, None where its bundle
    does not say how to tell. Below the bundle's threshold the caption is ``unsure``: ``text`` then says less,
    and ``guess`` is what the model wrote. ``score`` and ``confidence`` are of what it wrote, and ``cut`` says
    that this was ended by ``max_tokens``.
    """

    text: str
    score: float | None
    language: str
    model: str
    precision: str
    confidence: float | None = None
    unsure: bool = False
    guess: str | None = None
    cut: bool = False

    @property
    def written(self) -> str:
        """What the model wrote, sure of it or not."""
        return self.text if self.guess is None else self.guess


@dataclass(frozen=True, slots=True)
class Alternative:
    """One candidate answer with its probability in 0..1."""

    answer: str
    confidence: float


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer. ``abstained`` is true when ``confidence`` lies below the threshold in force; the
    best guess is still given in ``answer`` so that a caller may show it as a guess. Asked for the colour of
    what is not there, it says so: "there is no car". Without a ``confidence`` nothing is abstained from."""

    answer: str
    confidence: float | None
    alternatives: tuple[Alternative, ...]
    abstained: bool
    model: str
    precision: str


@dataclass(frozen=True, slots=True)
class Match:
    """How well one text fits one photo. ``probability`` is None for a softmax dual encoder, where
    one text alone would always get 1.0; ``similarity`` is the cosine, None without a shared space."""

    text: str
    probability: float | None
    similarity: float | None
    model: str
    precision: str


@dataclass(frozen=True, slots=True)
class RankedLabel:
    label: str
    probability: float | None


@dataclass(frozen=True, slots=True)
class Classification:
    """The best label and all of them, best first. Probabilities sum to 1 over the labels given.

    A model behind a server ranks the one that it chose, whose probability is that it says so.

    ``none_probability`` is the probability that not even the best of them fits the photo, None where the
    bundle does not say how to tell. Over the bundle's threshold ``none`` of them does: ``label`` is a guess.
    """

    label: str
    probability: float | None
    ranking: tuple[RankedLabel, ...]
    model: str
    precision: str
    none_probability: float | None = None
    none: bool = False


@dataclass(frozen=True, slots=True)
class Fill:
    """A text with its masks filled. ``score`` is the mean log-probability of the words filled in."""

    text: str
    words: tuple[str, ...]
    score: float
    model: str
    precision: str


@dataclass(frozen=True, slots=True)
class TokenLogProb:
    """A token of an answer as it is spelt, and the model's own log-probability of it (natural log)."""

    token: str
    log_prob: float


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer in a conversation.

    ``finish_reason`` is ``stop`` where the model or a text given as ``stop`` ended it, and ``length`` where
    ``max_tokens`` did. ``prompt_tokens`` is the length of the conversation before it, of which
    ``reused_tokens`` had been read for an earlier answer; ``completion_tokens`` counts the token that ends it
    too. ``logprobs`` are of these, in order; penalties and temperature do not enter them.
    """

    text: str
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int
    reused_tokens: int
    logprobs: tuple[TokenLogProb, ...]
    model: str
    precision: str


@dataclass(frozen=True, slots=True)
class Hit:
    """One search result. ``rank`` counts from 1; ``score`` is the cosine with the query. ``gone``: the photo
    is not where it was when it was indexed. ``probability``: that the text looked for fits the photo, 0..1,
    None where a photo was looked for, and where the bundle does not say how to tell."""

    rank: int
    photo: str
    score: float
    gone: bool = False
    probability: float | None = None


@dataclass(frozen=True, slots=True)
class Features:
    """What the image encoder sees.

    tokens: float32[B, N, D]. pooled: float32[B, S] unit length, or None without a shared space.
    stages: the hierarchical maps, float32[B, C_i, H_i, W_i], coarse last.
    """

    tokens: NDArray[np.float32]
    pooled: NDArray[np.float32] | None
    stages: tuple[NDArray[np.float32], ...]


@dataclass(frozen=True, slots=True)
class Failure:
    """An input that could not be used, given by ``stream`` in its place in the order."""

    photo: str
    error: Any
