"""What every verb works with: the manifest, the tokenizer and the engine of one model."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from numbers import Real
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from seetell.core.chinese import has_chinese
from seetell.core.errors import BundleInvalid, TaskUnavailable, TextError, UsageError
from seetell.runtime.engine import Arrays, Engine
from seetell.runtime.generation import Spelling, TextDecoder

if TYPE_CHECKING:
    from seetell.bundle.manifest import Manifest, TextSpec
    from seetell.bundle.tokenizer import Tokenizer

Result = TypeVar("Result")

# Rows of text run together. Bounds memory where texts outnumber photos.
TEXT_ROWS = 64


class Context:
    """Read-only, shared by all threads.

    Args:
        manifest: of the bundle.
        tokenizer: None for a bundle without text.
        engine: runs the graphs.
    """

    def __init__(self, manifest: Manifest, tokenizer: Tokenizer | None, engine: Engine) -> None:
        self.manifest = manifest
        self.engine = engine
        self._tokenizer = tokenizer

    @property
    def tokenizer(self) -> Tokenizer:
        if self._tokenizer is None:
            raise BundleInvalid(f"{self.manifest.name} has no tokenizer, which this task needs")
        return self._tokenizer

    @property
    def text(self) -> TextSpec:
        if self.manifest.text is None:
            raise BundleInvalid(f"{self.manifest.name} has no text settings, which this task needs")
        return self.manifest.text

    @cached_property
    def decoder(self) -> TextDecoder:
        graph = self.manifest.graphs.get("text_decoder")
        if graph is None:
            raise BundleInvalid(f"{self.manifest.name} has no text_decoder, which this task needs")
        return TextDecoder(
            self.engine, graph, eos_id=self.text.eos_id, context_length=self.text.context_length
        )

    @cached_property
    def spelling(self) -> Spelling:
        return Spelling(self.tokenizer.decode)

    def has(self, role: str, *outputs: str) -> bool:
        """Whether the model has ``role`` with all these outputs."""
        return bool(self.engine.outputs(role)) and set(outputs) <= self.engine.outputs(role)

    def run(self, role: str, inputs: dict[str, NDArray[Any]], outputs: Sequence[str]) -> Arrays:
        """Run ``role`` on those of ``inputs`` it takes (masks are optional in some families)."""
        wanted = self.engine.inputs(role)
        return self.engine.run(
            role, {name: value for name, value in inputs.items() if name in wanted}, outputs
        )

    def read_with_photos(
        self, seen: Seen, texts: Sequence[str], photo: NDArray[np.intp], output: str
    ) -> Fused:
        """The fusion encoder over texts, text r beside photo ``photo[r]`` of the batch."""
        lead = self.text.bos_id if self.text.fusion_bos_id is None else self.text.fusion_bos_id
        ids, mask = self.tokenizer.encode(texts, lead_id=lead)
        found = self.run(
            "fusion_encoder",
            {
                "input_ids": ids,
                "attention_mask": mask,
                "image_tokens": seen.tokens[photo],
                "image_mask": seen.mask[photo],
            },
            [output],
        )
        return Fused(found[output], mask)

    def language(self, wanted: str | None, texts: Sequence[str] = ()) -> str:
        """``wanted`` if the model knows it; else the language the texts are written in; else its first.

        Raises UsageError listing the languages known.
        """
        return language_of(self.manifest.name, self.manifest.languages, wanted, texts)


@dataclass(frozen=True, slots=True)
class Fused:
    """output: the fusion encoder's output asked for; mask: bool[R, T] of the texts read."""

    output: NDArray[np.float32]
    mask: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Seen:
    """What the image encoder saw in a batch of B photos.

    places: of these photos among all that the call was given.
    """

    outputs: Arrays
    places: tuple[int, ...]

    @property
    def tokens(self) -> NDArray[np.float32]:
        """float32[B, N, D]."""
        return self.outputs["image_tokens"]

    @property
    def mask(self) -> NDArray[np.bool_]:
        """bool[B, N]; all True where the encoder gives none."""
        given = self.outputs.get("image_mask")
        return np.ones(self.tokens.shape[:2], np.bool_) if given is None else given

    @property
    def embeds(self) -> NDArray[np.float32]:
        """float32[B, S], unit length."""
        return unit(self.outputs["image_embeds"])

    def __len__(self) -> int:
        return len(next(iter(self.outputs.values())))


