"""Greedy and beam search against ``generate`` of transformers, on a seeded decoder with cross-attention."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from transformers import GPT2Config, GPT2LMHeadModel

from seetell.bundle.manifest import GraphSpec, TensorSpec
from seetell.runtime.engine import Arrays
from seetell.runtime.generation import GenerationOptions, TextDecoder, generate

VOCAB, WIDTH, EOS, START, PAD = 13, 16, 3, 5, 0
PHOTOS, MEMORY = 4, 5


class GPT2Engine:
    """The decoder roles over transformers' GPT-2. Its "cache" is the ids read so far, so that a beam
    continued from the wrong row reads the wrong text."""

    name, precision, device = "gpt2", "fp32", "cpu"

    def __init__(self, seed: int) -> None:
        torch.manual_seed(seed)
        config = GPT2Config(
            vocab_size=VOCAB,
            n_positions=40,
            n_embd=WIDTH,
            n_layer=2,
            n_head=2,
            add_cross_attention=True,
            # Far from zero, so that texts differ between photos and beams.
            initializer_range=0.7,
            bos_token_id=START,
            eos_token_id=EOS,
            pad_token_id=PAD,
        )
        self.model = GPT2LMHeadModel(config).eval()
        cache = TensorSpec(dtype="float32", axes=("B", 1, "P", 1))
        names = ("input_ids", "attention_mask", "beam_idx", "memory_mask", "cross.0.key")
        self.graph = GraphSpec(
            files={},
            inputs={
                "past_key_values.0.key": cache,
                **{name: TensorSpec(dtype="int64", axes=("B", "T")) for name in names},
            },
            outputs={},
        )

    def inputs(self, role: str) -> frozenset[str]:
        return frozenset(self.graph.inputs)

    def outputs(self, role: str) -> frozenset[str]:
        return frozenset({"logits"})

    def close(self) -> None:
        """Nothing to free."""

    def run(
        self, role: str, inputs: Mapping[str, NDArray[Any]], outputs: Sequence[str] | None = None
    ) -> Arrays:
        if role == "decoder_memory":
            return {"cross.0.key": inputs["memory_tokens"]}
        past = inputs["past_key_values.0.key"][inputs["beam_idx"]][:, 0, :, 0].astype(np.int64)
        ids = np.concatenate([past, inputs["input_ids"]], axis=1)
        with torch.no_grad():
            logits = self.model(
                input_ids=torch.from_numpy(ids),
                encoder_hidden_states=torch.from_numpy(inputs["cross.0.key"]),
                encoder_attention_mask=torch.from_numpy(inputs["memory_mask"]),
            ).logits
        width = inputs["input_ids"].shape[1]
        present = ids.astype(np.float32)[:, None, :, None]
        return {"logits": logits[:, -width:].numpy(), "present.0.key": present}


# Seeds whose texts end at different lengths; the test of the cases below holds them to it.
@pytest.fixture(scope="module", params=[22, 33])
def engine(request: pytest.FixtureRequest) -> GPT2Engine:
    return GPT2Engine(request.param)


@pytest.fixture(scope="module")
def memory() -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    draw = np.random.default_rng(1)
    mask = np.ones((PHOTOS, MEMORY), np.bool_)
    mask[1, 3:] = False
    return draw.normal(size=(PHOTOS, MEMORY, WIDTH)).astype(np.float32) * 2, mask


def decoder_of(engine: GPT2Engine) -> TextDecoder:
    return TextDecoder(engine, engine.graph, eos_id=EOS, context_length=40)


def reference(
    engine: GPT2Engine,
    memory: tuple[NDArray[np.float32], NDArray[np.bool_]],
    prompt: list[int],
    options: GenerationOptions,
    count: int,
) -> tuple[list[list[tuple[int, ...]]], NDArray[np.float32] | None]:
    tokens, mask = memory
    found = engine.model.generate(
        torch.tensor([prompt] * len(tokens)),
        encoder_hidden_states=torch.from_numpy(tokens),
        encoder_attention_mask=torch.from_numpy(mask),
        attention_mask=torch.ones(len(tokens), len(prompt), dtype=torch.long),
        do_sample=False,
        num_beams=max(options.beams, count),
        num_return_sequences=count,
        max_new_tokens=options.max_tokens,
        min_new_tokens=options.min_tokens,
        length_penalty=options.length_penalty,
        repetition_penalty=options.repetition_penalty,
        early_stopping=False,
        return_dict_in_generate=True,
        output_scores=True,
    )
    texts = []
    for row in found.sequences[:, len(prompt) :].tolist():
        texts.append(tuple(row[: row.index(EOS)] if EOS in row else row))
    grouped = [texts[first : first + count] for first in range(0, len(texts), count)]
    scores = getattr(found, "sequences_scores", None)
    return grouped, None if scores is None else scores.numpy().reshape(len(tokens), count)


CASES = [
    GenerationOptions(beams=beams, **more)
    for beams in (1, 2, 3, 5)
    for more in (
        {"max_tokens": 12},
        {"max_tokens": 1},
        {"max_tokens": 12, "min_tokens": 6},
        {"max_tokens": 9, "repetition_penalty": 1.6},
        {"max_tokens": 12, "length_penalty": 0.0},
        {"max_tokens": 12, "length_penalty": 2.0},
        {"max_tokens": 12, "length_penalty": -1.0, "min_tokens": 3, "repetition_penalty": 0.8},
    )
]


@pytest.mark.parametrize("prompt", [[START], [START, 7, 9]], ids=["start", "prompt"])
@pytest.mark.parametrize(
    "options",
    CASES,
    ids=lambda o: f"{o.beams}-{o.max_tokens}-{o.min_tokens}-{o.length_penalty}-{o.repetition_penalty}",
)
def test_the_same_texts_as_transformers(
    engine: GPT2Engine,
    memory: tuple[NDArray[np.float32], NDArray[np.bool_]],
    options: GenerationOptions,
    prompt: list[int],
) -> None:
    count = options.beams
    found = generate(decoder_of(engine), *memory, prompt, options, count=count)
    texts, scores = reference(engine, memory, prompt, options, count)
    assert [[one.ids for one in several] for several in found] == texts
    if scores is not None and options.repetition_penalty == 1:
        ours = [[one.log_prob / one.length**options.length_penalty for one in several] for several in found]
        np.testing.assert_allclose(ours, scores, rtol=1e-4, atol=1e-4)


def test_the_cases_are_not_trivial(
    engine: GPT2Engine, memory: tuple[NDArray[np.float32], NDArray[np.bool_]]
) -> None:
    """Texts of different lengths, some ended by [EOS] and some cut, and beams that beat greedy."""
    greedy = generate(decoder_of(engine), *memory, [START], GenerationOptions(max_tokens=12))
    beams = generate(decoder_of(engine), *memory, [START], GenerationOptions(max_tokens=12, beams=5), count=5)
    lengths = {one.length for several in beams for one in several}
    assert len(lengths) > 2
    assert any(several[0].ids != one[0].ids for several, one in zip(beams, greedy, strict=True))
    ended = {one.length > len(one.ids) for several in [*beams, *greedy] for one in several}
    assert ended == {True, False}


@pytest.mark.parametrize("beams", [1, 3])
def test_a_batch_gives_what_its_photos_give_alone(
    engine: GPT2Engine, memory: tuple[NDArray[np.float32], NDArray[np.bool_]], beams: int
) -> None:
    options = GenerationOptions(max_tokens=12, beams=beams)
    tokens, mask = memory
    together = generate(decoder_of(engine), tokens, mask, [START], options)
    for photo in range(PHOTOS):
        alone = generate(
            decoder_of(engine), tokens[photo : photo + 1], mask[photo : photo + 1], [START], options
        )
        assert alone[0][0].ids == together[photo][0].ids
        assert alone[0][0].log_prob == pytest.approx(together[photo][0].log_prob, abs=1e-4)
