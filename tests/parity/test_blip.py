"""BLIP gives what transformers gives: image tokens, texts read beside an image, words written."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional as F
from transformers import (
    BlipConfig,
    BlipForConditionalGeneration,
    BlipForImageTextRetrieval,
    BlipForQuestionAnswering,
    BlipImageProcessorPil,
)

import seetell
from seetell.core.errors import CheckpointError
from seetell.modeling.checkpoints.registry import family_of, unread_settings
from seetell.modeling.checkpoints.source import CheckpointFolder
from seetell.modeling.checkpoints.table import load_model
from seetell.modeling.export.public import convert_checkpoint
from seetell.modeling.export.weights import choose_storage
from seetell.modeling.models.grounded import GroundedModel
from seetell.runtime.generation import GenerationOptions
from tests.parity.checkpoints_with_words import (
    PAD,
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

# As in published checkpoints: the start token's id is the first that the vocabulary does not have.
START = len(VOCABULARY)
SHAPES: dict[str, dict[str, Any]] = {
    "plain": {"text": {}, "vision": {}, "size": 32},
    "odd": {
        "text": {"num_attention_heads": 3, "hidden_act": "relu", "num_hidden_layers": 3},
        "vision": {"num_attention_heads": 5, "hidden_size": 40, "patch_size": 16, "hidden_act": "quick_gelu"},
        "size": 48,
    },
    "large patches": {
        "text": {"hidden_size": 36, "num_attention_heads": 3, "hidden_act": "gelu_new"},
        "vision": {"hidden_size": 36, "num_attention_heads": 3, "patch_size": 16, "num_hidden_layers": 3},
        "size": 32,
    },
    # For what an export costs.
    "one layer": {"text": {"num_hidden_layers": 1}, "vision": {"num_hidden_layers": 1}, "size": 16},
}
BROAD = [name for name in SHAPES if name != "one layer"]


def make(kind: type[Any], shape: str, folder: Path) -> Any:
    """The reference, saved to ``folder`` with its tokenizer and preprocessing."""
    settings = SHAPES[shape]
    text = {
        "vocab_size": START + 2,
        "hidden_size": 24,
        "intermediate_size": 40,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": 24,
        "bos_token_id": START,
        "pad_token_id": PAD,
        "sep_token_id": SEP,
        **settings["text"],
    }
    vision = {
        "hidden_size": 24,
        "intermediate_size": 36,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": settings["size"],
        "patch_size": 8,
        **settings["vision"],
    }
    config = BlipConfig(
        text_config=text, vision_config=vision, image_text_hidden_size=settings.get("shared", 10)
    )
    config._attn_implementation = "eager"
    reference = shake(kind(config), seed=len(shape))
    if kind is not BlipForImageTextRetrieval:
        # Else no text would end before its longest.
        with torch.no_grad():
            reference.text_decoder.cls.predictions.bias[SEP] += 2.0
    reference.save_pretrained(folder)
    BlipImageProcessorPil(size={"height": settings["size"], "width": settings["size"]}).save_pretrained(
        folder
    )
    save_vocabulary(folder)
    return reference


Pair = tuple[Any, Loaded]


def pair(kind: type[Any], shape: str, folder: Path) -> Pair:
    reference = make(kind, shape, folder)
    return reference, load(folder)


@pytest.fixture(scope="module", params=BROAD)
def captioner(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return pair(BlipForConditionalGeneration, request.param, tmp_path_factory.mktemp("captioner"))


@pytest.fixture(scope="module", params=["plain", "large patches"])
def answerer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return pair(BlipForQuestionAnswering, request.param, tmp_path_factory.mktemp("answerer"))


@pytest.fixture(scope="module", params=["plain", "odd"])
def retriever(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return pair(BlipForImageTextRetrieval, request.param, tmp_path_factory.mktemp("retriever"))


@pytest.fixture(autouse=True)
def _no_gradients(request: pytest.FixtureRequest) -> Iterator[None]:
    with torch.set_grad_enabled("gradients" in request.node.name):
        yield


def grounded(loaded: Loaded) -> GroundedModel:
    assert isinstance(loaded.model, GroundedModel)
    return loaded.model


# --- captioning


def test_image_tokens_are_the_references(captioner: Pair) -> None:
    reference, ours = captioner
    pixels, _ = ours.pixels()
    tokens = grounded(ours).encode_image(pixels)
    assert difference(tokens, reference.vision_model(pixels).last_hidden_state) < 1e-4


def test_a_photo_that_is_not_square_is_read_over_interpolated_positions(captioner: Pair) -> None:
    reference, ours = captioner
    torch.manual_seed(1)
    pixels = torch.randn(2, 3, 32, 64)
    theirs = reference.vision_model(pixels, interpolate_pos_encoding=True).last_hidden_state
    assert difference(grounded(ours).encode_image(pixels), theirs) < 1e-4


@pytest.mark.parametrize("side", ["right", "left"])
def test_next_word_logits_are_the_references(captioner: Pair, side: str) -> None:
    reference, ours = captioner
    model = grounded(ours)
    pixels, _ = ours.pixels(2)
    torch.manual_seed(2)
    ids = torch.randint(5, START, (2, 7))
    mask = torch.ones(2, 7, dtype=torch.bool)
    padding = slice(5, None) if side == "right" else slice(None, 2)
    mask[1, padding] = False
    image = model.encode_image(pixels)
    hidden, _ = model.decode(ids, mask, model.memory(image), torch.ones(image.shape[:2], dtype=torch.bool))
    theirs = reference(pixel_values=pixels, input_ids=ids, attention_mask=mask.long()).logits
    assert difference(model.token_logits(hidden)[mask], theirs[mask]) < 1e-4


def test_words_one_by_one_over_a_cache_are_the_words_read_at_once(captioner: Pair) -> None:
    reference, ours = captioner
    model = grounded(ours)
    pixels, _ = ours.pixels(2)
    torch.manual_seed(3)
    ids = torch.randint(5, START, (2, 6))
    image = model.encode_image(pixels)
    memory, memory_mask = model.memory(image), torch.ones(image.shape[:2], dtype=torch.bool)
    past, found = None, []
    for place in range(6):
        mask = torch.ones(2, place + 1, dtype=torch.bool)
        hidden, past = model.decode(ids[:, place : place + 1], mask, memory, memory_mask, past)
        found.append(model.token_logits(hidden))
    theirs = reference(pixel_values=pixels, input_ids=ids).logits
    assert difference(torch.cat(found, dim=1), theirs) < 1e-4


@pytest.mark.parametrize("options", [{}, {"beams": 3}, {"beams": 3, "length_penalty": 0.3, "min_tokens": 4}])
@pytest.mark.parametrize("prompt", [None, "a picture of"])
def test_captions_are_the_references(captioner: Pair, options: dict[str, Any], prompt: str | None) -> None:
    reference, ours = captioner
    pixels, _ = ours.pixels()
    chosen = GenerationOptions(max_tokens=9, prompt=prompt, **options)
    # What the processor makes of a prompt: [CLS] words [SEP], of which the first becomes the start token and
    # the last is dropped.
    ids = None if prompt is None else ours.ids(*[prompt] * 3)[0].clone()
    theirs = reference.generate(
        pixels,
        input_ids=ids,
        max_new_tokens=9,
        num_beams=chosen.beams,
        length_penalty=chosen.length_penalty,
        min_new_tokens=chosen.min_tokens,
        do_sample=False,
    )
    texts = [ours.context.tokenizer.decode(row.tolist()) for row in theirs]
    assert [one.text for one in ours.tasks.caption(photos(), options=chosen)] == texts
    assert any(texts)
    if prompt is not None:
        assert all(text.startswith(prompt) for text in texts)


def test_several_captions_are_the_references_beams(captioner: Pair) -> None:
    reference, ours = captioner
    pixels, _ = ours.pixels(1)
    theirs = reference.generate(pixels, max_new_tokens=8, num_beams=4, num_return_sequences=4)
    found = ours.tasks.captions(photos(1)[0], 4, options=GenerationOptions(beams=4, max_tokens=8))
    assert [one.text for one in found] == [ours.context.tokenizer.decode(row.tolist()) for row in theirs]


def test_gradients_of_the_captioning_loss_are_the_references(tmp_path: Path) -> None:
    reference, ours = pair(BlipForConditionalGeneration, "odd", tmp_path)
    model = grounded(ours)
    pixels, _ = ours.pixels(2)
    ids, mask = ours.ids("a red dog", "two cats sitting on a car")
    labels = ids.masked_fill(~mask, -100)
    reference(pixel_values=pixels, input_ids=ids, attention_mask=mask.long(), labels=labels).loss.backward()
    image = model.encode_image(pixels)
    memory_mask = torch.ones(image.shape[:2], dtype=torch.bool)
    logits = model.token_logits(model.decode(ids, mask, model.memory(image), memory_mask)[0])
    loss: Any = F.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten())
    loss.backward()
    bert, block = reference.text_decoder.bert, model.decoder.stack.blocks[1]
    theirs = (
        bert.embeddings.word_embeddings.weight,
        bert.encoder.layer[1].crossattention.self.value.weight,
        reference.vision_model.embeddings.patch_embedding.weight,
        reference.text_decoder.cls.predictions.bias,
    )
    assert isinstance(block, torch.nn.Module)
    mine = (
        model.decoder.embedding.tokens.weight,
        block.get_parameter("cross_attention.value.weight"),
        model.image_encoder.patch_embed.weight,
        model.get_parameter("token_head.bias"),
    )
    for one, other in zip(mine, theirs, strict=True):
        assert one.grad is not None
        assert float(other.grad.abs().max()) > 1e-4
        assert difference(one.grad, other.grad) < 1e-4


# --- question answering


def test_a_question_read_beside_the_photo_is_the_references(answerer: Pair) -> None:
    reference, ours = answerer
    model = grounded(ours)
    pixels, _ = ours.pixels(2)
    ids, mask = ours.ids("what color is the dog ?", "who is on the boat ?")
    mask[1, 5:] = False
    image = model.encode_image(pixels)
    fused = model.fuse(ids, mask, image, torch.ones(image.shape[:2], dtype=torch.bool))
    theirs = reference.text_encoder(
        input_ids=ids, attention_mask=mask.long(), encoder_hidden_states=image
    ).last_hidden_state
    assert difference(fused[mask], theirs[mask]) < 1e-4


# Its wording bounds its answer in no way, as the reference does not.
QUESTION = "what is in the picture ?"


def written(ours: Loaded, rows: Tensor) -> list[str]:
    return [ours.context.tokenizer.decode(row.tolist()) for row in rows]


def test_written_answers_are_the_references(answerer: Pair) -> None:
    reference, ours = answerer
    pixels, _ = ours.pixels()
    ids, mask = ours.ids(*[QUESTION] * 3)
    theirs = reference.generate(
        ids, pixels, mask.long(), max_new_tokens=12, do_sample=False, num_beams=5, length_penalty=0.0
    )
    # However many are asked for, five beams look for the first.
    found = ours.tasks.ask(photos(), QUESTION, top=1)
    assert [one.answer for one in found] == written(ours, theirs)


def test_alternatives_are_the_references_beams(answerer: Pair) -> None:
    reference, ours = answerer
    pixels, _ = ours.pixels(1)
    ids, mask = ours.ids(QUESTION)
    theirs = reference.generate(
        ids, pixels, mask.long(), max_new_tokens=12, num_beams=5, num_return_sequences=5, length_penalty=0.0
    )
    found = ours.tasks.ask(photos(1)[0], QUESTION, top=5)
    # Several rows of tokens can be one text; seetell gives it once.
    assert {one.answer for one in found.alternatives} == set(written(ours, theirs))


def test_a_question_gets_the_answer_it_gets_alone_beside_a_longer_one(answerer: Pair) -> None:
    """Where transformers 5 lets the decoder read padding: see GroundedModel.decode."""
    _, ours = answerer
    first, second = photos(2)
    longer = "what color is the big ball on the left in the picture of a man and two boats ?"
    answers = ["yes", "no", "two", "a red ball"]
    together = ours.tasks.ask([first, second], ["who is it ?", longer], answers=answers)[0]
    alone = ours.tasks.ask(first, "who is it ?", answers=answers)
    assert [one.answer for one in together.alternatives] == [one.answer for one in alone.alternatives]
    assert difference(confidences(together), confidences(alone)) < 1e-5


def test_a_closed_list_is_ranked_by_the_references_probabilities(answerer: Pair) -> None:
    reference, ours = answerer
    pixels, _ = ours.pixels(1)
    ids, mask = ours.ids(QUESTION)
    answers = ["two", "yes", "no", "a big red ball", "three dogs", "left"]
    question = reference.text_encoder(
        input_ids=ids, attention_mask=mask.long(), encoder_hidden_states=reference.vision_model(pixels)[0]
    ).last_hidden_state
    log_probs = []
    for answer in answers:
        words = ours.context.tokenizer.encode_words(answer)
        row = torch.tensor([[START, *words, SEP]])
        logits = reference.text_decoder(row, encoder_hidden_states=question).logits[0, :-1]
        log_probs.append(float(logits.log_softmax(-1).gather(1, row[0, 1:, None]).sum()))
    expected = torch.tensor(log_probs, dtype=torch.float64).softmax(0)
    found = ours.tasks.ask(photos(1)[0], QUESTION, answers=answers, top=len(answers))
    by_text = {one.answer: one.confidence for one in found.alternatives}
    assert difference([by_text[answer] for answer in answers], expected) < 1e-4
    assert found.answer == answers[int(expected.argmax())]


# --- retrieval


def test_matches_and_embeddings_are_the_references(retriever: Pair) -> None:
    reference, ours = retriever
    texts = ["a red dog", "two cats sitting on a big car"]
    pixels, _ = ours.pixels(1)
    ids, mask = ours.ids(*texts)
    both = pixels.repeat(2, 1, 1, 1)
    matching = reference(ids, both, attention_mask=mask.long(), use_itm_head=True).itm_score
    cosine = reference(ids, pixels, attention_mask=mask.long(), use_itm_head=False).itm_score
    found = ours.tasks.match(photos(1)[0], texts)
    assert difference([one.probability for one in found], matching.softmax(-1)[:, 1]) < 1e-4
    assert difference([one.similarity for one in found], cosine[0]) < 1e-4


def test_a_retriever_says_what_it_can_do(retriever: Pair) -> None:
    _, ours = retriever
    assert {"match", "embed", "classify"} <= ours.tasks.tasks
    assert not {"caption", "ask", "fill"} & ours.tasks.tasks


# --- from checkpoint to bundle


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "verb"),
    [
        (BlipForQuestionAnswering, lambda model: model.ask(photos()[1], QUESTION, top=2).answer),
        (
            BlipForConditionalGeneration,
            lambda model: model.caption(photos()[0], options=GenerationOptions(beams=3, max_tokens=9)).text,
        ),
        (
            BlipForImageTextRetrieval,
            lambda model: round(model.match(photos()[2], ["a cat"])[0].probability, 4),
        ),
    ],
)
def test_the_bundle_answers_as_torch_does(
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


def test_a_checkpoint_of_transformers_4_is_read_the_same(tmp_path: Path) -> None:
    """Full configurations, tied weights under their other names, position numbers among the weights."""
    reference = make(BlipForConditionalGeneration, "plain", tmp_path)
    before = load(tmp_path)

    def older(weights: dict[str, Tensor]) -> dict[str, Tensor]:
        head, words = "text_decoder.cls.predictions.", "text_decoder.bert.embeddings.word_embeddings.weight"
        tied = {words, f"{head}decoder.weight", f"{head}bias", f"{head}decoder.bias"}
        assert tied & set(weights)
        kept = {name: tensor for name, tensor in weights.items() if name not in tied}
        predictions = reference.text_decoder.cls.predictions
        kept[f"{head}decoder.weight"] = predictions.decoder.weight.detach().clone()
        kept[f"{head}decoder.bias"] = predictions.bias.detach().clone()
        kept["text_decoder.bert.embeddings.position_ids"] = torch.arange(24)[None]
        return kept

    rewritten(tmp_path, older)
    config = json.loads((tmp_path / "config.json").read_text())
    config["text_config"] = {**reference.config.text_config.to_dict(), "max_length": 12, "num_beams": 3}
    (tmp_path / "config.json").write_text(json.dumps(config))
    after = load(tmp_path)
    states = (one.model.state_dict() for one in (before, after))
    for one, other in zip(*(state.values() for state in states), strict=True):
        assert torch.equal(one, other)
    assert after.tasks.generation_options().beams == 3
    assert after.tasks.generation_options().max_tokens == 11
    assert unread_settings(CheckpointFolder(tmp_path)) == ()
    config["text_config"]["no_repeat_ngram_size"] = 3
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert unread_settings(CheckpointFolder(tmp_path)) == ("no_repeat_ngram_size 3",)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda weights: {**weights, "text_decoder.extra": torch.zeros(2)}, "unknown: text_decoder.extra"),
        (
            lambda weights: {name: one for name, one in weights.items() if "post_layernorm.bias" not in name},
            "missing: image_encoder.norm.bias",
        ),
        (
            lambda weights: {**weights, "vision_model.post_layernorm.bias": torch.zeros(3)},
            r"of another shape: vision_model.post_layernorm.bias is \[3\], not \[24\]",
        ),
    ],
)
def test_wrong_weights_are_listed(
    tmp_path: Path, change: Callable[[dict[str, Tensor]], dict[str, Tensor]], told: str
) -> None:
    make(BlipForConditionalGeneration, "plain", tmp_path)
    with pytest.raises(CheckpointError, match=told):
        load(rewritten(tmp_path, change))


@pytest.mark.parametrize(
    ("kind", "path", "value", "told"),
    [
        (BlipForQuestionAnswering, ("vision_config", "hidden_size"), 32, "the two widths must be one"),
        (BlipForConditionalGeneration, ("text_config", "hidden_act"), "swoosh", "its activation is 'swoosh'"),
        (BlipForConditionalGeneration, ("text_config", "bos_token_id"), START + 1, "texts start from the id"),
    ],
)
def test_a_configuration_that_cannot_be_is_refused(
    tmp_path: Path, kind: type[Any], path: tuple[str, str], value: object, told: str
) -> None:
    make(kind, "plain", tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config[path[0]][path[1]] = value
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=told):
        load(tmp_path)


def test_a_tied_matrix_is_stored_once_and_the_stored_weights_rebuild_the_model(captioner: Pair) -> None:
    _, ours = captioner
    model = grounded(ours)
    stored = choose_storage(model.state_dict(), "fp16")
    assert "token_head.matrix" not in stored.sources
    rebuilt = type(model)(model.config).eval()
    values = {name: stored.tensor(name).float() for name in stored.sources}
    found = rebuilt.load_state_dict(values, strict=False)
    assert found.missing_keys == ["token_head.matrix"]
    words = rebuilt.decoder.embedding.tokens.weight
    assert difference(words, model.decoder.embedding.tokens.weight.half()) == 0
    hidden = torch.ones(1, 2, model.config.text.embed_dim)
    assert difference(rebuilt.token_logits(hidden), model.token_logits(hidden)) < 0.02
    assert rebuilt.get_parameter("token_head.matrix") is words


def test_an_output_matrix_of_its_own_is_kept(tmp_path: Path) -> None:
    make(BlipForConditionalGeneration, "plain", tmp_path)
    torch.manual_seed(4)

    def untied(weights: dict[str, Tensor]) -> dict[str, Tensor]:
        words = weights["text_decoder.bert.embeddings.word_embeddings.weight"]
        return {**weights, "text_decoder.cls.predictions.decoder.weight": torch.randn_like(words)}

    ours = load(rewritten(tmp_path, untied))
    reference: Any = BlipForConditionalGeneration.from_pretrained(tmp_path)
    reference.eval()
    pixels, _ = ours.pixels()
    theirs = reference.generate(pixels, max_new_tokens=9, num_beams=3)
    found = ours.tasks.caption(photos(), options=GenerationOptions(beams=3, max_tokens=9))
    assert [one.text for one in found] == written(ours, theirs)


# --- the published sizes


def published(kind: type[Any], folder: Path) -> tuple[Any, GroundedModel]:
    """Salesforce/blip-image-captioning-base and blip-vqa-base, their configurations' numbers typed in."""
    torch.manual_seed(0)
    text = {"vocab_size": 30524, "hidden_size": 768, "num_attention_heads": 12, "num_hidden_layers": 12}
    vision = {"hidden_size": 768, "num_attention_heads": 12, "image_size": 384, "initializer_range": 0.02}
    reference = kind(BlipConfig(text_config=text, vision_config=vision)).eval()
    reference.save_pretrained(folder)
    checkpoint = CheckpointFolder(folder)
    model = load_model(checkpoint, family_of(checkpoint))
    assert isinstance(model, GroundedModel)
    return reference, model


