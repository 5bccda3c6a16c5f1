"""Public families taught further: the losses are the references', runs learn, go on and become bundles."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import (
    BlipForConditionalGeneration,
    BlipForImageTextRetrieval,
    BlipForQuestionAnswering,
    ViltForQuestionAnswering,
)

import seetell
from seetell.bundle.tokenizer import Tokenizer
from seetell.core.errors import CheckpointError, RecipeError
from seetell.learning.augmentation import Augmentation, random_part
from seetell.learning.batch import Batch, Captions, Questions
from seetell.learning.scenes import write_scenes
from seetell.learning.training.build import build_public_step, teachable
from seetell.learning.training.metrics_log import read_metrics
from seetell.learning.training.recipe import Recipe, parse_recipe
from seetell.learning.training.run import build_collator, prepare, run
from seetell.learning.training.step import JointStep
from seetell.learning.training.validation import build_validate, facade
from seetell.media.images import decode_image
from seetell.media.preprocess import preprocess
from seetell.modeling.checkpoints.run_folder import load_run_weights, read_description, read_run
from seetell.modeling.export.run import export_run
from seetell.modeling.start import read_start
from tests.learning.training.test_run import small
from tests.parity import test_blip as blip
from tests.parity import test_chinese_clip as chinese_clip
from tests.parity import test_clip as clip
from tests.parity import test_siglip as siglip
from tests.parity import test_vilt as vilt

MAKERS: dict[str, Callable[[Path], Any]] = {
    "clip": lambda folder: clip.make("plain", folder),
    "siglip": lambda folder: siglip.make("plain", folder),
    "chinese_clip": lambda folder: chinese_clip.make(next(iter(chinese_clip.SHAPES)), folder),
    "blip_captions": lambda folder: blip.make(BlipForConditionalGeneration, "plain", folder),
    "blip_answers": lambda folder: blip.make(BlipForQuestionAnswering, "plain", folder),
    "blip_retrieval": lambda folder: blip.make(BlipForImageTextRetrieval, "plain", folder),
    "vilt": lambda folder: vilt.make(ViltForQuestionAnswering, "plain", folder),
}
STILL = {"scale": [1, 1], "aspect": [1, 1], "flip": False, "brightness": 0, "contrast": 0, "saturation": 0}


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "scenes"
    write_scenes(folder, 24, seed=2, size=48)
    return folder


@pytest.fixture(scope="module")
def starts(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Path, Any]]:
    made: dict[str, tuple[Path, Any]] = {}

    def start(name: str) -> tuple[Path, Any]:
        if name not in made:
            folder = tmp_path_factory.mktemp(name)
            torch.manual_seed(0)  # some first weights are drawn by the reference itself
            made[name] = (folder, MAKERS[name](folder))
        return made[name]

    return start


def recipe(init: Path | str, scenes: Path, folder: Path, **changes: Any) -> Recipe:
    document: dict[str, Any] = {
        "init": str(init),
        "data_root": str(scenes),
        "data": [
            {"format": "coco_captions", "path": ".", "batch_size": 8, "augment": STILL},
            {"format": "vqa", "path": ".", "batch_size": 6, "questions_per_photo": 2, "augment": STILL},
        ],
        "optimizer": {"lr": 3e-3},
        "schedule": {"warmup_steps": 1},
        "precision": "fp32",
        "steps": 24,
        "ema": {"decay": 0.5},
        "checkpoint": {"dir": str(folder)},
    }
    return parse_recipe({**document, **changes}, "test")


# The losses are those the references were taught by -------------------------------------------------


def texts_of(folder: Path, *texts: str) -> tuple[Tensor, Tensor]:
    start = read_start(str(folder))
    assert start.facts.text is not None and start.tokenizer_json is not None
    tokenizer = Tokenizer(start.tokenizer_json.decode("utf-8"), start.facts.text)
    ids, mask = tokenizer.encode(texts, lead_id=start.facts.text.bos_id)
    return torch.from_numpy(ids), torch.from_numpy(mask)


def step_of(folder: Path, scenes: Path, **spec: Any) -> Any:
    start = read_start(str(folder))
    assert start.facts.text is not None
    objective = {"name": teachable(start.model)[0], **spec}
    return build_public_step(
        start.model, recipe(folder, scenes, folder, objectives=[objective]), start.facts.text
    ).eval()


@pytest.mark.parametrize("name", ["clip", "siglip", "chinese_clip"])
def test_a_dual_encoders_loss_and_gradient_are_the_references(
    name: str, starts: Callable[[str], tuple[Path, Any]], scenes: Path
) -> None:
    folder, reference = starts(name)
    ids, mask = texts_of(folder, "a cat", "the dog and the cat", "dog")
    size = reference.config.vision_config.image_size
    pixels = torch.randn(3, 3, size, size)
    step = step_of(folder, scenes)
    ours = step(Batch(("a", "b", "c"), pixels, Captions(ids, mask, torch.arange(3), ("en",) * 3)))["loss"]
    extra = {"attention_mask": mask.long()} if name != "siglip" else {}
    theirs = reference(input_ids=ids, pixel_values=pixels, return_loss=True, **extra).loss
    assert float(ours.detach()) == pytest.approx(float(theirs.detach()), rel=1e-4)
    reference.zero_grad()
    ours.backward()
    theirs.backward()
    pairs = [
        (step.model.logit_scale.grad, reference.logit_scale.grad),
        (
            step.model.image_encoder.patch_embed.weight.grad,
            reference.vision_model.embeddings.patch_embedding.weight.grad,
        ),
    ]
    for found, expected in pairs:
        assert float(expected.abs().max()) > 1e-5
        torch.testing.assert_close(found.reshape(expected.shape), expected, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize(("name", "bound"), [("clip", 100.0), ("siglip", 117.0)])
def test_clips_bound_on_the_scale_is_not_siglips(
    name: str, bound: float, starts: Callable[[str], tuple[Path, Any]], scenes: Path
) -> None:
    """The published SigLIP models have 117: their first step must not undo what they learned."""
    folder, reference = starts(name)
    ids, mask = texts_of(folder, "a cat", "dog")
    size = reference.config.vision_config.image_size
    step = step_of(folder, scenes).train()
    with torch.no_grad():
        step.model.logit_scale.fill_(math.log(117.0))
    step(Batch(("a", "b"), torch.randn(2, 3, size, size), Captions(ids, mask, torch.arange(2), ("en",) * 2)))
    assert float(step.model.logit_scale.detach().exp()) == pytest.approx(bound)


def test_blips_caption_loss_is_the_references(
    starts: Callable[[str], tuple[Path, Any]], scenes: Path
) -> None:
    folder, reference = starts("blip_captions")
    ids, mask = texts_of(folder, "a dog on the left", "two cats")
    pixels = torch.randn(2, 3, 32, 32)
    step = step_of(folder, scenes, label_smoothing=reference.config.text_config.label_smoothing)
    ours = step(Batch(("a", "b"), pixels, Captions(ids, mask, torch.arange(2), ("en", "en"))))["loss"]
    led = ids.clone()
    led[:, 0] = blip.START
    labels = led.masked_fill(~mask, -100)
    theirs = reference(pixel_values=pixels, input_ids=led, attention_mask=mask.long(), labels=labels).loss
    assert float(ours.detach()) == pytest.approx(float(theirs.detach()), rel=1e-4)


def test_vilts_answer_loss_is_the_references(starts: Callable[[str], tuple[Path, Any]], scenes: Path) -> None:
    folder, reference = starts("vilt")
    ids, mask = texts_of(folder, "what color is the dog ?", "who ?")
    pixels, pixel_mask = torch.randn(2, 3, 32, 40), torch.ones(2, 32, 40, dtype=torch.bool)
    pixel_mask[1, :, 24:] = False
    step = step_of(folder, scenes)
    answers = torch.tensor([3, 1])
    questions = Questions(ids, mask, torch.arange(2), ids, mask, answers)
    ours = step(Batch(("a", "b"), pixels, questions=questions, pixel_mask=pixel_mask))["loss"]
    labels = torch.nn.functional.one_hot(answers, len(vilt.ANSWERS)).float()
    theirs = reference(
        input_ids=ids,
        attention_mask=mask.long(),
        pixel_values=pixels,
        pixel_mask=pixel_mask.long(),
        labels=labels,
    ).loss
    assert float(ours.detach()) == pytest.approx(float(theirs.detach()), rel=1e-4)
    nothing = Questions(ids, mask, torch.arange(2), ids, mask, torch.full((2,), -100))
    empty = step(Batch(("a", "b"), pixels, questions=nothing, pixel_mask=pixel_mask))["loss"]
    assert float(empty.detach()) == 0.0 and empty.requires_grad


# Whole runs -----------------------------------------------------------------------------------------

EXPECTED = {
    "clip": {"contrastive"},
    "siglip": {"contrastive"},
    "chinese_clip": {"contrastive"},
    "blip_captions": {"captioning"},
    "blip_answers": {"answer_text"},
    "blip_retrieval": {"contrastive", "matching"},
    "vilt": {"answer_list"},
}


@pytest.mark.parametrize("name", list(MAKERS))
def test_a_run_of_every_family_learns(
    name: str, starts: Callable[[str], tuple[Path, Any]], scenes: Path, tmp_path: Path
) -> None:
    folder, _ = starts(name)
    changes: dict[str, Any] = {"tune": {"lora": {"rank": 4}, "layer_decay": 0.9}, "optimizer": {"lr": 2e-2}}
    if name == "chinese_clip":
        # Its vocabulary has none of the words, so that it can only unlearn being wrong; slowly, or it is done
        # with that before the first losses are looked at.
        changes = {"optimizer": {"lr": 3e-4}}
    elif name not in ("clip", "vilt"):
        changes = {}
    result = run(recipe(folder, scenes, tmp_path / "run", **changes))
    assert (result.outcome, result.step) == ("finished", 24)
    rows = read_metrics(tmp_path / "run" / "metrics.jsonl")
    losses = [row["loss"] for row in rows]
    assert EXPECTED[name] <= rows[0].keys()
    if name == "vilt":
        # Its short list knows few of these answers; yes and no are among them.
        losses = [loss for loss in losses if loss > 0]
    # Their vocabularies hardly have the words of the scenes: some can only learn so much.
    assert sum(losses[-5:]) < 0.98 * sum(losses[:5]), losses


def test_photos_are_prepared_as_the_model_was_taught(
    starts: Callable[[str], tuple[Path, Any]], scenes: Path, tmp_path: Path
) -> None:
    for name in ("clip", "vilt"):
        folder, _ = starts(name)
        prepared = prepare(recipe(folder, scenes, tmp_path / name))
        assert prepared.start is not None and prepared.start.facts.image is not None
        batch = build_collator(prepared).batch(0)
        photos = [decode_image(Path(key)) for key in batch.keys]
        values, mask = preprocess(photos, prepared.start.facts.image)
        torch.testing.assert_close(batch.pixel_values, torch.from_numpy(values), atol=1e-6, rtol=0)
        assert (batch.pixel_mask is None) == (mask is None)
        # CLIP reads no Chinese and was not asked to.
        assert batch.captions is None or set(batch.captions.languages) <= {"en"}


def test_a_part_of_a_photo_stays_within_it() -> None:
    photo = np.random.default_rng(0).integers(0, 256, (20, 33, 3), dtype=np.uint8)
    still = Augmentation(scale=(1, 1), aspect=(1, 1), flip=False, brightness=0, contrast=0, saturation=0)
    assert np.array_equal(random_part(photo, still, np.random.default_rng(0), may_flip=True), photo)
    wild = Augmentation(scale=(0.01, 1), aspect=(0.2, 5), erase=0.5)
    for seed in range(50):
        part = random_part(photo, wild, np.random.default_rng(seed), may_flip=True)
        assert part.dtype == np.uint8 and part.ndim == 3 and 0 not in part.shape
        assert part.shape[0] <= 20 and part.shape[1] <= 33
    thin = random_part(photo[:1, :1], wild, np.random.default_rng(0), may_flip=True)
    assert thin.shape == (1, 1, 3)


def test_a_stopped_run_goes_on_without_what_it_began_from_and_becomes_a_bundle(
    scenes: Path, tmp_path: Path
) -> None:
    init = tmp_path / "start"
    MAKERS["clip"](init)
    tune = {"lora": {"rank": 2}}
    run(recipe(init, scenes, tmp_path / "whole", steps=8, tune=tune))
    run(recipe(init, scenes, tmp_path / "run", steps=4, tune=tune, schedule={"warmup_steps": 1}))
    init.rename(tmp_path / "gone")
    result = run(recipe(init, scenes, tmp_path / "run", steps=8, tune=tune))
    assert result.step == 8

    manifest = export_run(tmp_path / "run", tmp_path / "bundle", checkpoint="latest", weights_dtype="fp32")
    assert manifest.family == "dual_encoder"
    assert manifest.source.recipe == "run, step 8"
    start = read_run(tmp_path / "run")
    before = read_start(str(tmp_path / "gone")).model
    photo = next((scenes / "images").iterdir())
    with seetell.load(tmp_path / "bundle", precision="fp32") as bundle:
        spec = start.description.facts.image
        assert spec is not None
        pixels = torch.from_numpy(preprocess([decode_image(photo)], spec)[0])
        with torch.no_grad():
            expected = start.model.encode_image(pixels)[2]
            began = before.encode_image(pixels)[2]
        found = torch.from_numpy(bundle.embed_images([photo]))
    torch.testing.assert_close(found, expected, atol=2e-4, rtol=0)
    assert not torch.allclose(found, began, atol=1e-3)

    # A bundle is a start, too, and so is the run itself.
    for source in ("bundle", "run"):
        again = read_start(str(tmp_path / source))
        with torch.no_grad():
            torch.testing.assert_close(
                again.model.eval().encode_image(pixels)[2], expected, atol=1e-5, rtol=0
            )


@pytest.mark.parametrize("name", ["blip_captions", "blip_answers"])
def test_tied_words_are_one_parameter_and_a_stopped_run_goes_on(
    name: str, starts: Callable[[str], tuple[Path, Any]], scenes: Path, tmp_path: Path
) -> None:
    folder, _ = starts(name)
    model: Any = read_start(str(folder)).model
    assert model.token_head.matrix is model.decoder.embedding.tokens.weight
    run(recipe(folder, scenes, tmp_path / "run", steps=2))
    assert run(recipe(folder, scenes, tmp_path / "run", steps=3)).step == 3


def test_validation_measures_public_models(
    starts: Callable[[str], tuple[Path, Any]], scenes: Path, tmp_path: Path
) -> None:
    folder, _ = starts("clip")
    data = [{"format": "coco_captions", "path": "captions_train.json", "limit": 12}]
    settings = recipe(
        folder,
        scenes,
        tmp_path / "run",
        steps=4,
        validate={"every": 2, "data": data, "stop_on": "captions_train.en.text_to_image.r5"},
    )
    result = run(settings, build_validate=build_validate)
    assert result.best_step in (2, 4)
    rows = [row for row in read_metrics(tmp_path / "run" / "metrics.jsonl") if row["kind"] == "validate"]
    assert 0 <= rows[0]["captions_train.en.text_to_image.r5"] <= 100

    folder, _ = starts("vilt")
    prepared = prepare(recipe(folder, scenes, tmp_path / "vilt"))
    answer = facade(prepared.step.model, prepared).ask(next((scenes / "images").iterdir()), "what color ?")
    assert answer.answer in vilt.ANSWERS


def test_vilt_learns_new_answers_with_all_else_kept(
    starts: Callable[[str], tuple[Path, Any]], scenes: Path, tmp_path: Path
) -> None:
    folder, _ = starts("vilt")
    prepared = prepare(recipe(folder, scenes, tmp_path / "run", answers=9))
    assert len(prepared.corpus.answers) == 9
    assert prepared.corpus.answers != vilt.ANSWERS
    model, before = prepared.step.model, read_start(str(folder)).model
    own = before.state_dict()
    changed = {
        name
        for name, tensor in model.state_dict().items()
        if own[name].shape != tensor.shape or not torch.equal(tensor, own[name])
    }
    assert changed == {"answer_head.3.weight", "answer_head.3.bias"}
    assert read_description(tmp_path / "run").facts.answers == prepared.corpus.answers


def test_our_own_model_is_taught_further_without_its_sizes_told(scenes: Path, tmp_path: Path) -> None:
    first = run(small(scenes, tmp_path / "first", "steps=2"))
    document = {
        "init": str(tmp_path / "first"),
        "data_root": str(scenes),
        "data": [{"format": "coco_captions", "path": ".", "batch_size": 4}],
        "objectives": [{"name": "contrastive"}],
        "steps": 4,
        "optimizer": {"lr": 1e-3},
        "schedule": {"warmup_steps": 1},
        "checkpoint": {"dir": str(tmp_path / "second"), "every": 2},
        "precision": "fp32",
    }
    prepared = prepare(parse_recipe(document, "test"))
    assert isinstance(prepared.step, JointStep)
    assert prepared.step.model.config.image_size == (64, 64)
    assert prepared.recipe.resolution[0].size == 64
    assert (tmp_path / "second" / "tokenizer.json").read_bytes() == (
        tmp_path / "first" / "tokenizer.json"
    ).read_bytes()
    run(parse_recipe({**document, "steps": 2}, "test"))
    (tmp_path / "first").rename(tmp_path / "gone")
    assert run(parse_recipe(document, "test")).step == 4
    assert first.step == 2


def test_our_own_model_keeps_what_it_could_and_the_terms_of_its_data(scenes: Path, tmp_path: Path) -> None:
    """Taught from captions alone it still answers, tells labels and matches, with the lists it had."""
    terms = {
        "name": "mine",
        "licence": "to look at only",
        "data": [{"name": "scenes", "terms": "none"}],
        "calibration": {"answer_temperature": 1.5, "abstain_below": 0.25},
    }
    begun = small(scenes, tmp_path / "first", "steps=2", f"bundle={json.dumps(terms)}")
    run(begun)
    first = prepare(begun)
    document = {
        "init": str(tmp_path / "first"),
        "data_root": str(scenes),
        "data": [{"format": "coco_captions", "path": ".", "batch_size": 4}],
        "objectives": [{"name": "captioning"}],
        "tune": {"lora": {"rank": 2}},
        "steps": 2,
        "checkpoint": {"dir": str(tmp_path / "second"), "every": 1},
        "precision": "fp32",
    }
    prepared = prepare(parse_recipe(document, "test"))
    assert prepared.corpus.answers == first.corpus.answers
    assert prepared.corpus.labels == first.corpus.labels
    before, after = facade(first.step.model, first), facade(prepared.step.model, prepared)
    assert after.tasks == before.tasks and {"ask", "classify", "match", "caption"} <= set(after.tasks)
    load_run_weights(first.step.model, tmp_path / "first")
    for name, tensor in first.step.model.state_dict().items():
        if name.startswith(("answer_head", "label_head", "match_head")):
            torch.testing.assert_close(prepared.step.model.state_dict()[name], tensor)

    run(parse_recipe({**document, "steps": 1}, "test"))
    (tmp_path / "first").rename(tmp_path / "gone")
    run(parse_recipe(document, "test"))
    manifest = export_run(tmp_path / "second", tmp_path / "bundle", checkpoint="latest")
    assert set(manifest.tasks) == set(after.tasks)
    assert manifest.licence == "to look at only" and manifest.name == "second"
    assert manifest.answers == first.corpus.answers
    assert (manifest.score.answer_temperature, manifest.score.abstain_below) == (1.5, 0.25)
    # What is taught further can be taught further.
    again = {**document, "init": str(tmp_path / "bundle"), "checkpoint": {"dir": str(tmp_path / "third")}}
    third = prepare(parse_recipe(again, "test"))
    assert set(facade(third.step.model, third).tasks) == set(after.tasks)
    assert third.recipe.bundle is not None
    assert third.recipe.bundle.calibration.abstain_below == 0.25
    # New answers: what was fitted to the old ones holds no longer.
    answering = {
        **again,
        "data": [{"format": "vqa", "path": ".", "batch_size": 4}],
        "objectives": [{"name": "answer_text"}],
        "checkpoint": {"dir": str(tmp_path / "fourth")},
    }
    fourth = prepare(parse_recipe(answering, "test"))
    assert fourth.recipe.bundle is not None
    assert fourth.recipe.bundle.calibration.abstain_below == 0


def test_answers_to_new_questions_take_the_place_of_the_old_ones(scenes: Path, tmp_path: Path) -> None:
    run(small(scenes, tmp_path / "first", "steps=2"))
    document = {
        "init": str(tmp_path / "first"),
        "data_root": str(scenes),
        "data": [{"format": "vqa", "path": ".", "batch_size": 4}],
        "answers": 3,
        "objectives": [{"name": "answer_list"}],
        "steps": 2,
        "checkpoint": {"dir": str(tmp_path / "second")},
    }
    prepared = prepare(parse_recipe(document, "test"))
    assert len(prepared.corpus.answers) == 3
    assert "answer_list" not in prepared.recipe.keeps and "captioning" in prepared.recipe.keeps


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        (
            "clip",
            {"objectives": [{"name": "captioning"}]},
            "captioning does not teach this model; what does: contrastive",
        ),
        (
            "clip",
            {"data": [{"format": "vqa", "path": ".", "batch_size": 2}]},
            "is taught by contrastive, and no source",
        ),
        (
            "clip",
            {"resolution": [{"until": 1.0, "size": 64}]},
            "resolution: .* keeps the one it was taught with",
        ),
        ("clip", {"tokenizer": {"context_length": 30}}, "tokenizer: .* leave it out"),
        ("vilt", {"mean": [0, 0, 0]}, "mean: "),
    ],
)
def test_what_a_public_model_cannot_have_is_refused(
    name: str,
    changes: dict[str, Any],
    message: str,
    starts: Callable[[str], tuple[Path, Any]],
    scenes: Path,
    tmp_path: Path,
) -> None:
    folder, _ = starts(name)
    with pytest.raises(RecipeError, match=message) as caught:
        prepare(recipe(folder, scenes, tmp_path / "run", **changes))
    assert "\n" not in str(caught.value)


def test_what_is_no_start_is_named(scenes: Path, tmp_path: Path) -> None:
    with pytest.raises(seetell.SeetellError, match="nowhere is no folder, and no hub id"):
        prepare(recipe("nowhere", scenes, tmp_path / "run"))
    (tmp_path / "run").mkdir(exist_ok=True)
    (tmp_path / "run" / "model.json").write_text('{"format": 1, "family": "clip"')
    with pytest.raises(CheckpointError, match="missing or damaged"):
        read_description(tmp_path / "run")
    (tmp_path / "run" / "model.json").write_text('{"format": 9}')
    with pytest.raises(CheckpointError, match="format 9"):
        read_description(tmp_path / "run")
