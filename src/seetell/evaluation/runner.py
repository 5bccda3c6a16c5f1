"""Run a model over records and score what it says: the evaluations behind ``seetell evaluate``.

An input that fails (a photo that cannot be read) stays in every figure and counts as wrong, and is listed: a
model or a folder with holes must not look better for them. That matches the official scorers, which insist
on a prediction for everything.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from seetell.core.errors import DataError, InputError, UsageError
from seetell.core.results import Answer, Failure
from seetell.core.tracking import Track, untracked
from seetell.data.holdout import Holdout, split_holdout, split_labelled_holdout
from seetell.data.records import CaptionRecord, LabelRecord, PhotoId, QuestionRecord
from seetell.evaluation.bootstrap import Bootstrap, Estimate
from seetell.evaluation.calibration import Calibration, score_calibration
from seetell.evaluation.captions import score_each_caption, score_unsure
from seetell.evaluation.collecting import once_each, results
from seetell.evaluation.examples import Example, Examples, best_and_worst
from seetell.evaluation.hallucination import KnownObjects, chair_of
from seetell.evaluation.labelled import evenly
from seetell.evaluation.predictors import Embeds, Predictors
from seetell.evaluation.retrieval import RetrievalScores, retrieval_ranks, score_ranks
from seetell.evaluation.retrieval_examples import retrieval_examples
from seetell.evaluation.vqa import ENOUGH_ANSWERS, exact_match, score_answers, vqa_accuracy
from seetell.evaluation.vqa_kinds import KindScores, score_kinds
from seetell.evaluation.zero_shot import ZeroShotScores, score_labels

# Texts are short and run many at a time; the progress bar moves once per this many.
_TEXTS_AT_ONCE = 512


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What was measured. Parts that do not apply are None.

    n_images and n_texts: photos and texts (captions, questions or labels) that were to be measured, failed
    ones included. limit: only ``limit`` photos of more were measured. holdout: only what this rule holds out.
    guesses: captions were measured as they were written, and not as they are shown.
    own_labels: classified by the model's own labels, and not zero-shot. vqa_kinds: answers by the kind of
    question, where the file says it. answers_per_question: people's answers, on average; VQA accuracy means
    little below four.
    """

    model: str
    precision: str
    n_images: int
    n_texts: int
    language: str | None = None
    limit: int | None = None
    holdout: Holdout | None = None
    guesses: bool = False
    image_to_text: dict[str, Estimate] | None = None
    text_to_image: dict[str, Estimate] | None = None
    captions: dict[str, Estimate] | None = None
    chair: dict[str, Estimate] | None = None
    vqa: dict[str, Estimate] | None = None
    vqa_kinds: dict[str, KindScores] | None = None
    answers_per_question: float | None = None
    zero_shot: ZeroShotScores | None = None
    own_labels: ZeroShotScores | None = None
    pope: dict[str, dict[str, Estimate]] | None = None
    n_unclear: int | None = None
    calibration: Calibration | None = None
    examples: tuple[Examples, ...] = ()
    failed: tuple[Failure, ...] = ()


