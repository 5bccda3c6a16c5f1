"""Captions and answers set beside the objects that are there: CHAIR and POPE, with examples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from seetell.core.results import Answer, Caption
from seetell.data.records import CaptionRecord
from seetell.evaluation.bootstrap import Bootstrap, Estimate
from seetell.evaluation.chair import CaptionObjects, Vocabulary, caption_objects, score_chair, true_objects
from seetell.evaluation.examples import Example, Examples, best_and_worst
from seetell.evaluation.objects import ObjectRecord
from seetell.evaluation.pope import PopeQuestion, is_clear, says_yes, score_pope


@dataclass(frozen=True, slots=True)
class KnownObjects:
    """What CHAIR needs beside captions people wrote: words for objects, and what is annotated on photos."""

    vocabulary: Vocabulary
    annotated: Mapping[Path, Sequence[str]]


def known_objects(vocabulary: Vocabulary | None, records: Sequence[ObjectRecord] | None) -> KnownObjects:
    """From a list of synonyms, annotated objects, or both. Without synonyms objects go by their names alone.

    Raises UsageError when that gives no word for any object.
    """
    annotated: dict[Path, tuple[str, ...]] = {}
    for record in records or ():
        annotated[record.photo] = (*annotated.get(record.photo, ()), *record.objects)
    if vocabulary is None:
        names = dict.fromkeys(name for objects in annotated.values() for name in objects)
        vocabulary = Vocabulary([name] for name in names)
    return KnownObjects(vocabulary, annotated)


def chair_of(
    captions: Sequence[Caption | None],
    records: Sequence[CaptionRecord],
    objects: KnownObjects,
    bootstrap: Bootstrap | None = None,
) -> tuple[dict[str, Estimate], Examples]:
    """CHAIR of one English caption for each photo, None for one that failed.

    Raises DataError for an annotated object that no synonym means.
    """
    found: list[CaptionObjects | None] = []
    examples = []
    for caption, record in zip(captions, records, strict=True):
        true = true_objects(
            objects.vocabulary,
            objects.annotated.get(record.photo, ()),
            record.texts("en"),
            str(record.photo),
        )
        if caption is None:
            found.append(None)
            continue
        named = caption_objects(objects.vocabulary, caption.text, true)
        found.append(named)
        examples.append(
            Example(
                record.photo,
                float(-len(named.hallucinated) or len({one for _, one in named.there})),
                caption.text,
                tuple(sorted(true)) or ("none of the objects",),
                _chair_verdict(named),
            )
        )
    return score_chair(found, bootstrap), best_and_worst("chair", examples)


def _chair_verdict(named: CaptionObjects) -> str:
    if named.hallucinated:
        return f"not there: {', '.join(dict.fromkeys(word for word, _ in named.hallucinated))}"
    there = ", ".join(dict.fromkeys(word for word, _ in named.there))
    return f"there: {there}" if there else "names no object"


@dataclass(frozen=True, slots=True)
class PopeAnswers:
    """Scores per setting, the answers that said neither yes nor no, and examples."""

    scores: dict[str, dict[str, Estimate]]
    n_unclear: int
    examples: tuple[Examples, ...]


def pope_of(
    answers: Mapping[tuple[Path, str], Answer | None],
    settings: Mapping[str, Sequence[PopeQuestion]],
    bootstrap: Bootstrap | None = None,
) -> PopeAnswers:
    """Score answers to (photo, question); None for one that failed, which is wrong."""
    scores, shown = {}, []
    for setting, questions in settings.items():
        given = [answers[question.photo, question.text] for question in questions]
        said = [None if answer is None else says_yes(answer.answer) for answer in given]
        labels = [question.label for question in questions]
        scores[setting] = score_pope(said, labels, [question.photo for question in questions], bootstrap)
        examples = [
            Example(
                question.photo,
                float(yes == question.label),
                answer.answer,
                ("yes" if question.label else "no",),
                "right" if yes == question.label else "wrong",
                question.text,
                answer.confidence,
            )
            for question, answer, yes in zip(questions, given, said, strict=True)
            if answer is not None
        ]
        shown.append(best_and_worst(f"pope.{setting}", examples))
    unclear = sum(answer is not None and not is_clear(answer.answer) for answer in answers.values())
    return PopeAnswers(scores, unclear, tuple(shown))
