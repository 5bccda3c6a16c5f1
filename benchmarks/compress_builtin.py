"""The built-in model in int8 against fp32: quality, bytes per graph, time and memory.

    python benchmarks/compress_builtin.py --calibration DIR --captions F --images DIR \\
        --questions F --annotations F --question-images DIR [--limit N] [--out DIR]

Compresses with a gate that lets everything by, so that the figures are those of int8 throughout, and prints
one JSON object: the report of `seetell compress`, and under `demands` which of the project's demands hold: at
most 0.5 points of R@10 (each direction), BLEU-4 and VQA accuracy below fp32, and at most 30% of the fp32
weights' bytes for each graph. Exit status 1 when one does not. Calibrate on photos that are not measured.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

POINTS, SHARE = 0.5, 0.30


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    for name in ("calibration", "captions", "images", "questions", "annotations", "question-images"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--model", default="builtin")
    parser.add_argument("--calibration-texts", type=Path)
    parser.add_argument("--calibration-count", type=int, default=96)
    parser.add_argument("--profile", default="portable")
    parser.add_argument("--holdout", help="of the questions, as in seetell evaluate")
    parser.add_argument("--limit", type=int, help="photos of each kind; default all")
    parser.add_argument("--out", type=Path, help="keep the bundle here")
    settings = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        report = compress(settings, settings.out or Path(folder) / "int8")
    report["demands"] = demands(report)
    print(json.dumps(report, indent=1, ensure_ascii=False))
    return int(not all(one["holds"] for one in report["demands"]))


def compress(settings: argparse.Namespace, out: Path) -> dict[str, Any]:
    """What the command reports. Ends the process where it fails."""
    # 99 points: the gate is not what is measured here.
    command = ["compress", settings.model, str(out), "--json", "--max-drop", "99"]
    for name, value in vars(settings).items():
        if value is not None and name not in ("model", "out"):
            command += [f"--{name.replace('_', '-')}", str(value)]
    done = subprocess.run(
        [sys.executable, "-m", "seetell.cli.main", *command], stdout=subprocess.PIPE, text=True, check=False
    )
    if done.returncode:
        sys.exit(done.returncode)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def demands(report: dict[str, Any]) -> list[dict[str, Any]]:
    """Each demand, the figure it is about, and whether it holds."""
    quality = [
        {
            "demand": f"{row['metric']} falls by at most {POINTS} points",
            "figure": row["drop"],
            "holds": row["drop"] <= POINTS,
        }
        for row in report["quality"]
    ]
    size = [
        {
            "demand": f"{role} takes at most {SHARE:.0%} of its fp32 weights' bytes",
            "figure": graph["share"],
            "holds": graph["share"] <= SHARE,
        }
        for role, graph in report["graphs"].items()
    ]
    return quality + size


if __name__ == "__main__":
    sys.exit(main())
