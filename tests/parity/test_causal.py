"""Llama, Qwen2 and Qwen3 give what transformers gives, from safetensors and from GGUF."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gguf
import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

from seetell.core.errors import CheckpointError
from seetell.modeling.checkpoints.gguf_file import open_checkpoint
from seetell.modeling.checkpoints.registry import family_of
from seetell.modeling.checkpoints.source import CheckpointFolder
from seetell.modeling.checkpoints.table import Reading, load_model
from seetell.modeling.models.causal import CausalModel
from tests.parity.causal_files import CONTROL, TEMPLATE, TINY, batch, save_tiny, tiny, write_gguf
from tests.parity.checkpoints_with_words import difference

LLAMA3_ROPE = {
    "rope_type": "llama3",
    "rope_theta": 10000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}
CONFIGS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("llama", {}),
    "llama, a head of its own, no groups": (
        "llama",
        {"tie_word_embeddings": False, "num_key_value_heads": 4, "rms_norm_eps": 1e-5},
    ),
    "llama, biases": ("llama", {"attention_bias": True, "mlp_bias": True}),
    "llama, three heads for one": (
        "llama",
        {"hidden_size": 36, "num_attention_heads": 3, "num_key_value_heads": 1, "intermediate_size": 50},
    ),
    "llama, wide heads": ("llama", {"head_dim": 24}),
    "llama 3's positions": ("llama", {"rope_parameters": LLAMA3_ROPE}),
    "llama, linear positions": (
        "llama",
        {"rope_parameters": {"rope_type": "linear", "factor": 4.0, "rope_theta": 10000.0}},
    ),
    "qwen2": ("qwen2", {}),
    "qwen2, a head of its own": ("qwen2", {"tie_word_embeddings": False}),
    "qwen3": ("qwen3", {"head_dim": 24, "rope_parameters": {"rope_type": "default", "rope_theta": 1e6}}),
    "qwen3, biases": ("qwen3", {"head_dim": 16, "attention_bias": True}),
}


def _read(path: Path) -> tuple[CausalModel, Reading]:
    checkpoint = open_checkpoint(path)
    family = family_of(checkpoint)
    ours = load_model(checkpoint, family)
    assert isinstance(ours, CausalModel)
    return ours, family.reading(checkpoint)


def _reference_logits(reference: PreTrainedModel, ids: Tensor, mask: Tensor) -> Tensor:
    positions = (mask.long().cumsum(1) - 1).clamp(min=0)
    logits: Tensor = reference(ids, attention_mask=mask.long(), position_ids=positions).logits
    return logits


@pytest.mark.parametrize("name", CONFIGS)
def test_logits_and_cache(name: str, tmp_path: Path) -> None:
    kind, changes = CONFIGS[name]
    reference = save_tiny(kind, tmp_path, **changes)
    ours, _ = _read(tmp_path)
    ids, mask = batch()
    with torch.no_grad():
        expected = _reference_logits(reference, ids, mask)
        whole, _ = ours(ids, mask)
        parts, past = [], None
        for start, stop in ((0, 6), (6, 7), (7, 11)):
            logits, past = ours(ids[:, start:stop], mask[:, :stop], past)
            parts.append(logits)
        single, _ = ours(ids[:1, 5:], mask[:1, 5:])
    assert difference(whole[mask], expected[mask]) < 1e-4
    assert difference(torch.cat(parts, dim=1)[mask], whole[mask]) < 1e-5
    # A row alone gives what it gives beside longer ones.
    assert difference(single[0], whole[0, 5:]) < 1e-5


@pytest.mark.parametrize("name", ["llama", "qwen2", "qwen3"])
def test_greedy_text_is_the_same(name: str, tmp_path: Path) -> None:
    kind, changes = CONFIGS[name]
    reference = save_tiny(kind, tmp_path, **changes)
    ours, _ = _read(tmp_path)
    ids = batch()[0][2:]
    with torch.no_grad():
        expected = reference.generate(  # type: ignore[operator]  # nn.Module gives Tensor | Module
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=30, min_new_tokens=30, do_sample=False
        )[0, ids.shape[1] :]
        written, past, inputs = [], None, ids
        for step in range(30):
            mask = torch.ones(1, ids.shape[1] + step, dtype=torch.bool)
            logits, past = ours(inputs, mask, past)
            logits[0, -1, 2] = -torch.inf  # the end, which the reference may not write either
            written.append(int(logits[0, -1].argmax()))
            inputs = torch.tensor([written[-1:]])
    assert written == expected.tolist()


@pytest.mark.parametrize(
    ("kind", "packed", "pre"),
    [
        ("llama", "F32", "smollm"),
        ("llama", "F16", "llama-bpe"),
        ("llama", "Q8_0", "smollm"),
        ("qwen2", "Q8_0", "qwen2"),
        ("qwen2", "BF16", "qwen2"),
        ("qwen3", "Q4_0", "qwen2"),
    ],
)
def test_gguf_files(kind: str, packed: str, pre: str, tmp_path: Path) -> None:
    """Against transformers reading the same file, which takes Qwen3's heads to be 128 wide."""
    write_gguf(
        tmp_path / "m.gguf",
        kind,
        tiny(kind, **({"head_dim": 128} if kind == "qwen3" else {})),
        packed=gguf.GGMLQuantizationType[packed],
        pre=pre,
    )
    reference = AutoModelForCausalLM.from_pretrained(tmp_path, gguf_file="m.gguf", dtype=torch.float32)
    ours, reading = _read(tmp_path / "m.gguf")
    ids, mask = batch()
    with torch.no_grad():
        expected = _reference_logits(reference.eval(), ids, mask)
        found, _ = ours(ids, mask)
    assert difference(found[mask], expected[mask]) < 1e-4
    assert reading.text is not None and (reading.text.bos_id, reading.text.eos_id) == (None, 2)
    assert reading.chat is not None and reading.chat.template == TEMPLATE
    assert reading.chat.tokens == {"bos_token": CONTROL[1], "eos_token": CONTROL[2]}
    assert reading.chat.stop_ids == (2,)


