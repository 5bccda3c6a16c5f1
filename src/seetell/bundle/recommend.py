"""Which model? Candidates filtered by what one has, ordered by what was measured of them, with reasons.

Figures of different metrics, datasets or settings cannot be compared, so there is no single order: models
stand in groups of comparable figures, best first within a group, and those without a figure come last.
Times are estimates: counted operations over the rate this machine reaches in matrix products.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from seetell.bundle.catalogue import (
    MULTILINGUAL,
    TASK_OF,
    Entry,
    Figure,
    Purpose,
    RunPrecision,
    weights_bytes,
)
from seetell.bundle.flops import Work
from seetell.bundle.manifest import Task
from seetell.core.errors import UsageError

# The part of the rate a whole network reaches. Measured with OpenVINO on 2 cores of an AMD EPYC (Zen 4):
# vision transformers of 50 to 577 tokens ran at 0.7 to 0.8 of the best matrix product in bf16 and 0.85 to 0.9
# in fp32, less what decoding and resizing the photo takes; single decoder steps, which read all weights for
# one token, at 0.05 in both.
PARALLEL_EFFICIENCY = 0.6
STEPWISE_EFFICIENCY = 0.05

# Beside the weights: Python, OpenVINO and the libraries (130 MB as measured), and one photo's activations
# (577 tokens x (4 + 8) x width 1024 x 4 bytes, 28 MB, for the largest known here) with room to spare.
ALLOWANCE_BYTES = 200_000_000

# The metric a purpose is decided by, as papers call it; those seetell's own `evaluate` writes, best first.
METRIC: dict[Purpose, str] = {
    "caption": "CIDEr",
    "ask": "VQA accuracy",
    "search": "text-to-image R@1",
}
MEASURED: dict[Purpose, tuple[str, ...]] = {
    "caption": ("captions.cider",),
    # Not VQA accuracy, which `evaluate` also records of sets with too few answers a question for it to mean
    # anything; how many there were, a manifest does not say.
    "ask": ("vqa.exact_match",),
    "search": ("text_to_image.r1",),
}
_PLAIN_NAMES = {
    "captions.cider": "CIDEr-D",
    "vqa.exact_match": "exact match",
    "text_to_image.r1": "text-to-image R@1",
}
MEASURED_SETTING = "measured by seetell"
# The split that `compress` measured a few photos of, to compare two precisions.
GATE = "gate"
ZERO_SHOT = "zero-shot"
NO_FIGURE = "no published figure here"

# ISO 639: a name such as "chinese" would otherwise pass as a language nobody has measured.
_LANGUAGE = re.compile(r"[a-z]{2,3}")


@dataclass(frozen=True, slots=True)
class Speed:
    """A measured rate in 10^9 operations a second, and the precision models run in here."""

    rate_gflops: float
    precision: RunPrecision


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model to choose from. ``work`` holds what was counted, by purpose; ``here``: on this machine."""

    name: str
    tasks: tuple[Task, ...]
    languages: tuple[str, ...]
    parameters: int
    licence: str
    precision: RunPrecision
    work: Mapping[Purpose, Work]
    figures: tuple[Figure, ...] = ()
    note: str = ""
    here: bool = False

    @property
    def memory_bytes(self) -> int:
        """Weights in the precision it runs in, and the allowance."""
        return weights_bytes(self.parameters, self.precision) + ALLOWANCE_BYTES


@dataclass(frozen=True, slots=True)
class Placed:
    """A model that fits. ``rank`` counts from 1 over all, ``rank_in_group`` over those comparable with it;
    ``figure`` is the one that places it, None without any."""

    candidate: Candidate
    rank: int
    group: str
    rank_in_group: int
    figure: Figure | None
    latency_ms: float | None
    why: str


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A model for the purpose that breaks a limit. ``excess`` is by what factor, the worst of them; infinite
    for what no larger limit would mend."""

    candidate: Candidate
    latency_ms: float | None
    why: str
    excess: float


@dataclass(frozen=True, slots=True)
class Ranking:
    """``placed`` best first, ``left_out`` nearest first."""

    placed: tuple[Placed, ...]
    left_out: tuple[LeftOut, ...]


@dataclass(frozen=True, slots=True)
class _Limits:
    purpose: Purpose
    language: str | None
    memory_mb: float | None
    latency_ms: float | None

    def __str__(self) -> str:
        parts = [f"in {self.memory_mb:,g} MB"] if self.memory_mb is not None else []
        parts += [f"in {self.latency_ms:,g} ms"] if self.latency_ms is not None else []
        return " and ".join(parts)


def candidate_of(entry: Entry, precision: RunPrecision, here: bool = False) -> Candidate:
    """A known checkpoint as a candidate that would run in ``precision``."""
    work = {purpose: found for purpose in TASK_OF if (found := entry.work(purpose)) is not None}
    return Candidate(
        name=entry.hub_id,
        tasks=entry.tasks,
        languages=entry.languages,
        parameters=entry.parameters,
        licence=entry.licence,
        precision=precision,
        work=work,
        figures=entry.figures,
        note=entry.note,
        here=here,
    )


def metric_name(figure: Figure) -> str:
    """What a figure's metric is called."""
    return _PLAIN_NAMES.get(figure.metric, figure.metric)


