"""``ask``: a question about a photo, answered or abstained from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from seetell.bundle.manifest import AnswerKind
from seetell.core.errors import UsageError
from seetell.core.results import Answer
from seetell.tasks import classify
from seetell.tasks.answer_ways import Chances, Way, Ways, chooses, writes
from seetell.tasks.context import (
    TEXT_ROWS,
    Context,
    Seen,
    at_least_one,
    checked_chance,
    checked_texts,
    token_outputs,
)
from seetell.tasks.question import Question
from seetell.tasks.question_kinds import (
    GIVEN,
    absence,
    fitting,
    presence_question,
    read_question,
    spelled,
)

# How sure the model has to be that what a question takes for given is not there before it says so.
_ABSENT = 0.8


def available(context: Context) -> bool:
    """Whether the model can answer questions in any way."""
    return context.has("image_encoder", "image_tokens") and (chooses(context) or writes(context))


class Asker:
    """Answers questions, one per photo.

    With ``answers``, the decoder ranks them (softmax over the list of log p(answer)); a model without one
    restricts its own list to them. Without, the head over the model's own list answers, else the decoder
    writes, and confidence is the probability of exactly that text. It writes with five beams, or ``top``
    where that is more.

    Without ``answers`` the question's wording bounds its answer (tasks/question_kinds.py): yes or no, one of
    those it offers, a number, a colour. What the question offers is ranked by the decoder, else by the
    columns of the list, else by the vectors of photo and texts; in the other bounds the list is held to what
    fits, else the decoder ranks what fits. A bound that neither the list nor the languages of the decoder can
    keep is none. Of a thing whose colour is asked for the model is asked first whether it is there; where it
    says no with a probability of 0.8 or more, that is the answer ("there is no car"), and colours are its
    alternatives.

    Calibration is the bundle's for the kind of question; where it has none, its ``answer_temperature`` and
    ``abstain_below``, of which the temperature was fitted on the head, or on writing where there is none, and
    applies to no ranking. Among given ``answers`` it is that of the kind ``given``; without it the model
    abstains only below ``min_confidence``.

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
        self._min_confidence = checked_chance(min_confidence, "min_confidence")
        self._ways = Ways(context, self._top, lambda way: self._calibration(way).temperature)
        self._given: Way | None = None
        if answers is not None:
            # Twice the same answer would share its probability between the two.
            chosen = tuple(dict.fromkeys(checked_texts(answers, "answer")))
            if writes(context):
                self._check_lengths(chosen)
                self._given = Way("rank", GIVEN, chosen)
            else:
                self._given = Way("list", GIVEN, chosen, self._own_columns(chosen))

    @property
    def image_outputs(self) -> tuple[str, ...]:
        own = token_outputs(self._context)
        return (*own, "image_embeds") if self._given is None and self._compares else own

    def answer(self, seen: Seen, questions: Sequence[str]) -> list[Answer]:
        if self._given is not None:
            found = self._ways.chances(seen, questions, [self._given] * len(questions))
            return [self._answer(chances, GIVEN) for chances in found]
        read = [read_question(question) for question in questions]
        ways = [self._way(question) for question in read]
        found = self._ways.chances(seen, questions, ways)
        absent = self._absent(seen, read, found)
        return [
            self._answer(absent[row], "yes_no") if row in absent else self._answer(found[row], way.kind)
            for row, way in enumerate(ways)
        ]

    # --- which way ---------------------------------------------------------------------------------------

    def _way(self, question: Question) -> Way:
        """How this question is answered: in its bounds where the model can keep them."""
        kind, answers = question.kind, self._context.manifest.answers
        columns = fitting(question, answers) if chooses(self._context) else ()
        candidates = spelled(question)
        if kind == "choice" and self._ranks(question, candidates):
            return Way("rank", kind, candidates)
        if columns:
            # A choice is answered in the question's own spelling.
            own = candidates if kind == "choice" else tuple(answers[one] for one in columns)
            return Way("list", kind, own, columns)
        if candidates and self._ranks(question, candidates):
            return Way("rank", kind, candidates)
        if kind == "choice" and self._compares:
            return Way("compare", kind, candidates)
        return Way("list", kind, answers) if chooses(self._context) else Way("write", kind)

    def _ranks(self, question: Question, candidates: Sequence[str]) -> bool:
        """Whether the decoder can rank these, in a language it was taught."""
        languages = self._context.manifest.languages or ("en",)
        return (
            writes(self._context)
            and question.language in languages
            and all(0 < len(ids) <= self._ways.room for ids in self._ways.encoded(candidates))
        )

    @property
    def _compares(self) -> bool:
        return not writes(self._context) and classify.zero_shot(self._context)

    def _absent(self, seen: Seen, read: Sequence[Question], found: Sequence[Chances]) -> dict[int, Chances]:
        """Row -> that there is no such thing, then the answers found, where the model is sure of it."""
        asked = {row: text for row, one in enumerate(read) if (text := presence_question(one)) is not None}
        told: dict[int, Chances] = {}
        for row, chances in self._yes_or_no(seen, asked).items():
            chance = float(chances.values[1])
            if chance >= _ABSENT:
                values = np.append(chance, (1 - chance) * found[row].values)
                told[row] = Chances([absence(read[row]), *found[row].answers], values)
        return told

    def there(self, seen: Seen, asked: Sequence[tuple[int, str]]) -> list[float | None]:
        """Of questions that take yes or no, each with the place of its photo in the batch, the probability of
        yes, 0..1; None where the model cannot be held to yes or no. Calibrated as any such answer is."""
        found: list[float | None] = []
        for first in range(0, len(asked), TEXT_ROWS):
            some = asked[first : first + TEXT_ROWS]
            rows = [photo for photo, _ in some]
            beside = Seen({name: value[rows] for name, value in seen.outputs.items()}, ())
            told = self._yes_or_no(beside, {row: text for row, (_, text) in enumerate(some)})
            values = [told[row].values if row in told else None for row in range(len(some))]
            found += [None if one is None else float(one[0] / one.sum()) for one in values]
        return found

    def _yes_or_no(self, seen: Seen, asked: Mapping[int, str]) -> dict[int, Chances]:
        """Row -> yes and no with their probabilities; only where these are all that can be answered."""
        ways = {row: self._way(read_question(text)) for row, text in asked.items()}
        rows = [row for row, way in ways.items() if len(way.candidates) == 2]
        if not rows:
            return {}
        own = Seen({name: value[rows] for name, value in seen.outputs.items()}, ())
        found = self._ways.chances(own, [asked[row] for row in rows], [ways[row] for row in rows])
        return dict(zip(rows, found, strict=True))

    # --- what is given out -------------------------------------------------------------------------------

    def _answer(self, chances: Chances, kind: str) -> Answer:
        alternatives = chances.best(self._top)
        threshold = self._threshold(kind) if self._min_confidence is None else self._min_confidence
        return Answer(
            answer=alternatives[0].answer,
            confidence=alternatives[0].confidence,
            alternatives=alternatives,
            abstained=alternatives[0].confidence < threshold,
            model=self._context.manifest.name,
            precision=self._context.engine.precision,
        )

    def _calibration(self, way: Way) -> AnswerKind:
        score = self._context.manifest.score
        fitted = score.answer_kinds.get(way.kind)
        if fitted is not None:
            return fitted
        return AnswerKind(temperature=score.answer_temperature if way.by in ("list", "write") else 1.0)

    def _threshold(self, kind: str) -> float:
        score = self._context.manifest.score
        fitted = score.answer_kinds.get(kind)
        if fitted is not None:
            return fitted.abstain_below
        return 0.0 if kind == GIVEN else score.abstain_below

    def _check_lengths(self, answers: Sequence[str]) -> None:
        for answer, ids in zip(answers, self._ways.encoded(answers), strict=True):
            if len(ids) > self._ways.room:
                raise UsageError(
                    f"the answer {answer[:40]!r} has {len(ids)} tokens; at most {self._ways.room} fit"
                )

    def _own_columns(self, answers: Sequence[str]) -> tuple[int, ...]:
        own = {answer.casefold(): place for place, answer in enumerate(self._context.manifest.answers)}
        unknown = [answer for answer in answers if answer.strip().casefold() not in own]
        if unknown:
            raise UsageError(
                f"{self._context.manifest.name} answers only from its own list of {len(own)}, "
                f"which lacks: {', '.join(unknown[:5])}"
            )
        return tuple(own[answer.strip().casefold()] for answer in answers)