def evaluate_captions(
    predict: Predictors,
    records: Sequence[CaptionRecord],
    language: str,
    *,
    objects: KnownObjects | None = None,
    guesses: bool = False,
    limit: int | None = None,
    track: Track = untracked,
    bootstrap: Bootstrap | None = None,
) -> Evaluation:
    """Retrieval in both directions, and generated captions, against captions people wrote.

    Retrieval needs ``embed_images`` and ``embed_texts``, captions need ``caption``; what is there is
    measured: captions as they are shown, or with ``guesses`` as the model wrote them, also those it is unsure
    of. Photos without a caption in ``language`` are left out. With ``objects`` captions are also looked
    through for objects that are not there (CHAIR), in English only.

    Raises:
        DataError: no caption in this language, every photo failed, or an annotated object without a word.
        UsageError: nothing to measure with, a limit below 1, or ``objects`` with another language.
    """
    embed_images, embed_texts = predict.embed_images, predict.embed_texts
    if predict.caption is None and (embed_images is None or embed_texts is None):
        raise UsageError(
            f"{predict.model} can neither embed photos and texts nor caption: nothing to measure"
        )
    if objects is not None and predict.caption is None:
        raise UsageError(f"{predict.model} cannot caption: no objects to look for")
    if objects is not None and language != "en":
        raise UsageError(f"objects are looked for in English captions only, not in {language!r}")
    everything = _spoken(records, language)
    chosen = everything[: _checked_limit(limit)]
    photos = [record.photo for record in chosen]
    references = [record.texts(language) for record in chosen]
    failed: list[Failure] = []
    examples: list[Examples] = []
    retrieval = captions = chair = None
    if embed_images is not None and embed_texts is not None:
        vectors = results(track(embed_images(photos), "photos", len(photos)), photos, failed)
        retrieval, shown = _retrieval(vectors, photos, references, embed_texts, failed, track, bootstrap)
        examples.extend(shown)
    if predict.caption is not None:
        found = results(track(predict.caption(photos), "captions", len(photos)), photos, failed)
        if guesses:
            found = [caption and replace(caption, text=caption.written) for caption in found]
        texts = ["" if caption is None else caption.text for caption in found]
        captions, cider = score_each_caption(texts, references, language, bootstrap)
        captions |= score_unsure(found, bootstrap)
        examples.append(
            best_and_worst(
                "captions",
                [
                    Example(photo, float(score), caption.text, wanted, f"CIDEr-D {score:.2f}")
                    for photo, score, caption, wanted in zip(photos, cider, found, references, strict=True)
                    if caption is not None
                ],
            )
        )
        if objects is not None:
            chair, shown_objects = chair_of(found, chosen, objects, bootstrap)
            examples.append(shown_objects)
    return Evaluation(
        predict.model,
        predict.precision,
        n_images=len(chosen),
        n_texts=sum(map(len, references)),
        language=language,
        limit=limit if len(chosen) < len(everything) else None,
        guesses=guesses and captions is not None,
        image_to_text=None if retrieval is None else retrieval.image_to_text,
        text_to_image=None if retrieval is None else retrieval.text_to_image,
        captions=captions,
        chair=chair,
        examples=tuple(examples),
        failed=once_each(failed),
    )


def evaluate_questions(
    predict: Predictors,
    records: Sequence[QuestionRecord],
    *,
    limit: int | None = None,
    holdout: Holdout | None = None,
    target_accuracy: float | None = None,
    track: Track = untracked,
    bootstrap: Bootstrap | None = None,
) -> Evaluation:
    """Answers to questions about photos, and whether their confidence can be believed.

    The figures count every answer, also those the model would rather abstain from; what abstaining changes is
    in ``calibration``. There an answer is right as VQA accuracy says where every question has enough people's
    answers for it, and else by exact match.

    Args:
        predict: its ``ask`` is measured.
        records: questions with people's answers.
        limit: the questions about so many photos only, the first ones.
        holdout: the questions that this rule holds out only.
        target_accuracy: choose a confidence to abstain below, so that so many of 100 answers are right.
        track: shows progress.
        bootstrap: how intervals are drawn.

    Raises:
        DataError: no questions, a question without people's answers, or every photo failed.
        UsageError: ``ask`` is missing, a limit below 1, or a target outside 0..100.
    """
    if predict.ask is None:
        raise UsageError(f"{predict.model} cannot ask: nothing to measure with questions")
    _check_target(target_accuracy)
    everything = list(records) if holdout is None else split_holdout(records, holdout)[1]
    chosen = _first_photos(everything, _checked_limit(limit))
    if not chosen:
        raise DataError(f"no questions to measure with{_held_out_of(records, holdout)}")
    for record in chosen:
        if not record.answers and record.majority is None:
            raise DataError(f"question {record.question_id} has no answer to compare with; give annotations")
    photos = [record.photo for record in chosen]
    failed: list[Failure] = []
    pairs = [(record.photo, record.question) for record in chosen]
    found = results(track(predict.ask(pairs), "questions", len(pairs)), photos, failed)
    people = [record.answers or (str(record.majority),) for record in chosen]
    photo_ids = [record.photo_id for record in chosen]
    said = ["" if answer is None else answer.answer for answer in found]
    majorities = [record.majority for record in chosen]
    of = "accuracy" if min(map(len, people)) >= ENOUGH_ANSWERS else "exact_match"
    right = [
        vqa_accuracy(answer, several) if of == "accuracy" else float(exact_match(answer, several, majority))
        for answer, several, majority in zip(said, people, majorities, strict=True)
    ]
    return Evaluation(
        predict.model,
        predict.precision,
        n_images=len(set(photo_ids)),
        n_texts=len(chosen),
        limit=limit if len(chosen) < len(everything) else None,
        holdout=holdout,
        vqa=score_answers(said, people, majorities, photo_ids, bootstrap),
        vqa_kinds=_by_kind(chosen, said, people, found, bootstrap),
        answers_per_question=sum(map(len, people)) / len(people),
        calibration=_calibration(
            [None if answer is None else _stated(answer.confidence) for answer in found],
            right,
            photo_ids,
            of=of,
            abstained=[answer is not None and answer.abstained for answer in found],
            target=target_accuracy,
            bootstrap=bootstrap,
        ),
        examples=(
            best_and_worst(
                "vqa",
                [
                    Example(
                        record.photo,
                        score,
                        answer.answer,
                        tuple(dict.fromkeys(several)),
                        _verdict(score),
                        record.question,
                        answer.confidence,
                    )
                    for record, score, answer, several in zip(chosen, right, found, people, strict=True)
                    if answer is not None
                ],
            ),
        ),
        failed=once_each(failed),
    )


