"""A model pruned by half and taught again beside the one it came from: quality, arithmetic and size.

    seetell compress builtin runs/pruned --prune 0.5 --calibration PHOTOS --calibration-texts F --max-drop 100
    seetell train recipes/recover-builtin.yaml steps=260 data.0.length_pool=8
    seetell train recipes/recover-builtin-captions.yaml
    seetell convert runs/recovered-captions runs/small
    python benchmarks/recovered_builtin.py runs/small --captions F --images DIR --questions F
        --annotations F --question-images DIR --holdout 0.1 [--model builtin]

Prints one JSON object: each metric that `seetell compress` judges by, before and after, the drop with its
paired 95% interval, operations per graph and bytes; under `demands` whether half of the operations are left
and at most 2 points were lost. Exit status 1 where not.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from seetell.bundle.store import open_bundle, resolve
from seetell.cli.gate_data import evaluator, gate_tasks
from seetell.cli.output import Output
from seetell.evaluation.machine import describe_machine
from seetell.learning.compression.gate import Tolerance, compare
from seetell.learning.compression.pruning.work import bundle_flops
from seetell.learning.compression.quality import Judge

POINTS, SHARE = 2.0, 0.5


def main() -> int:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--model", default="builtin")
    parser.add_argument("--holdout", help="of the questions, as in seetell evaluate")
    for name in ("captions", "images", "questions", "annotations", "question-images"):
        parser.add_argument(f"--{name}", type=Path)
    given = parser.parse_args()
    report = compared(given)
    report["demands"] = demands(report)
    print(json.dumps(report, indent=1))
    return int(not all(one["holds"] for one in report["demands"]))


def compared(given: argparse.Namespace) -> dict[str, Any]:
    """What stands in the report but for the demands."""
    tasks = gate_tasks(
        given.captions, given.questions, given.annotations, given.images, given.question_images, None
    )
    tasks = [replace(task, holdout=given.holdout) if task.captions is None else task for task in tasks]
    before, after = resolve(given.model), open_bundle(given.bundle)
    tolerance = Tolerance(POINTS, False)
    with Output(json=False) as output:
        judge = Judge(before, evaluator(tasks, output), "", tolerance)
        rows = compare(judge.quality(before), judge.quality(after), tolerance)
    work = {"before": bundle_flops(before), "after": bundle_flops(after)}
    return {
        "model": before.manifest.name,
        "machine": describe_machine(),
        "quality": [
            {
                "metric": row.metric,
                "before": row.before.value,
                "after": row.after.value,
                "drop": round(row.drop, 4),
                "drop_interval": row.drop_interval,
            }
            for row in rows
        ],
        "flops": work,
        "weights_bytes": {
            name: (one.folder / "model.safetensors").stat().st_size
            for name, one in (("before", before), ("after", after))
        },
    }


def demands(report: dict[str, Any]) -> list[dict[str, Any]]:
    """Each demand, the figure it is about, and whether it holds."""
    left = sum(report["flops"]["after"].values()) / sum(report["flops"]["before"].values())
    found: list[dict[str, Any]] = [
        {"demand": "half of the operations are left", "figure": round(left, 4), "holds": left <= SHARE}
    ]
    return found + [
        {
            "demand": f"{row['metric']} falls by at most {POINTS:g} points",
            "figure": row["drop"],
            "holds": row["drop"] <= POINTS,
        }
        for row in report["quality"]
    ]


if __name__ == "__main__":
    sys.exit(main())
