"""``seetell ask``: questions about photos."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from seetell.cli.inputs import STDIN, listed, stream, tell_doubts
from seetell.cli.options import RemoteShared, alternatives, open_any, option, shared_options
from seetell.cli.output import Output, with_percent
from seetell.cli.results_file import ResultsOption, results_file
from seetell.cli.sheet import SheetOption, sheet_file

if TYPE_CHECKING:
    from seetell.core.results import Answer, Failure
    from seetell.tasks.api import AnyModel

COLUMNS = ("photo", "question", "answer", "confidence", "abstained", "alternatives", "model", "precision")


@dataclass(frozen=True, slots=True)
class Query:
    """One line of a questions file. ``error`` is set when the line could not be read."""

    photo: str
    question: str
    answers: list[str] | None = None
    error: Exception | None = None


@shared_options
def ask(
    photo: Annotated[
        str | None,
        typer.Argument(metavar="PHOTO", help="A file, a folder, or - for paths on standard input."),
    ] = None,
    question: Annotated[str | None, typer.Argument(metavar="QUESTION", help="What to ask.")] = None,
    questions: Annotated[
        str | None,
        option(
            "--questions",
            metavar="FILE.jsonl",
            help='Ask the questions of this file, lines of {"photo", "question", "answers"?} with paths '
            "relative to it; - is standard input.",
        ),
    ] = None,
    answers: Annotated[
        str | None, option("--answers", metavar="yes,no|@FILE", help="Choose among these answers only.")
    ] = None,
    top: Annotated[int, option("--top", min=1, help="Give so many alternatives.")] = 5,
    min_confidence: Annotated[
        float | None,
        option(
            "--min-confidence",
            min=0.0,
            max=1.0,
            help="Abstain below this confidence.",
            show_default="the model's",
        ),
    ] = None,
    results: ResultsOption = None,
    sheet: SheetOption = None,
    *,
    shared: RemoteShared,
) -> None:
    """Answer a question about photos. Where the model is not sure, it says so."""
    from seetell.core.errors import UsageError
    from seetell.core.results import Failure

    if (questions is None) == (photo is None):
        raise UsageError("ask: give PHOTO and QUESTION, or --questions FILE.jsonl")
    if photo is not None and not (question and question.strip()):
        raise UsageError(f"ask: what should be asked about {photo}? Give QUESTION")
    choices = alternatives(answers, "--answers") if answers is not None else None
    settings = {"top": top, "min_confidence": min_confidence}
    kept = results_file(results, COLUMNS) if results is not None else None
    page = sheet_file(sheet, question or "Answers") if sheet is not None else None
    with shared.output(kept, page) as out:
        model = open_any(shared, out)
        if photo is not None and question is not None:
            paths, total = listed([photo], out)
            found = stream(model, "ask", paths, question=question, answers=choices, **settings)
            told = tell_doubts([question, *(choices or ())], model, out)
            asked: Iterator[tuple[str, str, Any]] = ((name, question, result) for name, result in found)
        else:
            total = _lines(questions) if questions is not None and out.wants_total else None
            told = tell_doubts(choices or (), model, out)
            asked = _from_file(model, _read(questions or STDIN), choices, settings)
        for name, text, result in out.progress(asked, "answers", total):
            if isinstance(result, Failure):
                out.failure(name, result.error, question=text)
            else:
                _show(out, name, text, result, several=questions is not None)
                if questions is not None:
                    told += tell_doubts([text], model, out, told=told)


def _show(out: Output, name: str, question: str, answer: Answer, *, several: bool) -> None:
    shown = with_percent(answer.answer, answer.confidence)
    if answer.abstained:
        shown = f"not sure (perhaps {shown})"
    others = ", ".join(
        with_percent(one.answer, one.confidence) for one in answer.alternatives if one.answer != answer.answer
    )
    cells = (name, question, shown, others) if several else (name, shown, others)
    out.result({"photo": name, "question": question, **asdict(answer)}, *cells)


def _from_file(
    model: AnyModel, queries: Iterable[Query], choices: list[str] | None, settings: dict[str, Any]
) -> Iterator[tuple[str, str, Answer | Failure]]:
    from seetell.core.errors import TaskUnavailable, UsageError
    from seetell.core.results import Failure

    # Neighbours that choose among the same answers are asked together: a batch at a time.
    for (readable, own), group in groupby(queries, key=lambda query: (query.error is None, query.answers)):
        if not readable:
            yield from ((query.photo, query.question, Failure(query.photo, query.error)) for query in group)
            continue
        pairs = ((query.photo, query.question) for query in group)
        try:
            for (photo, question), result in stream(model, "ask", pairs, answers=own or choices, **settings):
                yield photo, question, result
        except TaskUnavailable:
            raise
        except UsageError as error:
            if own is None:
                raise
            # Answers that the model cannot choose among, found before the first pair was taken: they are
            # these lines' fault, and the other lines go on.
            for photo, question in pairs:
                yield photo, question, Failure(photo, error)


def _read(source: str) -> Iterator[Query]:
    """The questions of a JSONL file; a line that breaks the format becomes a Query with its error.

    Raises UsageError when the file cannot be opened.
    """
    from seetell.core.errors import UsageError

    if source == STDIN:
        yield from _parsed(sys.stdin.buffer, "<stdin>", Path())
        return
    try:
        file = open(source, "rb")  # noqa: SIM115 (closed by the with below; opened apart for its error)
    except OSError as error:
        raise UsageError(f"--questions: {source} cannot be read ({error.strerror})") from error
    with file:
        yield from _parsed(file, source, Path(source).parent)


def _lines(source: str) -> int | None:
    """How many questions a file holds; None for what can be read only once."""
    if not Path(source).is_file():
        return None
    with open(source, "rb") as file:
        return sum(bool(line.strip()) for line in file)


def _parsed(lines: Iterable[bytes], source: str, folder: Path) -> Iterator[Query]:
    for number, line in enumerate(lines, 1):
        if line.strip():
            yield _query(line, f"{source}:{number}", folder)


def _query(line: bytes, where: str, folder: Path) -> Query:
    from seetell.core.errors import DataError

    try:
        fields = json.loads(line)
    except ValueError as error:
        return Query(where, "", error=DataError(f"{where}: not JSON ({error})"))
    if not isinstance(fields, dict):
        return Query(where, "", error=DataError(f"{where}: not a JSON object"))
    photo, question, answers = fields.get("photo"), fields.get("question"), fields.get("answers")
    for name, value in (("photo", photo), ("question", question)):
        if not isinstance(value, str) or not value.strip():
            wrong = DataError(f'{where}: "{name}" is missing or no text')
            return Query(photo if isinstance(photo, str) else where, "", error=wrong)
    if answers is not None and not (
        isinstance(answers, list) and answers and all(isinstance(one, str) and one.strip() for one in answers)
    ):
        return Query(str(photo), str(question), error=DataError(f'{where}: "answers" is no list of texts'))
    return Query(str(folder / str(photo)), str(question), answers)