def _by_kind(
    records: Sequence[QuestionRecord],
    said: Sequence[str],
    people: Sequence[Sequence[str]],
    found: Sequence[Answer | None],
    bootstrap: Bootstrap | None,
) -> dict[str, KindScores] | None:
    """None where no question says its kind."""
    if all(record.kind is None for record in records):
        return None
    return score_kinds(
        [record.kind for record in records],
        [record.word for record in records],
        [record.majority or several[0] for record, several in zip(records, people, strict=True)],
        [
            exact_match(*one)
            for one in zip(said, people, (record.majority for record in records), strict=True)
        ],
        [answer is not None and answer.abstained for answer in found],
        [record.photo_id for record in records],
        bootstrap,
    )


def evaluate_labels(
    predict: Predictors,
    records: Sequence[LabelRecord],
    *,
    language: str | None = None,
    own_labels: bool = False,
    limit: int | None = None,
    holdout: Holdout | None = None,
    target_accuracy: float | None = None,
    track: Track = untracked,
    bootstrap: Bootstrap | None = None,
) -> Evaluation:
    """Classification into the labels that ``classify`` was given.

    Args:
        predict: its ``classify`` knows the labels of all records.
        records: labelled photos; their labels are the ones that ``classify`` answers with.
        language: of the labels, for the report.
        own_labels: ``classify`` answers with labels the model was taught, and not zero-shot.
        limit: so many photos only, as many of each label as can be.
        holdout: the photos that this rule holds out only.
        target_accuracy: choose a confidence to abstain below, so that so many of 100 labels are right.
        track: shows progress.
        bootstrap: how intervals are drawn.

    Raises:
        DataError: no photos, or every photo failed.
        UsageError: ``classify`` is missing, a limit below 1, or a target outside 0..100.
    """
    if predict.classify is None:
        raise UsageError(f"{predict.model} cannot classify: nothing to measure with labels")
    _check_target(target_accuracy)
    everything = list(records) if holdout is None else split_labelled_holdout(records, holdout)[1]
    chosen = evenly(everything, _checked_limit(limit))
    if not chosen:
        raise DataError(f"no labelled photos to measure with{_held_out_of(records, holdout)}")
    photos = [record.photo for record in chosen]
    labels = [record.label for record in chosen]
    failed: list[Failure] = []
    found = results(track(predict.classify(photos), "labels", len(photos)), photos, failed)
    rankings = [[] if one is None else [choice.label for choice in one.ranking] for one in found]
    scores = score_labels(rankings, labels, bootstrap)
    right = [float(ranking[:1] == [label]) for ranking, label in zip(rankings, labels, strict=True)]
    return Evaluation(
        predict.model,
        predict.precision,
        n_images=len(chosen),
        n_texts=len({record.label for record in records}),
        language=language,
        limit=limit if len(chosen) < len(everything) else None,
        holdout=holdout,
        zero_shot=None if own_labels else scores,
        own_labels=scores if own_labels else None,
        calibration=_calibration(
            [None if one is None else _stated(one.probability) for one in found],
            right,
            range(len(photos)),
            of="top_1",
            target=target_accuracy,
            bootstrap=bootstrap,
        ),
        examples=(
            best_and_worst(
                "own_labels" if own_labels else "zero_shot",
                [
                    Example(
                        photo,
                        score,
                        one.label,
                        (label,),
                        _verdict(score),
                        confidence=one.probability,
                    )
                    for photo, score, one, label in zip(photos, right, found, labels, strict=True)
                    if one is not None
                ],
            ),
        ),
        failed=once_each(failed),
    )