def dataset_name(figure: Figure) -> str:
    """What a figure's data set is called, without how its photos were held out."""
    return figure.dataset.partition(", ")[0]


def value_text(figure: Figure) -> str:
    """A figure's value, with no more than two digits after the point."""
    return f"{round(figure.value, 2):g}"


def estimated_ms(work: Work, speed: Speed) -> float:
    """The time of so much work here, an estimate. int8 is reckoned at the rate of ``speed``, so too slow."""
    rate_per_ms = speed.rate_gflops * 1e6
    parallel = work.parallel_flops / (rate_per_ms * PARALLEL_EFFICIENCY)
    return parallel + work.stepwise_flops / (rate_per_ms * STEPWISE_EFFICIENCY)


def recommend(
    candidates: Sequence[Candidate],
    purpose: str,
    speed: Speed,
    *,
    language: str | None = None,
    memory_mb: float | None = None,
    latency_ms: float | None = None,
) -> Ranking:
    """Order the candidates that can do ``purpose`` and fit.

    Args:
        candidates: in any order; the result does not depend on it.
        purpose: ``caption``, ``ask`` or ``search``.
        language: of the texts, such as ``zh``; by default any.
        memory_mb: for weights and allowance, in 10^6 bytes; by default no limit.
        latency_ms: for one photo: its caption, one answer about it, or its vector for a search index.

    Raises UsageError for an unknown purpose, no code of a language, or a limit that is no number above 0.
    """
    if purpose not in TASK_OF:
        raise UsageError(f"task {purpose!r} is unknown; choose from {', '.join(TASK_OF)}")
    for name, limit in (("memory", memory_mb), ("latency", latency_ms)):
        if limit is not None and not (math.isfinite(limit) and limit > 0):
            raise UsageError(f"the {name} limit is a number above 0, not {limit}")
    if language is not None and not _LANGUAGE.fullmatch(language):
        raise UsageError(f"language {language!r} is no code of a language; give one such as en or zh")
    limits = _Limits(purpose, language, memory_mb, latency_ms)
    fitting: list[tuple[Candidate, float | None]] = []
    left_out: list[LeftOut] = []
    for one in candidates:
        # A model that only matches could serve a search, one photo at a time; why it is not here is told.
        if TASK_OF[limits.purpose] not in one.tasks and not (purpose == "search" and "match" in one.tasks):
            continue
        work = one.work.get(limits.purpose)
        time_ms = None if work is None else estimated_ms(work, speed)
        reasons = _reasons(one, limits, work, time_ms)
        if reasons:
            why = "left out: " + "; ".join(reason for reason, _ in reasons)
            left_out.append(LeftOut(one, time_ms, why, max(excess for _, excess in reasons)))
        else:
            fitting.append((one, time_ms))
    left_out.sort(key=lambda found: (found.excess, found.candidate.name))
    return Ranking(_placed(fitting, limits), tuple(left_out))


def _reasons(
    one: Candidate, limits: _Limits, work: Work | None, time_ms: float | None
) -> list[tuple[str, float]]:
    """Why a candidate does not fit, each with the factor by which it breaks the limit."""
    reasons: list[tuple[str, float]] = []
    able = TASK_OF[limits.purpose] in one.tasks
    if not able:
        reason = "it scores one text with one photo at a time, so it makes no index (it can `match`)"
        reasons.append((reason, math.inf))
    if not _speaks(one, limits.language):
        reasons.append((f"its language is {', '.join(one.languages)}, not {limits.language}", math.inf))
    needed_mb = one.memory_bytes / 1e6
    if limits.memory_mb is not None and needed_mb > limits.memory_mb:
        millions = f"{one.parameters / 1e6:,.0f} M" if one.parameters >= 1e6 else f"{one.parameters:,}"
        reason = f"{millions} parameters need about {needed_mb:,.0f} MB in {one.precision}"
        reasons.append((f"{reason}, not {limits.memory_mb:,g}", needed_mb / limits.memory_mb))
    if limits.latency_ms is not None and able:
        if work is None or time_ms is None:
            reasons.append(("its time cannot be estimated", math.inf))
        elif time_ms > limits.latency_ms:
            reason = f"{work.flops / 1e9:,.3g} GFLOPs take about {time_ms:,.0f} ms here"
            reasons.append((f"{reason}, not {limits.latency_ms:,g}", time_ms / limits.latency_ms))
    return reasons


def _speaks(one: Candidate, language: str | None) -> bool:
    return language is None or language in one.languages or MULTILINGUAL in one.languages


