"""``ask``: a question about a photo, answered or abstained from."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seetell.core.errors import UsageError
from seetell.core.results import Alternative, Answer
from seetell.runtime.generation import GenerationOptions, answer_log_probs, generate
from seetell.runtime.generation.probabilities import softmax
from seetell.tasks.context import Context, Seen, at_least_one, checked_texts, token_outputs

# Answers are short; "a man riding a horse on a beach" fits.
_MOST_TOKENS = 12
# Beams of the search that writes: how many alternatives are asked for must not change which is found first.
_BEAMS = 5


def available(context: Context) -> bool:
    """Whether the model can answer questions in any way."""
    return context.has("image_encoder", "image_tokens") and (chooses(context) or writes(context))


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


class Asker:
    """Answers questions, one per photo.

    With ``answers``, the decoder ranks them (softmax over the list of log p(answer)); a model without one
    restricts its own list to them. Without, the head over the model's own list answers, else the decoder
    writes, and confidence is the probability of exactly that text. It writes with five beams, or ``top``
    where that is more.

    The bundle's calibration temperature was fitted on the way a question without ``answers`` takes, so it is
    applied on that way and no other. The confidence to abstain below was fitted on questions without
    ``answers``: among given ones, of which one is to be chosen, the model abstains only below
    ``min_confidence``.

    Raises UsageError for an empty list, and one this model cannot choose from.
    """

    def __init__(
        self,
        context: Context,
        *,
        answers: Sequence[str] | None = None,
        top: int = 5,
        min_confidence: float | None = None,
    ) -> None:
        self._top = at_least_one(top, "top")
        self._context = context
        score = context.manifest.score
        fitted = score.abstain_below if answers is None else 0.0
        self._threshold = fitted if min_confidence is None else _chance(min_confidence)
        self._answers = None
        self._columns: NDArray[np.intp] | None = None
        self._answer_ids: list[list[int]] = []
        if answers is not None:
            # Twice the same answer would share its probability between the two.
            self._answers = list(dict.fromkeys(checked_texts(answers, "answer")))
            if writes(context):
                self._answer_ids = [context.tokenizer.encode_words(one) for one in self._answers]
                self._check_lengths()
            else:
                self._columns = self._own_columns(self._answers)
        self._on_main_way = answers is None or (self._columns is not None)
        self._temperature = score.answer_temperature if self._on_main_way else 1.0

    @property
    def image_outputs(self) -> tuple[str, ...]:
        return token_outputs(self._context)

    def answer(self, seen: Seen, questions: Sequence[str]) -> list[Answer]:
        if self._answer_ids:
            return self._rank(seen, questions)
        if chooses(self._context):
            return self._choose(seen, questions)
        return self._write(seen, questions)

    def _choose(self, seen: Seen, questions: Sequence[str]) -> list[Answer]:
        logits = self._context.read_with_photos(seen, questions, np.arange(len(seen)), "answer_logits").output
        candidates: Sequence[str] = self._context.manifest.answers
        if self._columns is not None:
            logits, candidates = logits[:, self._columns], self._answers or ()
        probabilities = softmax(logits.astype(np.float64) / self._temperature)
        return [self._answer(row, candidates) for row in probabilities]

    def _rank(self, seen: Seen, questions: Sequence[str]) -> list[Answer]:
        fused = self._context.read_with_photos(seen, questions, np.arange(len(seen)), "fused_tokens")
        log_probs = answer_log_probs(
            self._context.decoder, fused.output, fused.mask, self._start_id, self._answer_ids
        )
        return [self._answer(row, self._answers or ()) for row in softmax(log_probs / self._temperature)]

    def _write(self, seen: Seen, questions: Sequence[str]) -> list[Answer]:
        fused = self._context.read_with_photos(seen, questions, np.arange(len(seen)), "fused_tokens")
        text = self._context.text
        options = GenerationOptions(
            max_tokens=min(_MOST_TOKENS, text.context_length),
            beams=max(_BEAMS, self._top),
            # Beams are compared by the probability they are given out with.
            length_penalty=0.0,
        )
        written = generate(
            self._context.decoder, fused.output, fused.mask, [self._start_id], options, count=options.beams
        )
        found = []
        for texts in written:
            confidence: dict[str, float] = {}
            for one in texts:
                # Several spellings of one text, as tokens, count together.
                answer = self._context.tokenizer.decode(one.ids)
                chance = float(np.exp(one.log_prob / self._temperature))
                confidence[answer] = min(1.0, confidence.get(answer, 0.0) + chance)
            found.append(self._answer(np.array(list(confidence.values())), list(confidence)))
        return found

    def _answer(self, confidences: NDArray[np.float64], candidates: Sequence[str]) -> Answer:
        order = np.argsort(-confidences, kind="stable")[: self._top]
        alternatives = tuple(Alternative(candidates[one], float(confidences[one])) for one in order)
        return Answer(
            answer=alternatives[0].answer,
            confidence=alternatives[0].confidence,
            alternatives=alternatives,
            abstained=alternatives[0].confidence < self._threshold,
            model=self._context.manifest.name,
            precision=self._context.engine.precision,
        )

    @property
    def _start_id(self) -> int:
        start = self._context.text.answer_start_id
        assert start is not None  # `writes` was asked first
        return start

    def _check_lengths(self) -> None:
        room = self._context.text.context_length - 1
        for answer, ids in zip(self._answers or (), self._answer_ids, strict=True):
            if len(ids) > room:
                raise UsageError(f"the answer {answer[:40]!r} has {len(ids)} tokens; at most {room} fit")

    def _own_columns(self, answers: Sequence[str]) -> NDArray[np.intp]:
        own = {answer.casefold(): place for place, answer in enumerate(self._context.manifest.answers)}
        unknown = [answer for answer in answers if answer.strip().casefold() not in own]
        if unknown:
            raise UsageError(
                f"{self._context.manifest.name} answers only from its own list of {len(own)}, "
                f"which lacks: {', '.join(unknown[:5])}"
            )
        return np.array([own[answer.strip().casefold()] for answer in answers], np.intp)


def _chance(value: Any) -> float:
    if not (isinstance(value, Real) and 0 <= float(value) <= 1):
        raise UsageError(f"min_confidence lies between 0 and 1, not {value!r}")
    return float(value)
