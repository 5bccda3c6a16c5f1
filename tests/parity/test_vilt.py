"""ViLT gives what transformers gives, for photos of several sizes in one batch."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import (
    ViltConfig,
    ViltForImageAndTextRetrieval,
    ViltForMaskedLM,
    ViltForQuestionAnswering,
    ViltImageProcessorPil,
)

import seetell
from seetell.core.errors import CheckpointError
from seetell.modeling.checkpoints.registry import family_of
from seetell.modeling.checkpoints.source import CheckpointFolder
from seetell.modeling.checkpoints.table import load_model
from seetell.modeling.export.public import convert_checkpoint
from seetell.modeling.models.single_stream import SingleStreamModel
from tests.parity.checkpoints_with_words import (
    CLS,
    MASK,
    SEP,
    VOCABULARY,
    Loaded,
    confidences,
    difference,
    load,
    photos,
    save_vocabulary,
    shake,
)

ANSWERS = ("yes", "no", "2", "red", "on the left", "a dog")
SHAPES: dict[str, dict[str, Any]] = {
    "plain": {"patch_size": 8, "image_size": 32},
    "odd": {
        "patch_size": 16,
        "image_size": 80,
        "hidden_size": 30,
        "num_attention_heads": 5,
        "hidden_act": "relu",
        "num_hidden_layers": 3,
        "type_vocab_size": 3,
        "modality_type_vocab_size": 3,
    },
    # For what an export costs.
    "one layer": {"patch_size": 8, "image_size": 24, "num_hidden_layers": 1},
}
BROAD = [name for name in SHAPES if name != "one layer"]
QUESTIONS = ("what color is the dog ?", "who ?", "how many cats are on the left of the tree ?")


def make(kind: type[Any], shape: str, folder: Path) -> Any:
    settings: dict[str, Any] = {
        "vocab_size": len(VOCABULARY),
        "hidden_size": 24,
        "intermediate_size": 40,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": 20,
        **SHAPES[shape],
    }
    labels = dict(enumerate(ANSWERS))
    config = ViltConfig(**settings, id2label=labels, label2id={value: key for key, value in labels.items()})
    config._attn_implementation = "eager"
    reference = shake(kind(config), seed=len(shape))
    reference.save_pretrained(folder)
    step = settings["patch_size"]
    ViltImageProcessorPil(size={"shortest_edge": 4 * step}, size_divisor=step).save_pretrained(folder)
    save_vocabulary(folder)
    return reference


Pair = tuple[Any, Loaded]


def pairs_of(kind: type[Any]) -> Any:
    @pytest.fixture(scope="module", params=BROAD)
    def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Pair:
        folder = tmp_path_factory.mktemp("vilt")
        reference = make(kind, request.param, folder)
        return reference, load(folder)

    return made


answerer = pairs_of(ViltForQuestionAnswering)
ranker = pairs_of(ViltForImageAndTextRetrieval)
filler = pairs_of(ViltForMaskedLM)


@pytest.fixture(autouse=True)
def _no_gradients(request: pytest.FixtureRequest) -> Iterator[None]:
    with torch.set_grad_enabled("gradients" in request.node.name):
        yield


def stream(loaded: Loaded) -> SingleStreamModel:
    assert isinstance(loaded.model, SingleStreamModel)
    return loaded.model


def theirs_for(reference: Any, ours: Loaded, texts: tuple[str, ...]) -> tuple[dict[str, Any], Tensor]:
    """Inputs of the reference for as many photos as texts, and the mask of the texts."""
    pixels, pixel_mask = ours.pixels(len(texts))
    assert pixel_mask is not None
    ids, mask = ours.ids(*texts)
    inputs = {"input_ids": ids, "attention_mask": mask.long(), "pixel_values": pixels}
    return {**inputs, "pixel_mask": pixel_mask.long()}, mask


def fused(ours: Loaded, inputs: dict[str, Any]) -> Tensor:
    model = stream(ours)
    tokens, image_mask = model.encode_image(inputs["pixel_values"], inputs["pixel_mask"].bool())
    return model.fuse(inputs["input_ids"], inputs["attention_mask"].bool(), tokens, image_mask)


def test_photos_of_several_sizes_give_the_references_tokens(answerer: Pair) -> None:
    reference, ours = answerer
    inputs, mask = theirs_for(reference, ours, QUESTIONS)
    sizes = {tuple(one.any(dim=axis).sum().item() for axis in (0, 1)) for one in inputs["pixel_mask"]}
    assert len(sizes) == 3, "the photos should differ in size"
    theirs = reference.vilt(**inputs).last_hidden_state[:, : mask.shape[1]]
    assert difference(fused(ours, inputs)[mask], theirs[mask]) < 1e-4


def test_padding_on_the_left_of_a_text_is_as_in_the_reference(answerer: Pair) -> None:
    reference, ours = answerer
    inputs, mask = theirs_for(reference, ours, QUESTIONS)
    flipped = {
        **inputs,
        "input_ids": inputs["input_ids"].flip(1),
        "attention_mask": inputs["attention_mask"].flip(1),
    }
    theirs = reference.vilt(**flipped).last_hidden_state[:, : mask.shape[1]]
    assert difference(fused(ours, flipped)[mask.flip(1)], theirs[mask.flip(1)]) < 1e-4


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (1, 6), (5, 1), (2, 7), (4, 4)])
def test_any_grid_of_patches_gives_the_references_tokens(answerer: Pair, rows: int, columns: int) -> None:
    reference, ours = answerer
    step = stream(ours).config.patch_size
    torch.manual_seed(rows)
    ids, mask = ours.ids("a dog")
    inputs = {
        "input_ids": ids,
        "attention_mask": mask.long(),
        "pixel_values": torch.randn(1, 3, rows * step, columns * step),
        "pixel_mask": torch.ones(1, rows * step, columns * step, dtype=torch.long),
    }
    theirs = reference.vilt(**inputs).last_hidden_state[:, : ids.shape[1]]
    assert difference(fused(ours, inputs), theirs) < 1e-4


def test_a_photo_is_read_the_same_alone_and_in_a_batch(answerer: Pair) -> None:
    _, ours = answerer
    together = ours.tasks.ask(photos(3), list(QUESTIONS), top=len(ANSWERS))
    for photo, question, found in zip(photos(3), QUESTIONS, together, strict=True):
        alone = ours.tasks.ask(photo, question, top=len(ANSWERS))
        assert [one.answer for one in alone.alternatives] == [one.answer for one in found.alternatives]
        assert difference(confidences(alone), confidences(found)) < 1e-5


def test_answers_are_the_references_labels_in_its_order(answerer: Pair) -> None:
    reference, ours = answerer
    inputs, _ = theirs_for(reference, ours, QUESTIONS)
    logits = reference(**inputs).logits
    assert difference(stream(ours).answer_logits(fused(ours, inputs)), logits) < 1e-4
    found = ours.tasks.ask(photos(3), list(QUESTIONS), top=len(ANSWERS))
    for row, answer in zip(logits, found, strict=True):
        order = [ANSWERS[place] for place in row.argsort(descending=True)]
        assert [one.answer for one in answer.alternatives] == order
        # Each by itself, as this head is taught and transformers' own pipeline says.
        assert difference(confidences(answer), row.sigmoid().sort(descending=True).values) < 1e-4


def test_settings_that_change_what_is_seen_or_meant_are_refused(tmp_path: Path) -> None:
    make(ViltForQuestionAnswering, "one layer", tmp_path)
    path = tmp_path / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    for change, words in (
        ({"max_image_length": 200}, "200 patches of a photo, drawn at random"),
        ({"problem_type": "regression"}, "its head gives quantities"),
    ):
        path.write_text(json.dumps({**config, **change}), encoding="utf-8")
        with pytest.raises(CheckpointError, match=words):
            convert_checkpoint(tmp_path, tmp_path / "bundle")


def test_gradients_of_the_answering_loss_are_the_references(tmp_path: Path) -> None:
    reference = make(ViltForQuestionAnswering, "odd", tmp_path)
    ours = load(tmp_path)
    inputs, _ = theirs_for(reference, ours, QUESTIONS[:2])
    labels = torch.tensor([[1.0, 0, 0, 0.3, 0, 0], [0, 0, 1.0, 0, 0, 0.6]])
    reference(**inputs, labels=labels).loss.backward()
    model = stream(ours)
    logits = model.answer_logits(fused(ours, inputs))
    loss: Any = torch.nn.functional.binary_cross_entropy_with_logits(logits, labels) * labels.shape[1]
    loss.backward()
    embeddings = reference.vilt.embeddings
    pairs = (
        (model.positions.grad, embeddings.position_embeddings.grad[0]),
        (model.patch_embed.weight.grad, embeddings.patch_embeddings.projection.weight.grad),
        (model.text_embedding.tokens.weight.grad, embeddings.text_embeddings.word_embeddings.weight.grad),
        (model.modality.weight.grad, embeddings.token_type_embeddings.weight.grad),
    )
    for mine, theirs in pairs:
        assert float(theirs.abs().max()) > 1e-4
        assert difference(mine, theirs) < 1e-4


def test_texts_are_ranked_by_the_references_score(ranker: Pair) -> None:
    reference, ours = ranker
    inputs, _ = theirs_for(reference, ours, QUESTIONS)
    score = reference(**inputs).logits
    logits = stream(ours).match_logits(fused(ours, inputs))
    assert difference(logits[:, 1:], score) < 1e-4
    assert float(logits[:, 0].abs().max()) == 0
    texts = ["a dog", "two cats on a tree", "the red ball is big"]
    found = ours.tasks.match(photos(1)[0], texts)
    one = {**inputs, "pixel_values": ours.pixels(1)[0].repeat(3, 1, 1, 1), "pixel_mask": None}
    one["pixel_mask"] = torch.ones(3, *one["pixel_values"].shape[2:], dtype=torch.long)
    one["input_ids"], mask = ours.ids(*texts)
    one["attention_mask"] = mask.long()
    assert difference([each.probability for each in found], reference(**one).logits[:, 0].sigmoid()) < 1e-4


def test_masked_words_are_the_references(filler: Pair) -> None:
    reference, ours = filler
    inputs, mask = theirs_for(reference, ours, ("a [MASK] on the tree", "the [MASK] is red and [MASK]"))
    assert (inputs["input_ids"] == MASK).sum() == 3
    theirs = reference(**inputs).logits
    assert difference(stream(ours).token_logits(fused(ours, inputs))[mask], theirs[mask]) < 1e-4


def test_one_masked_word_is_filled_by_the_references_favourite(filler: Pair) -> None:
    reference, ours = filler
    text = "a [MASK] on the tree"
    inputs, _ = theirs_for(reference, ours, (text,))
    place = inputs["input_ids"][0].tolist().index(MASK)
    logits = reference(**inputs).logits[0, place]
    logits[[CLS, SEP, MASK, 0]] = -torch.inf
    best = ours.context.tokenizer.decode([int(logits.argmax())])
    assert ours.tasks.fill(photos(1)[0], text, top=1)[0].words == (best,)


def test_models_say_what_they_can_do(answerer: Pair, ranker: Pair, filler: Pair) -> None:
    verbs = [set(ours.tasks.tasks) & {"ask", "match", "fill"} for _, ours in (answerer, ranker, filler)]
    assert verbs == [{"ask"}, {"match"}, {"fill"}]


# --- from checkpoint to bundle


@pytest.mark.slow
def test_the_bundle_answers_as_torch_does(tmp_path: Path) -> None:
    """Photos of several sizes in one batch, and the largest that the preprocessing makes."""
    make(ViltForQuestionAnswering, "one layer", tmp_path / "public")
    convert_checkpoint(tmp_path / "public", tmp_path / "bundle", weights_dtype="fp32")
    expected = load(tmp_path / "public").tasks.ask(photos(3), list(QUESTIONS), top=len(ANSWERS))
    with seetell.load(tmp_path / "bundle", precision="fp32", exact_decode=True) as model:
        found = model.ask(photos(3), list(QUESTIONS), top=len(ANSWERS))
        for mine, theirs in zip(found, expected, strict=True):
            assert [one.answer for one in mine.alternatives] == [one.answer for one in theirs.alternatives]
            assert difference(confidences(mine), confidences(theirs)) < 1e-4


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "verb"),
    [
        (
            ViltForImageAndTextRetrieval,
            lambda model: [round(one.probability, 4) for one in model.match(photos()[2], ["a cat", "a dog"])],
        ),
        (ViltForMaskedLM, lambda model: model.fill(photos()[0], "a [MASK] on the tree", top=1)[0].words),
    ],
)
def test_the_other_heads_bundles_answer_as_torch_does(
    tmp_path: Path, kind: type[Any], verb: Callable[[seetell.Model], object]
) -> None:
    make(kind, "one layer", tmp_path / "public")
    convert_checkpoint(tmp_path / "public", tmp_path / "bundle", weights_dtype="fp32")
    with seetell.load(tmp_path / "bundle", precision="fp32", exact_decode=True) as model:
        assert verb(model) == verb(load(tmp_path / "public").tasks)


def rewritten(folder: Path, change: Callable[[dict[str, Tensor]], dict[str, Tensor]]) -> Path:
    path = folder / "model.safetensors"
    save_file(change(load_file(path)), path, {"format": "pt"})
    return folder


def test_published_masked_language_weights_have_two_matrices(tmp_path: Path) -> None:
    """As transformers 4 wrote them: the output's own matrix, its bias beside it, numbers of positions."""
    make(ViltForMaskedLM, "plain", tmp_path)
    torch.manual_seed(6)
    words, output = "vilt.embeddings.text_embeddings.word_embeddings.weight", "mlm_score.decoder.weight"
    bias = torch.randn(len(VOCABULARY))
    own: dict[str, Tensor] = {}

    def older(weights: dict[str, Tensor]) -> dict[str, Tensor]:
        own[output] = torch.randn_like(weights[words]) * 0.3
        kept = {name: one for name, one in weights.items() if name != "mlm_score.decoder.bias"}
        numbers = {"vilt.embeddings.text_embeddings.position_ids": torch.arange(20)[None]}
        return {**kept, **own, **numbers, "mlm_score.bias": bias}

    ours = load(rewritten(tmp_path, older))
    # Version 5 looks for the bias under its new name.
    rewritten(tmp_path, lambda weights: {**weights, "mlm_score.decoder.bias": bias.clone()})
    reference: Any = ViltForMaskedLM.from_pretrained(tmp_path)
    reference.eval()
    assert torch.equal(reference.mlm_score.decoder.weight, own[output])
    inputs, mask = theirs_for(reference, ours, ("a [MASK] on the tree",))
    theirs = reference(**inputs).logits
    assert difference(stream(ours).token_logits(fused(ours, inputs))[mask], theirs[mask]) < 1e-4


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda weights: {**weights, "vilt.extra": torch.zeros(2)}, r"unknown: vilt\.extra"),
        (
            lambda weights: {name: one for name, one in weights.items() if name != "vilt.pooler.dense.bias"},
            r"missing: pooler\.bias",
        ),
        (
            lambda weights: {**weights, "classifier.3.bias": torch.zeros(3)},
            r"of another shape: classifier\.3\.bias is \[3\], not \[6\]",
        ),
    ],
)
def test_wrong_weights_are_listed(
    tmp_path: Path, change: Callable[[dict[str, Tensor]], dict[str, Tensor]], told: str
) -> None:
    make(ViltForQuestionAnswering, "plain", tmp_path)
    with pytest.raises(CheckpointError, match=told):
        load(rewritten(tmp_path, change))


