"""What ``seetell evaluate`` or the gate of ``compress`` was asked to measure, checked, and the measuring."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from seetell.core.tracking import Track
    from seetell.data.holdout import Holdout
    from seetell.evaluation.hallucination import KnownObjects
    from seetell.evaluation.predictors import Predictors
    from seetell.evaluation.runner import Evaluation
    from seetell.tasks.api import AnyModel


@dataclass(frozen=True, slots=True)
class Task:
    """The options that say what to measure, and on which photos."""

    captions: Path | None = None
    questions: Path | None = None
    annotations: Path | None = None
    images: Path | None = None
    labelled: Path | None = None
    label_names: Path | None = None
    own_labels: bool = False
    language: str | None = None
    holdout: str | None = None
    limit: int | None = None
    target_accuracy: float | None = None
    pope: tuple[Path, ...] = ()
    objects: Path | None = None
    synonyms: Path | None = None
    guesses: bool = False
    yes_or_no: bool = False

    def check(self, command: str = "evaluate") -> None:
        """Raises UsageError for options of ``command`` that do not go together, before anything is opened."""
        from seetell.core.errors import UsageError

        kinds = (self.captions, self.questions, self.labelled, self.pope or None)
        # Objects alone are asked about; beside captions they are looked for in them.
        if sum(kind is not None for kind in kinds) != 1 and not (self.objects and not any(kinds)):
            raise UsageError(
                f"{command}: give one of --captions F, --questions F with --annotations F, --labelled DIR, "
                "--pope F or --objects F"
            )
        if self.objects is not None and any(kinds) and self.captions is None:
            raise UsageError(f"{command}: --objects goes with --captions, or alone")
        if self.yes_or_no and (self.captions or self.questions or self.labelled):
            raise UsageError(f"{command}: --yes-or-no goes with --pope and --objects")
        if self.synonyms is not None and self.captions is None:
            raise UsageError(f"{command}: --synonyms goes with --captions")
        if self.guesses and self.captions is None:
            raise UsageError(f"{command}: --guesses goes with --captions")
        if self.labelled is None and self.images is None:
            raise UsageError(f"{command}: where are the photos? Give --images DIR")
        if self.labelled is not None and self.images is not None:
            raise UsageError(f"{command}: --labelled names the photos itself; leave --images out")
        for option, folder in (("--images", self.images), ("--labelled", self.labelled)):
            if folder is not None and not folder.is_dir():
                raise UsageError(f"{option}: {folder} is no folder")
        if self.questions is not None and self.annotations is None:
            raise UsageError(f"{command}: questions need their answers; give --annotations F")
        if self.questions is None and self.annotations is not None:
            raise UsageError(f"{command}: --annotations goes with --questions")
        if self.labelled is None and (self.label_names is not None or self.own_labels):
            raise UsageError(f"{command}: --label-names and --own-labels go with --labelled")
        held = self.questions or self.labelled
        if held is None and self.holdout is not None:
            raise UsageError(f"{command}: --holdout goes with --questions and --labelled")
        if held is None and self.target_accuracy is not None:
            raise UsageError(f"{command}: --target-accuracy goes with --questions and --labelled")
        self.rule()

    def rule(self) -> Holdout | None:
        """``10:9`` as modulo and remainder, ``0.1`` as the last tenth. Raises UsageError."""
        from seetell.core.errors import UsageError
        from seetell.data.holdout import Holdout

        if self.holdout is None:
            return None
        try:
            modulo, colon, remainder = self.holdout.partition(":")
            if colon:
                return Holdout(modulo=int(modulo), remainder=int(remainder))
            return Holdout(last_fraction=float(self.holdout))
        except ValueError:
            raise UsageError(
                f"--holdout: give 10:9 or 0.1, for every tenth photo or the last tenth, not {self.holdout!r}"
            ) from None


def measure(model: AnyModel, task: Task, track: Track) -> Evaluation:
    """Run the evaluation. ``task`` has been checked. Raises what reading and evaluating raise."""
    if task.captions is not None:
        return _captions(model, task, track)
    if task.questions is not None:
        return _questions(model, task, track)
    if task.labelled is not None:
        return _labels(model, task, track)
    return _pope(model, task, track)


def _captions(model: AnyModel, task: Task, track: Track) -> Evaluation:
    from seetell.data.coco import read_coco_captions
    from seetell.evaluation.runner import evaluate_captions

    assert task.captions is not None and task.images is not None  # checked
    records = read_coco_captions(task.captions, task.images)
    language = task.language or _first_language(model) or "en"
    return evaluate_captions(
        _predictors(model, language),
        records,
        language,
        objects=_known_objects(task),
        guesses=task.guesses,
        limit=task.limit,
        track=track,
    )


def _known_objects(task: Task) -> KnownObjects | None:
    from seetell.evaluation.chair import read_synonyms
    from seetell.evaluation.hallucination import known_objects
    from seetell.evaluation.objects import read_objects

    if task.synonyms is None and task.objects is None:
        return None
    assert task.images is not None  # checked
    return known_objects(
        None if task.synonyms is None else read_synonyms(task.synonyms),
        None if task.objects is None else read_objects(task.objects, task.images),
    )


def _pope(model: AnyModel, task: Task, track: Track) -> Evaluation:
    from seetell.core.errors import UsageError
    from seetell.evaluation.objects import read_objects
    from seetell.evaluation.pope import SETTINGS, PopeQuestion, build_pope, read_pope, setting_of
    from seetell.evaluation.pope_runner import evaluate_pope

    assert task.images is not None  # checked
    settings: dict[str, list[PopeQuestion]] = {}
    if task.objects is not None:
        records = read_objects(task.objects, task.images)
        settings = {setting: build_pope(records, setting) for setting in SETTINGS}
    for path in task.pope:
        setting = setting_of(path)
        if setting in settings:
            raise UsageError(f"--pope: {path} would be the second {setting!r}; name the files differently")
        settings[setting] = read_pope(path, task.images)
    predict = _predictors(model, None)
    if task.yes_or_no and predict.ask is not None:
        predict = replace(predict, ask=partial(model.stream, "ask", answers=["yes", "no"]))
    return evaluate_pope(predict, settings, limit=task.limit, track=track)


def _questions(model: AnyModel, task: Task, track: Track) -> Evaluation:
    from seetell.data.vqa import read_vqa
    from seetell.evaluation.runner import evaluate_questions

    assert task.questions is not None and task.images is not None  # checked
    records = read_vqa(task.questions, task.annotations, task.images)
    return evaluate_questions(
        _predictors(model, None),
        records,
        holdout=task.rule(),
        limit=task.limit,
        target_accuracy=task.target_accuracy,
        track=track,
    )


def _labels(model: AnyModel, task: Task, track: Track) -> Evaluation:
    from seetell.core.errors import UsageError
    from seetell.data.imagefolder import read_imagefolder
    from seetell.evaluation.labelled import read_label_names, with_names
    from seetell.evaluation.predictors import Predictors
    from seetell.evaluation.runner import evaluate_labels

    assert task.labelled is not None  # checked
    names = None if task.label_names is None else read_label_names(task.label_names)
    if names is not None and task.language is None and not task.own_labels and len(model.languages) > 1:
        # The words around a name are of its language: guessing wrong would measure something else.
        raise UsageError(
            f"--label-names: in which language are they? Give --language, one of {', '.join(model.languages)}"
        )
    records = with_names(read_imagefolder(task.labelled), names)
    labels = list(dict.fromkeys(record.label for record in records))
    language = None if task.own_labels else task.language or _first_language(model)
    options: dict[str, Any] = {"labels": labels, "language": language}
    if task.own_labels:
        _check_own_labels(model, labels)
        options = {"labels": None}
    classify = partial(model.stream, "classify", **options) if "classify" in model.tasks else None
    return evaluate_labels(
        Predictors(model.name, model.precision, classify=classify),
        records,
        language=language,
        own_labels=task.own_labels,
        holdout=task.rule(),
        limit=task.limit,
        target_accuracy=task.target_accuracy,
        track=track,
    )


def _check_own_labels(model: AnyModel, labels: list[str]) -> None:
    """Raises UsageError for a folder whose label the model was never taught: it could only be wrong."""
    from seetell.core.errors import UsageError

    unknown = sorted(set(labels) - set(model.labels))
    if unknown:
        raise UsageError(
            f"--own-labels: {model.name} was not taught {', '.join(map(repr, unknown[:3]))}"
            f"{', ...' if len(unknown) > 3 else ''}; say with --label-names which of its "
            f"{len(model.labels)} labels each folder is"
        )


def _first_language(model: AnyModel) -> str | None:
    return model.languages[0] if model.languages else None


def _predictors(model: AnyModel, language: str | None) -> Predictors:
    """What this model can do, as functions."""
    from seetell.evaluation.predictors import Predictors

    embeds = "embed" in model.tasks
    return Predictors(
        model.name,
        model.precision,
        embed_images=partial(model.stream, "embed_images") if embeds else None,
        embed_texts=model.embed_texts if embeds else None,
        caption=partial(model.stream, "caption", language=language) if "caption" in model.tasks else None,
        ask=partial(model.stream, "ask") if "ask" in model.tasks else None,
    )
