"""Ways to run a bundle compared on this machine, by running its own graph in each for a moment.

No flag tells which is fastest: a processor that lists bf16 may compute in it at half the speed of fp32, and
what int8 layers leave in floats may be faster in either. Two graphs speak for all, which would each have to
be compiled every way: the one with most of the arithmetic, bound by that, and the decoder, bound by reading
its weights for every token. What counts is to be near the fastest whatever is asked, of one and of several.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
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

# A graph, and how many rows it is given.
Run = tuple["Role", int]
# What is fastest for one photo may not be for several. A decoder has several rows of one photo: its beams.
_SEVERAL = 4
# For the runs of one graph, one way; compiling comes on top.
_BUDGET_S = 0.3
# A run of one that is as long keeps the machine as busy as one of several, which would be waited for.
_LONG_S = 0.1
# Ways as close as this are equally fast, and the more exact one is taken.
_TIE = 1.03
# bf16 rounds; a graph that cannot bear it points elsewhere than its recorded outputs do.
_AGREEMENT = 0.99


@dataclass(frozen=True, slots=True)
class Way:
    """precision: what the bundle runs in. floats: what an int8 graph leaves in floats is computed in; the
    text decoder's in ``decoder_floats``, where that is another."""

    precision: RunPrecision
    floats: Floats = "f32"
    decoder_floats: Floats | None = None

    @property
    def name(self) -> str:
        """For people, and for what is kept."""
        if self.precision != "int8":
            return self.precision
        decoder = "" if self.decoder_floats is None else f", the decoder's {self.decoder_floats}"
        return f"int8, rest {self.floats}{decoder}"

    def of_graph(self, role: Role) -> Way:
        """The way without ``decoder_floats`` in which this graph runs as it does in this one."""
        if self.decoder_floats is None:
            return self
        return Way(self.precision, self.decoder_floats if role == "text_decoder" else self.floats)


@dataclass(frozen=True, slots=True)
class Comparison:
    """What was found.

    chosen: the way to take. ms: way -> work -> milliseconds, the most exact way first; empty where nothing
    could be measured. Works are ``read 1`` and ``read 4``, so many photos at once (texts, of a model without
    photos), and ``write 1``, a photo and its caption by four beams. left_out: way -> why it may not be taken.
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
    wrong: a comparison fails no one. One that differs by graph comes with the two it is made of, whose times
    tell its own. make: the engine of a way. by_processor: as ``best_times_s`` has it.
    """
    works = _works(bundle)
    runs = list(dict.fromkeys(run for counts in works.values() for run in counts))
    engines: dict[Way, Engine] = {}
    left_out: dict[Way, str] = {}
    for way in ways:
        if way.decoder_floats is not None:
            continue
        try:
            engine = make(way)
            engine.run(runs[0][0], usual_inputs(bundle.manifest, *runs[0]))
            engines[way] = engine
        except (EngineError, BundleDamaged) as error:
            left_out[way] = str(error)
    able_ways = [way for way in ways if all(way.of_graph(role) in engines for role, _ in runs)]
    ms = _times(bundle, works, runs, engines, able_ways, by_processor) if engines else {}
    chosen = ways[0]
    while able := {way: times for way, times in ms.items() if way not in left_out}:
        chosen = choose(able)
        # int8 is among them by its gate and fp32 is what was recorded.
        if chosen.precision != "bf16":
            break
        fault = _disagreement(bundle, {role for role, _ in runs}, engines[chosen])
        if fault is None:
            break
        left_out[chosen], chosen = fault, ways[0]
    return Comparison(chosen, ms, left_out), engines


def _works(bundle: Bundle) -> dict[str, dict[Run, int]]:
    """What is asked of a bundle: which graphs are run for it, on how many rows, how often."""
    heaviest = heaviest_role(bundle)
    written: dict[Run, int] = {("text_decoder", _SEVERAL): CAPTION_TOKENS}
    if heaviest == "text_decoder":
        return {"write 1": written}
    found: dict[str, dict[Run, int]] = {"read 1": {(heaviest, 1): 1}}
    if "text_decoder" in bundle.manifest.graphs:
        found["write 1"] = {(heaviest, 1): 1, **written}
    return {**found, f"read {_SEVERAL}": {(heaviest, _SEVERAL): 1}}


def _times(
    bundle: Bundle,
    works: Mapping[str, Mapping[Run, int]],
    runs: Sequence[Run],
    engines: Mapping[Way, Engine],
    ways: Sequence[Way],
    by_processor: bool,
) -> dict[Way, dict[str, float]]:
    """The ``ms`` of a Comparison of ``ways``. engines: of those that run every graph alike."""
    took_s: dict[Run, dict[Way, float]] = {}
    for role, rows in runs:
        alone = took_s.get((role, 1))
        if alone is not None and min(alone.values()) > _LONG_S:
            continue
        inputs = usual_inputs(bundle.manifest, role, rows)
        turns = {way: partial(engine.run, role, inputs) for way, engine in engines.items()}
        try:
            for turn in turns.values():
                turn()
            took_s[role, rows] = best_times_s(turns, budget_s=_BUDGET_S, by_processor=by_processor)
        except EngineError:  # a graph for one photo alone, or one that only this work needs
            continue
    able = {work: counts for work, counts in works.items() if counts.keys() <= took_s.keys()}
    return {
        way: {
            work: 1000 * sum(count * took_s[run][way.of_graph(run[0])] for run, count in counts.items())
            for work, counts in able.items()
        }
        for way in (ways if able else ())
    }


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


def _disagreement(bundle: Bundle, roles: Collection[Role], engine: Engine) -> str | None:
    """Why bf16 may not be taken: it has to give what the check set says, where there is one."""
    outputs: dict[str, list[str]] = {role: list(bundle.manifest.graphs[role].outputs) for role in roles}
    try:
        cosines = run_cosines(bundle, engine, outputs).values()
    except (EngineError, BundleDamaged) as error:
        return str(error)
    if all(cosine >= _AGREEMENT for cosine in cosines):
        return None
    return f"its outputs differ from those recorded: cosine {min(cosines):.3f}, {_AGREEMENT:g} is allowed"