class PhotoTask(Protocol[Result]):
    """One verb, set up for one call: from what was seen in a batch to one result per photo."""

    @property
    def image_outputs(self) -> tuple[str, ...]:
        """The image encoder's outputs it needs."""
        ...

    def answer(self, seen: Seen, questions: Sequence[str]) -> list[Result]:
        """questions: one per photo; empty strings for verbs that take none."""
        ...


def require(context: Context, available: bool, what: str, instead: str) -> None:
    """Raises TaskUnavailable saying that the model lacks ``what``, and what to do ``instead``."""
    if not available:
        raise TaskUnavailable(f"{context.manifest.name} has no {what}; {instead}")


def language_of(name: str, known: Sequence[str], wanted: str | None, texts: Sequence[str] = ()) -> str:
    """As :meth:`Context.language`, for a model of this ``name`` that knows these languages."""
    if wanted is None:
        if "zh" in known and any(map(has_chinese, texts)):
            return "zh"
        return known[0] if known else "en"
    if wanted not in known:
        raise UsageError(f"{name} knows no language {wanted!r}; it knows: {', '.join(known) or 'none'}")
    return wanted


def photo_and_question(item: Any) -> tuple[Any, Any]:
    """An item of ``ask``. Raises UsageError for what is no pair."""
    if not (isinstance(item, tuple | list) and len(item) == 2):
        raise UsageError(
            f"ask streams (photo, question) pairs, not {type(item).__name__}; "
            "to ask the same of every photo, give question="
        )
    return item[0], item[1]


def distinct_labels(labels: Sequence[str] | str) -> tuple[str, ...]:
    """Labels to choose among. Raises UsageError for none or one given twice, TextError for an empty one."""
    given = tuple(checked_texts(labels, "label"))
    if twice := sorted({label for label in given if given.count(label) > 1}):
        raise UsageError(f"labels given twice: {', '.join(twice)}")
    return given


def token_outputs(context: Context) -> tuple[str, ...]:
    """Image tokens, and their mask where the encoder gives one."""
    return ("image_tokens", "image_mask") if context.has("image_encoder", "image_mask") else ("image_tokens",)


def unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """float32[..., S] at unit length. Graphs give unit vectors; in bf16 they are off by a thousandth."""
    norms = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / np.maximum(norms, np.finfo(np.float32).tiny), np.float32)


def at_least_one(value: Any, name: str) -> int:
    """A whole number of at least 1, numpy's counted in. Raises UsageError naming what it was for."""
    try:
        number = operator.index(value)
    except TypeError:
        raise UsageError(f"{name} is a whole number, not {value!r}") from None
    if number < 1:
        raise UsageError(f"{name} is at least 1, not {number}")
    return number


def checked_chance(value: Any, name: str) -> float | None:
    """A probability, or None for none. Raises UsageError naming what it was for."""
    if value is None:
        return None
    if not (isinstance(value, Real) and 0 <= float(value) <= 1):
        raise UsageError(f"{name} lies between 0 and 1, not {value!r}")
    return float(value)


def checked_text(text: object, what: str) -> str:
    """A text with something in it. Raises TextError naming ``what`` it is."""
    if not isinstance(text, str):
        raise TextError(f"the {what} must be a text, not {type(text).__name__}")
    if not text.strip():
        raise TextError(f"the {what} is empty")
    return text


def listed_texts(texts: Any, what: str) -> list[Any]:
    """The texts of a list or any iterable; one text alone as a list of one. Raises UsageError for neither."""
    if isinstance(texts, str):
        return [texts]
    if not isinstance(texts, Iterable):
        raise UsageError(f"give a {what} or a list of them, not {type(texts).__name__}")
    return list(texts)


def checked_texts(texts: Iterable[str] | str, what: str) -> list[str]:
    """A list of texts with something in each; one text alone counts as a list of one.

    Raises UsageError for an empty list or none at all, and TextError for an empty text.
    """
    given = listed_texts(texts, what)
    if not given:
        raise UsageError(f"give at least one {what}")
    return [checked_text(text, what) for text in given]
