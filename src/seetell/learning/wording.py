"""How labels and answers are written when they are taught, and the closed lists of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from seetell.data.records import AskedQuestion, QuestionRecord


def answer_text(answer: str) -> str:
    """An answer as it is taught: ``tape_dispenser`` is how a data set writes two words.

    The official VQA answer normalisation also reads an underscore as a space.
    """
    return " ".join(answer.replace("_", " ").lower().split())


def label_text(label: str) -> str:
    """A label as words: folders are named ``joshua_tree`` as often as ``joshua tree``."""
    return " ".join(label.replace("_", " ").split())


def label_name(label: str, language: str, names: Mapping[str, Mapping[str, str]]) -> str:
    """What a label is called in a language: as ``names`` says, else as its own words."""
    return names.get(language, {}).get(label) or label_text(label)


def all_answers(questions: Iterable[AskedQuestion]) -> tuple[str, ...]:
    """Every answer given to any of the questions, once."""
    return tuple(dict.fromkeys(answer_text(answer) for one in questions for answer in one.answers))


def answer_list(questions: Iterable[QuestionRecord | AskedQuestion], size: int) -> tuple[str, ...]:
    """The ``size`` most common answers, most common first, ties in alphabetical order.

    A question counts once per distinct answer, so that ten people saying "yes" to one question weigh
    what one person saying it does.
    """
    counts: Counter[str] = Counter()
    for question in questions:
        counts.update({answer_text(answer) for answer in question.answers})
    counts.pop("", None)
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return tuple(answer for answer, _ in ordered[:size])


def namings(
    labels: Sequence[str],
    templates: Mapping[str, Sequence[str]],
    names: Mapping[str, Mapping[str, str]],
) -> list[tuple[str, ...]]:
    """Every way of naming all labels at once: in each language, in each of its templates."""
    return [
        tuple(template.replace("{}", label_name(label, language, names)) for label in labels)
        for language, texts in templates.items()
        for template in texts
    ]
