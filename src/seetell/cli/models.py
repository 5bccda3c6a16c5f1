"""``seetell models``: which models there are, what they are, and which to use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from seetell.cli.model_list import list_known, list_stored
from seetell.cli.options import JsonOption, convert_first, option
from seetell.cli.output import Output, size

if TYPE_CHECKING:
    from seetell.bundle.manifest import Manifest
    from seetell.bundle.store import Bundle

app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="List, show, recommend, fetch and remove models."
)

ModelArgument = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="builtin, a bundle's folder, a name `models list` gives, or a hub id (OWNER/NAME, or "
        "modelscope:OWNER/NAME).",
    ),
]


@app.command("list")
def list_models(json: JsonOption = False) -> None:
    """List the models on this machine, then the known public checkpoints."""
    from seetell.bundle.store import list_bundles

    with Output(json=json) as out:
        stored = list_bundles()
        if stored:
            list_stored(stored, out)
        else:
            out.note("no models here: this installation has no built-in one, and none were converted")
        here = {one.manifest.source.hub_id for one in stored if one.manifest is not None}
        list_known(here, out)


@app.command("recommend")
def recommend(
    task: Annotated[Literal["caption", "ask", "search"], option("--task", help="Choose a model for this.")],
    language: Annotated[
        str | None,
        option(
            "--language",
            metavar="LANGUAGE",
            help="Leave out models that lack this language, such as en or zh.",
            show_default="any",
        ),
    ] = None,
    memory_mb: Annotated[
        float | None,
        option(
            "--memory-mb",
            metavar="MB",
            help="Leave out models that take more memory.",
            show_default="no limit",
        ),
    ] = None,
    latency_ms: Annotated[
        float | None,
        option(
            "--latency-ms",
            metavar="MS",
            help="Leave out models that take longer for a photo.",
            show_default="no limit",
        ),
    ] = None,
    measure: Annotated[
        bool, option("--measure", help="Measure this machine's speed again, if it was busy the last time.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Rank the known models by published quality, size and the time estimated for this machine."""
    from seetell.bundle.recommend import Speed
    from seetell.bundle.recommend import recommend as rank
    from seetell.cli.recommendation import gather, nothing_fits, show
    from seetell.core.errors import BundleNotFound
    from seetell.runtime.gemm_rate import measure_gemm_rate

    with Output(json=json) as out:
        rate = measure_gemm_rate(again=measure)
        ranking = rank(
            gather(rate, task, out),
            task,
            Speed(rate.rate_gflops, rate.precision),
            language=language.strip().lower() if language else None,
            memory_mb=memory_mb,
            latency_ms=latency_ms,
        )
        show(ranking, rate, task, out)
        if not ranking.placed:
            raise BundleNotFound(nothing_fits(ranking, task, language))


@app.command("show")
def show(model: ModelArgument = "builtin", json: JsonOption = False) -> None:
    """Show what a model can do, its licence, its training data and what was measured."""
    from seetell.bundle.store import resolve

    with Output(json=json) as out:
        bundle = resolve(model)
        manifest = bundle.manifest
        if out.json:
            # Lists of thousands, and vectors, tell people nothing.
            left_out: Any = {"files": True, "config": True, "answers": True, "labels": True}
            left_out["score"] = {"background": True, "captions": {"__all__": {"things"}}}
            document = manifest.model_dump(mode="json", exclude=left_out)
            counts = {"n_answers": len(manifest.answers), "n_labels": len(manifest.labels)}
            out.result({**document, **counts, "folder": str(bundle.folder), "size_bytes": bundle.size_bytes})
            return
        out.results(
            [({}, row) for row in _description(bundle)], ("", ""), f"{manifest.name} {manifest.version}"
        )
        if out.pretty:
            for title, rows in _measured_together(manifest).items():
                out.results([({}, row) for row in rows], MEASUREMENT_HEADERS[:-2], title)
        elif manifest.measurements:
            out.results([({}, row) for row in _measurements(manifest)], MEASUREMENT_HEADERS, "Measured")


@app.command("pull")
def pull(model: ModelArgument) -> None:
    """Make sure a model is here and whole, from a hub if need be: every file is compared with its hash."""
    bundle = convert_first(model)
    bundle.verify(full=True)
    with Output(json=False) as out:
        out.note(f"{bundle.manifest.name}: complete, {size(bundle.size_bytes)} in {bundle.folder}")


@app.command("remove")
def remove(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A name that `models list` gives.")],
) -> None:
    """Delete a model from the cache."""
    from seetell.bundle.store import remove as remove_bundle

    with Output(json=False) as out:
        out.note(f"{model}: removed, {size(remove_bundle(model))} freed")


MEASUREMENT_HEADERS = ("task", "dataset", "metric", "value", "95% interval", "precision", "machine")


def _measurements(manifest: Manifest) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for one in manifest.measurements:
        interval = f"{one.interval[0]:.2f} to {one.interval[1]:.2f}" if one.interval else "–"
        dataset = f"{one.dataset} {one.split}"
        value = f"{one.value:.2f}"
        rows.append((one.task, dataset, one.metric, value, interval, one.precision, one.machine))
    return rows


def _measured_together(manifest: Manifest) -> dict[str, list[tuple[str, ...]]]:
    """The measurements by what they were made in and on, which a narrow table has no room to repeat."""
    tables: dict[str, list[tuple[str, ...]]] = {}
    for *row, precision, machine in _measurements(manifest):
        tables.setdefault(f"Measured in {precision} on {machine}", []).append(tuple(row))
    return tables


def _description(bundle: Bundle) -> list[tuple[str, str]]:
    manifest = bundle.manifest
    precisions = sorted({name for graph in manifest.graphs.values() for name in graph.files})
    source = " ".join(str(value) for value in manifest.source.model_dump(exclude_none=True).values() if value)
    rows: list[tuple[str, Any]] = [
        ("can", " ".join(manifest.tasks)),
        ("languages", " ".join(manifest.languages)),
        ("licence", manifest.licence),
        ("trained on", "; ".join(f"{one.name} ({one.terms})" for one in manifest.data)),
        ("source", source),
        ("graphs", f"{', '.join(manifest.graphs)} ({', '.join(precisions)})"),
        ("photos", f"{manifest.image.height} x {manifest.image.width} px" if manifest.image else ""),
        ("answers", f"{len(manifest.answers)} in a closed list" if manifest.answers else ""),
        ("labels", f"{len(manifest.labels)}" if manifest.labels else ""),
        ("size", size(bundle.size_bytes)),
        ("folder", str(bundle.folder)),
    ]
    return [(name, value) for name, value in rows if value]