TEXTS = (
    "the other a theatre",
    "In 1969, 3 x 17 = 51!",
    " two  blanks\n\nand lines\t.",
    "它是红色的 é ﬁ",
    "I'LL we're",
)


@pytest.mark.parametrize("pre", ["qwen2", "llama-bpe", "gpt-2"])
def test_a_gguf_files_text_falls_into_pieces_as_transformers_has_it(pre: str, tmp_path: Path) -> None:
    write_gguf(tmp_path / "m.gguf", "qwen2", tiny("qwen2"), pre=pre)
    reference = AutoTokenizer.from_pretrained(tmp_path, gguf_file="m.gguf")
    _, reading = _read(tmp_path / "m.gguf")
    assert reading.tokenizer_json is not None
    ours = Tokenizer.from_str(reading.tokenizer_json.decode("utf-8"))
    for text in (*TEXTS, "<|im_start|>user\nthe<|im_end|>"):
        if pre == "qwen2":
            text = text.replace("ﬁ", "fi")  # transformers leaves out the normaliser of a GGUF file
        assert ours.encode(text).ids == reference(text)["input_ids"], text


def test_digits_of_smollm_stand_alone(tmp_path: Path) -> None:
    """Its own tokenizer.json says so; transformers, reading GGUF, takes GPT-2's pieces."""
    write_gguf(tmp_path / "m.gguf", "llama", tiny("llama"), pre="smollm")
    _, reading = _read(tmp_path / "m.gguf")
    assert reading.tokenizer_json is not None
    ours = Tokenizer.from_str(reading.tokenizer_json.decode("utf-8"))
    assert ours.pre_tokenizer is not None
    pieces = [piece for piece, _ in ours.pre_tokenizer.pre_tokenize_str("in 1969 a")]
    assert pieces == ["in", "\u0120", "1", "9", "6", "9", "\u0120a"]


