"""ViT-GPT2 captions as transformers captions, from pixels and from files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import (
    GenerationConfig,
    GPT2Config,
    GPT2LMHeadModel,
    GPT2Tokenizer,
    VisionEncoderDecoderModel,
    ViTConfig,
    ViTModel,
)
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

import seetell
from seetell.core.errors import CheckpointError
from seetell.modeling.checkpoints.registry import family_of, unread_settings
from seetell.modeling.checkpoints.source import CheckpointFolder
from seetell.modeling.checkpoints.table import load_model
from seetell.modeling.export.public import convert_checkpoint
from seetell.modeling.export.torch_engine import TorchEngine
from seetell.modeling.models.encoder_decoder import EncoderDecoder
from seetell.runtime.generation import GenerationOptions, TextDecoder, generate
from tests.parity.checkpoint_files import save_byte_tokenizer
from tests.parity.checkpoints_with_words import difference, load, photos, shake

TINY_VIT: dict[str, Any] = {
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 40,
    "image_size": 32,
    "patch_size": 8,
}
TINY_GPT2: dict[str, Any] = {"n_embd": 24, "n_layer": 2, "n_head": 3, "n_positions": 40}
CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "one width": ({}, {}),
    "two widths": ({"image_size": [16, 40]}, {"n_embd": 20, "n_head": 5, "n_layer": 3}),
    "untied": ({"patch_size": 16, "hidden_act": "gelu_new"}, {"tie_word_embeddings": False, "n_inner": 30}),
}


def _save(folder: Path, image: dict[str, Any], text: dict[str, Any], **generation: Any) -> Any:
    """A checkpoint of the reference, its tokenizer and preprocessing beside it, as the hub has them."""
    size = save_byte_tokenizer(folder)
    end = size - 1
    encoder = ViTModel(ViTConfig(**{**TINY_VIT, **image}))  # with its pooler, as published
    ids = {"bos_token_id": end, "eos_token_id": end}
    decoder = GPT2LMHeadModel(
        GPT2Config(**{**TINY_GPT2, **text}, vocab_size=size, add_cross_attention=True, **ids)
    )
    model = VisionEncoderDecoderModel(encoder=encoder, decoder=decoder)
    shake(model)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "wte" in name or "wpe" in name:
                parameter.mul_(3)
            elif "crossattention" in name and parameter.ndim == 2:
                # Or words hardly depend on the photo.
                parameter.mul_(2)
    told = {"decoder_start_token_id": end, "eos_token_id": end, "pad_token_id": end, **generation}
    model.generation_config = GenerationConfig(**told)
    model.save_pretrained(folder)
    told_size = encoder.config.image_size
    height, width = (told_size, told_size) if isinstance(told_size, int) else told_size
    ViTImageProcessorPil(size={"height": height, "width": width}).save_pretrained(folder)
    return model


def _load(folder: Path) -> EncoderDecoder:
    checkpoint = CheckpointFolder(folder)
    model = load_model(checkpoint, family_of(checkpoint))
    assert isinstance(model, EncoderDecoder)
    return model


def _pixels(model: EncoderDecoder, count: int = 3) -> Tensor:
    return torch.randn(count, 3, *model.config.image_size, generator=torch.Generator().manual_seed(4))


def _text(vocabulary: int) -> tuple[Tensor, Tensor]:
    ids = torch.randint(0, vocabulary, (3, 7), generator=torch.Generator().manual_seed(2))
    mask = torch.ones(3, 7, dtype=torch.bool)
    mask[1, 5:] = False
    return ids, mask


@pytest.mark.parametrize("name", CASES)
def test_logits(name: str, tmp_path: Path) -> None:
    reference = _save(tmp_path, *CASES[name])
    ours = _load(tmp_path)
    assert isinstance(ours.bridge, nn.Linear) == (name == "two widths")
    pixels, (ids, mask) = _pixels(ours), _text(ours.config.text.vocab_size)
    with torch.no_grad():
        tokens = ours.encode_image(pixels)
        memory, seen = ours.memory(tokens), torch.ones(tokens.shape[:2], dtype=torch.bool)
        whole, _ = ours.decode(ids, mask, memory, seen)
        parts, past = [], None
        for start, stop in ((0, 3), (3, 4), (4, 7)):
            logits, past = ours.decode(ids[:, start:stop], mask[:, :stop], memory, seen, past)
            parts.append(logits)
        assert difference(tokens, reference.encoder(pixels).last_hidden_state) < 1e-4
        expected = reference(
            pixel_values=pixels, decoder_input_ids=ids, decoder_attention_mask=mask.long()
        ).logits
    assert difference(whole[mask], expected[mask]) < 1e-4
    assert difference(torch.cat(parts, dim=1)[mask], expected[mask]) < 1e-4


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("beams", [1, 3])
def test_words_are_those_of_the_reference(name: str, beams: int, tmp_path: Path) -> None:
    reference = _save(tmp_path, *CASES[name])
    ours = _load(tmp_path)
    end = ours.config.text.vocab_size - 1
    engine = TorchEngine(ours)
    decoder = TextDecoder(engine, engine.graphs["text_decoder"], eos_id=end, context_length=40)
    pixels = _pixels(ours, 4)
    with torch.no_grad():
        tokens = ours.encode_image(pixels).numpy()
        told = reference.generate(pixels, max_new_tokens=14, num_beams=beams, do_sample=False)
    options = GenerationOptions(beams=beams, max_tokens=14)
    found = generate(decoder, tokens, np.ones(tokens.shape[:2], np.bool_), [end], options)
    expected = [row[1:].tolist() for row in told]
    expected = [row[: row.index(end)] if end in row else row for row in expected]
    assert [list(texts[0].ids) for texts in found] == expected
    assert len({tuple(row) for row in expected}) > 1  # the photo matters


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    folder = tmp_path_factory.mktemp("vit-gpt2") / "checkpoint"
    # As the authors of the published checkpoint caption.
    return folder, _save(folder, *CASES["two widths"], max_length=16, num_beams=4)


def _captions(folder: Path, reference: Any, **options: Any) -> list[str]:
    processor, tokenizer = ViTImageProcessorPil.from_pretrained(folder), GPT2Tokenizer.from_pretrained(folder)
    pixels = processor([Image.fromarray(one) for one in photos()], return_tensors="pt")["pixel_values"]
    with torch.no_grad():
        written = reference.generate(pixels, do_sample=False, **options)
    return [tokenizer.decode(row, skip_special_tokens=True).strip() for row in written]


def test_captions_by_the_checkpoints_own_settings(checkpoint: tuple[Path, Any]) -> None:
    folder, reference = checkpoint
    loaded = load(folder)
    assert loaded.tasks.generation_options() == GenerationOptions(beams=4, max_tokens=15)
    found = [one.text for one in loaded.tasks.caption(photos())]
    assert found == _captions(folder, reference)
    assert len(set(found)) > 1


def test_a_rule_about_tokens_is_told_and_not_taken_for_one_about_words(tmp_path: Path) -> None:
    _save(tmp_path, *CASES["one width"], no_repeat_ngram_size=2, repetition_penalty=1.3)
    folder = CheckpointFolder(tmp_path)
    reading = family_of(folder).reading(folder)
    assert (reading.generation.repetition_penalty, reading.generation.no_repeat) == (1.3, 0)
    assert reading.unread == ("no_repeat_ngram_size 2",)
    # config.json is asked, too, and generation_config.json before it.
    document = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    (tmp_path / "config.json").write_text(
        json.dumps({**document, "no_repeat_ngram_size": 4, "suppress_tokens": [1]}), encoding="utf-8"
    )
    assert unread_settings(CheckpointFolder(tmp_path)) == ("no_repeat_ngram_size 2", "suppress_tokens")


@pytest.mark.slow
def test_a_bundle_captions_as_the_reference(checkpoint: tuple[Path, Any], tmp_path: Path) -> None:
    folder, reference = checkpoint
    manifest = convert_checkpoint(folder, tmp_path / "bundle", weights_dtype="fp32")
    assert manifest.tasks == ("caption", "features")
    assert manifest.languages == ("en",)
    with seetell.load(tmp_path / "bundle", precision="fp32", exact_decode=True) as model:
        for beams in (1, 3):
            options = model.generation_options(beams=beams, max_tokens=12)
            found = [one.text for one in model.caption(photos(), options=options)]
            assert found == _captions(folder, reference, num_beams=beams, max_new_tokens=12)


def test_files_of_older_versions(tmp_path: Path) -> None:
    """Causal masks and the tied head are stored, and generation is set in config.json."""
    _save(tmp_path, *CASES["one width"])
    expected = _load(tmp_path).state_dict()
    state = load_file(tmp_path / "model.safetensors")
    for layer in range(2):
        for part in ("attn", "crossattention"):
            state[f"decoder.transformer.h.{layer}.{part}.bias"] = torch.ones(1, 1, 40, 40).tril()
            state[f"decoder.transformer.h.{layer}.{part}.masked_bias"] = torch.tensor(-1e4)
    state["decoder.lm_head.weight"] = state["decoder.transformer.wte.weight"].clone()
    save_file(state, tmp_path / "model.safetensors")
    document = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    (tmp_path / "generation_config.json").unlink()
    document.update(decoder_start_token_id=7, eos_token_id=9, pad_token_id=9, min_length=3, num_beams=2)
    (tmp_path / "config.json").write_text(json.dumps(document), encoding="utf-8")
    for name, tensor in _load(tmp_path).state_dict().items():
        assert torch.equal(tensor, expected[name])
    folder = CheckpointFolder(tmp_path)
    reading = family_of(folder).reading(folder)
    assert reading.text is not None
    assert (reading.text.decoder_start_ids, reading.text.eos_id, reading.text.pad_id) == ({"en": 7}, 9, 9)
    assert (reading.generation.beams, reading.generation.min_tokens) == (2, 2)
    assert reading.generation.max_tokens == 20


def test_what_cannot_be_had_is_refused(tmp_path: Path) -> None:
    _save(tmp_path, *CASES["one width"])
    document = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    (tmp_path / "generation_config.json").unlink()
    for changes, what in (
        ({"decoder": {**document["decoder"], "add_cross_attention": False}}, "no cross-attention"),
        ({"decoder": {**document["decoder"], "n_embd": 20, "n_head": 5}}, "of another shape|missing"),
        ({"decoder": {**document["decoder"], "model_type": "trocr"}}, "no family"),
        ({"eos_token_id": [1, 2]}, "eos_token_id"),
        ({"decoder_start_token_id": "<s>"}, "decoder_start_token_id"),
    ):
        (tmp_path / "config.json").write_text(json.dumps({**document, **changes}), encoding="utf-8")
        with pytest.raises(CheckpointError, match=what):
            load(tmp_path)


def test_gradients_agree(tmp_path: Path) -> None:
    """Of the loss of a caption, for every weight."""
    reference = _save(tmp_path, *CASES["two widths"])
    ours = _load(tmp_path)
    pixels, (ids, _) = _pixels(ours), _text(ours.config.text.vocab_size)
    tokens = ours.encode_image(pixels)
    seen = torch.ones(tokens.shape[:2], dtype=torch.bool)
    logits, _ = ours.decode(ids, torch.ones_like(ids, dtype=torch.bool), ours.memory(tokens), seen)
    nn.functional.cross_entropy(logits.flatten(0, 1), ids.roll(-1, 1).flatten()).backward()
    theirs = reference(pixel_values=pixels, decoder_input_ids=ids).logits
    nn.functional.cross_entropy(theirs.flatten(0, 1), ids.roll(-1, 1).flatten()).backward()
    mine = dict(ours.named_parameters())
    pairs = {
        "writer.embedding.tokens.weight": "decoder.transformer.wte.weight",
        "bridge.weight": "enc_to_dec_proj.weight",
        "encoder.class_token": "encoder.embeddings.cls_token",
        "encoder.patch_embed.weight": "encoder.embeddings.patch_embeddings.projection.weight",
        "writer.stack.blocks.0.cross_norm.weight": "decoder.transformer.h.0.ln_cross_attn.weight",
    }
    given = dict(reference.named_parameters())
    for name, other in pairs.items():
        grad = given[other].grad
        assert grad is not None
        assert float(grad.abs().max()) > 1e-4
        assert difference(mine[name].grad, grad.reshape(mine[name].shape)) < 1e-4
    assert all(one.grad is not None for one in mine.values())


@pytest.mark.slow
def test_published_vit_gpt2(tmp_path: Path) -> None:
    """nlpconnect/vit-gpt2-image-captioning's numbers, with seeded weights as transformers draws them."""
    torch.manual_seed(1)
    reference = VisionEncoderDecoderModel(
        encoder=ViTModel(ViTConfig()),
        decoder=GPT2LMHeadModel(GPT2Config(add_cross_attention=True)),
    ).eval()
    reference.save_pretrained(tmp_path)
    ours = _load(tmp_path)
    pixels, (ids, _) = _pixels(ours, 1), _text(50257)
    with torch.no_grad():
        tokens = ours.encode_image(pixels)
        seen = torch.ones(tokens.shape[:2], dtype=torch.bool)
        mask = torch.ones(1, 7, dtype=torch.bool)
        found, _ = ours.decode(ids[:1], mask, ours.memory(tokens), seen)
        expected = reference(pixel_values=pixels, decoder_input_ids=ids[:1]).logits
    assert difference(tokens, reference.encoder(pixels).last_hidden_state) < 1e-3
    assert difference(found, expected) < 1e-3