@pytest.mark.parametrize(
    ("file", "changes", "told"),
    [
        ("preprocessor_config.json", {"size_divisor": 4}, "photos in multiples of 4 pixels and patches of 8"),
        ("config.json", {"hidden_act": "swoosh"}, "swoosh"),
        ("config.json", {"architectures": ["ViltForImagesAndTextClassification"]}, "which no family here is"),
        ("config.json", {"image_size": [32, 32]}, "not a ViLT question answering configuration"),
    ],
)
def test_a_configuration_that_cannot_be_is_refused(
    tmp_path: Path, file: str, changes: dict[str, Any], told: str
) -> None:
    make(ViltForQuestionAnswering, "plain", tmp_path)
    path = tmp_path / file
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    with pytest.raises(CheckpointError, match=told):
        load(tmp_path)


# --- the published sizes


@pytest.mark.slow
def test_the_published_answerer_with_seeded_weights(tmp_path: Path) -> None:
    """dandelin/vilt-b32-finetuned-vqa, its configuration's numbers typed in."""
    torch.manual_seed(0)
    labels = {number: f"answer {number}" for number in range(3129)}
    config = ViltConfig(
        vocab_size=30522,
        hidden_size=768,
        num_hidden_layers=12,
        num_attention_heads=12,
        intermediate_size=3072,
        image_size=384,
        patch_size=32,
        max_position_embeddings=40,
        max_image_length=-1,
        id2label=labels,
        label2id={label: number for number, label in labels.items()},
    )
    reference: Any = ViltForQuestionAnswering(config)
    reference.eval()
    torch.nn.init.normal_(reference.vilt.embeddings.position_embeddings, std=0.02)
    reference.save_pretrained(tmp_path)
    ViltImageProcessorPil().save_pretrained(tmp_path)
    folder = CheckpointFolder(tmp_path)
    model = load_model(folder, family_of(folder))
    assert isinstance(model, SingleStreamModel)
    pixels = torch.randn(2, 3, 384, 608)
    pixel_mask = torch.zeros(2, 384, 608, dtype=torch.long)
    pixel_mask[0] = 1
    pixel_mask[1, :320, :512] = 1
    ids = torch.randint(1000, 30000, (2, 12))
    mask = torch.ones_like(ids)
    theirs = reference(input_ids=ids, attention_mask=mask, pixel_values=pixels, pixel_mask=pixel_mask).logits
    tokens, image_mask = model.encode_image(pixels, pixel_mask.bool())
    assert difference(model.answer_logits(model.fuse(ids, mask.bool(), tokens, image_mask)), theirs) < 1e-3
