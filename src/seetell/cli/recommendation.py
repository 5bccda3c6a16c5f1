"""``seetell models recommend``: gathering what there is to choose from, and showing the choice."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from seetell.cli.output import Output, size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

    from seetell.bundle.catalogue import Figure, Purpose
    from seetell.bundle.flops import Work
    from seetell.bundle.recommend import Candidate, LeftOut, Placed, Ranking
    from seetell.bundle.store import Bundle
    from seetell.runtime.gemm_rate import GemmRate


def gather(rate: GemmRate, purpose: Purpose, out: Output) -> list[Candidate]:
    """The known checkpoints, those converted already marked, and the built-in model if it is there."""
    from seetell.bundle.catalogue import known_models
    from seetell.bundle.own_model import own_candidate, runs_in_precision
    from seetell.bundle.recommend import candidate_of
    from seetell.bundle.store import BUILTIN, builtin_folder, list_bundles, open_bundle
    from seetell.core.errors import SeetellError

    stored = list_bundles()
    converted = {
        one.manifest.source.hub_id: one.manifest
        for one in stored
        if one.manifest is not None and one.manifest.source.hub_id is not None
    }
    candidates = []
    for entry in known_models():
        manifest = next(
            (converted[name] for name in (entry.hub_id, *entry.aliases) if name in converted), None
        )
        precision = rate.precision if manifest is None else runs_in_precision(manifest, rate.precision)
        candidates.append(candidate_of(entry, precision, here=manifest is not None))
    if any(one.name == BUILTIN for one in stored):
        try:
            bundle = open_bundle(builtin_folder())
            candidates.append(own_candidate(bundle, BUILTIN, rate.precision, _counted(bundle, purpose)))
        except SeetellError as error:
            out.note(f"the built-in model is left out: {error}")
    return candidates


def _counted(bundle: Bundle, purpose: Purpose) -> dict[Purpose, Work]:
    from seetell.runtime.graph_flops import bundle_work

    work = bundle_work(bundle, purpose)
    return {} if work is None else {purpose: work}


def show(ranking: Ranking, rate: GemmRate, purpose: Purpose, out: Output) -> None:
    """Print a ranking: what fits, best first, then what was left out and why."""
    if out.pretty:
        _show_pretty(ranking, out)
    else:
        for placed in ranking.placed:
            fields = {**_place(placed), **_facts(placed.candidate, placed.latency_ms, rate, purpose)}
            figure = "–" if placed.figure is None else figure_text(placed.figure)
            out.result(
                fields, str(placed.rank), *_cells(placed.candidate, figure, placed.latency_ms), placed.why
            )
        for left in ranking.left_out:
            fields = {**_no_place(left), **_facts(left.candidate, left.latency_ms, rate, purpose)}
            out.result(fields, "–", *_cells(left.candidate, "–", left.latency_ms), left.why)
    if not out.json:
        out.note(
            f"Times are estimates for one photo: counted operations over this machine's "
            f"{rate.rate_gflops:,.0f} GFLOP/s in {rate.precision} ({rate.machine})."
        )


def nothing_fits(ranking: Ranking, purpose: Purpose, language: str | None) -> str:
    """The one line that says so, with what comes nearest."""
    near = [one for one in ranking.left_out if math.isfinite(one.excess)]
    if near:
        why = near[0].why.removeprefix("left out: ")
        return f"no known model for {purpose} fits; nearest is {near[0].candidate.name}: {why}"
    spoken = {word for one in ranking.left_out for word in one.candidate.languages}
    if language is not None and language.strip().lower() not in spoken:
        return (
            f"no known model for {purpose} has the language {language}, only: {', '.join(sorted(spoken))}; "
            f"one can be taught with: seetell train"
        )
    return f"no known model for {purpose} fits; allow more memory or time"


def _cells(candidate: Candidate, figure: str, latency_ms: float | None) -> tuple[str, ...]:
    licence = short_licence(candidate.licence)
    return candidate.name, figure, size(candidate.memory_bytes), time_text(latency_ms), licence


def _place(placed: Placed) -> dict[str, Any]:
    return {
        "model": placed.candidate.name,
        "fits": True,
        "rank": placed.rank,
        "group": placed.group,
        "rank_in_group": placed.rank_in_group,
        "why": placed.why,
        "figure": None if placed.figure is None else asdict_figure(placed.figure),
    }


def _no_place(left: LeftOut) -> dict[str, Any]:
    """The same fields, so that one reader takes both."""
    nothing = dict.fromkeys(("rank", "group", "rank_in_group"))
    return {"model": left.candidate.name, "fits": False, **nothing, "why": left.why, "figure": None}


def _facts(
    candidate: Candidate, latency_ms: float | None, rate: GemmRate, purpose: Purpose
) -> dict[str, Any]:
    from seetell.bundle.catalogue import weights_bytes

    work = candidate.work.get(purpose)
    return {
        "figures": [asdict_figure(each) for each in candidate.figures if each.task == purpose],
        "licence": candidate.licence,
        "languages": list(candidate.languages),
        "parameters": candidate.parameters,
        "precision": candidate.precision,
        "weights_bytes": weights_bytes(candidate.parameters, candidate.precision),
        "memory_bytes": candidate.memory_bytes,
        "flops": None if work is None else work.flops,
        "estimated_latency_ms": None if latency_ms is None else round(latency_ms, 1),
        "rate_gflops": round(rate.rate_gflops, 1),
        "rate_precision": rate.precision,
        "machine": rate.machine,
        "here": candidate.here,
        "note": candidate.note,
    }


def asdict_figure(figure: Figure) -> dict[str, Any]:
    """A figure as the fields of a JSON object."""
    return figure.model_dump(mode="json", exclude={"task"})


def figure_text(figure: Figure) -> str:
    """``text-to-image R@1 30.4 on COCO, zero-shot``."""
    from seetell.bundle.recommend import dataset_name, metric_name, value_text

    return f"{metric_name(figure)} {value_text(figure)} on {dataset_name(figure)}, {figure.setting}"


def time_text(latency_ms: float | None) -> str:
    """An estimated time for people: two figures, as it is no more certain than that."""
    if latency_ms is None:
        return "time unknown"
    if latency_ms >= 10_000:
        return f"about {latency_ms / 1000:,.0f} s"
    return f"about {float(f'{latency_ms:.2g}'):,g} ms"


def short_licence(licence: str, longest: int = 28) -> str:
    """A licence as one short cell: its first sentence, cut where that is long."""
    first = licence.split(". ")[0].rstrip(".")
    return first if len(first) <= longest else first[: longest - 1].rstrip() + "…"


# --- on a terminal --------------------------------------------------------------------------------------


def _show_pretty(ranking: Ranking, out: Output) -> None:
    group = None
    for placed in ranking.placed:
        if placed.group != group:
            group = placed.group
            out.heading(group)
        out.show(block(f"{placed.rank}. {placed.candidate.name}", _details(placed)))
        out.succeeded += 1
    if len({placed.group for placed in ranking.placed}) > 1:
        out.remark("Figures of different groups are not comparable: their order says nothing of quality.")
    if ranking.left_out:
        out.heading("Left out")
        for left in ranking.left_out:
            out.show(block(left.candidate.name, [left.why.removeprefix("left out: ")]))


def _details(placed: Placed) -> list[str]:
    candidate = placed.candidate
    lines = []
    if placed.figure is not None:
        lines.append(f"{figure_text(placed.figure)} ({placed.figure.source})")
    memory = f"{size(candidate.memory_bytes)} of memory in {candidate.precision}"
    lines.append(
        f"{candidate.parameters / 1e6:,.0f} M parameters, {memory}, {time_text(placed.latency_ms)} a photo, "
        f"licence: {short_licence(candidate.licence, 60)}"
        + (", on this machine already" if candidate.here else "")
    )
    lines.append(f"Why: {placed.why}.")
    if candidate.note:
        lines.append(f"Note: {candidate.note}.")
    return lines


def block(title: str, lines: Sequence[str]) -> RenderableType:
    """A title and indented lines under it, which wrap at words: readable at any width, unlike a table."""
    from rich.console import Group
    from rich.padding import Padding
    from rich.text import Text

    from seetell.core.lines import printable

    body = [Padding(Text(printable(line)), (0, 0, 0, 3)) for line in lines]
    return Group(Text(printable(title), style="cyan", overflow="fold"), *body)