def _write(path: Path, **settings: Any) -> None:
    write_gguf(path, "llama", tiny("llama"), **settings)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"pre": "tekken"}, "falls into pieces as 'tekken' says"),
        ({"llama__rope__dimension_count": 8}, "only a part of each head"),
        ({"llama__rope__scaling__type": "yarn"}, "'yarn'"),
        ({"split__count": 3}, "one of 3 parts"),
    ],
)
def test_what_is_not_known_of_a_gguf_file_is_refused(
    settings: dict[str, Any], words: str, tmp_path: Path
) -> None:
    _write(tmp_path / "m.gguf", **settings)
    with pytest.raises(CheckpointError, match=words) as caught:
        _read(tmp_path / "m.gguf")
    assert "\n" not in str(caught.value) and str(tmp_path) in str(caught.value)


@pytest.mark.parametrize("kept", [0.99, 0.5, 0.02, 0.0])
def test_a_gguf_file_that_is_cut_off(kept: float, tmp_path: Path) -> None:
    _write(tmp_path / "whole.gguf")
    data = (tmp_path / "whole.gguf").read_bytes()
    (tmp_path / "m.gguf").write_bytes(data[: int(len(data) * kept)])
    with pytest.raises(CheckpointError, match="cut off or no GGUF file"):
        _read(tmp_path / "m.gguf")


def test_a_shard_that_is_cut_off(tmp_path: Path) -> None:
    made = save_tiny("llama", tmp_path)
    made.save_pretrained(tmp_path, max_shard_size="60KB")
    (tmp_path / "model.safetensors").unlink()
    assert _read(tmp_path)[0] is not None
    last = sorted(tmp_path.glob("model-*.safetensors"))[-1]
    last.write_bytes(last.read_bytes()[:-40])
    with pytest.raises(CheckpointError, match=f"{last.name}: cut off"):
        _read(tmp_path)


@pytest.mark.parametrize(
    ("kind", "changes", "words"),
    [
        ("qwen2", {"use_sliding_window": True}, "use_sliding_window"),
        ("qwen3", {"layer_types": ["full_attention", "sliding_attention", "full_attention"]}, "sliding"),
        ("llama", {"rope_scaling": {"rope_type": "yarn", "factor": 2.0}, "rope_parameters": None}, "yarn"),
        ("llama", {"partial_rotary_factor": 0.5}, "partial_rotary_factor"),
        ("llama", {"hidden_act": "xielu"}, "xielu"),
    ],
)
def test_configurations_that_are_not_known(
    kind: str, changes: dict[str, Any], words: str, tmp_path: Path
) -> None:
    save_tiny(kind, tmp_path)
    checkpoint = CheckpointFolder(tmp_path)
    checkpoint.config.update(changes)
    with pytest.raises(CheckpointError, match=words):
        load_model(checkpoint, family_of(checkpoint))


def test_a_tied_matrix_may_be_stored_twice(tmp_path: Path) -> None:
    reference = save_tiny("llama", tmp_path)
    state = load_file(tmp_path / "model.safetensors")
    state["lm_head.weight"] = state["model.embed_tokens.weight"].clone()
    save_file(state, tmp_path / "model.safetensors")
    ours, _ = _read(tmp_path)
    ids, mask = batch()
    with torch.no_grad():
        assert difference(ours(ids, mask)[0][mask], _reference_logits(reference, ids, mask)[mask]) < 1e-4


def test_what_ends_an_answer(tmp_path: Path) -> None:
    """What the checkpoint says, and the token by which its template ends a turn."""
    save_tiny("qwen2", tmp_path, eos_token_id=0)
    reading = family_of(open_checkpoint(tmp_path)).reading(open_checkpoint(tmp_path))
    assert reading.chat is not None and reading.chat.stop_ids == (0, 2)
    assert reading.text is not None and reading.text.eos_id == 0
    assert TINY["eos_token_id"] == 2
