"""The ways a question about a photo is answered: each gives candidate answers with their probabilities."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from seetell.core.results import Alternative
from seetell.runtime.generation import GenerationOptions, answer_log_probs, generate
from seetell.runtime.generation.probabilities import softmax
from seetell.tasks import classify
from seetell.tasks.context import Context, Seen
from seetell.tasks.heads import head_probabilities
from seetell.tasks.label_vectors import LabelVectors

# Of an answer that is written, its end counted. Answers are short; "a man riding a horse on a beach" fits.
MOST_TOKENS = 12
# Beams of the search that writes: how many alternatives are asked for must not change which is found first.
_BEAMS = 5


def chooses(context: Context) -> bool:
    """Whether it has a head over a closed list of answers."""
    return bool(context.manifest.answers) and context.has("fusion_encoder", "answer_logits")


def writes(context: Context) -> bool:
    """Whether it can write answers, and so rank any list of them."""
    return (
        context.manifest.text is not None
        and context.manifest.text.answer_start_id is not None
        and context.has("fusion_encoder", "fused_tokens")
        and context.has("decoder_memory")
        and context.has("text_decoder", "logits")
    )


@dataclass(frozen=True, slots=True)
class Way:
    """How a question is answered.

    by: ``list``: the head over the model's own list, held to ``columns`` where there are any; ``rank``: the
    decoder ranks ``candidates``; ``compare``: the photo's vector with theirs; ``write``: the decoder writes.
    kind: of question, whose calibration holds.
    """

    by: Literal["list", "rank", "compare", "write"]
    kind: str
    candidates: tuple[str, ...] = ()
    columns: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Chances:
    """Candidate answers with their probabilities, float64[A]."""

    answers: Sequence[str]
    values: NDArray[np.float64]

    def best(self, count: int) -> tuple[Alternative, ...]:
        """The ``count`` most probable, best first."""
        order = np.argsort(-self.values, kind="stable")[:count]
        return tuple(Alternative(self.answers[one], float(self.values[one])) for one in order)


class Ways:
    """Answers questions in ways that were chosen for them.

    Args:
        context: of the model.
        count: alternatives that are wanted of what is written.
        temperature: of a way.
    """

    def __init__(self, context: Context, count: int, temperature: Callable[[Way], float]) -> None:
        self._context = context
        self._count = count
        self._temperature = temperature
        self._labels = LabelVectors(context)

    def chances(self, seen: Seen, questions: Sequence[str], ways: Sequence[Way]) -> list[Chances]:
        """The candidates of each question, one per photo."""
        found: dict[int, Chances] = {}
        for way, rows in _alike(ways):
            asked = [questions[row] for row in rows]
            places = np.array(rows, np.intp)
            if way.by == "list":
                several = self._choose(seen, asked, places, [ways[row] for row in rows])
            elif way.by == "rank":
                several = self._rank(seen, asked, places, way)
            elif way.by == "compare":
                several = self._compare(seen, places, way)
            else:
                several = self._write(seen, asked, places, way)
            found.update(zip(rows, several, strict=True))
        return [found[row] for row in range(len(questions))]

    def _choose(
        self, seen: Seen, questions: Sequence[str], places: NDArray[np.intp], ways: Sequence[Way]
    ) -> list[Chances]:
        logits = self._context.read_with_photos(seen, questions, places, "answer_logits").output
        found = []
        for row, way in zip(logits.astype(np.float64), ways, strict=True):
            own = row[list(way.columns)] if way.columns else row
            values = head_probabilities(self._context, own[None] / self._temperature(way))[0]
            found.append(Chances(way.candidates, values))
        return found

    def _rank(
        self, seen: Seen, questions: Sequence[str], places: NDArray[np.intp], way: Way
    ) -> list[Chances]:
        fused = self._context.read_with_photos(seen, questions, places, "fused_tokens")
        ids = self.encoded(way.candidates)
        log_probs = answer_log_probs(self._context.decoder, fused.output, fused.mask, self._start_id, ids)
        values = softmax(log_probs / self._temperature(way))
        return [Chances(way.candidates, row) for row in values]

    def _compare(self, seen: Seen, places: NDArray[np.intp], way: Way) -> list[Chances]:
        own = Seen({"image_embeds": seen.outputs["image_embeds"][places]}, ())
        classifier = classify.Classifier(self._context, self._labels, way.candidates)
        return [
            Chances(
                [one.label for one in result.ranking], np.array([one.probability for one in result.ranking])
            )
            for result in classifier.answer(own, ())
        ]

    def _write(
        self, seen: Seen, questions: Sequence[str], places: NDArray[np.intp], way: Way
    ) -> list[Chances]:
        fused = self._context.read_with_photos(seen, questions, places, "fused_tokens")
        options = GenerationOptions(
            max_tokens=min(MOST_TOKENS, self._context.text.context_length),
            beams=max(_BEAMS, self._count),
            # Beams are compared by the probability they are given out with.
            length_penalty=0.0,
        )
        written = generate(
            self._context.decoder, fused.output, fused.mask, [self._start_id], options, count=options.beams
        )
        temperature = self._temperature(way)
        found = []
        for texts in written:
            confidence: dict[str, float] = {}
            for one in texts:
                # Several spellings of one text, as tokens, count together.
                answer = self._context.tokenizer.decode(one.ids)
                chance = float(np.exp(one.log_prob / temperature))
                confidence[answer] = min(1.0, confidence.get(answer, 0.0) + chance)
            found.append(Chances(list(confidence), np.array(list(confidence.values()))))
        return found

    @property
    def _start_id(self) -> int:
        start = self._context.text.answer_start_id
        assert start is not None  # `writes` was asked first
        return start

    @property
    def room(self) -> int:
        """Tokens that an answer may have."""
        return self._context.text.context_length - 1

    def encoded(self, answers: Sequence[str]) -> list[list[int]]:
        """Token ids of each answer, as the decoder ranks them."""
        return [self._context.tokenizer.encode_words(one) for one in answers]


def _alike(ways: Sequence[Way]) -> Iterator[tuple[Way, list[int]]]:
    """Ways that run together, with their places: all by the list, and each other one with its equals."""
    groups: dict[Any, list[int]] = {}
    for place, way in enumerate(ways):
        groups.setdefault("list" if way.by == "list" else way, []).append(place)
    for places in groups.values():
        yield ways[places[0]], places
