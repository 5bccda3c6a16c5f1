"""The fusion study: what counts as a difference, what compute buys, and the whole of it, tiny."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from benchmarks import fusion_study
from benchmarks.fusion_study import FUSIONS, Study, differs, mean_estimate, per_photo, steps_for

from seetell.evaluation.bootstrap import Estimate
from seetell.learning.scenes import write_scenes


def test_the_budget_buys_steps() -> None:
    assert steps_for(2.0, 1e9) == 2000
    assert steps_for(1e-9, 1e9) == 2


@pytest.mark.parametrize(
    ("interval", "by_seed", "shown"),
    [
        ((0.5, 3.0), (1.0, 2.0), True),
        ((-3.0, -0.5), (-1.0, -2.0), True),
        ((-0.1, 3.0), (1.0, 2.0), False),
        ((0.5, 3.0), (-0.1, 4.0), False),
        ((0.5, 3.0), (1.0,), False),
    ],
)
def test_a_difference_needs_its_interval_and_every_seed(
    interval: tuple[float, float], by_seed: tuple[float, ...], shown: bool
) -> None:
    low, high = interval
    assert differs(Estimate((low + high) / 2, low, high), by_seed) is shown


def test_figures_are_means_over_questions_of_all_seeds() -> None:
    one = [["b", 1], ["a", 0], ["b", 1], ["c", 1]]
    other = [["b", 0], ["a", 0], ["b", 1], ["c", 1]]
    sums, counts = per_photo([one, other])
    np.testing.assert_allclose(sums, [0, 150, 100])
    np.testing.assert_allclose(counts, [1, 2, 1])
    found = mean_estimate(sums, counts)
    assert found.value == pytest.approx(100 * (3 / 4 + 2 / 4) / 2)
    assert found.low <= found.value <= found.high


@pytest.mark.slow
def test_the_whole_study_goes_on_where_it_was(tmp_path: Path) -> None:
    write_scenes(tmp_path / "asked", 40, seed=3)
    study = Study(tmp_path / "asked", tmp_path / "out", seeds=1, tflop=0.01, scenes=40, batch=8)
    found = fusion_study.carry_out(study)
    spent = [row["tflop"] for row in found["models"]]
    assert len(spent) == 2 * len(FUSIONS)
    # Steps are whole, so the budget is met to half a step.
    assert all(
        abs(one - study.tflop) <= one / row["steps"] for one, row in zip(spent, found["models"], strict=True)
    )
    by_fusion = {row["fusion"]: row["steps"] for row in found["models"] if row["encoder"] == "vit"}
    assert by_fusion["projection"] > by_fusion["co_attention"]

    kept = sorted(study.out.glob("*-*.json"))
    assert len(kept) == 8
    kept[0].unlink()
    before = [path.stat().st_mtime_ns for path in kept[1:]]
    again = fusion_study.carry_out(study)
    assert [path.stat().st_mtime_ns for path in kept[1:]] == before
    assert again == found

    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "fusion-study.md").write_text("# Title\n<!-- figures -->\nold\n<!-- end of figures -->\nEnd.\n")
    fusion_study.publish(study, found, docs)
    page = (docs / "fusion-study.md").read_text()
    assert page.startswith("# Title\n<!-- figures -->\n| encoder") and page.endswith("figures -->\nEnd.\n")
    assert "old" not in page
    assert "<svg" in (docs / "fusion-study.svg").read_text()
    assert json.loads((docs / "fusion-study.json").read_text()) == found
