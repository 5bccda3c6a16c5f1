"""``seetell models``: which models are here, and what they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from seetell.cli.options import JsonOption
from seetell.cli.output import Output, size

if TYPE_CHECKING:
    from seetell.bundle.manifest import Manifest
    from seetell.bundle.store import Bundle

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="List, show, fetch and remove models.")

ModelArgument = Annotated[
    str, typer.Argument(metavar="MODEL", help="builtin, a bundle's folder, or a name `models list` gives.")
]


@app.command("list")
def list_models(json: JsonOption = False) -> None:
    """List the models on this machine."""
    from seetell.bundle.store import list_bundles

    with Output(json=json) as out:
        rows = []
        for stored in list_bundles():
            manifest = stored.manifest
            tasks = list(manifest.tasks) if manifest else []
            fields = {
                "name": stored.name,
                "folder": str(stored.folder),
                "size_bytes": stored.size_bytes,
                "tasks": tasks,
                "licence": manifest.licence if manifest else None,
                "problem": stored.problem,
            }
            rows.append((fields, (stored.name, size(stored.size_bytes), stored.problem or " ".join(tasks))))
        if rows:
            out.results(rows, ("name", "size", "can"), "Models")
        else:
            out.note("no models here: this installation has no built-in one, and none were converted")


@app.command("show")
def show(model: ModelArgument = "builtin", json: JsonOption = False) -> None:
    """Show what a model can do, its licence, its training data and what was measured."""
    from seetell.bundle.store import resolve

    with Output(json=json) as out:
        bundle = resolve(model)
        manifest = bundle.manifest
        if out.json:
            document = manifest.model_dump(mode="json", exclude={"files", "config", "answers", "labels"})
            counts = {"n_answers": len(manifest.answers), "n_labels": len(manifest.labels)}
            out.result({**document, **counts, "folder": str(bundle.folder), "size_bytes": bundle.size_bytes})
            return
        out.results(
            [({}, row) for row in _description(bundle)], ("", ""), f"{manifest.name} {manifest.version}"
        )
        if manifest.measurements:
            out.results([({}, row) for row in _measurements(manifest)], MEASUREMENT_HEADERS, "Measured")


@app.command("pull")
def pull(model: ModelArgument) -> None:
    """Make sure a model is here and whole: every file is compared with its recorded hash."""
    from seetell.bundle.store import resolve

    bundle = resolve(model, offline=False)
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
