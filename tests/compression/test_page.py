"""The report as a page: closed, whole, and with every setting that was tried drawn where it belongs."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from seetell.evaluation.bootstrap import Estimate
from seetell.learning.compression.costs import costs_most, worst_layer
from seetell.learning.compression.footprint import Footprint
from seetell.learning.compression.gate import Counted, Tolerance, compare
from seetell.learning.compression.page import html_report
from seetell.learning.compression.report import Figures, as_json, document, rows
from seetell.learning.compression.stages import Name, Stage, costliest
from tests.evaluation.test_html_report import EVIL, Page

DETAILS: dict[str, dict[str, Any]] = {
    "source": {},
    "prune": {"share": 0.5, "layers_dropped": [], "estimated_cost": {"text.blocks.0.mlp": 0.4, "b": 0.6}},
    "merge": {"in_every_block": 4, "image_tokens": {"before": 64, "after": 40}},
    "distil": {"recipe": EVIL, "objectives": ["distil_affinity"], "teacher": "tiny", "steps": 600},
    "quantize": {
        "profile": "portable",
        "calibration": {"photos": 96, "texts": 10, "texts_from": "the file"},
        "smoothed_groups": 4,
        "graphs": {"image_encoder": {"fp32_weights_bytes": 40, "weights_bytes": 11, "share": 0.275}},
        "counts": {"int8": 7, "weights": 2, "float": 1},
        "layers": {"x": "float"},
        "sensitivity": [{"layer": "x", "role": "image_encoder", "error": 0.031}],
        "tried": [
            {
                "layers": {"int8": 10 - number, "weights": number, "float": 0},
                "weights_bytes": 11,
                "size_bytes": 6_000_000,
                "latency_ms": 3.0 + number,
                "peak_memory_mb": 90.0,
                "metrics": {"m.r10": 40.0 + number, "captions.bleu_4": 13.0},
                "passed": number == 2,
            }
            for number in range(3)
        ],
    },
}


def stage(name: Name, value: float, size: float, took: float) -> Stage:
    def estimate(middle: float) -> Estimate:
        return Estimate(middle, middle - 1, middle + 1, np.linspace(middle - 1, middle + 1, 9))

    quality = {"m.r10": estimate(value), "captions.bleu_4": estimate(13.0)}
    return Stage(name, DETAILS[name], quality, int(1e6 * size), Footprint({"image_encoder": took}, 100.0), {})


STAGES = [
    stage("source", 50.0, 22.0, 9.0),
    stage("prune", 20.0, 12.0, 5.0),
    stage("merge", 19.0, 12.0, 4.5),
    stage("distil", 45.0, 12.0, 4.5),
    stage("quantize", 42.0, 6.0, 3.0),
]


def figures(stages: list[Stage], allowed: float = 20.0) -> Figures:
    rows = compare(stages[0].quality, stages[-1].quality, Tolerance(allowed, relative=True))
    return Figures(stages, rows, f"{allowed:g}%", "dev.json", EVIL)


def test_what_was_tried_for_a_share_of_the_time_is_words() -> None:
    tried = {
        "measure": "latency",
        "trials": [{"left_out": 0.5, "time": 0.62}, {"left_out": 0.6, "time": 0.5}],
    }
    told = document(figures(STAGES))
    told["method"]["prune"] |= tried
    assert "trials (left_out 0.5, time 0.62) (left_out 0.6, time 0.5)" in html_report(told)


def test_everything_is_inside_and_nothing_of_it_is_markup() -> None:
    text = html_report(document(figures(STAGES)))
    page = Page(text)
    assert {tag for tag, _ in page.tags}.isdisjoint({"script", "link", "iframe", "object", "img", "a"})
    assert "<script" not in text and 'alert("x")' not in text and page.text.count(EVIL) >= 2
    assert "default-src 'none'" in text and "color-scheme: light dark" in text
    for wanted in ("Passed", "50.00", "42.00", "dev.json", "tokens merged", "taught again", "6.00 MB"):
        assert wanted in page.text, wanted
    assert text.count("<svg") == 2 * 2, "two metrics, over time and over size"


def test_every_setting_that_was_tried_is_drawn() -> None:
    text = html_report(document(figures(STAGES)))
    first = ElementTree.fromstring(text[text.index("<svg") : text.index("</svg>") + 6])
    kinds = [one.attrib["class"] for one in first.iter("circle")]
    # The last attempt is the last stage.
    assert kinds == ["attempt"] * 2 + ["stage"] * 4 + ["end good"]
    names = [one.text for one in first.iter("text") if one.get("class") == "name"]
    assert names == ["as it was", "pruned", "tokens merged", "taught again", "int8"]


def test_what_was_refused_and_is_no_number() -> None:
    broken = [STAGES[0], stage("prune", float("nan"), 12.0, 5.0)]
    told = document(figures(broken))
    assert told["gate"]["passed"] is False
    assert "NaN" not in as_json(told) and json.loads(as_json(told))["quality"][0]["after"] is None
    page = Page(html_report(told))
    assert "Refused, so no bundle was written" in page.text and "to –" in page.text


def test_time_is_told_before_and_after_and_slower_is_no_secret() -> None:
    faster, slower = stage("quantize", 42.0, 6.0, 3.0), stage("quantize", 42.0, 6.0, 9.5)
    told = document(figures([STAGES[0], faster]))
    assert told["gate"]["time"] == "one run of every graph took 9.00 ms and takes 3.00 ms, 67% less"
    assert ("time", "9.00 ms", "3.00 ms", "33% of it") in rows(told)
    told = document(figures([STAGES[0], slower]))
    said = "one run of every graph took 9.00 ms and takes 9.50 ms: it is not faster than it was"
    assert told["gate"]["time"] == said and f"O{said[1:]}." in Page(html_report(told)).text


def test_too_few_photos_is_said_on_the_page_and_in_the_table() -> None:
    def spread(one: Stage) -> Stage:
        value = one.quality["m.r10"].value
        wide = Counted(value, value - 9, value + 9, np.linspace(value - 9, value + 9, 99)[:: _turn(one)], 60)
        return replace(one, quality={"m.r10": wide})

    told = document(figures([spread(STAGES[0]), spread(stage("quantize", 49.0, 6.0, 3.0))], allowed=1.0))
    [row] = told["quality"]
    assert (row["verdict"], row["passed"], row["photos"]) == ("undecided", True, 60)
    [line] = told["gate"]["undecided"]
    assert line.startswith("m.r10: too few photos to tell: 1.00 points lost, ") and "on 60 photos" in line
    assert line in Page(html_report(told)).text
    assert rows(told)[0][3].endswith("0.50 allowed; too few photos to tell")
    again = Stage.of(json.loads(json.dumps(spread(STAGES[0]).plain())))
    assert isinstance(again.quality["m.r10"], Counted) and again.quality["m.r10"].n_photos == 60


def _turn(one: Stage) -> int:
    """Draws that do not move together before and after: what is lost is as uncertain as either."""
    return 1 if one.name == "source" else -1


def test_of_many_metrics_the_worst_are_drawn() -> None:
    many = {f"check.{letter}": Estimate(100, 100, 100) for letter in "abcdefghijkl"}
    plain = [
        Stage(name, DETAILS[name], many, 10, Footprint({"image_encoder": 1.0}, 100.0), {})
        for name in ("source", "quantize")
    ]
    text = html_report(document(figures(plain)))
    assert text.count("<svg") == 5 * 2 and "7 more metrics, which lost less, are not drawn" in Page(text).text
    assert Page(text).text.count("check.l") == 1, "the table has them all"


def test_a_stage_survives_its_record() -> None:
    for one in STAGES:
        again = Stage.of(json.loads(json.dumps(one.plain())))
        assert again.plain() == one.plain()
        assert again.quality["m.r10"].drawn is not None
    assert compare(STAGES[0].quality, Stage.of(STAGES[-1].plain()).quality, Tolerance(1, True))[
        0
    ].drop_interval


def test_which_stage_costs_most() -> None:
    found = costliest(STAGES, "m.r10")
    assert found is not None and (found[0].name, found[1]) == ("prune", 30.0)
    assert costliest(STAGES, "captions.bleu_4") is None and costliest(STAGES, "unknown") is None
    words = costs_most(STAGES, "m.r10")
    assert words.startswith("pruning costs most, 30.00 points (by estimate text.blocks.0.mlp costs most (40%")
    assert words.endswith("of which distilling won 26.00 back")
    assert "--distill RECIPE" in costs_most(STAGES[:3], "m.r10")
    late = [STAGES[0], stage("distil", 49.0, 12, 4), STAGES[-1]]
    assert costs_most(late, "m.r10").startswith("quantising costs most, 7.00 points (x costs most (3.1% of")
    worse = [STAGES[0], stage("distil", 30.0, 12, 4)]
    assert "taught 600 steps" in costs_most(worse, "m.r10")
    assert costs_most([STAGES[0], stage("merge", 30.0, 12, 4)], "m.r10") == "merging fewer tokens costs less"
    unasked = replace(STAGES[-1], details={**DETAILS["quantize"], "sensitivity": []})
    assert "passed together" in costs_most([STAGES[0], unasked], "m.r10", passed=True)
    assert "neither photos nor a check set" in costs_most([STAGES[0], unasked], "m.r10")


@pytest.mark.parametrize(
    ("stages", "layer"), [(STAGES, "x"), (STAGES[:4], "text.blocks.0.mlp"), (STAGES[:1], None)]
)
def test_the_worst_layer(stages: list[Stage], layer: str | None) -> None:
    assert worst_layer(stages) == layer