@pytest.mark.slow
def test_the_published_captioner_with_seeded_weights(tmp_path: Path) -> None:
    reference, model = published(BlipForConditionalGeneration, tmp_path)
    pixels = torch.randn(1, 3, 384, 384)
    ids = torch.tensor([[30522, 1037, 3861, 1997, 2048]])
    image = model.encode_image(pixels)
    memory_mask = torch.ones(image.shape[:2], dtype=torch.bool)
    hidden, _ = model.decode(ids, torch.ones_like(ids, dtype=torch.bool), model.memory(image), memory_mask)
    theirs = reference(pixel_values=pixels, input_ids=ids)
    assert difference(image, theirs.last_hidden_state) < 1e-3
    assert difference(model.token_logits(hidden), theirs.logits) < 1e-3


@pytest.mark.slow
def test_the_published_answerer_with_seeded_weights(tmp_path: Path) -> None:
    reference, model = published(BlipForQuestionAnswering, tmp_path)
    pixels = torch.randn(1, 3, 384, 384)
    ids = torch.tensor([[101, 2129, 2116, 8870, 2024, 2045, 1029, 102]])
    answer = torch.tensor([[30522, 2048, 102]])
    image = model.encode_image(pixels)
    mask = torch.ones_like(ids, dtype=torch.bool)
    fused = model.fuse(ids, mask, image, torch.ones(image.shape[:2], dtype=torch.bool))
    hidden, _ = model.decode(answer, torch.ones_like(answer, dtype=torch.bool), model.memory(fused), mask)
    theirs = reference.text_encoder(
        input_ids=ids, attention_mask=mask.long(), encoder_hidden_states=reference.vision_model(pixels)[0]
    ).last_hidden_state
    logits = reference.text_decoder(answer, encoder_hidden_states=theirs).logits
    assert difference(fused, theirs) < 1e-3
    assert difference(model.token_logits(hidden), logits) < 1e-3
