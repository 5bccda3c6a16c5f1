"""POPE over a model: the evaluation behind ``seetell evaluate --pope``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from seetell.core.errors import DataError, UsageError
from seetell.core.results import Failure
from seetell.core.tracking import Track, untracked
from seetell.evaluation.bootstrap import Bootstrap
from seetell.evaluation.collecting import once_each, results
from seetell.evaluation.hallucination import pope_of
from seetell.evaluation.pope import PopeQuestion, unique_pairs
from seetell.evaluation.predictors import Predictors
from seetell.evaluation.runner import Evaluation


def evaluate_pope(
    predict: Predictors,
    settings: Mapping[str, Sequence[PopeQuestion]],
    *,
    limit: int | None = None,
    track: Track = untracked,
    bootstrap: Bootstrap | None = None,
) -> Evaluation:
    """Yes and no to questions about objects, for each setting.

    A question that stands in several settings is asked once.

    Args:
        predict: its ``ask`` is measured, with answers in its own words.
        settings: name -> questions, as ``read_pope`` and ``build_pope`` give them.
        limit: the questions about so many photos only, in each setting its first ones.
        track: shows progress.
        bootstrap: how intervals are drawn.

    Raises:
        DataError: no questions, or every photo failed.
        UsageError: ``ask`` is missing, or a limit below 1.
    """
    if predict.ask is None:
        raise UsageError(f"{predict.model} cannot ask: nothing to measure with questions")
    if limit is not None and limit < 1:
        raise UsageError(f"limit is at least 1 photo, not {limit}")
    empty = [setting for setting, questions in settings.items() if not questions]
    if empty or not settings:
        raise DataError(f"POPE: no questions to ask{f' in {empty[0]!r}' if empty else ''}")
    chosen = {setting: _of_first_photos(questions, limit) for setting, questions in settings.items()}
    pairs = unique_pairs(question for questions in chosen.values() for question in questions)
    failed: list[Failure] = []
    photos = [photo for photo, _ in pairs]
    found = results(track(predict.ask(pairs), "questions", len(pairs)), photos, failed)
    scored = pope_of(dict(zip(pairs, found, strict=True)), chosen, bootstrap)
    cut = any(len(chosen[setting]) < len(questions) for setting, questions in settings.items())
    return Evaluation(
        predict.model,
        predict.precision,
        n_images=len(set(photos)),
        n_texts=len(pairs),
        limit=limit if cut else None,
        pope=scored.scores,
        n_unclear=scored.n_unclear,
        examples=scored.examples,
        failed=once_each(failed),
    )


def _of_first_photos(questions: Sequence[PopeQuestion], limit: int | None) -> list[PopeQuestion]:
    kept = set(list(dict.fromkeys(question.photo for question in questions))[:limit])
    return [question for question in questions if question.photo in kept]
