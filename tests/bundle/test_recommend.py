"""Whatever is asked for, nothing recommended breaks it, and every place has a true reason."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file

from seetell.bundle.catalogue import TASK_OF, Figure, RunPrecision, known_models
from seetell.bundle.flops import Work
from seetell.bundle.manifest import Manifest, Measurement
from seetell.bundle.own_model import measured_figures, own_candidate
from seetell.bundle.recommend import (
    ALLOWANCE_BYTES,
    MEASURED_SETTING,
    NO_FIGURE,
    Candidate,
    Ranking,
    Speed,
    candidate_of,
    estimated_ms,
    recommend,
)
from seetell.bundle.store import Bundle
from seetell.core.errors import BundleDamaged, UsageError

SPEED = Speed(400.0, "bf16")


def known(precision: RunPrecision = "bf16") -> list[Candidate]:
    return [candidate_of(entry, precision) for entry in known_models()]


def figure(value: float, dataset: str = "COCO", setting: str = "zero-shot", language: str = "en") -> Figure:
    return Figure(
        task="search",
        metric="text-to-image R@1",
        dataset=dataset,
        setting=setting,
        language=language,
        value=value,
        source="a paper",
    )


def made_up(name: str, *figures: Figure, gflops: float = 10, parameters: int = 10**8) -> Candidate:
    return Candidate(
        name=name,
        tasks=("embed",),
        languages=("en",),
        parameters=parameters,
        licence="MIT",
        precision="bf16",
        work={"search": Work(int(gflops * 1e9))},
        figures=figures,
    )


def names(ranking: Ranking) -> list[str]:
    return [one.candidate.name for one in ranking.placed]


limits = {
    "purpose": st.sampled_from(sorted(TASK_OF)),
    "language": st.none() | st.sampled_from(["en", "zh", "de"]),
    "memory_mb": st.none() | st.floats(1, 3000),
    "latency_ms": st.none() | st.floats(1, 5000),
}


@given(
    rate=st.floats(1, 5000),
    precision=st.sampled_from(["fp32", "bf16", "int8"]),
    shuffled=st.randoms(use_true_random=False),
    **limits,
)
def test_nothing_recommended_breaks_a_limit(
    rate: float,
    precision: RunPrecision,
    shuffled: object,
    purpose: str,
    language: str | None,
    memory_mb: float | None,
    latency_ms: float | None,
) -> None:
    asked = {"language": language, "memory_mb": memory_mb, "latency_ms": latency_ms}
    speed = Speed(rate, precision)
    ranking = recommend(known(precision), purpose, speed, **asked)  # type: ignore[arg-type]  # mixed values
    assert [one.rank for one in ranking.placed] == list(range(1, len(ranking.placed) + 1))
    for one in ranking.placed:
        candidate = one.candidate
        assert TASK_OF[purpose] in candidate.tasks  # type: ignore[index]  # one of its keys
        assert language is None or {language, "mul"} & set(candidate.languages)
        if memory_mb is not None:
            assert candidate.memory_bytes <= memory_mb * 1e6
        if latency_ms is not None:
            assert one.latency_ms is not None
            assert one.latency_ms <= latency_ms
        assert one.why
    # Nobody for the task is silently missing, and nobody is named twice.
    found = names(ranking) + [one.candidate.name for one in ranking.left_out]
    able = {one.name for one in known() if TASK_OF[purpose] in one.tasks}  # type: ignore[index]  # as above
    assert able <= set(found)
    assert len(set(found)) == len(found)
    assert all(one.excess > 1 and one.why.startswith("left out: ") for one in ranking.left_out)
    excesses = [one.excess for one in ranking.left_out]
    assert excesses == sorted(excesses)
    # The order of the catalogue decides nothing.
    other = known(precision)
    shuffled.shuffle(other)  # type: ignore[attr-defined]  # hypothesis gives a random.Random
    assert recommend(other, purpose, speed, **asked) == ranking  # type: ignore[arg-type]  # mixed values


@given(**{name: values for name, values in limits.items() if name in ("purpose", "language")})
def test_groups_hold_only_comparable_figures(purpose: str, language: str | None) -> None:
    ranking = recommend(known(), purpose, SPEED, language=language)
    groups = [one.group for one in ranking.placed]
    assert [group for group, before in zip(groups, [None, *groups], strict=False) if group != before] == list(
        dict.fromkeys(groups)
    ), "a group stands together"
    for group in set(groups):
        members = [one for one in ranking.placed if one.group == group]
        assert [one.rank_in_group for one in members] == list(range(1, len(members) + 1))
        if group == NO_FIGURE:
            assert all(one.figure is None for one in members)
            assert groups[-1] == NO_FIGURE, "those without a figure come last"
            continue
        figures = [one.figure for one in members if one.figure is not None]
        assert len(figures) == len(members)
        assert len({(each.metric, each.dataset, each.setting, each.language) for each in figures}) == 1
        values = [each.value for each in figures]
        assert values == sorted(values, reverse=True)
        assert language is None or figures[0].language == language


def test_figures_of_different_sets_and_settings_are_never_ranked_together() -> None:
    candidates = [
        made_up("on flickr8k", figure(90.0, "Flickr8k")),
        made_up("on coco", figure(30.0)),
        made_up("taught on coco", figure(64.5, setting="fine-tuned on COCO")),
    ]
    ranking = recommend(candidates, "search", SPEED)
    assert len({one.group for one in ranking.placed}) == 3
    assert all(one.rank_in_group == 1 and "the only one" in one.why for one in ranking.placed)
    assert "fine-tuned on COCO, so expect less" in ranking.placed[-1].why


def test_reasons_tell_what_is_so() -> None:
    candidates = [
        made_up("better", figure(40.0)),
        made_up("worse", figure(30.0)),
        made_up("same but slower", figure(30.0), gflops=20),
        made_up("unknown"),
    ]
    first, second, third, fourth = recommend(candidates, "search", SPEED, memory_mb=2000).placed
    assert first.why == (
        "the best figure (text-to-image R@1 on COCO, zero-shot) among those that fit in 2,000 MB"
    )
    assert second.why == "text-to-image R@1 30, behind better (40)"
    assert third.why == "the figure of worse (30), but more costly here"
    assert "there is no text-to-image R@1 figure" in fourth.why


def test_what_is_left_out_says_by_how_much() -> None:
    [left] = recommend([made_up("big", parameters=362 * 10**6)], "search", SPEED, memory_mb=500).left_out
    assert left.why == "left out: 362 M parameters need about 924 MB in bf16, not 500"
    assert left.excess == pytest.approx(924 / 500)
    slow = made_up("slow", gflops=240)
    [left] = recommend([slow], "search", SPEED, latency_ms=100, language="de").left_out
    assert "its language is en, not de" in left.why
    assert "240 GFLOPs take about 1,000 ms here, not 100" in left.why
    assert left.excess == math.inf


def test_a_model_that_only_matches_makes_no_index() -> None:
    ranking = recommend(known(), "search", SPEED)
    [left] = ranking.left_out
    assert left.candidate.name == "dandelin/vilt-b32-finetuned-coco"
    assert "makes no index" in left.why
    everything = recommend(known(), "caption", SPEED)
    assert "dandelin/vilt-b32-finetuned-coco" not in str(everything)


def test_an_english_figure_places_nobody_in_chinese() -> None:
    ranking = recommend(known(), "search", SPEED, language="zh")
    assert names(ranking) == ["OFA-Sys/chinese-clip-vit-base-patch16", "google/siglip2-base-patch16-224"]
    assert {one.group for one in ranking.placed} == {NO_FIGURE}
    assert "made for many languages" in ranking.placed[1].why
    assert "made for many languages" not in ranking.placed[0].why


def test_a_model_whose_time_is_unknown_meets_no_limit_on_it() -> None:
    unknown = replace(made_up("unknown"), work={})
    assert names(recommend([unknown], "search", SPEED)) == ["unknown"]
    ranking = recommend([unknown], "search", SPEED, latency_ms=10**6)
    assert ranking.placed == ()
    assert "cannot be estimated" in ranking.left_out[0].why


def test_estimates_follow_the_rate_and_steps_are_slow() -> None:
    parallel, stepwise = Work(10**9), Work(0, 10**9)
    assert estimated_ms(parallel, SPEED) == pytest.approx(1e9 / (400e6 * 0.6))
    assert estimated_ms(stepwise, SPEED) == pytest.approx(1e9 / (400e6 * 0.05))
    assert estimated_ms(parallel, Speed(800.0, "bf16")) == pytest.approx(estimated_ms(parallel, SPEED) / 2)


@pytest.mark.parametrize("purpose", ["", "describe", "Caption", "embed"])
def test_an_unknown_task_is_refused(purpose: str) -> None:
    with pytest.raises(UsageError, match="caption, ask, search"):
        recommend(known(), purpose, SPEED)


@pytest.mark.parametrize("limit", [0, -1, math.nan, math.inf])
def test_a_limit_that_is_none_is_refused(limit: float) -> None:
    with pytest.raises(UsageError, match="memory"):
        recommend(known(), "caption", SPEED, memory_mb=limit)
    with pytest.raises(UsageError, match="latency"):
        recommend(known(), "caption", SPEED, latency_ms=limit)


@pytest.mark.parametrize("language", ["chinese", "", "z", "zh-CN", "中文"])
def test_a_language_is_a_code(language: str) -> None:
    with pytest.raises(UsageError, match="such as en or zh"):
        recommend(known(), "caption", SPEED, language=language)


# --- the built-in model ---------------------------------------------------------------------------------


def measured(
    metric: str, value: float, precision: str = "bf16", dataset: str = "flickr8k (en)"
) -> Measurement:
    return Measurement.model_validate(
        {
            "precision": precision,
            "task": "any",
            "dataset": dataset,
            "split": "dev",
            "metric": metric,
            "value": value,
            "machine": "a machine",
        }
    )


def own_bundle(folder: Path, **more: object) -> Bundle:
    document = {
        "name": "own",
        "family": "unified",
        "version": "1",
        "config": {},
        "tasks": ["embed", "caption"],
        "languages": ["en", "zh"],
        "graphs": {},
        "licence": "research use only",
        **more,
    }
    weights = {"one": np.zeros((3, 5), np.float32), "two": np.zeros(7, np.float16)}
    save_file(weights, folder / "model.safetensors")
    return Bundle(folder, Manifest.model_validate_json(json.dumps(document, default=Measurement.model_dump)))


def test_the_own_model_is_read_from_its_bundle(tmp_path: Path) -> None:
    rows = [
        measured("captions.cider", 0.41),
        measured("captions.cider", 0.39, dataset="flickr8k (zh)"),
        measured("captions.cider", 0.40, precision="fp32"),
        measured("captions.bleu_4", 12.0),
        measured("text_to_image.r1", 11.0, precision="fp32"),
    ]
    candidate = own_candidate(own_bundle(tmp_path, measurements=rows), "builtin", "bf16", {})
    assert candidate.parameters == 22
    assert candidate.memory_bytes == 44 + ALLOWANCE_BYTES
    assert candidate.here
    assert {(one.task, one.dataset, one.language, one.value) for one in candidate.figures} == {
        ("caption", "flickr8k (en) dev", "en", 0.41),
        ("caption", "flickr8k (zh) dev", "zh", 0.39),
        # Measured in another precision only: better than nothing, and its source says so.
        ("search", "flickr8k (en) dev", "en", 11.0),
    }
    assert all(one.setting == MEASURED_SETTING for one in candidate.figures)
    assert "measured in fp32 on a machine" in str(candidate.figures)


def test_the_own_model_stands_in_a_group_of_its_own(tmp_path: Path) -> None:
    rows = [measured("captions.cider", 0.4), measured("captions.cider", 0.3, dataset="flickr8k (zh)")]
    own = own_candidate(own_bundle(tmp_path, measurements=rows), "builtin", "bf16", {})
    ranking = recommend([*known(), own], "caption", SPEED)
    assert names(ranking)[:2] == ["Salesforce/blip-image-captioning-base", "builtin"]
    assert ranking.placed[1].rank_in_group == 1
    assert "not comparable with published figures" in ranking.placed[1].why
    [chinese] = recommend([*known(), own], "caption", SPEED, language="zh").placed
    assert chinese.figure is not None
    assert chinese.figure.value == 0.3


def test_answers_are_ranked_by_exact_match(tmp_path: Path) -> None:
    """VQA accuracy is recorded of sets with one or two answers a question, too, where it says nothing."""
    rows = [
        measured("vqa.exact_match", 80.583127, dataset="questions.json, 200 photos").model_copy(
            update={"split": "gate"}
        ),
        measured("vqa.exact_match", 79.5, dataset="everyday (zh)"),
        measured("vqa.exact_match", 80.504999, dataset="everyday (en)"),
        measured("vqa.exact_match", 80.9, dataset="traffic_zh"),
        measured("vqa.accuracy", 0.899, dataset="DAQUAR"),
        measured("vqa.exact_match", 17.1, dataset="DAQUAR").model_copy(
            update={"split": "held out, the last 0.1 of the photos"}
        ),
    ]
    own = own_candidate(own_bundle(tmp_path, measurements=rows, tasks=["ask"]), "builtin", "bf16", {})
    [alone] = recommend([own], "ask", SPEED, language="en").placed
    assert alone.figure is not None
    assert (alone.figure.metric, alone.figure.value) == ("vqa.exact_match", 80.504999)
    assert alone.group == "exact match on everyday (en) dev, measured by seetell"
    assert alone.why == (
        "the only one with this figure (exact match on everyday (en) dev, measured by seetell) among the "
        "known models; measured by seetell on a set of its own, so not comparable with published figures; "
        "elsewhere 17.1 on DAQUAR held out"
    )
    [chinese] = recommend([own], "ask", SPEED, language="zh").placed
    assert chinese.figure is not None and chinese.figure.value == 79.5
    assert chinese.why.endswith("; elsewhere 80.9 on traffic_zh dev")
    [any_language] = recommend([own], "ask", SPEED).placed
    assert any_language.figure is not None and any_language.figure.value == 79.5, "the first of the manifest"


def test_a_gates_figure_is_better_than_none(tmp_path: Path) -> None:
    rows = [measured("vqa.exact_match", 70.0, dataset="q.json").model_copy(update={"split": "gate"})]
    own = own_candidate(own_bundle(tmp_path, measurements=rows, tasks=["ask"]), "builtin", "bf16", {})
    [alone] = recommend([own], "ask", SPEED).placed
    assert alone.figure is not None and alone.figure.value == 70.0


def test_the_own_model_runs_in_int8_after_its_gate(tmp_path: Path) -> None:
    graph = {"image_encoder": {"files": {"fp32": "a.onnx", "int8": "b.onnx"}, "inputs": {}, "outputs": {}}}
    gate = {"passed": True, "tolerance": 1.0, "metric": "x", "drop": 0.1}
    for passed, precision in ((True, "int8"), (False, "bf16")):
        bundle = own_bundle(tmp_path, graphs=graph, gate={**gate, "passed": passed})
        assert own_candidate(bundle, "builtin", "bf16", {}).precision == precision


def test_own_figures_of_one_precision_only() -> None:
    assert measured_figures(Manifest.model_validate(MINIMAL), "bf16") == ()


MINIMAL = {
    "name": "x",
    "family": "x",
    "version": "1",
    "config": {},
    "tasks": [],
    "graphs": {},
    "licence": "x",
}


@pytest.mark.parametrize("damage", [b"", b"nonsense", b"\xff" * 100])
def test_damaged_weights_are_named(tmp_path: Path, damage: bytes) -> None:
    bundle = own_bundle(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(damage)
    with pytest.raises(BundleDamaged, match=r"model\.safetensors"):
        own_candidate(bundle, "builtin", "bf16", {})
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(BundleDamaged, match="missing"):
        own_candidate(bundle, "builtin", "bf16", {})
