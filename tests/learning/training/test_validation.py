"""Validation sees the torch model as users see a bundle: same tasks, same decoding, same metrics."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from seetell.core.errors import RecipeError
from seetell.data.vqa import read_vqa
from seetell.evaluation.report import as_dict
from seetell.evaluation.runner import evaluate_questions
from seetell.learning.training import validation
from seetell.learning.training.build import build_step
from seetell.learning.training.metrics_log import read_metrics
from seetell.learning.training.run import HOLDOUT, prepare, run
from seetell.learning.training.validation import _predictors, build_validate, facade
from tests.learning.training.test_run import scenes, small

__all__ = ["scenes"]

VALIDATE = (
    "validate={every: 3, stop_on: scenes.en.text_to_image.r10, data: ["
    "{format: coco_captions, path: ../scenes/captions_train.json, limit: 8},"
    "{format: vqa, path: ../scenes, holdout: {modulo: 10, remainder: 9}}]}"
)


def test_a_run_measures_itself_and_keeps_the_best(scenes: Path, tmp_path: Path) -> None:
    text = VALIDATE.replace("../scenes/captions_train.json", "captions_train.json").replace("../scenes", ".")
    text = text.replace("scenes.en", "captions_train.en")
    recipe = small(scenes, tmp_path / "run", text)
    result = run(recipe, build_validate=build_validate)
    rows = [row for row in read_metrics(tmp_path / "run" / "metrics.jsonl") if row["kind"] == "validate"]
    assert [row["step"] for row in rows] == [3, 6]
    figures = rows[-1]
    # Eight photos: any ranking has the right one among ten, so these are known before training.
    assert figures["captions_train.en.text_to_image.r10"] == 100.0
    assert figures["captions_train.zh.image_to_text.r1"] <= 100.0
    assert any(name.endswith("vqa.exact_match") for name in figures)
    # Only what was asked for costs time: no wanted metric reads captions.
    assert not any(".captions." in name for name in figures)
    assert result.best_step == 3
    assert result.best_value == 100.0


def test_the_facade_over_torch_does_every_task_and_trains_on(scenes: Path, tmp_path: Path) -> None:
    prepared = prepare(small(scenes, tmp_path / "run"))
    model = facade(prepared.step.model, prepared)
    assert {"embed", "match", "classify", "caption", "ask", "features", "fill"} <= model.tasks
    photo = next((scenes / "images").iterdir())
    assert model.caption(photo, language="zh").language == "zh"
    assert model.precision == "fp32"


def test_held_out_questions_lie_in_the_runs_folder_and_evaluate(scenes: Path, tmp_path: Path) -> None:
    prepared = prepare(small(scenes, tmp_path / "run"))
    (folder,) = (tmp_path / "run" / HOLDOUT).iterdir()
    held = read_vqa(folder / "questions_holdout.json", folder / "annotations_holdout.json", scenes / "images")
    assert held
    assert {int(record.photo_id) % 10 for record in held} == {9}
    measured = evaluate_questions(_predictors(facade(prepared.step.model, prepared), "en", False), held)
    assert 0.0 <= as_dict(measured)["vqa"]["exact_match"] <= 100.0


def test_labels_are_told_from_all_of_their_source(scenes: Path, tmp_path: Path) -> None:
    """As `seetell evaluate` tells them, though one photo of one label is measured."""
    for number in range(8):
        shutil.copytree(next((scenes / "labelled").iterdir()), tmp_path / "many" / f"label {number}")
    data = f"validate={{every: 3, data: [{{format: imagefolder, path: {tmp_path}/many, limit: 1}}]}}"
    able = small(scenes, tmp_path / "able", data, "objectives=[{name: contrastive}]")
    prepared = prepare(able)
    seen: list[int] = []
    original = validation.classify_by_prompts

    def counted(images: Any, texts: Any, labels: Any, templates: Any) -> Any:
        seen.append(len(labels))
        return original(images, texts, labels, templates)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(validation, "classify_by_prompts", counted)
        build_validate(prepared)(prepared.step.model)
    assert seen == [8, 8]  # when it is tried, and when it is measured


def test_captions_in_a_language_without_a_lead_are_refused(scenes: Path, tmp_path: Path) -> None:
    german = ["data.0.languages=[de]", "objectives=[{name: captioning}]"]
    with pytest.raises(RecipeError, match="captioning can be taught in en, zh, not in de"):
        build_step(small(scenes, tmp_path / "run", *german), 300, (), ())


def test_a_validation_source_nothing_measures_is_named(scenes: Path, tmp_path: Path) -> None:
    labelled = "validate={every: 3, data: [{format: imagefolder, path: labelled}]}"
    recipe = small(scenes, tmp_path / "run", labelled, "objectives=[{name: labels}]")
    with pytest.raises(
        RecipeError, match=r"^validate\.data\.0: labelled has labels, and this model tells none"
    ):
        build_validate(prepare(recipe))
    able = small(scenes, tmp_path / "able", labelled, "objectives=[{name: contrastive}]")
    figures = build_validate(prepare(able))(prepare(able).step.model)
    assert 0 <= figures["labelled.zero_shot.top_1"] <= 100
    assert figures["labelled.zero_shot.top_5"] == 100.0  # of three labels
    with pytest.raises(RecipeError, match=r"validate\.data"):
        build_validate(prepare(small(scenes, tmp_path / "other", "validate={every: 3}")))
