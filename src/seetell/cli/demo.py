"""``seetell demo``: what the model sees in sample photos, or in your own."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from seetell.cli.caption import shown
from seetell.cli.inputs import expand
from seetell.cli.options import Shared, open_model, shared_options
from seetell.cli.output import Output, percent

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from seetell.tasks.api import AnyModel

# What is asked about a sample photo.
QUESTIONS = {
    "astronaut.jpg": "what color is the suit?",
    "camera.jpg": "what is the man holding?",
    "chelsea.jpg": "what animal is this?",
    "coffee.jpg": "what is in the cup?",
    "rocket.jpg": "what is in the picture?",
}
SCENE_QUESTIONS = ("what shape is in the image?", "what color is the shape?", "is there a circle?")
OWN_QUESTIONS = ("what is in the picture?", "what color is the largest object?")
SAMPLE_QUERIES = ("a close-up of a cat", "a person in an orange suit", "一个拿着相机的男人", "a blue circle")
# Of each search so many are shown.
_SHOWN = 2
OWN_QUERIES = ("people outdoors", "an animal", "a building", "食物")


@dataclass(frozen=True, slots=True)
class Sample:
    """One picture of the demo: what it is called, what to decode, and what to ask about it."""

    name: str
    photo: Any
    questions: tuple[str, ...] = OWN_QUESTIONS


@shared_options
def demo(
    photos: Annotated[
        list[str] | None, typer.Argument(metavar="PHOTO", help="Your photos in place of the samples.")
    ] = None,
    *,
    shared: Shared,
) -> None:
    """Caption, question and search sample photos. Or yours, if you give some."""
    with Output(json=shared.json, pretty=not shared.json, quiet=shared.quiet) as out:
        samples = [Sample(path, path) for path in expand(photos, out.note)] if photos else _samples()
        started = time.perf_counter()
        model = open_model(shared)
        samples = _readable(model, samples, out)
        if not samples:
            return
        ready_s = time.perf_counter() - started
        out.heading(f"{model.name}, {model.precision} on {model.device}: ready in {ready_s:.1f} s")
        if "caption" in model.tasks:
            _captions(model, samples, out)
        if "ask" in model.tasks:
            _answers(model, samples, out)
        if "embed" in model.tasks:
            _search(model, samples, OWN_QUERIES if photos else SAMPLE_QUERIES, out)


def _samples() -> list[Sample]:
    from seetell.cli.demo_scenes import SCENES, draw, sample_photos

    return [
        *(Sample(path.name, str(path), (QUESTIONS[path.name],)) for path in sample_photos()),
        *(Sample(scene.name, draw(scene), SCENE_QUESTIONS) for scene in SCENES),
    ]


def _readable(model: AnyModel, samples: Sequence[Sample], out: Output) -> list[Sample]:
    """The samples that decode. Also the first run, in which the engine compiles what it needs."""
    from seetell.core.results import Failure

    readable = []
    verb = "embed_images" if "embed" in model.tasks else "caption"
    seen = model.stream(verb, [sample.photo for sample in samples])
    for sample, result in zip(samples, out.progress(seen, "looking", len(samples)), strict=True):
        if isinstance(result, Failure):
            out.failure(sample.name, result.error)
        else:
            readable.append(sample)
    return readable


def _captions(model: AnyModel, samples: Sequence[Sample], out: Output) -> None:
    photos = [sample.photo for sample in samples]
    languages = [language for language in ("en", "zh") if language in model.languages] or ["en"]
    written = {}
    started = time.perf_counter()
    for language in languages:
        stream = model.stream("caption", photos, language=language)
        written[language] = list(out.progress(stream, f"captions, {language}", len(photos)))
    spent_s = time.perf_counter() - started
    if out.json:
        for captions in written.values():
            for sample, found in zip(samples, captions, strict=True):
                out.result({"photo": sample.name, **asdict(found)})
        return
    rows: list[tuple[dict[str, Any], tuple[str, ...]]] = [
        ({}, (sample.name, *(shown(written[language][number]) for language in languages)))
        for number, sample in enumerate(samples)
    ]
    out.results(rows, ("photo", *languages), "Captions")
    _pace(out, spent_s, len(photos) * len(languages), "caption")


def _answers(model: AnyModel, samples: Sequence[Sample], out: Output) -> None:
    asked = [(sample, question) for sample in samples for question in sample.questions]
    started = time.perf_counter()
    answers = model.stream("ask", [(sample.photo, question) for sample, question in asked])
    rows: list[tuple[dict[str, Any], tuple[str, ...]]] = []
    last = ""
    for (sample, question), answer in zip(asked, out.progress(answers, "answers", len(asked)), strict=True):
        fields = {"photo": sample.name, "question": question, **asdict(answer)}
        name, last = "" if sample.name == last else sample.name, sample.name
        said = f"not sure (perhaps {answer.answer})" if answer.abstained else answer.answer
        rows.append((fields, (name, question, said, percent(answer.confidence))))
    out.results(rows, ("photo", "question", "answer", "confidence"), "Answers")
    _pace(out, time.perf_counter() - started, len(asked), "answer")


def _search(model: AnyModel, samples: Sequence[Sample], queries: Sequence[str], out: Output) -> None:
    started = time.perf_counter()
    images = model.embed_images([sample.photo for sample in samples])
    texts = model.embed_texts(list(queries))
    spent_s = time.perf_counter() - started
    rows: list[tuple[dict[str, Any], tuple[str, ...]]] = []
    for query, text in zip(queries, texts, strict=True):
        found, nearest = _found(model, query, text, images)
        fields = {
            "query": query,
            "found": [
                {"photo": samples[i].name, "score": score, "probability": chance}
                for i, score, chance in found
            ],
        }
        cells = [
            f"{samples[i].name} {score:.2f}" if chance is None else f"{samples[i].name} {percent(chance)}"
            for i, score, chance in found
        ] or [f"none fits (at best {percent(nearest)})"]
        rows.append((fields, (query, *cells, *[""] * (_SHOWN - len(cells)))))
    out.results(rows, ("looking for", "first", "second"), f"Search over {len(samples)} pictures")
    _pace(out, spent_s, len(samples) + len(queries), "picture or query")


def _found(
    model: AnyModel, query: str, text: NDArray[np.float32], images: NDArray[np.float32]
) -> tuple[list[tuple[int, float, float | None]], float | None]:
    """What ``seetell search`` would show first: (which image, score, probability); and the best probability.
    text: float32[S]. images: float32[N, S], N at least 1."""
    from seetell.search.chances import Chances
    from seetell.search.rows import Scored

    scores = (images @ text).tolist()
    order = sorted(range(len(scores)), key=lambda i: -scores[i])
    fitting = model.fitting(query, text)
    if fitting is None:
        return [(i, scores[i], None) for i in order[:_SHOWN]], None
    seen = [Scored("", scores[i], str(i).encode(), images[i]) for i in order]
    kept = Chances(fitting, None).kept(seen, images)[:_SHOWN]
    best = float(fitting.chances(images, images).max())
    return [(int(one.content), one.score, chance) for one, chance in kept], best


def _pace(out: Output, spent_s: float, count: int, what: str) -> None:
    out.remark(f"{1000 * spent_s / count:.0f} ms per {what}")
