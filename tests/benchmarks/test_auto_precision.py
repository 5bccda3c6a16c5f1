"""The benchmark of `auto`: what it counts and what it asks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from benchmarks.auto_precision import CountingKeeper, ratio, table, verbs

from seetell.tasks.model import Model
from tests.runtime.toy import SIZE, ToyEngine, make_manifest, make_tokenizer

MS = {"auto": 10.0, "fp32": 10.5, "bf16": 19.0, "int8, rest f32": 9.8}


def test_a_ratio_is_of_the_fastest_that_could_be_chosen() -> None:
    assert ratio(MS) == pytest.approx(0.98)
    assert ratio({**MS, "auto": 5.0}) > 1


def test_the_table_has_a_line_for_each_and_says_the_least() -> None:
    rows = [
        {"verb": "embed", "batch": 1, "runs": {}, "ms": MS},
        {"verb": "caption", "batch": 8, "runs": {}, "ms": {**MS, "auto": 20.0}},
    ]
    families = {
        "clip": {"shape": "CLIP", "auto": "fp32", "rows": [{**rows[0], "ms": {"auto": 2.0, "fp32": 2.0}}]},
        "seetell": {"shape": "the built-in model", "auto": "int8, rest f32", "rows": rows},
    }
    said = table({"families": families, "machine": "a machine", "beside": "nothing", "load": 0.1})
    assert "| CLIP | fp32 | embed | 1 | 2 | 2 |  |  | 1.00 |" in said
    assert "Least: 0.49 (seetell, caption, 8 photos); 0.95 is asked." in said


def photos(count: int) -> list[Any]:
    return [np.full((SIZE, SIZE, 3), 40 * number, np.uint8) for number in range(count)]


def test_what_each_verb_has_the_engine_do() -> None:
    engine = CountingKeeper(ToyEngine())
    model = Model(make_manifest(ToyEngine()), make_tokenizer(), engine, batch_size=4)
    assert list(verbs(model)) == ["embed", "caption", "ask"]
    verbs(model)["embed"](photos(3))
    assert dict(engine.runs) == {"image_encoder": 1}
    assert len(engine.given["image_encoder"]["pixel_values"]) == 3
    engine.runs.clear()
    verbs(model)["caption"](photos(2))
    assert engine.runs["image_encoder"] == engine.runs["decoder_memory"] == 1
    assert engine.runs["text_decoder"] > 3