# --- the order ------------------------------------------------------------------------------------------

_GroupKey = tuple[str, str, str, str]


def _placing_figure(one: Candidate, limits: _Limits) -> Figure | None:
    """The figure that places a candidate: published before measured here, COCO before other sets, as most
    models have one there, and of those measured the first in the manifest, but for the gate's. It is in the
    language asked for: how a model does in one says nothing of another."""
    names = (METRIC[limits.purpose], *MEASURED[limits.purpose])
    usable = [
        figure
        for figure in one.figures
        if figure.task == limits.purpose
        and figure.metric in names
        and limits.language in (None, figure.language)
    ]
    return min(
        usable,
        key=lambda figure: (
            names.index(figure.metric),
            _is_gates(figure),
            figure.dataset != "COCO",
            "" if figure.setting == MEASURED_SETTING else figure.dataset,
            figure.setting,
            "" if figure.setting == MEASURED_SETTING else figure.language,
        ),
        default=None,
    )


def _is_gates(figure: Figure) -> bool:
    return figure.setting == MEASURED_SETTING and figure.dataset.endswith(f" {GATE}")


def _elsewhere(one: Candidate, figure: Figure, language: str | None) -> str:
    """What the same metric was on the other sets it was measured on."""
    if figure.setting != MEASURED_SETTING:
        return ""
    others = [
        f"{value_text(other)} on {dataset_name(other)}"
        for other in one.figures
        if (other.metric, other.setting) == (figure.metric, figure.setting)
        and other.dataset != figure.dataset
        and not _is_gates(other)
        and language in (None, other.language)
    ]
    return f"; elsewhere {', '.join(others)}" if others else ""


def _group_key(figure: Figure) -> _GroupKey:
    return figure.metric, figure.dataset, figure.setting, figure.language


def _named(figure: Figure) -> str:
    return f"{metric_name(figure)} on {dataset_name(figure)}, {figure.setting}"


def _placed(fitting: list[tuple[Candidate, float | None]], limits: _Limits) -> tuple[Placed, ...]:
    groups: dict[_GroupKey, list[tuple[Candidate, float | None, Figure]]] = {}
    without: list[tuple[Candidate, float | None]] = []
    for one, time_ms in fitting:
        figure = _placing_figure(one, limits)
        if figure is None:
            without.append((one, time_ms))
        else:
            groups.setdefault(_group_key(figure), []).append((one, time_ms, figure))
    placed: list[Placed] = []
    # Published before measured here, untaught before taught on such data; then what compares most models.
    order = {ZERO_SHOT: 0, MEASURED_SETTING: 2}
    for key in sorted(groups, key=lambda key: (order.get(key[2], 1), -len(groups[key]), key)):
        members = sorted(groups[key], key=lambda member: (-member[2].value, *_cost(member[0], member[1])))
        for number, (one, time_ms, figure) in enumerate(members):
            why = _why(number, members, limits) + _warning(figure) + _elsewhere(one, figure, limits.language)
            place = len(placed) + 1
            placed.append(Placed(one, place, _named(figure), number + 1, figure, time_ms, why))
    without.sort(key=lambda member: _cost(*member))
    for number, (one, time_ms) in enumerate(without, 1):
        why = f"fits, but {_missing(one, limits)} to place it by; these stand by estimated time"
        placed.append(Placed(one, len(placed) + 1, NO_FIGURE, number, None, time_ms, why))
    return tuple(placed)


def _cost(one: Candidate, time_ms: float | None) -> tuple[float, int, str]:
    return (math.inf if time_ms is None else time_ms, one.parameters, one.name)


def _missing(one: Candidate, limits: _Limits) -> str:
    if limits.language is None:
        return f"there is no {METRIC[limits.purpose]} figure"
    made_for = "" if limits.language in one.languages else "it was made for many languages and "
    return f"{made_for}there is no {METRIC[limits.purpose]} figure for {limits.language}"


def _why(number: int, members: list[tuple[Candidate, float | None, Figure]], limits: _Limits) -> str:
    figure = members[number][2]
    what = _named(figure)
    among = f"those that fit {limits}".rstrip() if str(limits) else "the known models"
    if len(members) == 1:
        return f"the only one with this figure ({what}) among {among}"
    if number == 0:
        return f"the best figure ({what}) among {among}"
    before = members[number - 1]
    if before[2].value == figure.value:
        return f"the figure of {before[0].name} ({value_text(figure)}), but more costly here"
    behind = f"behind {before[0].name} ({value_text(before[2])})"
    return f"{metric_name(figure)} {value_text(figure)}, {behind}"


def _warning(figure: Figure) -> str:
    if figure.setting == MEASURED_SETTING:
        return "; measured by seetell on a set of its own, so not comparable with published figures"
    if figure.setting != ZERO_SHOT:
        return f"; it was {figure.setting}, so expect less on other photos"
    return ""
