"""Every family by every method: size, time for 1 photo and for 8, and quality.

    python -m benchmarks.families OUT --easy-vqa DIR [--families clip,vilt] [--only quality|bundles|cost]
        [--steps N] [--rounds 15] [--budget-s 8] [--beside "nothing else"] [--again]
    python -m benchmarks.families --table benchmarks/families.json [--docs docs/compress.md]

No published source says what int8 does to BLIP or ViLT, and no published checkpoint can be had without a
download. So size and time are of the published shape with random weights, which cost what trained ones cost
(`family_cost.py`), and quality is of a small model of the same family that is taught here and measured on
pictures it has not seen (`family_quality.py`). `int8` is calibrated, `int8 weights` computes in floats.

Three parts, each of which can be run alone: `quality`; `bundles`, which makes the large bundles; `cost`,
which times them and should have the machine to itself. Each part of a family is a file in OUT/parts, so a
run that was cut off goes on where it was; `--again` measures anew. OUT/families.json is all of them, with the
machine, what `--beside` says ran beside it, and the load that the system told of when each part began.
`--table` prints a result as Markdown, and with `--docs` puts it between the marks there.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.family_table import tables

from seetell.core.files import atomic_write_text
from seetell.evaluation.machine import describe_machine

MARKS = ("<!-- families -->", "<!-- end of families -->")
PARTS = ("quality", "bundles", "cost")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("out", type=Path, nargs="?")
    parser.add_argument("--table", type=Path, help="print this result, measure nothing")
    parser.add_argument("--docs", type=Path, help="put the printed result between the marks in this page")
    parser.add_argument("--easy-vqa", type=Path, help="its folder; quality needs it")
    parser.add_argument("--families", help="separated by commas; default all")
    parser.add_argument("--only", choices=PARTS)
    parser.add_argument("--steps", type=int, help="of every family's teaching; default each its own")
    parser.add_argument("--rounds", type=int, default=15, help="timed runs of each graph by each method")
    parser.add_argument("--budget-s", type=float, default=8, help="fewer runs, but 3, where they take longer")
    parser.add_argument("--beside", default="not told", help="what else the machine was doing")
    parser.add_argument("--again", action="store_true", help="measure what has been measured")
    settings = parser.parse_args()
    if settings.table is not None:
        said = tables(json.loads(settings.table.read_text(encoding="utf-8")))
        print(said)
        if settings.docs is not None:
            page = settings.docs.read_text(encoding="utf-8")
            atomic_write_text(settings.docs, between_marks(page, said))
        return
    if settings.out is None:
        parser.error("give OUT, a folder, or --table F")
    if settings.easy_vqa is None and settings.only in (None, "quality"):
        parser.error("quality needs --easy-vqa DIR")
    measure(settings)
    found = gather(settings.out)
    atomic_write_text(settings.out / "families.json", json.dumps(found, indent=1, ensure_ascii=False) + "\n")
    print(tables(found))


def measure(settings: argparse.Namespace) -> None:
    """Every part of every family that is asked for and not there."""
    # Imported here: a table needs none of it.
    from benchmarks import family_cost, family_quality

    known = family_quality.FAMILIES
    families = settings.families.split(",") if settings.families else list(known)
    if unknown := sorted(set(families) - set(known)):
        sys.exit(f"unknown families: {', '.join(unknown)}; there are {', '.join(known)}")
    out: Path = settings.out
    for name in ("parts", "small", "base"):
        (out / name).mkdir(parents=True, exist_ok=True)
    parts = PARTS if settings.only is None else (settings.only,)
    if "quality" in parts:
        for family in families:
            steps = settings.steps or known[family].steps
            measured = partial(
                family_quality.measure_quality, family, steps, out / "small", settings.easy_vqa
            )
            part(settings, f"{family}.quality", measured)
    family_cost.without_compiled_graphs()
    for family in families:
        needed = settings.again or not part_file(out, f"{family}.cost").exists()
        if needed and ("bundles" in parts or "cost" in parts):
            print(f"{family}: bundles", file=sys.stderr, flush=True)
            family_cost.make_bundles(family, out / "base")
    if "cost" in parts:
        for family in families:
            limits = settings.rounds, settings.budget_s
            measured = partial(family_cost.measure_cost, family, out / "base", *limits)
            part(settings, f"{family}.cost", measured)


def part(settings: argparse.Namespace, name: str, measured: Callable[[], dict[str, Any]]) -> None:
    """Measure one part and write it, unless it is there."""
    file = part_file(settings.out, name)
    if file.exists() and not settings.again:
        return
    print(name, file=sys.stderr, flush=True)
    told = {"machine": describe_machine(), "beside": settings.beside, "load": round(os.getloadavg()[0], 1)}
    found = {**measured(), "measured": told}
    atomic_write_text(file, json.dumps(found, indent=1, ensure_ascii=False) + "\n")


def between_marks(page: str, said: str) -> str:
    """``page`` with ``said`` between its marks. Raises ValueError for a page without them."""
    start, end = (page.index(mark) for mark in MARKS)
    return f"{page[: start + len(MARKS[0])]}\n\n{said}\n\n{page[end:]}"


def part_file(out: Path, name: str) -> Path:
    return out / "parts" / f"{name}.json"


def gather(out: Path) -> dict[str, Any]:
    """family -> its quality and cost, those that there are, in the order of the families."""
    from benchmarks.family_quality import FAMILIES

    found: dict[str, Mapping[str, Any]] = {}
    for family in FAMILIES:
        one = {
            kind: json.loads(part_file(out, f"{family}.{kind}").read_text(encoding="utf-8"))
            for kind in ("quality", "cost")
            if part_file(out, f"{family}.{kind}").exists()
        }
        if one:
            found[family] = one
    return {"families": found}


if __name__ == "__main__":
    main()
