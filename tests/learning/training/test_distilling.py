"""Learning from a teacher: nothing to learn from an equal, and short runs that come nearer to another."""

from __future__ import annotations

import copy
import itertools
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file as torch_weights
from safetensors.torch import save_file
from torch.nn import functional as F

from seetell.bundle.manifest import TextSpec
from seetell.core.errors import CheckpointError, RecipeError, SeetellError
from seetell.learning.batch import Batch, TeacherInputs
from seetell.learning.scenes import write_scenes
from seetell.learning.teacher_inputs import LiveReader
from seetell.learning.tokenizer_training import train_tokenizer, write_tokenizer
from seetell.learning.training.checkpoint import evenly_chosen, load_initial_weights
from seetell.learning.training.distilling import common_answers
from seetell.learning.training.objective_spec import DISTILLING, ObjectiveSpec
from seetell.learning.training.recipe import Recipe, parse_recipe
from seetell.learning.training.run import Prepared, build_collator, prepare, run
from seetell.learning.training.step import JointStep
from seetell.learning.training.teacher_families import UnifiedTeacher, teacher_of
from seetell.learning.training.teacher_outputs import write_teacher_outputs
from seetell.media.preprocess import ImageSpec
from seetell.modeling.checkpoints.run_folder import read_description, read_run, write_description
from seetell.modeling.export.run import export_run
from seetell.modeling.facts import BundleFacts
from seetell.modeling.models.grounded import GroundedModel
from seetell.modeling.parts.stack import StackShape
from seetell.modeling.parts.vit import ViT
from seetell.modeling.start import Start, read_start
from tests.learning.test_step import HYBRID, LEADS, RESNET, VIT, _batch, _step
from tests.learning.training.test_public import MAKERS
from tests.learning.training.test_run import _fail_at, losses, small

ANSWERS = ("red", "two", "yes", "no")
BASES = ("contrastive", "matching", "captioning", "answer_list", "labels")


# One step --------------------------------------------------------------------------------------


TEXT = TextSpec(
    context_length=16,
    bos_id=1,
    fusion_bos_id=LEADS.fuse,
    eos_id=3,
    pad_id=0,
    decoder_start_ids={"en": 5, "zh": 6},
)


def _teacher(step: JointStep, answers: tuple[str, ...] = ANSWERS) -> UnifiedTeacher:
    facts = BundleFacts(
        name="teacher", licence="none", image=ImageSpec(height=24, width=24), text=TEXT, answers=answers
    )
    trained = frozenset(("image_embeds", "text_embeds", "match_logits", "logits", "answer_logits"))
    return UnifiedTeacher(Start(copy.deepcopy(step.model), facts, None, trained))


def _learner(made: JointStep, teacher: UnifiedTeacher, *names: str, **spec: Any) -> JointStep:
    specs = [ObjectiveSpec.model_validate({"name": name, **spec}) for name in names or sorted(DISTILLING)]
    return JointStep(made.model, specs, LEADS, teacher=teacher, answers=ANSWERS)


def _taught_batch() -> Batch:
    batch = _batch()
    assert batch.captions is not None and batch.questions is not None
    inputs = TeacherInputs(
        batch.pixel_values,
        None,
        (batch.captions.ids, batch.captions.attention_mask),
        (batch.questions.ids, batch.questions.attention_mask),
    )
    return replace(batch, teacher=inputs)


@pytest.mark.parametrize("image", [VIT, RESNET, HYBRID], ids=lambda one: one["kind"])
def test_a_student_that_equals_its_teacher_has_nothing_to_learn(image: dict[str, object]) -> None:
    torch.manual_seed(0)
    made = _step(BASES, image)
    # In evaluation: a batch norm that learns normalises by the batch, and its frozen equal does not.
    step = _learner(made, _teacher(made)).eval()
    losses = step(_taught_batch())
    losses["loss"].backward()
    assert losses.keys() == {"loss", *DISTILLING}
    for name, value in losses.items():
        assert float(value.detach()) == pytest.approx(0.0, abs=1e-5), name
    largest = max(float(one.grad.abs().max()) for one in step.parameters() if one.grad is not None)
    assert largest < 1e-4


