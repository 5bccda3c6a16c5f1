"""The benchmark of families and methods: what not looking gives, taking turns, going on, and the tables."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from benchmarks import families
from benchmarks.family_cost import SHAPES, Keeper, in_turns
from benchmarks.family_methods import MAKING, bundle_folder, methods
from benchmarks.family_quality import (
    FAMILIES,
    blind_answers,
    recipe,
    strangers_captions,
)
from benchmarks.family_table import NAMES, main_graph, tables
from numpy.typing import NDArray

from seetell.data.records import QuestionRecord
from seetell.learning.training.recipe import parse_recipe
from seetell.runtime.engine import Arrays


def asked(number: int, question: str, answer: str) -> QuestionRecord[Path]:
    return QuestionRecord(Path(f"{number}.png"), question, (answer,), number, number, answer)


def test_blind_answers_are_the_commonest_to_the_same_words() -> None:
    taught = [asked(0, "what colour?", "red"), asked(1, "what colour?", "red"), asked(2, "how many?", "two")]
    held = [asked(3, "what colour?", "red"), asked(4, "what colour?", "blue"), asked(5, "how many?", "two")]
    assert blind_answers(taught, held) == pytest.approx(200 / 3)


def test_words_never_asked_are_answered_by_what_is_commonest_of_all() -> None:
    taught = [asked(0, "a?", "yes"), asked(1, "b?", "no"), asked(2, "c?", "no")]
    assert blind_answers(taught, [asked(3, "never?", "no")]) == 100


def test_strangers_captions_know_the_style_alone() -> None:
    texts = ["a red circle above a blue square", "one yellow triangle in the picture", "a dog runs fast here"]
    references = [[text] for text in texts]
    assert strangers_captions(texts, references, "en") < 1
    # Of a model that says the same of every photo nothing is left to lose.
    same = ["a red circle above a blue square"] * 3
    assert strangers_captions(same, [same[:1]] * 3, "en") == pytest.approx(100)


def test_pruning_and_merging_are_for_models_of_ours() -> None:
    assert {"pruned", "merged tokens"} <= set(methods(own=True))
    assert not {"pruned", "merged tokens"} & set(methods(own=False))
    assert set(MAKING) <= set(methods(own=True))
    assert methods(own=False)[0] == "fp32"


def test_methods_that_make_nothing_run_the_bundle_itself() -> None:
    folders = {method: bundle_folder(Path("clip"), method) for method in methods(own=True)}
    assert folders["bf16"] == folders["fp32"] == Path("clip/fp32")
    assert len(set(folders.values())) == 1 + len(MAKING)


@pytest.mark.parametrize("family", FAMILIES)
def test_recipes_are_ones(family: str, tmp_path: Path) -> None:
    judged = FAMILIES[family]
    source: dict[str, Any] = {"format": "coco_captions", "path": "scenes", "languages": ["en"]}
    if judged.asks:
        source = {"format": "vqa", "path": "asked", "holdout": {"modulo": 10, "remainder": 9}}
    init = None if judged.own else tmp_path
    found = parse_recipe(recipe(judged, 7, source, tmp_path / "run", init), "here")
    assert found.steps == 7
    assert found.fine_tunes is not judged.own
    assert found.answers == (20 if judged.asks else 400)


class Counting:
    """An engine that writes down who ran."""

    def __init__(self, name: str, ran: list[str]) -> None:
        self.name, self.ran = name, ran

    def run(
        self, role: str, inputs: Mapping[str, NDArray[Any]], outputs: Sequence[str] | None = None
    ) -> Arrays:
        self.ran.append(self.name)
        return {}


def test_methods_take_turns_and_none_is_always_first() -> None:
    ran: list[str] = []
    turns: Any = {name: (Counting(name, ran), {}) for name in "abc"}
    found = in_turns("image_encoder", turns, rounds=3, budget_s=60)
    assert "".join(ran) == "abc" + "bca" + "cab" + "abc"
    assert found["rounds"] == 3
    assert set(found["ms"]) == set("abc")


def test_slow_graphs_run_three_times() -> None:
    ran: list[str] = []
    found = in_turns("image_encoder", {"a": (Counting("a", ran), {})}, rounds=50, budget_s=0)  # type: ignore[dict-item]
    assert found["rounds"] == 3


def test_the_last_run_of_the_most_rows_is_kept() -> None:
    keeper = Keeper(Counting("a", []))  # type: ignore[arg-type]
    for rows, value in ((1, 0), (2, 1), (2, 2), (1, 3)):
        keeper.run("text_decoder", {"input_ids": np.full((rows, 1), value)})
    np.testing.assert_array_equal(keeper.given["text_decoder"]["input_ids"], [[2], [2]])
    assert keeper.name == "a"


MEASURED = {"machine": "a machine, 2 cores", "beside": "nothing", "load": 0.1}


def result() -> dict[str, Any]:
    cost = {
        "shape": "ViLT B/32",
        "size_bytes": {"fp32": 470e6, "int8": 118e6},
        "graphs": {
            "image_encoder": {"1": {"rounds": 3, "ms": {"fp32": 1.0, "int8": 0.5}}},
            "fusion_encoder": {
                "1": {"rounds": 3, "ms": {"fp32": 30.0, "int8": 10.0}},
                "8": {"rounds": 3, "ms": {"fp32": 240, "int8": 99}},
            },
        },
        "measured": MEASURED,
    }
    quality = {
        "metric": "vqa.exact_match",
        "chance": 67.0,
        "methods": {
            "fp32": {"value": 90.0, "interval": [89.0, 91.0]},
            "int8": {"value": 89.5, "interval": [88.0, 91.0], "drop": 0.5, "drop_interval": [-0.25, 1.25]},
        },
        "measured": MEASURED,
    }
    return {"families": {"vilt": {"quality": quality, "cost": cost}, "clip": {"quality": quality}}}


def test_the_table_tells_time_of_the_graph_that_takes_most() -> None:
    found = result()
    assert main_graph(found["families"]["vilt"]["cost"]) == "fusion_encoder"
    said = tables(found)
    assert "| 470 MB | 30.0 ms | 240 ms |" in said
    assert "| 118 MB | 10.0 ms | 99.0 ms | 89.5 (88.0 to 91.0) | 0.50 (-0.25 to 1.25) |" in said
    assert "not looking 67.0" in said
    assert "Quality on a machine, 2 cores; beside it: nothing (every family)." in said
    assert "Cost on a machine, 2 cores; beside it: nothing (ViLT, answers)." in said
    assert "Size and time not measured yet: CLIP." in said


def test_without_costs_there_is_no_table_of_times() -> None:
    found = result()
    for one in found["families"].values():
        one.pop("cost", None)
    said = tables(found)
    assert "Milliseconds" not in said
    assert "Size and time not measured yet: every family." in said


def test_every_family_has_a_name_and_a_shape() -> None:
    assert set(NAMES) == set(FAMILIES) == set(SHAPES)


def test_every_row_of_a_table_has_as_many_cells() -> None:
    for block in tables(result()).split("\n\n"):
        rows = [line for line in block.splitlines() if line.startswith("|")]
        assert len({row.count("|") for row in rows}) <= 1


def test_what_was_measured_is_not_measured_again(tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    settings = argparse.Namespace(out=tmp_path, again=False, beside="nothing")
    families.part(settings, "clip.cost", lambda: {"graphs": {}})
    families.part(settings, "clip.cost", lambda: pytest.fail("measured twice"))
    assert families.gather(tmp_path)["families"]["clip"]["cost"]["measured"]["beside"] == "nothing"
    settings.again = True
    families.part(settings, "clip.cost", lambda: {"graphs": {"image_encoder": {}}})
    stored = json.loads(families.part_file(tmp_path, "clip.cost").read_text(encoding="utf-8"))
    assert stored["graphs"] == {"image_encoder": {}}


def test_a_part_that_fails_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    settings = argparse.Namespace(out=tmp_path, again=False, beside="nothing")

    def fails() -> dict[str, Any]:
        raise RuntimeError("cut off")

    with pytest.raises(RuntimeError):
        families.part(settings, "clip.cost", fails)
    assert families.gather(tmp_path) == {"families": {}}


def test_the_page_gets_the_table_between_its_marks() -> None:
    page = "before\n\n<!-- families -->\n\nold\n\n<!-- end of families -->\n\nafter\n"
    once = families.between_marks(page, "| new |")
    assert once == "before\n\n<!-- families -->\n\n| new |\n\n<!-- end of families -->\n\nafter\n"
    assert families.between_marks(once, "| new |") == once


def test_the_page_shows_the_result_that_is_kept() -> None:
    root = Path(families.__file__).parent.parent
    kept = json.loads((root / "benchmarks" / "families.json").read_text(encoding="utf-8"))
    assert tables(kept) in (root / "docs" / "compress.md").read_text(encoding="utf-8")