def _retrieval(
    vectors: Sequence[Embeds | None],
    photos: Sequence[Path],
    references: Sequence[Sequence[str]],
    embed_texts: Callable[[Sequence[str]], Embeds],
    failed: list[Failure],
    track: Track,
    bootstrap: Bootstrap | None,
) -> tuple[RetrievalScores, tuple[Examples, ...]]:
    there = [one for one in vectors if one is not None]
    image_failed = np.array([one is None for one in vectors])
    images = np.zeros((len(vectors), len(there[0])), dtype=np.float32)
    images[~image_failed] = there
    texts = [text for several in references for text in several]
    owner = np.repeat(np.arange(len(references)), [len(several) for several in references])
    text_embeds, text_failed = _embed_texts(embed_texts, texts, images.shape[1], failed, track)
    ranks = retrieval_ranks(images, text_embeds, owner, image_failed=image_failed, text_failed=text_failed)
    return score_ranks(ranks, bootstrap), retrieval_examples(ranks, images, text_embeds, photos, texts)


def _embed_texts(
    embed: Callable[[Sequence[str]], Embeds],
    texts: Sequence[str],
    width: int,
    failed: list[Failure],
    track: Track,
) -> tuple[Embeds, NDArray[np.bool_]]:
    """float32[T, width] and which rows failed, bool[T]."""
    embeds = np.zeros((len(texts), width), dtype=np.float32)
    bad = np.zeros(len(texts), dtype=bool)
    starts = range(0, len(texts), _TEXTS_AT_ONCE)
    for start in track(starts, "texts", len(starts)):
        stop = min(start + _TEXTS_AT_ONCE, len(texts))
        try:
            embeds[start:stop] = embed(texts[start:stop])
        except InputError:
            # One text spoils its company: find out which.
            for row in range(start, stop):
                try:
                    embeds[row] = embed([texts[row]])[0]
                except InputError as error:
                    bad[row] = True
                    failed.append(Failure(texts[row], error))
    return embeds, bad


def _stated(confidence: float | None) -> float:
    """NaN for what is not stated; None would be an answer that failed."""
    return math.nan if confidence is None else confidence


def _calibration(
    confidences: Sequence[float | None],
    right: Sequence[float],
    photos: Sequence[Hashable],
    *,
    of: str,
    abstained: Sequence[bool] | None = None,
    target: float | None,
    bootstrap: Bootstrap | None,
) -> Calibration | None:
    """None for a predict function that states no confidences: then there is nothing to believe."""
    if not all(one is None or 0 <= one <= 1 for one in confidences):
        return None
    return score_calibration(
        confidences, right, photos, of=of, abstained=abstained, target=target, bootstrap=bootstrap
    )


def _verdict(score: float) -> str:
    return {1.0: "right", 0.0: "wrong"}.get(score, f"{100 * score:.0f}% right")


def _check_target(accuracy: float | None) -> None:
    if accuracy is not None and not 0 <= accuracy <= 100:
        raise UsageError(f"a wanted accuracy lies between 0 and 100, not {accuracy:g}")


def _spoken(records: Sequence[CaptionRecord], language: str) -> list[CaptionRecord]:
    chosen = [record for record in records if record.texts(language)]
    if not chosen:
        known = sorted({spoken for record in records for _, spoken in record.captions})
        has = f"it has: {', '.join(known)}" if known else "it has none at all"
        raise DataError(f"no caption in language {language!r} to measure with; {has}")
    return chosen


def _first_photos(records: Sequence[QuestionRecord], limit: int | None) -> list[QuestionRecord]:
    if limit is None:
        return list(records)
    kept: set[PhotoId] = set()
    chosen = []
    for record in records:
        if record.photo_id in kept or len(kept) < limit:
            kept.add(record.photo_id)
            chosen.append(record)
    return chosen


def _held_out_of(records: Sequence[object], holdout: Holdout | None) -> str:
    return "" if holdout is None else f": the holdout leaves none of {len(records)}"


def _checked_limit(limit: int | None) -> int | None:
    if limit is not None and limit < 1:
        raise UsageError(f"limit is at least 1 photo, not {limit}")
    return limit
