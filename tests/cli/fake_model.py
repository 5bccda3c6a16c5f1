"""A model for tests of the command line: real decoding of photos, made-up answers, no engine."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from seetell.core.errors import InputError, TaskUnavailable
from seetell.core.results import (
    Alternative,
    Answer,
    Caption,
    Classification,
    Failure,
    Match,
    RankedLabel,
)
from seetell.media.images import decode_image, photo_name
from seetell.runtime.generation import GenerationOptions

NAME, PRECISION = "fake", "fp32"


class FakeModel:
    """The facade's methods that the command line calls. Photos are decoded for real, and fail for real."""

    name = NAME
    precision = PRECISION
    device = "cpu"
    identity = answers_identity = "fake"
    image_size = 208
    labels: tuple[str, ...] = ()
    context_length = 1000
    text_marks = 0
    languages = ("en", "zh")
    tasks = frozenset({"caption", "ask", "match", "classify", "embed"})

    def __init__(self, delay_s: float = 0.0, **given: Any) -> None:
        self.delay_s = delay_s
        self.given = given
        self.calls: list[tuple[str, dict[str, Any]]] = []

    def generation_options(self, **changes: Any) -> GenerationOptions:
        return GenerationOptions(**changes)

    def stream(self, verb: str, photos: Iterable[Any], **options: Any) -> Iterator[Any]:
        self.calls.append((verb, options))
        paired = verb == "ask" and "question" not in options
        for item in photos:
            time.sleep(self.delay_s)
            photo, *question = item if paired else (item,)
            try:
                result = getattr(self, verb)(photo, *question, **options)
                yield result[0] if verb == "embed_images" else result
            except InputError as error:
                yield Failure(photo_name(photo), error)

    def caption(self, photo: Any, *, language: str | None = None, options: Any = None) -> Caption:
        height, width, _ = decode_image(photo).shape
        text = f"一张{width}乘{height}的照片" if language == "zh" else f"a photo of {width} by {height}"
        return Caption(text, -0.5, language or "en", NAME, PRECISION)

    def captions(
        self, photo: Any, count: int = 5, *, language: str | None = None, options: Any = None
    ) -> list[Caption]:
        one = self.caption(photo, language=language)
        others = [
            Caption(f"{one.text}, take {n}", -0.5 * n, one.language, NAME, PRECISION)
            for n in range(2, count + 1)
        ]
        return [one, *others]

    def ask(
        self,
        photo: Any,
        question: str,
        *,
        answers: Sequence[str] | None = None,
        top: int = 5,
        min_confidence: float | None = None,
    ) -> Answer:
        decode_image(photo)
        choices = list(answers or ["red", "blue", "green"])[:top]
        each = 1 / len(choices)
        return Answer(
            choices[0],
            each,
            tuple(Alternative(choice, each) for choice in choices),
            each < (min_confidence or 0),
            NAME,
            PRECISION,
        )

    def match(self, photo: Any, texts: Sequence[str]) -> list[Match]:
        decode_image(photo)
        return [Match(text, 0.5, 0.25, NAME, PRECISION) for text in texts]

    def classify(
        self, photo: Any, labels: Sequence[str] | None = None, *, language: str | None = None
    ) -> Classification:
        decode_image(photo)
        if labels is None:
            raise TaskUnavailable("fake has no labels of its own; give --labels")
        ranking = tuple(RankedLabel(label, 1 / len(labels)) for label in labels)
        return Classification(labels[0], ranking[0].probability, ranking, NAME, PRECISION)

    def embed_images(self, photos: Any) -> Any:
        # The mean colour: enough for a search that can be checked by eye.
        given = photos if isinstance(photos, list) else [photos]
        vectors = np.stack([decode_image(one).mean(axis=(0, 1)) for one in given]).astype(np.float32) + 1
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return [len(text.split()) for text in texts]

    def fitting(self, text: str, vector: Any) -> None:
        """Its bundle does not say how probable a hit is."""

    def embed_texts(self, texts: Sequence[str]) -> Any:
        colours = {"red": (1, 0, 0), "green": (0, 1, 0), "blue": (0, 0, 1)}
        rows = [next((c for word, c in colours.items() if word in text), (1, 1, 1)) for text in texts]
        vectors = np.asarray(rows, dtype=np.float32)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
