"""A recipe from end to end on rendered scenes, with the real model made small."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import save_file

from seetell.core.errors import RecipeError
from seetell.data.imagefolder import read_imagefolder
from seetell.data.vqa import read_vqa
from seetell.learning.scenes import write_scenes
from seetell.learning.training import checkpoint as checkpoints
from seetell.learning.training.corpus import read_corpus, write_holdout
from seetell.learning.training.metrics_log import read_metrics
from seetell.learning.training.reading import read_samples
from seetell.learning.training.recipe import Recipe, read_recipe
from seetell.learning.training.run import build_collator, prepare, run
from seetell.learning.training.sections import HoldoutSettings
from seetell.modeling.checkpoints.run_folder import read_description

RECIPE = Path(__file__).resolve().parents[3] / "recipes" / "scenes.yaml"
SMALL = [
    "steps=6",
    "resolution=[{until: 0.5, size: 32}, {until: 1.0, size: 48}]",
    "model.image.channels=[16, 32]",
    "model.image.stem_channels=16",
    "model.image.embed_dim=32",
    "model.text.embed_dim=32",
    "data.0.batch_size=4",
    "data.1.batch_size=3",
    "data.2.batch_size=2",
    "checkpoint.every=2",
    "schedule.warmup_steps=1",
]


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "scenes"
    write_scenes(folder, 30, seed=2, size=48)
    return folder


def small(scenes: Path, folder: Path, *more: str) -> Recipe:
    return read_recipe(RECIPE, [*SMALL, f"data_root={scenes}", f"checkpoint.dir={folder}", *more])


def losses(folder: Path) -> list[dict[str, Any]]:
    timing = ("photos_per_s", "waiting_share", "mfu")
    rows = read_metrics(folder / "metrics.jsonl")
    return [{key: value for key, value in row.items() if key not in timing} for row in rows]


def test_a_run_trains_every_objective_and_fills_its_folder(scenes: Path, tmp_path: Path) -> None:
    recipe = small(scenes, tmp_path / "run")
    result = run(recipe)
    assert (result.outcome, result.step) == ("finished", 6)
    folder = tmp_path / "run"
    last = losses(folder)[-1]
    assert all(0 <= row["waiting_share"] <= 1 for row in read_metrics(folder / "metrics.jsonl"))
    assert {spec.name for spec in recipe.objectives} <= last.keys()
    assert {"recipe.yaml", "model.json", "tokenizer.json", "metrics.jsonl"} <= {
        path.name for path in folder.iterdir()
    }
    facts = read_description(folder).facts
    assert {"circle", "yes", "red"} <= set(facts.answers)
    assert facts.labels == ("circle", "square", "triangle")
    assert read_recipe(folder / "recipe.yaml") == recipe
    assert yaml.safe_load((folder / "recipe.yaml").read_text(encoding="utf-8"))["steps"] == 6

    # Stopped in the middle, it goes on to the same end.
    other = tmp_path / "other"
    prepared = prepare(small(scenes, other))
    prepared.step.register_forward_pre_hook(_fail_at(4))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("seetell.learning.training.run.prepare", lambda _: prepared)
        with pytest.raises(ZeroDivisionError):
            run(prepared.recipe)
    assert len(losses(other)) == 3
    run(small(scenes, other))
    assert losses(other) == losses(folder)

    # And a new run can start from its weights.
    started = prepare(small(scenes, tmp_path / "third", f"init={result.checkpoint}"))
    stored = checkpoints._read(result.checkpoint / "ema.safetensors")
    own = started.step.model.state_dict()
    assert all(torch.equal(own[name], stored[name]) for name in own)


def _fail_at(call: int) -> Any:
    calls = 0

    def hook(module: object, arguments: object) -> None:
        nonlocal calls
        calls += 1
        if calls == call:
            raise ZeroDivisionError

    return hook


def test_held_out_photos_are_never_learned_from_and_can_be_written_for_evaluation(
    scenes: Path, tmp_path: Path
) -> None:
    recipe = small(scenes, tmp_path / "run", "data.1.batch_size=30", "data.1.questions_per_photo=9")
    source = recipe.data[1]
    learned, held = read_samples(source, scenes)
    assert {sample.photo_id for sample in held} == {9, 19, 29}
    assert {sample.photo_id for sample in learned} == set(range(30)) - {9, 19, 29}
    prepared = prepare(recipe)
    names = {row.photo.name for step in range(3) for row in prepared.sources[1].draw(step)}
    assert not names & {"000009.png", "000019.png", "000029.png"}
    write_holdout(source, scenes, tmp_path)
    files = (tmp_path / "questions_holdout.json", tmp_path / "annotations_holdout.json")
    assert read_vqa(*files, scenes / "images") == [one for each in held for one in each.question_records()]
    with pytest.raises(RecipeError, match="no holdout"):
        write_holdout(recipe.data[0], scenes, tmp_path)


def test_labelled_photos_held_out_are_linked_where_evaluate_reads_them(scenes: Path, tmp_path: Path) -> None:
    recipe = small(scenes, tmp_path / "run", "data.2.holdout={modulo: 5, remainder: 1}")
    prepared = prepare(recipe)
    learned = [one.label_record() for one in prepared.corpus.parts[2].samples]
    linked = tmp_path / "run" / "holdout" / "labelled"
    held = read_imagefolder(linked)
    everything = read_imagefolder(scenes / "labelled")
    names = [{(one.label, one.photo.name) for one in records} for records in (learned, held)]
    assert names[1] and not names[0] & names[1]
    assert names[0] | names[1] == {(one.label, one.photo.name) for one in everything}
    assert all(one.photo.read_bytes() for one in held)
    # Another rule leaves nothing of the one before.
    again = recipe.data[2].model_copy(update={"holdout": HoldoutSettings(modulo=5, remainder=2)})
    write_holdout(again, scenes, linked)
    other = {
        (one.label, one.photo.name) for one in read_imagefolder(tmp_path / "run" / "holdout" / "labelled")
    }
    assert other and not other & names[1]


def test_a_run_that_starts_from_another_has_its_tokenizer(scenes: Path, tmp_path: Path) -> None:
    first = run(small(scenes, tmp_path / "first", "steps=2", "tokenizer.vocab_size=300"))
    assert first.outcome == "finished"
    second = prepare(small(scenes, tmp_path / "second", f"init={tmp_path / 'first'}", "data.0.limit=7"))
    words = [(tmp_path / name / "tokenizer.json").read_bytes() for name in ("first", "second")]
    assert words[0] == words[1]
    own = prepare(small(scenes, tmp_path / "third", "data.0.limit=7"))
    assert own.tokenizer.vocab_size != second.tokenizer.vocab_size


def test_what_was_learned_of_an_answer_stays_with_it(scenes: Path, tmp_path: Path) -> None:
    """Other questions put the answers in another order, add some and leave some out."""
    first = run(small(scenes, tmp_path / "first", "steps=2", "answers=12"))
    assert first.checkpoint is not None
    before = read_description(tmp_path / "first").facts.answers
    stored = checkpoints._read(first.checkpoint / "ema.safetensors")
    for number, source in enumerate((tmp_path / "first", first.checkpoint)):
        folder = tmp_path / f"second{number}"
        begun = prepare(small(scenes, folder, f"init={source}", "data.1.limit=6", "answers=9"))
        now, own = begun.corpus.answers, begun.step.model.state_dict()
        both = set(before) & set(now)
        assert [one for one in before if one in both] != [one for one in now if one in both]
        for answer in both:
            for name in ("answer_head.2.weight", "answer_head.2.bias"):
                assert torch.equal(own[name][now.index(answer)], stored[name][before.index(answer)])
        assert torch.equal(own["answer_head.0.weight"], stored["answer_head.0.weight"])


@pytest.mark.parametrize("objective", ["contrastive", "matching"])
@pytest.mark.parametrize("change", ["batch_size", "limit"])
def test_what_compares_photos_needs_two(scenes: Path, tmp_path: Path, objective: str, change: str) -> None:
    alone = [f"objectives=[{{name: {objective}}}]", f"data.0.{change}=1"]
    with pytest.raises(RecipeError, match=f"{objective} compares") as caught:
        prepare(small(scenes, tmp_path / "run", *alone))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run" / "recipe.yaml").exists(), "nothing has begun"
    # Captions are learned of one photo, too.
    prepare(small(scenes, tmp_path / "other", "objectives=[{name: captioning}]", f"data.0.{change}=1"))


def test_names_need_templates(scenes: Path, tmp_path: Path) -> None:
    wanted = "objectives=[{name: label_names}]"
    with pytest.raises(RecipeError, match="label_names needs templates"):
        small(scenes, tmp_path, wanted)
    with pytest.raises(RecipeError, match="a language without templates"):
        small(scenes, tmp_path, wanted, "data.2.label_names={zh: {circle: 圆}}")
    named = ["data.2.templates={en: ['a {}'], zh: ['一个{}']}", "data.2.label_names={zh: {circle: 圆}}"]
    prepared = prepare(small(scenes, tmp_path / "run", wanted, *named))
    batches = [build_collator(prepared).batch(step) for step in range(8)]
    found = {prepared.tokenizer.decode(batch.names[0].ids[0].tolist()) for batch in batches}
    assert found == {"a circle", "一个圆"}


def test_limits_take_the_first_photos_but_labels_of_every_kind(scenes: Path, tmp_path: Path) -> None:
    limits = [f"data.{place}.limit=5" for place in range(3)]
    corpus = read_corpus(small(scenes, tmp_path, *limits))
    captions, questions, labels = corpus.parts
    assert [one.photo.name for one in captions.samples] == [f"{number:06d}.png" for number in range(5)]
    assert len({one.photo for one in questions.samples}) == 5
    assert len(list(labels.samples)) == 5
    assert corpus.labels == ("circle", "square", "triangle")


def test_picture_size_follows_the_run(scenes: Path, tmp_path: Path) -> None:
    collator = build_collator(prepare(small(scenes, tmp_path, "accumulate=2")))
    sizes = [collator.batch(step).pixel_values.shape[-1] for step in range(12)]
    assert sizes == [32] * 6 + [48] * 6


def test_an_epoch_is_a_pass_over_the_first_source(scenes: Path, tmp_path: Path) -> None:
    assert prepare(small(scenes, tmp_path, "epochs=2")).total_steps == 15
    assert prepare(small(scenes, tmp_path, "epochs=2", "accumulate=3")).total_steps == 5


def test_a_given_tokenizer_is_used_and_copied(scenes: Path, tmp_path: Path) -> None:
    prepare(small(scenes, tmp_path / "one", "tokenizer.vocab_size=350"))
    given = tmp_path / "one" / "tokenizer.json"
    prepared = prepare(small(scenes, tmp_path / "two", f"tokenizer.path={given}"))
    assert prepared.tokenizer.vocab_size <= 350
    assert (tmp_path / "two" / "tokenizer.json").read_bytes() == given.read_bytes()
    with pytest.raises(RecipeError, match=r"tokenizer\.path"):
        prepare(small(scenes, tmp_path / "two", "tokenizer.path=none.json"))


def test_a_fingerprint_changes_with_the_seed_but_not_with_the_learning_rate(
    scenes: Path, tmp_path: Path
) -> None:
    prints = [
        prepare(small(scenes, tmp_path / "run", *more)).fingerprint
        for more in ([], ["optimizer.lr=1e-5", "steps=50"], ["seed=9"], ["data.0.limit=9"])
    ]
    assert prints[0] == prints[1]
    assert len(set(prints)) == 3


def test_templates_caption_labelled_photos(scenes: Path, tmp_path: Path) -> None:
    recipe = small(
        scenes,
        tmp_path,
        "data.2.templates={en: ['a picture of a {}']}",
        "data.2.task=caption",
        "objectives=[{name: contrastive}]",
    )
    prepared = prepare(recipe)
    assert prepared.corpus.labels == ()
    row = prepared.sources[2].draw(0)[0]
    assert row.label is None
    assert row.captions[0][0] in {f"a picture of a {shape}" for shape in ("circle", "square", "triangle")}
    assert read_description(tmp_path).facts.labels == ()


EYES = [
    "model={image: {kind: efficientnet, width: 0.25, depth: 0.5, embed_dim: 16}, text: {embed_dim: 32, "
    "bag_dim: 8}, fusion: {kind: cross_attention, depth: 1}, image_size: [48, 48], letterbox: true}",
    "resolution=[{until: 1.0, size: 48}]",
    "tune={freeze: [image_encoder.net]}",
    *(f"data.{place}.augment={{views: 3, flip: true}}" for place in range(3)),
]


def with_eyes(scenes: Path, folder: Path, *more: str) -> Recipe:
    kept = [one for one in SMALL if not one.startswith(("model.", "resolution"))]
    return read_recipe(
        RECIPE, [*kept, *EYES, f"data_root={scenes}", f"checkpoint.dir={folder}", "precision=fp32", *more]
    )


def test_parts_may_begin_anew_and_with_what_words_mean(scenes: Path, tmp_path: Path) -> None:
    run(with_eyes(scenes, tmp_path / "first"))
    begins = prepare(with_eyes(scenes, tmp_path / "plain", f"init={tmp_path / 'first'}")).step.model
    rows = begins.bag.weight.shape[0]
    words = torch.randn(rows, 12, generator=torch.manual_seed(0))
    words[: rows // 2] = 0
    save_file({"words": words}, tmp_path / "words.safetensors")
    again = prepare(
        with_eyes(
            scenes,
            tmp_path / "second",
            f"init={tmp_path / 'first'}",
            "tune={freeze: [image_encoder.net], reset: [image_projection, bag]}",
            f"init_words={tmp_path / 'words.safetensors'}",
            "seed=5",
        )
    ).step.model
    assert torch.equal(again.token_bias, begins.token_bias), "as it was taught"
    assert torch.equal(again.bag_projection.weight, begins.bag_projection.weight)
    assert not torch.allclose(again.image_projection.weight, begins.image_projection.weight, atol=1e-3)
    bag, plain = again.bag.weight.detach(), begins.bag.weight.detach()
    assert not torch.allclose(bag[: rows // 2], plain[: rows // 2], atol=1e-3), "drawn anew"
    told = torch.nn.functional.cosine_similarity(bag[rows // 2 :], words[rows // 2 :, :8])
    assert torch.allclose(told, torch.ones_like(told), atol=1e-5)
    spreads = [float(part.std()) for part in (bag[rows // 2 :], bag[: rows // 2])]
    assert spreads[0] == pytest.approx(spreads[1], rel=0.1)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (None, "is no safetensors file"),
        (torch.ones(3, 12), r"are \[3, 12\]; \d+ tokens of 8 numbers or more are wanted"),
        ("narrow", r"of 8 numbers or more are wanted"),
        ("nothing", "says nothing of any token"),
    ],
)
def test_words_that_do_not_fit_are_refused(
    words: torch.Tensor | str | None, message: str, scenes: Path, tmp_path: Path
) -> None:
    file = tmp_path / "words.safetensors"
    recipe = with_eyes(scenes, tmp_path / "run", f"init_words={file}")
    if words == "narrow":
        words = torch.ones(prepare(with_eyes(scenes, tmp_path / "other")).tokenizer.vocab_size, 7)
    elif words == "nothing":
        words = torch.zeros(prepare(with_eyes(scenes, tmp_path / "other")).tokenizer.vocab_size, 8)
    if isinstance(words, torch.Tensor):
        save_file({"words": words}, file)
    with pytest.raises(RecipeError, match=f"^init_words: .*{message}"):
        prepare(recipe)


def test_nothing_begins_anew_without_weights_to_begin_with(scenes: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"tune\.reset: without init everything begins anew"):
        with_eyes(scenes, tmp_path / "run", "tune={reset: [bag]}")


def test_a_photos_features_are_left_out_in_training_alone(scenes: Path, tmp_path: Path) -> None:
    prepared = prepare(
        with_eyes(scenes, tmp_path / "run", "objectives=[{name: contrastive, drop_features: 0.5}]")
    )
    batch = build_collator(prepared).batch(0)
    assert batch.maps is not None and batch.map_mask is not None
    model = prepared.step.model.train()
    first, other = (model.encode_maps(batch.maps, batch.map_mask).embeds for _ in range(2))
    assert not torch.allclose(first, other, atol=1e-3)
    model.eval()
    first, other = (model.encode_maps(batch.maps, batch.map_mask).embeds for _ in range(2))
    assert torch.equal(first, other)


def test_above_frozen_layers_a_run_learns_from_maps_and_goes_on_to_the_same_end(
    scenes: Path, tmp_path: Path
) -> None:
    run(with_eyes(scenes, tmp_path / "run"))
    (kept,) = (tmp_path / "maps").iterdir()
    assert (kept / "maps").stat().st_size
    prepared = prepare(with_eyes(scenes, tmp_path / "run"))
    batch = build_collator(prepared).batch(0)
    assert batch.maps is not None and batch.map_mask is not None
    assert batch.maps.shape == (len(batch.keys), prepared.step.model.image_encoder.net.channels[-1], 2, 2)
    frozen = prepared.step.model.image_encoder.net
    assert not any(parameter.requires_grad for parameter in frozen.parameters())
    other = tmp_path / "again" / "other"
    part = prepare(with_eyes(scenes, other))
    part.step.register_forward_pre_hook(_fail_at(4))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("seetell.learning.training.run.prepare", lambda _: part)
        with pytest.raises(ZeroDivisionError):
            run(part.recipe)
    run(with_eyes(scenes, other))
    for one, two in zip(losses(other), losses(tmp_path / "run"), strict=True):
        assert one["loss"] == pytest.approx(two["loss"], rel=1e-4)


BELOW_THE_LAST = (
    "tune={freeze: [image_encoder.net.stem, image_encoder.net.stages.0, image_encoder.net.stages.1, "
    "image_encoder.net.stages.2, image_encoder.net.*.1.weight, image_encoder.net.*.1.bias]}"
)


@pytest.mark.parametrize(("tune", "place", "side"), [(EYES[2], 3, 2), (BELOW_THE_LAST, 2, 3)])
def test_maps_are_what_the_layers_make_of_the_photos(
    scenes: Path, tmp_path: Path, tune: str, place: int, side: int
) -> None:
    plain = [f"data.{place}.augment={{views: 1}}" for place in range(3)]
    prepared = prepare(with_eyes(scenes, tmp_path / "run", tune, *plain))
    model = prepared.step.model
    # Statistics as of a trained network: without, the maps of a new one are too small for half precision.
    with torch.no_grad():
        model.image_encoder.net.train()(torch.randn(8, 3, 48, 48, generator=torch.Generator().manual_seed(2)))
        for module in model.image_encoder.net.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.momentum = 1.0
        model.image_encoder.net(torch.randn(8, 3, 48, 48, generator=torch.Generator().manual_seed(3)))
    model.eval()
    batch = build_collator(prepared).batch(0)
    whole = [f"data.{place}.augment=none" for place in range(3)]
    seen = build_collator(prepare(with_eyes(scenes, tmp_path / "other", *whole))).batch(0)
    assert seen.maps is None and seen.keys == batch.keys
    channels = model.image_encoder.net.channels[place]
    assert batch.map_stage == place and batch.maps.shape == (len(batch.keys), channels, side, side)
    with torch.no_grad():
        above = model.encode_maps(batch.maps, batch.map_mask, batch.map_stage)
        through = model.encode_image(seen.pixel_values, seen.pixel_mask)
    torch.testing.assert_close(above.embeds, through.embeds, atol=2e-3, rtol=0)
    assert torch.equal(above.mask, through.mask)


def test_above_frozen_stages_the_last_stage_learns_and_nothing_below_it(scenes: Path, tmp_path: Path) -> None:
    recipe = with_eyes(scenes, tmp_path / "run", BELOW_THE_LAST)
    before = prepare(recipe).step.model.image_encoder.net.state_dict()
    before = {name: tensor.clone() for name, tensor in before.items()}
    after = checkpoints._read(run(recipe).checkpoint / "step.safetensors")
    own = {name: after[f"model.image_encoder.net.{name}"] for name in before}
    changed = {name for name in own if not torch.equal(own[name], before[name])}
    assert changed == {
        name for name in own if name.startswith(("stages.3.", "head.")) and name.endswith(".0.weight")
    }


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("tune={}", "freeze"),
        ("data.1.augment={views: 0}", "data.1.augment.views"),
    ],
)
def test_maps_need_frozen_layers_and_fixed_views_everywhere(
    scenes: Path, tmp_path: Path, change: str, said: str
) -> None:
    prepared = prepare(with_eyes(scenes, tmp_path / "run", change))
    with pytest.raises(RecipeError, match=said):
        build_collator(prepared)


def test_an_image_encoder_begins_as_a_public_checkpoint(scenes: Path, tmp_path: Path) -> None:
    from seetell.core.errors import CheckpointError
    from tests.parity.test_efficientnet_lite import read, written

    folder = tmp_path / "lite0"
    folder.mkdir()
    written(folder, 0)
    sizes = ["model.image.width=1.0", "model.image.depth=1.0", f"init_image={folder}"]
    prepared = prepare(with_eyes(scenes, tmp_path / "run", *sizes))
    own, theirs = prepared.step.model.image_encoder.net.state_dict(), read(folder).encoder.state_dict()
    assert all(torch.equal(own[name], theirs[name]) for name in theirs)
    with pytest.raises(CheckpointError, match="other layers than"):
        prepare(with_eyes(scenes, tmp_path / "other", f"init_image={folder}"))
