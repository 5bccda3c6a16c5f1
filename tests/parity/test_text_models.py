"""BERT and GPT-2 give what transformers gives, under every name their files have had."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertModel,
    GPT2Config,
    GPT2LMHeadModel,
    GPT2Model,
    PreTrainedModel,
)

import seetell
from seetell.bundle.store import open_bundle
from seetell.core.errors import CheckpointError, TaskUnavailable
from seetell.modeling.checkpoints.registry import family_of
from seetell.modeling.checkpoints.source import CheckpointFolder
from seetell.modeling.checkpoints.table import Reading, load_model
from seetell.modeling.export.public import convert_checkpoint
from seetell.modeling.export.torch_engine import TorchEngine
from seetell.modeling.models.text_models import TextDecoder, TextEncoder
from seetell.runtime import generation
from seetell.runtime.engine import Arrays
from seetell.runtime.openvino_engine import OpenVINOEngine
from tests.parity.checkpoint_files import END, save_byte_tokenizer
from tests.parity.checkpoints_with_words import VOCABULARY, difference, save_vocabulary, shake

TINY_BERT: dict[str, Any] = {
    "vocab_size": len(VOCABULARY),
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 40,
    "max_position_embeddings": 20,
}
BERTS: dict[str, dict[str, Any]] = {
    "three heads": {},
    "five heads": {"hidden_size": 20, "num_attention_heads": 5, "hidden_act": "gelu_new"},
    "one layer, one type": {"num_hidden_layers": 1, "type_vocab_size": 1, "layer_norm_eps": 1e-5},
    "relu": {"hidden_act": "relu", "max_position_embeddings": 64},
}
TINY_GPT2: dict[str, Any] = {"n_embd": 24, "n_layer": 2, "n_head": 3, "n_positions": 40}
GPT2S: dict[str, dict[str, Any]] = {
    "three heads": {},
    "five heads": {"n_embd": 20, "n_head": 5, "n_inner": 36, "activation_function": "gelu"},
    "untied": {"tie_word_embeddings": False},
    "one layer": {"n_layer": 1, "n_head": 1, "layer_norm_epsilon": 1e-3, "activation_function": "relu"},
}


def _read(folder: Path) -> tuple[Any, Reading]:
    checkpoint = CheckpointFolder(folder)
    family = family_of(checkpoint)
    return load_model(checkpoint, family), family.reading(checkpoint)


def _save_bert(model: PreTrainedModel, folder: Path) -> None:
    shake(model).save_pretrained(folder)  # type: ignore[operator]  # nn.Module gives Tensor | Module
    save_vocabulary(folder)


def _gpt2(folder: Path, kind: type[PreTrainedModel] = GPT2LMHeadModel, **changes: Any) -> PreTrainedModel:
    size = save_byte_tokenizer(folder)
    ids = {"bos_token_id": size - 1, "eos_token_id": size - 1}
    model = kind(GPT2Config(**{**TINY_GPT2, **changes}, vocab_size=size, **ids))
    shake(model)
    with torch.no_grad():
        # Word and position vectors, whose names `shake` does not know.
        for name, parameter in model.named_parameters():
            if "wte" in name or "wpe" in name:
                parameter.mul_(3)
    model.save_pretrained(folder)
    return model


def _batch(vocabulary: int) -> tuple[Tensor, Tensor]:
    """Three rows of 9: padded on the right, on the left, and not."""
    ids = torch.randint(0, vocabulary, (3, 9), generator=torch.Generator().manual_seed(2))
    mask = torch.ones(3, 9, dtype=torch.bool)
    mask[0, 6:] = False
    mask[1, :4] = False
    return ids, mask


@pytest.mark.parametrize("name", BERTS)
def test_bert(name: str, tmp_path: Path) -> None:
    reference = BertModel(BertConfig(**{**TINY_BERT, **BERTS[name]}))
    _save_bert(reference, tmp_path)
    ours, reading = _read(tmp_path)
    assert isinstance(ours, TextEncoder)
    ids, mask = _batch(len(VOCABULARY))
    with torch.no_grad():
        found, expected = ours(ids, mask), reference(ids, attention_mask=mask.long()).last_hidden_state
    assert difference(found[mask], expected[mask]) < 1e-4
    text = reading.text
    assert text is not None
    assert (text.bos_id, text.eos_id, text.pad_id, text.mask_id) == (2, 3, 0, 4)


SENTENCE_FILES: dict[str, Any] = {
    "modules.json": [
        {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
        {"idx": 2, "name": "2", "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"},
    ],
    "sentence_bert_config.json": {"max_seq_length": 12, "do_lower_case": False},
    "config_sentence_transformers.json": {"__version__": {"sentence_transformers": "2.0.0"}},
}


def _save_sentences(folder: Path, pooling: Mapping[str, Any], **files: Any) -> None:
    for name, content in {**SENTENCE_FILES, "1_Pooling/config.json": dict(pooling), **files}.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(json.dumps(content), encoding="utf-8")


def _pooled(reference: Any, way: str, ids: Tensor) -> Tensor:
    """One text alone, without any padding: the unit vector of the mean, first or largest of its tokens."""
    tokens = reference(ids[None]).last_hidden_state[0]
    vector = {"mean": tokens.mean(0), "cls": tokens[0], "max": tokens.amax(0)}[way]
    return vector / vector.norm()


@pytest.mark.parametrize(
    ("way", "told"),
    [
        ("mean", {"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False}),
        ("cls", {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}),
        ("max", {"pooling_mode_max_tokens": True, "include_prompt": True}),
        ("mean", {"word_embedding_dimension": 24, "pooling_mode": "mean"}),
        ("cls", {"pooling_mode": "cls"}),
    ],
)
def test_sentences_are_pooled_as_they_say(way: str, told: dict[str, Any], tmp_path: Path) -> None:
    reference = BertModel(BertConfig(**TINY_BERT)).eval()
    _save_bert(reference, tmp_path)
    _save_sentences(tmp_path, told)
    ours, reading = _read(tmp_path)
    assert isinstance(ours, TextEncoder)
    assert reading.text is not None and reading.text.context_length == 12
    ids, mask = _batch(len(VOCABULARY))
    mask[1] = True  # padding on the left moves a BERT's positions
    with torch.no_grad():
        found = ours.embeds(ours(ids, mask), mask)
        expected = torch.stack(
            [_pooled(reference, way, row[keep]) for row, keep in zip(ids, mask, strict=True)]
        )
    assert difference(found, expected) < 1e-5


def test_a_sentence_encoder_embeds_texts(tmp_path: Path) -> None:
    """From files to vectors: long texts cut where its authors cut them, and a card that says what it can."""
    reference = BertModel(BertConfig(**TINY_BERT)).eval()
    _save_bert(reference, tmp_path / "checkpoint")
    _save_sentences(tmp_path / "checkpoint", {"pooling_mode_mean_tokens": True})
    convert_checkpoint(tmp_path / "checkpoint", tmp_path / "bundle", weights_dtype="fp32")
    texts = ["a dog", "two cats on a tree", "a dog and " * 9]
    with seetell.load(tmp_path / "bundle", precision="fp32") as model, torch.no_grad():
        assert model.tasks == {"embed_texts"}
        found = model.embed_texts(texts)
        words = [
            [2, *(VOCABULARY.index(word) for word in text.replace("cats", "cat ##s").split()), 3]
            for text in texts
        ]
        words[2] = [*words[2][:11], 3]
        expected = [_pooled(reference, "mean", torch.tensor(row)) for row in words]
        assert difference(found, torch.stack(expected)) < 1e-4
        with pytest.raises(TaskUnavailable, match="cannot embed; it can: embed_texts"):
            model.embed_images(np.zeros((8, 8, 3), np.uint8))
    card = (tmp_path / "bundle" / "README.md").read_text(encoding="utf-8")
    assert "It can: embed texts." in card


@pytest.mark.parametrize("kind", ["bert", "gpt2"])
def test_the_card_of_half_a_model_says_what_it_is_for(kind: str, tmp_path: Path) -> None:
    if kind == "bert":
        _save_bert(BertModel(BertConfig(**TINY_BERT)), tmp_path / "checkpoint")
    else:
        _gpt2(tmp_path / "checkpoint")
    convert_checkpoint(tmp_path / "checkpoint", tmp_path / "bundle")
    card = (tmp_path / "bundle" / "README.md").read_text(encoding="utf-8")
    half = {"bert": "text encoder", "gpt2": "text decoder"}[kind]
    assert (
        f"It answers nothing by itself: it is a {half}, to run as a graph or to begin a model with." in card
    )
    assert "It can" not in card


@pytest.mark.parametrize(
    ("pooling", "files", "words"),
    [
        ({"pooling_mode_weightedmean_tokens": True}, {}, "pooled by pooling_mode_weightedmean_tokens"),
        (
            {"pooling_mode_mean_tokens": True, "pooling_mode_max_tokens": True},
            {},
            "pooled by pooling_mode_me",
        ),
        ({}, {}, "pooled by nothing"),
        ({"pooling_mode": "lasttoken"}, {}, "pooled by pooling_mode_lasttoken"),
        (
            {"pooling_mode_mean_tokens": True},
            {
                "modules.json": [
                    *SENTENCE_FILES["modules.json"][:2],
                    {"type": "sentence_transformers.models.Dense"},
                ]
            },
            "steps Transformer, Pooling, Dense",
        ),
        (
            {"pooling_mode_mean_tokens": True},
            {"config_sentence_transformers.json": {"prompts": {"q": "query: "}, "default_prompt_name": "q"}},
            "led by a prompt .*'q'",
        ),
        (
            {"pooling_mode_mean_tokens": True},
            {"sentence_bert_config.json": {"max_seq_length": "long"}},
            "max_seq_length is 'long'",
        ),
    ],
)
def test_sentences_that_are_made_in_other_ways_are_refused(
    pooling: dict[str, Any], files: dict[str, Any], words: str, tmp_path: Path
) -> None:
    _save_bert(BertModel(BertConfig(**TINY_BERT)), tmp_path)
    _save_sentences(tmp_path, pooling, **files)
    with pytest.raises(CheckpointError, match=words) as caught:
        _read(tmp_path)
    assert str(tmp_path) in str(caught.value) and "without modules.json" in str(caught.value)


def test_bert_of_2018(tmp_path: Path) -> None:
    """bert-base-uncased as it lies on the hub: gamma and beta, stored positions, both heads."""
    reference = BertForMaskedLM(BertConfig(**TINY_BERT))
    _save_bert(reference, tmp_path)
    state = load_file(tmp_path / "model.safetensors")
    old = {
        re.sub(
            r"LayerNorm\.bias", "LayerNorm.beta", re.sub(r"LayerNorm\.weight", "LayerNorm.gamma", name)
        ): one
        for name, one in state.items()
    }
    assert any(name.endswith("gamma") for name in old)
    old["bert.embeddings.position_ids"] = torch.arange(20)[None]
    old["cls.seq_relationship.weight"] = torch.zeros(2, 24)
    old["cls.predictions.decoder.weight"] = torch.zeros(len(VOCABULARY), 24)
    old["bert.pooler.dense.weight"] = torch.zeros(24, 24)
    save_file(old, tmp_path / "model.safetensors")
    ours, _ = _read(tmp_path)
    ids, mask = _batch(len(VOCABULARY))
    with torch.no_grad():
        expected = reference.bert(ids, attention_mask=mask.long()).last_hidden_state
        assert difference(ours(ids, mask)[mask], expected[mask]) < 1e-4


def _reference_logits(reference: Any, ids: Tensor, mask: Tensor) -> Tensor:
    # As transformers generates: padding does not count.
    positions = (mask.long().cumsum(1) - 1).clamp(min=0)
    logits: Tensor = reference(ids, attention_mask=mask.long(), position_ids=positions).logits
    return logits


@pytest.mark.parametrize("name", GPT2S)
def test_gpt2(name: str, tmp_path: Path) -> None:
    reference = _gpt2(tmp_path, **GPT2S[name])
    ours, reading = _read(tmp_path)
    assert isinstance(ours, TextDecoder)
    assert reading.text is not None
    ids, mask = _batch(ours.config.vocab_size)
    with torch.no_grad():
        expected = _reference_logits(reference, ids, mask)
        whole, _ = ours(ids, mask)
        # In steps over the cache: five tokens, then one, then three.
        parts, past = [], None
        for start, stop in ((0, 5), (5, 6), (6, 9)):
            logits, past = ours(ids[:, start:stop], mask[:, :stop], past)
            parts.append(logits)
    assert difference(whole[mask], expected[mask]) < 1e-4
    assert difference(torch.cat(parts, dim=1)[mask], expected[mask]) < 1e-4
    assert (ours.writer.head is None) == (name != "untied")


def test_gpt2_of_2019(tmp_path: Path) -> None:
    """gpt2 as it lies on the hub: no prefix, causal masks stored; and a head stored though it is tied."""
    reference = _gpt2(tmp_path)
    state = load_file(tmp_path / "model.safetensors")
    old = {name.removeprefix("transformer."): one for name, one in state.items()}
    for layer in range(2):
        old[f"h.{layer}.attn.bias"] = torch.ones(1, 1, 40, 40).tril()
        old[f"h.{layer}.attn.masked_bias"] = torch.tensor(-1e4)
    old["lm_head.weight"] = old["wte.weight"].clone()
    save_file(old, tmp_path / "model.safetensors")
    ours, _ = _read(tmp_path)
    ids, mask = _batch(ours.config.vocab_size)
    with torch.no_grad():
        expected = _reference_logits(reference, ids, mask)
        assert difference(ours(ids, mask)[0][mask], expected[mask]) < 1e-4


def test_gpt2_without_a_head_writes_with_its_embedding(tmp_path: Path) -> None:
    reference = _gpt2(tmp_path, GPT2Model, tie_word_embeddings=False)
    ours, _ = _read(tmp_path)
    ids, mask = _batch(ours.config.vocab_size)
    with torch.no_grad():
        hidden = reference(ids).last_hidden_state
        expected = hidden @ reference.get_input_embeddings().weight.T  # type: ignore[operator]  # as above
        assert difference(ours(ids, torch.ones_like(mask))[0], expected) < 1e-4


def test_gradients_agree(tmp_path: Path) -> None:
    """Of the loss of the next word, for every weight of GPT-2."""
    reference = _gpt2(tmp_path)
    ours, _ = _read(tmp_path)
    ids, _ = _batch(ours.config.vocab_size)
    logits, _ = ours(ids, torch.ones_like(ids, dtype=torch.bool))
    torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten()).backward()
    reference(ids, labels=ids).loss.backward()
    checkpoint = CheckpointFolder(tmp_path)
    names = family_of(checkpoint).names
    mine, compared = dict(ours.named_parameters()), 0
    for name, parameter in reference.named_parameters():
        grad = parameter.grad
        assert grad is not None
        row = next(found for row in names if (found := row.apply(name, lambda grad=grad: grad)))
        for target, read in row.items():
            assert difference(mine[target].grad, read()) < 1e-4, target
            compared += 1
    assert compared == len(mine)


class _NoMemory:
    """An engine whose decoder looks at nothing, for the decoding loops, which carry a memory along."""

    def __init__(self, engine: TorchEngine) -> None:
        self._engine = engine
        self.name, self.precision, self.device = engine.name, engine.precision, engine.device

    def inputs(self, role: str) -> frozenset[str]:
        return self._engine.inputs(role)

    def outputs(self, role: str) -> frozenset[str]:
        return self._engine.outputs(role)

    def run(
        self, role: str, inputs: Mapping[str, NDArray[Any]], outputs: Sequence[str] | None = None
    ) -> Arrays:
        return {} if role == "decoder_memory" else self._engine.run(role, inputs, outputs)

    def close(self) -> None:
        self._engine.close()


@pytest.mark.parametrize("beams", [1, 3])
def test_gpt2_writes_what_the_reference_writes(beams: int, tmp_path: Path) -> None:
    reference = _gpt2(tmp_path)
    ours, reading = _read(tmp_path)
    assert reading.text is not None
    engine = TorchEngine(ours)
    decoder = generation.TextDecoder(
        _NoMemory(engine), engine.graphs["text_decoder"], eos_id=reading.text.eos_id, context_length=40
    )
    nothing = np.zeros((1, 1, 1), np.float32), np.ones((1, 1), np.bool_)
    for prompt in ([5], [80, 7, 200], [256, 30]):
        options = generation.GenerationOptions(beams=beams, max_tokens=12)
        ((found,),) = generation.generate(decoder, *nothing, prompt, options)
        written = reference.generate(  # type: ignore[operator]  # as above
            torch.tensor([prompt]),
            attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
            max_new_tokens=12,
            num_beams=beams,
            do_sample=False,
            pad_token_id=reading.text.eos_id,
        )
        told = written[0, len(prompt) :].tolist()
        end = reading.text.eos_id
        assert list(found.ids) == (told[: told.index(end)] if end in told else told)
        assert len(found.ids) > 2


@pytest.mark.parametrize("kind", ["bert", pytest.param("gpt2", marks=pytest.mark.slow)])
def test_as_a_bundle(kind: str, tmp_path: Path) -> None:
    """Exported, checked, and run without torch; there is no task for text alone."""
    if kind == "bert":
        _save_bert(BertModel(BertConfig(**TINY_BERT)), tmp_path / "checkpoint")
    else:
        _gpt2(tmp_path / "checkpoint")
    manifest = convert_checkpoint(tmp_path / "checkpoint", tmp_path / "bundle", weights_dtype="fp32")
    assert manifest.tasks == ()
    assert manifest.image is None
    ours, reading = _read(tmp_path / "checkpoint")
    bundle = open_bundle(tmp_path / "bundle")
    tokenizer = bundle.tokenizer()
    assert tokenizer is not None and reading.text is not None
    ids, mask = tokenizer.encode(["a dog and the cat", "the"], lead_id=reading.text.bos_id)
    engine = OpenVINOEngine(bundle, precision="fp32", device="cpu")
    if kind == "bert":
        found = engine.run("text_encoder", {"input_ids": ids, "attention_mask": mask})["text_tokens"]
        with torch.no_grad():
            expected = ours(torch.from_numpy(ids), torch.from_numpy(mask))
    else:
        decoder = generation.TextDecoder(engine, manifest.graphs["text_decoder"], eos_id=0, context_length=40)
        found, _ = decoder.run(ids, mask, {}, mask)
        with torch.no_grad():
            expected, _ = ours(torch.from_numpy(ids), torch.from_numpy(mask))
    engine.close()
    assert difference(found[mask], expected[torch.from_numpy(mask)]) < 1e-3


def _edit(folder: Path, **changes: Any) -> None:
    document = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps({**document, **changes}), encoding="utf-8")


@pytest.mark.parametrize(
    ("kind", "changes", "what"),
    [
        ("bert", {"is_decoder": True}, "is_decoder"),
        ("bert", {"position_embedding_type": "relative_key"}, "relative_key"),
        ("bert", {"hidden_act": "swish"}, "its activation is 'swish'"),
        ("bert", {"num_hidden_layers": 1}, r"unknown: .*layer\.1"),
        (
            "bert",
            {"max_position_embeddings": 30},
            r"position_embeddings\.weight is \[20, 24\], not \[30, 24\]",
        ),
        ("gpt2", {"scale_attn_by_inverse_layer_idx": True}, "scaled by layer"),
        ("gpt2", {"scale_attn_weights": False}, "not scaled"),
        ("gpt2", {"add_cross_attention": True}, "no encoder to read"),
        ("gpt2", {"n_layer": 3}, r"missing: .*blocks\.2"),
        ("gpt2", {"eos_token_id": [1, 2]}, "eos_token_id"),
    ],
)
def test_what_cannot_be_had_is_refused(kind: str, changes: dict[str, Any], what: str, tmp_path: Path) -> None:
    if kind == "bert":
        _save_bert(BertModel(BertConfig(**TINY_BERT)), tmp_path)
    else:
        _gpt2(tmp_path)
        (tmp_path / "generation_config.json").unlink()
    _edit(tmp_path, **changes)
    with pytest.raises(CheckpointError, match=what):
        _read(tmp_path)


def test_no_tokenizer_is_an_error(tmp_path: Path) -> None:
    BertModel(BertConfig(**TINY_BERT)).save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match=r"vocab\.txt"):
        _read(tmp_path)
    assert END not in VOCABULARY


@pytest.mark.slow
def test_published_bert(tmp_path: Path) -> None:
    """bert-base-uncased's numbers, with seeded weights."""
    config = BertConfig(
        vocab_size=30522,
        hidden_size=768,
        num_hidden_layers=12,
        num_attention_heads=12,
        intermediate_size=3072,
        max_position_embeddings=512,
    )
    reference = BertModel(config)
    shake(reference).save_pretrained(tmp_path)  # type: ignore[operator]  # as above
    checkpoint = CheckpointFolder(tmp_path)
    ours = load_model(checkpoint, family_of(checkpoint))
    ids, mask = _batch(30522)
    with torch.no_grad():
        expected = reference(ids, attention_mask=mask.long()).last_hidden_state
        assert difference(ours(ids, mask)[mask], expected[mask]) < 1e-3


@pytest.mark.slow
def test_published_gpt2(tmp_path: Path) -> None:
    """gpt2's numbers, with seeded weights as transformers draws them."""
    torch.manual_seed(1)
    reference = GPT2LMHeadModel(
        GPT2Config(vocab_size=50257, n_positions=1024, n_embd=768, n_layer=12, n_head=12)
    ).eval()
    reference.save_pretrained(tmp_path)
    checkpoint = CheckpointFolder(tmp_path)
    ours = load_model(checkpoint, family_of(checkpoint))
    ids, mask = _batch(50257)
    with torch.no_grad():
        expected = _reference_logits(reference, ids, mask)
        assert difference(ours(ids, mask)[0][mask], expected[mask]) < 1e-3
