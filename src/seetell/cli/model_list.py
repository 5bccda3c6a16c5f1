"""``seetell models list``: the models on this machine, then the known public checkpoints."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from seetell.cli.output import Output, size
from seetell.cli.recommendation import asdict_figure, block, short_licence

if TYPE_CHECKING:
    from seetell.bundle.catalogue import Entry
    from seetell.bundle.store import StoredBundle

HEADERS = ("name", "size", "licence", "can")

# A table of these columns is readable from here on; below, each model is a paragraph.
TABLE_WIDTH = 100

Row = tuple[Mapping[str, Any], Sequence[str]]


def list_stored(stored: Sequence[StoredBundle], out: Output) -> None:
    """The models on this machine."""
    rows: list[Row] = []
    for one in stored:
        manifest = one.manifest
        tasks = list(manifest.tasks) if manifest else []
        fields = {
            "name": one.name,
            "where": "here",
            "folder": str(one.folder),
            "size_bytes": one.size_bytes,
            "tasks": tasks,
            "languages": list(manifest.languages) if manifest else [],
            "licence": manifest.licence if manifest else None,
            "hub_id": manifest.source.hub_id if manifest else None,
            "problem": one.problem,
        }
        licence = short_licence(manifest.licence) if manifest else "–"
        rows.append((fields, (one.name, size(one.size_bytes), licence, one.problem or " ".join(tasks))))
    _print(rows, "On this machine", "here", out)


def list_known(here: Collection[str | None], out: Output) -> None:
    """The known public checkpoints but those in ``here``, by hub id: they were listed already."""
    from seetell.bundle.catalogue import known_models

    rows: list[Row] = []
    for entry in known_models():
        if any(name in here for name in (entry.hub_id, *entry.aliases)):
            continue
        fields = _fields(entry)
        tasks = " ".join(entry.tasks) or "to build models from"
        shown = (entry.hub_id, size(fields["size_bytes"]), short_licence(entry.licence), tasks)
        rows.append((fields, shown))
    _print(rows, "Known public checkpoints, not on this machine (size: weights in fp32)", "public", out)
    if not out.json:
        out.note("To have one here: seetell convert NAME OUT. To choose one: seetell models recommend.")


def _fields(entry: Entry) -> dict[str, Any]:
    from seetell.bundle.catalogue import BYTES_PER_PARAMETER, weights_bytes

    sizes = {precision: weights_bytes(entry.parameters, precision) for precision in BYTES_PER_PARAMETER}
    return {
        "name": entry.hub_id,
        "where": "public",
        "folder": None,
        "size_bytes": sizes["fp32"],
        "tasks": list(entry.tasks),
        "languages": list(entry.languages),
        "licence": entry.licence,
        "hub_id": entry.hub_id,
        "problem": None,
        "aliases": list(entry.aliases),
        "family": entry.family,
        "parameters": entry.parameters,
        "weights_bytes": sizes,
        "figures": [asdict_figure(figure) for figure in entry.figures],
        "note": entry.note,
    }


def _print(rows: Sequence[Row], title: str, where: str, out: Output) -> None:
    if not out.pretty:
        # Line by line the two lists would run into one another, so each line says where its model is.
        out.results([(fields, (*cells, where)) for fields, cells in rows], (*HEADERS, "where"), title)
    elif shutil.get_terminal_size((80, 24)).columns >= TABLE_WIDTH:
        out.results(rows, HEADERS, title)
    else:
        out.heading(title)
        for _, (name, weight, licence, can) in rows:
            out.show(block(name, [f"{weight}, licence: {licence}", can]))