@pytest.mark.parametrize("name", sorted(DISTILLING))
def test_each_objective_is_learned_by_itself_and_leaves_the_teacher_as_it_was(name: str) -> None:
    torch.manual_seed(0)
    teacher = _teacher(_step(BASES, HYBRID))
    before = {key: value.clone() for key, value in teacher.on(torch.device("cpu")).state_dict().items()}
    torch.manual_seed(1)
    # Another encoder with other widths and another number of stages.
    step = _learner(_step(BASES, VIT), teacher, name)
    optimizer = torch.optim.AdamW(step.parameters(), lr=3e-3)
    values: list[float] = []
    for _ in range(25):
        torch.manual_seed(2)  # the same pairs are drawn each time
        loss = step(_taught_batch())["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        values.append(float(loss.detach()))
    assert values[-1] < 0.5 * values[0]
    after = teacher.on(torch.device("cpu")).state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert not any("teacher" in key and "answers" not in key for key in step.state_dict())


def test_the_teacher_is_no_part_of_a_checkpoint() -> None:
    made = _step(BASES)
    taught = _learner(made, _teacher(made)).state_dict().keys()
    assert taught == JointStep(made.model, [ObjectiveSpec(name="labels")], LEADS).state_dict().keys()


def test_answers_are_compared_where_both_lists_have_them() -> None:
    assert common_answers(("a", "b", "c"), ("c", "x", "a")) == [(0, 2), (2, 0)]
    torch.manual_seed(0)
    made = _step(BASES)
    shuffled = _teacher(made, ("no", "maybe", "red", "yes"))
    # The student's head with the teacher's answers in their places says what the teacher says.
    head = made.model.answer_head
    assert head is not None
    order = [2, 1, 3, 0]  # of the teacher's places; "two" is the student's alone
    with torch.no_grad():
        for tensor in (head[-1].weight, head[-1].bias):
            tensor.copy_(tensor[order].clone())
            tensor[1] += 5.0
    step = _learner(made, shuffled, "distil_answers").eval()
    assert float(step(_taught_batch())["distil_answers"]) == pytest.approx(0.0, abs=1e-6)


# Recipes ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "scenes"
    write_scenes(folder, 60, seed=2, size=48)
    return folder


@pytest.fixture(scope="module")
def taught(scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of a teacher."""
    folder = tmp_path_factory.mktemp("teacher") / "big"
    names = "[{name: contrastive}, {name: matching}, {name: captioning}, {name: answer_list}]"
    more = [f"objectives={names}", "steps=40", "optimizer.lr=3e-3", "ema.decay=0.8", "checkpoint.every=40"]
    run(small(scenes, folder, *more))
    return folder


SMALLER = [
    "model.image.channels=[8, 16]",
    "model.image.embed_dim=16",
    "model.text.embed_dim=16",
    "model.text.depth=1",
    "model.fusion.depth=1",
    "model.shared_dim=32",
]


def student(scenes: Path, folder: Path, teacher: Path | str, *more: str, names: Any = DISTILLING) -> Recipe:
    objectives = ", ".join(f"{{name: {name}}}" for name in sorted(names))
    return small(scenes, folder, *SMALLER, f"teacher={teacher}", f"objectives=[{objectives}]", *more)


def held_out_losses(prepared: Prepared, held: Prepared) -> dict[str, float]:
    """What the student still differs by, on scenes that neither it nor the teacher has seen."""
    batches = build_collator(replace(prepared, sources=held.sources))
    totals: dict[str, float] = {}
    prepared.step.eval()
    for number in range(4):
        torch.manual_seed(number)
        with torch.no_grad():
            for name, value in prepared.step(batches.batch(number)).items():
                totals[name] = totals.get(name, 0.0) + float(value)
    return totals


def test_a_student_comes_nearer_to_its_teacher_on_scenes_that_neither_has_seen(
    scenes: Path, taught: Path, tmp_path: Path
) -> None:
    write_scenes(tmp_path / "unseen", 24, seed=77, size=48)
    longer = ["steps=60", "optimizer.lr=3e-3", "ema=null", "checkpoint.every=60"]
    recipe = student(scenes, tmp_path / "run", taught, *longer)
    held = prepare(student(tmp_path / "unseen", tmp_path / "held", taught, *longer))
    fresh = prepare(recipe)
    before = held_out_losses(fresh, held)
    run(recipe)
    finished = prepare(recipe)
    finished.step.load_state_dict(
        torch_weights(tmp_path / "run" / "checkpoints" / "step-0000060" / "step.safetensors")
    )
    after = held_out_losses(finished, held)
    assert before.keys() == {"loss", *DISTILLING}
    worse = {name: (before[name], after[name]) for name in before if after[name] >= before[name]}
    assert not worse


def test_a_run_with_a_teacher_goes_on_exactly_and_not_with_another(
    scenes: Path, taught: Path, tmp_path: Path
) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    run(student(scenes, whole, taught))
    stopped = prepare(student(scenes, parts, taught))
    stopped.step.register_forward_pre_hook(_fail_at(4))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("seetell.learning.training.run.prepare", lambda _: stopped)
        with pytest.raises(ZeroDivisionError):
            run(stopped.recipe)
    assert len(losses(parts)) == 3
    run(student(scenes, parts, taught))
    assert losses(parts) == losses(whole)
    ends = [torch_weights(one / "checkpoints/step-0000006/step.safetensors") for one in (whole, parts)]
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])
    # The student reads the teacher's words.
    assert (whole / "tokenizer.json").read_bytes() == (taught / "tokenizer.json").read_bytes()
    # Taught by another, even one as large, it would not be this run.
    with pytest.raises(CheckpointError, match="another model"):
        run(student(scenes, parts, parts, "steps=8"))


@pytest.mark.parametrize(
    ("teacher", "more", "told"),
    [
        ("null", [], "learns from a teacher; name one"),
        ("nobody/at/home/here", [], "nobody/at/home/here is no folder"),
        ("TAUGHT", ["objectives=[{name: contrastive}]"], "nothing learns from it"),
        ("TAUGHT", ["objectives=[{name: distil_hidden, temperature: 2}]"], "temperature serves"),
        ("TAUGHT", ["objectives=[{name: distil_hidden, label_smoothing: 0.1}]"], "label_smoothing"),
        ("TAUGHT", ["answers=1"], "the 1 here big has 1"),
        ("TAUGHT", ["tokenizer.path=WORDS"], "the student's tokenizer .* is not that of big"),
        ("ONLY_RETRIEVES", [], "big cannot serve distil_.*, which needs .*; it serves distil_affinity"),
    ],
)
def test_a_teacher_that_does_not_fit_is_told_before_training(
    teacher: str, more: list[str], told: str, scenes: Path, taught: Path, tmp_path: Path
) -> None:
    if any("WORDS" in one for one in more):
        other = tmp_path / "words.json"
        write_tokenizer(other, train_tokenizer(["a text of other words"], 280))
        more = [one.replace("WORDS", str(other)) for one in more]
    if teacher == "ONLY_RETRIEVES":
        folder = tmp_path / "big"
        shutil.copytree(taught, folder)
        retrieves = {"trained": ("image_embeds", "text_embeds")}
        write_description(folder, read_description(folder).model_copy(update=retrieves))
        teacher = str(folder)
    with pytest.raises(SeetellError, match=told) as raised:
        prepare(student(scenes, tmp_path / "run", teacher.replace("TAUGHT", str(taught)), *more))
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_the_teacher_sees_the_same_part_of_the_photo_at_its_own_size(
    scenes: Path, taught: Path, tmp_path: Path
) -> None:
    views = "{scale: [0.3, 0.5], aspect: [0.7, 1.4], brightness: 0.4, contrast: 0, saturation: 0}"
    recipe = student(
        scenes, tmp_path / "run", taught, *(f"data.{place}.augment={views}" for place in range(3))
    )
    prepared = prepare(recipe)
    collator = build_collator(prepared)
    small_views, same_size = collator.batch(0), collator.batch(11)
    assert small_views.teacher is not None and small_views.teacher.pixel_values is not None
    (own, its) = small_views.pixel_values, small_views.teacher.pixel_values
    assert (own.shape[-1], its.shape[-1]) == (32, 64)
    near = F.interpolate(its, size=(32, 32), mode="bicubic", antialias=True)
    apart = (own - near).abs().mean(dim=(1, 2, 3))
    others = (own - near.roll(1, 0)).abs().mean(dim=(1, 2, 3))
    assert float(apart.max()) < 0.25 * float(others.min())
    # And what the student alone gets is what it got without a teacher.
    alone = prepare(small(scenes, tmp_path / "alone", *SMALLER, "objectives=[{name: captioning}]",
                          *(f"data.{place}.augment={views}" for place in range(3))))  # fmt: skip
    assert torch.equal(build_collator(alone).batch(0).pixel_values, own)
    assert same_size.pixel_values.shape[-1] == 48


@pytest.mark.slow
def test_what_was_learned_from_a_teacher_alone_is_in_the_bundle(
    scenes: Path, taught: Path, tmp_path: Path
) -> None:
    run(student(scenes, tmp_path / "run", taught))
    manifest = export_run(tmp_path / "run", tmp_path / "bundle")
    assert {"embed", "match", "caption", "ask"} <= set(manifest.tasks)
    # And such a bundle teaches the next one.
    again = prepare(student(scenes, tmp_path / "next", tmp_path / "bundle"))
    assert again.teacher is not None and again.teacher.teaches == DISTILLING


# Another family --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def a_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clip")
    torch.manual_seed(0)
    MAKERS["clip"](folder)
    return folder


ACROSS = ("distil_affinity", "distil_features", "distil_hidden")


def test_a_clip_teaches_a_student_of_ours(scenes: Path, a_clip: Path, tmp_path: Path) -> None:
    longer = ["steps=40", "optimizer.lr=3e-3", "ema=null", "checkpoint.every=40", "data.0.languages=[en]"]
    recipe = student(scenes, tmp_path / "run", a_clip, *longer, names=ACROSS)
    write_scenes(tmp_path / "unseen", 24, seed=77, size=48)
    held = prepare(student(tmp_path / "unseen", tmp_path / "held", a_clip, *longer, names=ACROSS))
    before = held_out_losses(prepare(recipe), held)
    run(recipe)
    finished = prepare(recipe)
    finished.step.load_state_dict(torch_weights(tmp_path / "run/checkpoints/step-0000040/step.safetensors"))
    after = held_out_losses(finished, held)
    assert before.keys() == {"loss", *ACROSS}
    worse = {name: (before[name], after[name]) for name in before if after[name] >= before[name]}
    assert not worse
    # Its own words: CLIP's tokenizer is none that our student could write with.
    assert finished.tokenizer.token_id("[FUSE]") is not None
    with pytest.raises(RecipeError, match="cannot serve distil_captioning"):
        prepare(student(scenes, tmp_path / "other", a_clip, names=["distil_captioning"]))


def test_a_clip_taught_by_its_like_learns_what_it_says(scenes: Path, a_clip: Path, tmp_path: Path) -> None:
    document: dict[str, Any] = {
        "init": str(a_clip),
        "teacher": str(a_clip),
        "data_root": str(scenes),
        "data": [{"format": "coco_captions", "path": ".", "batch_size": 6, "augment": "none"}],
        "objectives": [{"name": "distil_affinity"}, {"name": "distil_features"}],
        "precision": "fp32",
        "steps": 2,
        "checkpoint": {"dir": str(tmp_path / "run")},
    }
    same = prepare(parse_recipe(document, "test"))
    with torch.no_grad():
        losses = same.step.eval()(build_collator(same).batch(0))
    assert all(float(value) == pytest.approx(0.0, abs=1e-5) for value in losses.values())
    run(parse_recipe(document, "test"))
    hidden = {**document, "objectives": [{"name": "distil_hidden"}]}
    with pytest.raises(RecipeError, match="distil_hidden does not teach this model"):
        prepare(parse_recipe({**hidden, "checkpoint": {"dir": str(tmp_path / "other")}}, "test"))


@pytest.mark.parametrize(
    ("name", "taught_by"),
    [
        ("siglip", ("distil_affinity", "distil_features", "distil_hidden")),
        ("blip_retrieval", ("distil_affinity", "distil_features", "distil_hidden", "distil_matching")),
        ("blip_captions", ("distil_hidden",)),
        ("vilt", ("distil_answers",)),
    ],
)
def test_every_family_teaches_what_it_can(
    name: str, taught_by: tuple[str, ...], scenes: Path, tmp_path: Path
) -> None:
    folder = tmp_path / name
    folder.mkdir()
    torch.manual_seed(0)
    MAKERS[name](folder)
    if name == "vilt":
        described = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        labels = list(described["id2label"])
        answers = ["yes", "no", "red", "circle", "blue", "square"]
        described["id2label"] = dict(zip(labels, [*answers, *labels[len(answers) :]], strict=True))
        described["label2id"] = {text: int(place) for place, text in described["id2label"].items()}
        (folder / "config.json").write_text(json.dumps(described), encoding="utf-8")
    longer = ["steps=12", "optimizer.lr=3e-3", "ema=null", "data.0.languages=[en]"]
    recipe = student(scenes, tmp_path / "run", folder, *longer, names=taught_by)
    prepared = prepare(recipe)
    assert prepared.teacher is not None and prepared.teacher.teaches == set(taught_by)
    before = held_out_losses(prepared, prepared)
    run(recipe)
    finished = prepare(recipe)
    finished.step.load_state_dict(torch_weights(tmp_path / "run/checkpoints/step-0000012/step.safetensors"))
    after = held_out_losses(finished, finished)
    assert before.keys() == {"loss", *taught_by}
    assert after["loss"] < before["loss"]
    refused = sorted(DISTILLING - set(taught_by))[0]
    with pytest.raises(RecipeError, match=f"cannot serve {refused}"):
        prepare(student(scenes, tmp_path / "other", folder, names=[refused]))


def test_what_another_family_says_is_what_its_model_says(scenes: Path, tmp_path: Path) -> None:
    """BLIP's pairs and ViLT's answers, by the models themselves in the place of the lesson."""
    torch.manual_seed(0)
    MAKERS["blip_retrieval"](tmp_path)
    start = read_start(str(tmp_path))
    teacher = teacher_of(start)
    model = start.model
    assert isinstance(model, GroundedModel) and isinstance(teacher.reader, LiveReader)
    texts = ("a dog on the left", "two cats", "the dog")
    ids, mask = teacher.reader.encoded(texts) or (torch.empty(0), torch.empty(0))
    pixels = torch.randn(2, 3, *(start.model.limits.image_size or (0, 0)))
    lesson = teacher.lesson(TeacherInputs(pixels, None, (ids, mask)), torch.device("cpu"))
    found = lesson.match_logits(torch.tensor([2, 0]), torch.tensor([1, 1]))
    image = model.encode_image(pixels)
    whole = torch.ones(image.shape[:2], dtype=torch.bool)
    for row, text in enumerate((2, 0)):
        own = mask[text].sum()
        words = ids[text : text + 1, :own].clone()
        if start.facts.text is not None and start.facts.text.fusion_bos_id is not None:
            words[:, 0] = start.facts.text.fusion_bos_id
        fused = model.fuse(words, mask[text : text + 1, :own], image[1:], whole[1:])
        torch.testing.assert_close(found[row], model.match_logits(fused)[0], atol=1e-5, rtol=1e-4)
    assert not found.requires_grad


# What a teacher said before --------------------------------------------------------------------

STILL = [f"data.{place}.augment=none" for place in range(3)]
RETRIEVAL = ("distil_affinity", "distil_features")


def test_stored_outputs_teach_what_the_teacher_teaches(scenes: Path, a_clip: Path, tmp_path: Path) -> None:
    beside = student(scenes, tmp_path / "beside", a_clip, *STILL, names=RETRIEVAL)
    written = write_teacher_outputs(beside, tmp_path / "said")
    assert len(written.photo_names) == len(written.photos) and "images/000000.png" in written.photo_names
    before = student(
        scenes, tmp_path / "before", f"{{outputs: {tmp_path / 'said'}}}", *STILL, names=RETRIEVAL
    )
    run(beside)
    run(before)
    for one, other in zip(losses(tmp_path / "beside"), losses(tmp_path / "before"), strict=True):
        for name in RETRIEVAL:
            assert one[name] == pytest.approx(other[name], rel=1e-3, abs=1e-5)
    # Its digest belongs to the run: other outputs, another run.
    prints = {prepare(before).fingerprint, prepare(beside).fingerprint}
    assert len(prints) == 2


def test_stored_outputs_that_do_not_fit_are_told_before_training(
    scenes: Path, a_clip: Path, tmp_path: Path
) -> None:
    said = tmp_path / "said"
    write_teacher_outputs(student(scenes, tmp_path / "x", a_clip, *STILL, names=RETRIEVAL), said)

    def refused(told: str, *more: str, names: Any = RETRIEVAL, still: Any = STILL) -> None:
        with pytest.raises(SeetellError, match=told) as raised:
            prepare(student(scenes, tmp_path / "run", f"{{outputs: {said}}}", *still, *more, names=names))
        assert "\n" not in str(raised.value)

    refused(r"data\.1\.augment changes what the student sees", "data.1.augment={flip: true}")
    refused("cannot serve distil_hidden; it serves distil_affinity, distil_features", names=["distil_hidden"])
    names = json.loads((said / "photos.json").read_text(encoding="utf-8"))
    (said / "photos.json").write_text(json.dumps(["other.png", *names[1:]]), encoding="utf-8")
    refused(f"has nothing of the photo '{names[0]}'")
    (said / "photos.json").write_text(json.dumps(names), encoding="utf-8")
    texts = json.loads((said / "texts.json").read_text(encoding="utf-8"))
    (said / "texts.json").write_text(json.dumps([*texts[:-1], "?"], ensure_ascii=False), encoding="utf-8")
    refused("has nothing of the text")
    (said / "texts.json").write_text(json.dumps(texts[1:]), encoding="utf-8")
    refused("one row of numbers for each of the")
    (said / "texts.npy").write_bytes(b"no array")
    refused("texts.npy: cannot be read")
    (said / "teacher.json").unlink()
    refused("teacher.json: cannot be read")
    with pytest.raises(RecipeError, match="name the model"):
        write_teacher_outputs(student(scenes, tmp_path / "run", f"{{outputs: {said}}}", *STILL), said)


# Weights ---------------------------------------------------------------------------------------


@given(st.integers(1, 12), st.integers(1, 12))
def test_a_shallower_student_has_blocks_at_even_distances(deep: int, shallow: int) -> None:
    stored = {f"a.blocks.{place}.weight": torch.tensor(float(place)) for place in range(deep)}
    stored |= {"head.weight": torch.tensor(-1.0), "b.stages.1.0.conv": torch.tensor(7.0)}
    wanted = [f"a.blocks.{place}.weight" for place in range(shallow)]
    found = evenly_chosen(stored, [*wanted, "head.weight", "b.stages.1.0.conv"])
    kept = [int(found[name]) for name in wanted if name in found]
    assert found["head.weight"] == -1.0 and found["b.stages.1.0.conv"] == 7.0
    if shallow >= deep:
        assert kept == list(range(deep))
        return
    assert len(kept) == shallow and kept == sorted(set(kept))
    assert kept[0] == 0 and (shallow == 1 or kept[-1] == deep - 1)
    gaps = [after - before for before, after in itertools.pairwise(kept)]
    assert not gaps or max(gaps) - min(gaps) <= 1


@pytest.mark.parametrize(("even", "chosen"), [(False, [0, 1, 2]), (True, [0, 2, 4])])
def test_a_student_inherits_the_blocks_asked_for(even: bool, chosen: list[int], tmp_path: Path) -> None:
    def encoder(depth: int) -> ViT:
        return ViT((16, 16), 8, StackShape(8, depth, 2, 32))

    torch.manual_seed(0)
    teacher, own = encoder(5), encoder(3)
    save_file(teacher.state_dict(), tmp_path / "model.safetensors")
    assert load_initial_weights(own, tmp_path, even=even) == []
    theirs = teacher.state_dict()
    for name, tensor in own.state_dict().items():
        if name.startswith("transformer.blocks."):
            place, rest = name.removeprefix("transformer.blocks.").split(".", 1)
            name = f"transformer.blocks.{chosen[int(place)]}.{rest}"
        assert torch.equal(tensor, theirs[name]), name


def test_a_smaller_student_starts_from_its_teacher(scenes: Path, taught: Path, tmp_path: Path) -> None:
    shallow = ["model.text.depth=1", "model.image.depth=1", f"init={taught}", f"teacher={taught}"]
    more = ["objectives=[{name: distil_affinity}]", "init_layers=even"]
    own = prepare(small(scenes, tmp_path / "run", *shallow, *more)).step.model.state_dict()
    whole = read_run(taught).model.state_dict()
    assert own.keys() < whole.keys()
    assert all(torch.equal(own[name], whole[name]) for name in own)
