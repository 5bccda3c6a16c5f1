"""Ways to run a bundle compared on this machine, by running its own graph in each for a moment.

No flag tells which is fastest: a processor that lists bf16 may compute in it at half the speed of fp32, and
what int8 layers leave in floats may be faster in either. Two graphs speak for all, which would each have to
be compiled every way: the one with most of the arithmetic, bound by that, and the decoder, bound by reading
its weights for every token. What counts is to be near the fastest whatever is asked, of one and of several.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from seetell.bundle.architecture import CAPTION_TOKENS
from seetell.bundle.catalogue import RunPrecision
from seetell.bundle.check import run_cosines
from seetell.core.errors import BundleDamaged, EngineError
from seetell.runtime.engine import Engine
from seetell.runtime.timing import best_times_s
from seetell.runtime.usual_inputs import heaviest_role, usual_inputs

if TYPE_CHECKING:
    from seetell.bundle.manifest import Role
    from seetell.bundle.store import Bundle
    from seetell.runtime.openvino_engine import Floats

BATCHES = (1, 4)
# For the runs of one graph and batch size; compiling comes on top.
_BUDGET_S = 0.3
# A run of one that is as long keeps the machine as busy as one of several, which would be waited for.
_LONG_MS = 100
# Ways as close as this are equally fast, and the more exact one is taken.
_TIE = 1.03
# bf16 rounds; a graph that cannot bear it points elsewhere than its recorded outputs do.
_AGREEMENT = 0.99


@dataclass(frozen=True, slots=True)
class Way:
    """precision: what the bundle runs in. floats: what an int8 graph leaves in floats is computed in."""

    precision: RunPrecision
    floats: Floats = "f32"

    @property
    def name(self) -> str:
        """For people, and for what is kept."""
        return f"int8, rest {self.floats}" if self.precision == "int8" else self.precision


@dataclass(frozen=True, slots=True)
class Comparison:
    """What was found.

    chosen: the way to take. ms: way -> work -> milliseconds, the most exact way first; empty where nothing
    could be measured. A work is ``read 4``, four photos at once (texts, of a model without photos), or
    ``write 4``, these and captions of them. left_out: way -> why it may not be taken.
    """

    chosen: Way
    ms: Mapping[Way, Mapping[str, float]]
    left_out: Mapping[Way, str]

    @property
    def fastest(self) -> Way:
        """Of those that may be taken, by however little; the chosen where none was measured."""
        able = {way: times for way, times in self.ms.items() if way not in self.left_out}
        return min(able, key=partial(behind, able), default=self.chosen)

    def document(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "chosen": self.chosen.name,
            "ms": {way.name: dict(times) for way, times in self.ms.items()},
            "left_out": {way.name: why for way, why in self.left_out.items()},
        }

    @staticmethod
    def of_document(document: Mapping[str, Any], ways: Sequence[Way]) -> Comparison | None:
        """What :meth:`document` gave, of these ways; None for what makes no sense."""
        named = {way.name: way for way in ways}
        try:
            found = Comparison(
                named[document["chosen"]],
                {
                    named[name]: {work: float(took) for work, took in times.items()}
                    for name, times in document["ms"].items()
                },
                {named[name]: str(why) for name, why in document["left_out"].items()},
            )
        except (AttributeError, KeyError, TypeError, ValueError):
            return None
        every = [took for times in found.ms.values() for took in times.values()]
        sensible = found.chosen in found.ms and all(math.isfinite(took) and took > 0 for took in every)
        return found if sensible else None


def compare(
    bundle: Bundle, ways: Sequence[Way], make: Callable[[Way], Engine], *, by_processor: bool
) -> tuple[Comparison, dict[Way, Engine]]:
    """Run the bundle's graphs each way, and choose; and the engines, which still hold them compiled.

    ways: the most exact first, which is chosen where nothing can be measured and then says itself what is
    wrong: a comparison fails no one. make: the engine of a way. by_processor: as ``best_times_s`` has it.
    """
    works = _works(bundle)
    roles = _roles(works)
    engines: dict[Way, Engine] = {}
    left_out: dict[Way, str] = {}
    for way in ways:
        try:
            engine = make(way)
            for role in roles:
                engine.run(role, usual_inputs(bundle.manifest, role, BATCHES[0]))
            engines[way] = engine
        except (EngineError, BundleDamaged) as error:
            left_out[way] = str(error)
    ms = _times(bundle, works, engines, by_processor)
    chosen = ways[0]
    while able := {way: times for way, times in ms.items() if way not in left_out}:
        chosen = choose(able)
        fault = _disagreement(bundle, roles, chosen, engines[chosen])
        if fault is None:
            break
        left_out[chosen], chosen = fault, ways[0]
    return Comparison(chosen, ms, left_out), engines


def _works(bundle: Bundle) -> dict[str, dict[Role, int]]:
    """What is asked of a bundle: how often each graph is run for it."""
    heaviest = heaviest_role(bundle)
    if heaviest == "text_decoder":
        return {"write": {heaviest: CAPTION_TOKENS}}
    found: dict[str, dict[Role, int]] = {"read": {heaviest: 1}}
    if "text_decoder" in bundle.manifest.graphs:
        found["write"] = {heaviest: 1, "text_decoder": CAPTION_TOKENS}
    return found


def _roles(works: Mapping[str, Mapping[Role, int]]) -> list[Role]:
    return list(dict.fromkeys(role for counts in works.values() for role in counts))


def _times(
    bundle: Bundle,
    works: Mapping[str, Mapping[Role, int]],
    engines: Mapping[Way, Engine],
    by_processor: bool,
) -> dict[Way, dict[str, float]]:
    """The ``ms`` of a Comparison. Every graph has been run for one."""
    ms: dict[Way, dict[str, float]] = {}
    for batch in BATCHES if engines else ():
        if ms and min(min(times.values()) for times in ms.values()) > _LONG_MS:
            break
        took_s: dict[Role, dict[Way, float]] = {}
        try:
            for role in _roles(works):
                inputs = usual_inputs(bundle.manifest, role, batch)
                runs = {way: partial(engine.run, role, inputs) for way, engine in engines.items()}
                for run in runs.values() if ms else ():
                    run()
                took_s[role] = best_times_s(runs, budget_s=_BUDGET_S, by_processor=by_processor)
        except EngineError:  # a graph for one photo alone
            break
        for way in engines:
            for work, counts in works.items():
                took = sum(count * took_s[role][way] for role, count in counts.items())
                ms.setdefault(way, {})[f"{work} {batch}"] = 1000 * took
    return ms


def choose(ms: Mapping[Way, Mapping[str, float]]) -> Way:
    """The way that is nearest to the fastest where it is furthest from it; the first of several as near.

    ms: as in Comparison.
    """
    worst = {way: behind(ms, way) for way in ms}
    least = min(worst.values())
    return next(way for way in ms if worst[way] <= _TIE * least)


def behind(ms: Mapping[Way, Mapping[str, float]], way: Way) -> float:
    """How many times as long as the fastest way this one takes, for the work where that is most."""
    return max(took / min(times[work] for times in ms.values()) for work, took in ms[way].items())


def _disagreement(bundle: Bundle, roles: Sequence[Role], way: Way, engine: Engine) -> str | None:
    """Why a way may not be taken. int8 is among them by its gate and fp32 is what was recorded; bf16 has to
    give what the check set says, where there is one."""
    if way.precision != "bf16":
        return None
    outputs: dict[str, list[str]] = {role: list(bundle.manifest.graphs[role].outputs) for role in roles}
    try:
        cosines = run_cosines(bundle, engine, outputs).values()
    except (EngineError, BundleDamaged) as error:
        return str(error)
    if all(cosine >= _AGREEMENT for cosine in cosines):
        return None
    return f"its outputs differ from those recorded: cosine {min(cosines):.3f}, {_AGREEMENT:g} is allowed"
