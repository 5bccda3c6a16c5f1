"""A whole model in a few lines of numpy: every role, deterministic, with a true key/value cache.

It knows nothing; what it is good for is that everything it gives depends on everything it is given.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seetell.bundle.manifest import GraphSpec, Manifest, TensorSpec
from seetell.bundle.tokenizer import Tokenizer
from seetell.core.errors import EngineError
from seetell.learning.tokenizer_training import built_in_text_spec, train_tokenizer
from seetell.media.preprocess import ImageSpec
from seetell.runtime.engine import Arrays

DIM, HEADS, HEAD_DIM, SIZE, PATCHES, CONTEXT = 8, 2, 4, 16, 4, 32
ANSWERS = ("yes", "no", "red", "blue", "two")
LABELS = ("cat", "dog", "bus")
TEXTS = [
    "a dog runs on the grass.",
    "two men ride bikes in the street.",
    "一个男人在草地上跑",
    "is there a circle? yes no red blue two cat bus",
] * 3


def make_tokenizer() -> Tokenizer:
    return Tokenizer(train_tokenizer(TEXTS, 300), built_in_text_spec(CONTEXT))


def _attend(
    query: NDArray[Any], key: NDArray[Any], value: NDArray[Any], mask: NDArray[np.bool_]
) -> NDArray[Any]:
    """[B, h, T, d] over [B, h, S, d], bool[B, 1, T, S]."""
    scores = np.where(mask, query @ key.swapaxes(-1, -2) / np.sqrt(HEAD_DIM), -1e9)
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return (weights / weights.sum(axis=-1, keepdims=True)) @ value


def _heads(x: NDArray[Any]) -> NDArray[Any]:
    return x.reshape(*x.shape[:2], HEADS, HEAD_DIM).swapaxes(1, 2)


def _flat(x: NDArray[Any]) -> NDArray[Any]:
    return x.swapaxes(1, 2).reshape(x.shape[0], x.shape[2], DIM)


def _unit(x: NDArray[Any]) -> NDArray[Any]:
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


class ToyEngine:
    """``without`` leaves out roles and outputs. ``calls`` counts runs per role, ``rows`` the rows of each."""

    def __init__(self, vocab_size: int = 300, *, seed: int = 0, without: Sequence[str] = ()) -> None:
        draw = np.random.default_rng(seed)
        # Large, so that different inputs give clearly different outputs.
        self.words = draw.normal(size=(vocab_size, DIM)) * 1.5
        self.places = draw.normal(size=(CONTEXT, DIM)) * 0.5
        self.out = draw.normal(size=(DIM, vocab_size)) * 1.2
        self.mix = {
            name: draw.normal(size=(DIM, DIM)) * 0.6
            for name in ("image", "query", "key", "value", "cross_key", "cross_value", "space", "embed")
        }
        self.heads = {"match": draw.normal(size=(DIM, 2)), "answers": draw.normal(size=(DIM, len(ANSWERS)))}
        self.labels = draw.normal(size=(DIM, len(LABELS)))
        self.vocab_size = vocab_size
        self.graphs = {
            role: spec for role, spec in _graphs(vocab_size, without).items() if role not in without
        }
        self.calls: Counter[str] = Counter()
        self.rows: list[tuple[str, int]] = []
        self.asked: list[tuple[str, tuple[str, ...]]] = []
        self.closed = False
        self._lock = threading.Lock()

    name, precision, device = "toy", "fp32", "cpu"

    def inputs(self, role: str) -> frozenset[str]:
        return frozenset(self.graphs[role].inputs) if role in self.graphs else frozenset()

    def outputs(self, role: str) -> frozenset[str]:
        return frozenset(self.graphs[role].outputs) if role in self.graphs else frozenset()

    def run(
        self, role: str, inputs: Mapping[str, NDArray[Any]], outputs: Sequence[str] | None = None
    ) -> Arrays:
        if self.closed:
            raise EngineError(f"{role}: closed")
        spec = self.graphs[role]
        assert inputs.keys() == spec.inputs.keys(), (role, sorted(inputs))
        sizes = {len(value) for value in inputs.values()}
        assert len(sizes) == 1, f"{role}: batch sizes differ: {sizes}"
        for name, value in inputs.items():
            assert value.dtype == spec.inputs[name].dtype, (role, name, value.dtype)
        with self._lock:
            self.calls[role] += 1
            self.rows.append((role, sizes.pop()))
            self.asked.append((role, tuple(outputs or ())))
        found = getattr(self, f"_{role}")(**{name.replace(".", "__"): x for name, x in inputs.items()})
        wanted = spec.outputs if outputs is None else outputs
        return {name: np.asarray(found[name], spec.outputs[name].dtype) for name in wanted}

    def close(self) -> None:
        self.closed = True

    def _image_encoder(self, pixel_values: NDArray[Any]) -> Arrays:
        patches = pixel_values.reshape(len(pixel_values), 3, 2, SIZE // 2, 2, SIZE // 2).mean(axis=(3, 5))
        colours = patches.reshape(len(patches), 3, PATCHES).swapaxes(1, 2)
        tokens = np.tanh(np.pad(colours, ((0, 0), (0, 0), (0, DIM - 3)), mode="wrap") @ self.mix["image"])
        tokens = tokens + self.places[:PATCHES]
        pooled = tokens.mean(axis=1)
        return {
            "image_tokens": tokens,
            "image_mask": np.ones(tokens.shape[:2], np.bool_),
            "image_embeds": _unit(pooled @ self.mix["space"]),
            "label_logits": pooled @ self.labels,
            "stage_features.0": patches,
            "stage_features.1": patches.mean(axis=(2, 3), keepdims=True),
        }

    def _text_encoder(self, input_ids: NDArray[Any], attention_mask: NDArray[Any]) -> Arrays:
        tokens = self._read(input_ids, attention_mask)
        weight = attention_mask[:, :, None]
        pooled = (tokens * weight).sum(axis=1) / weight.sum(axis=1)
        return {"text_tokens": tokens, "text_embeds": _unit(pooled @ self.mix["embed"])}

    def _fusion_encoder(
        self,
        input_ids: NDArray[Any],
        attention_mask: NDArray[Any],
        image_tokens: NDArray[Any],
        image_mask: NDArray[Any],
    ) -> Arrays:
        tokens = self._read(input_ids, attention_mask)
        key, value = (
            _heads(image_tokens @ self.mix["cross_key"]),
            _heads(image_tokens @ self.mix["cross_value"]),
        )
        seen = _flat(_attend(_heads(tokens), key, value, image_mask[:, None, None, :]))
        fused = np.tanh(tokens + seen)
        return {
            "fused_tokens": fused,
            "match_logits": fused[:, 0] @ self.heads["match"],
            "answer_logits": fused[:, 0] @ self.heads["answers"],
            "token_logits": fused @ self.out * 3,
        }

    def _decoder_memory(self, memory_tokens: NDArray[Any]) -> Arrays:
        return {
            "cross.0.key": _heads(memory_tokens @ self.mix["cross_key"]),
            "cross.0.value": _heads(memory_tokens @ self.mix["cross_value"]),
        }

    def _text_decoder(
        self,
        input_ids: NDArray[Any],
        attention_mask: NDArray[Any],
        beam_idx: NDArray[Any],
        memory_mask: NDArray[Any],
        past_key_values__0__key: NDArray[Any],
        past_key_values__0__value: NDArray[Any],
        cross__0__key: NDArray[Any],
        cross__0__value: NDArray[Any],
    ) -> Arrays:
        width, past = input_ids.shape[1], past_key_values__0__key.shape[2]
        assert attention_mask.shape[1] == past + width
        place = np.maximum(attention_mask.cumsum(axis=1) - 1, 0)[:, past:]
        x = self.words[input_ids] + self.places[place]
        key = np.concatenate([past_key_values__0__key[beam_idx], _heads(x @ self.mix["key"])], axis=2)
        value = np.concatenate([past_key_values__0__value[beam_idx], _heads(x @ self.mix["value"])], axis=2)
        causal = np.arange(past + width)[None, :] <= np.arange(past, past + width)[:, None]
        mask = attention_mask[:, None, None, :] & causal[None, None]
        x = x + _flat(_attend(_heads(x @ self.mix["query"]), key, value, mask))
        x = x + _flat(_attend(_heads(x), cross__0__key, cross__0__value, memory_mask[:, None, None, :]))
        return {
            "logits": np.tanh(x) @ self.out * 1.5,
            "present.0.key": key,
            "present.0.value": value,
        }

    def _read(self, input_ids: NDArray[Any], attention_mask: NDArray[Any]) -> NDArray[Any]:
        x = self.words[input_ids] + self.places[: input_ids.shape[1]]
        key, value = _heads(x @ self.mix["key"]), _heads(x @ self.mix["value"])
        return x + _flat(_attend(_heads(x @ self.mix["query"]), key, value, attention_mask[:, None, None, :]))


def _graphs(vocab_size: int, without: Sequence[str]) -> dict[str, GraphSpec]:
    def tensors(**axes: tuple[str, tuple[str | int, ...]]) -> dict[str, TensorSpec]:
        return {
            name.replace("__", "."): TensorSpec.model_validate({"dtype": dtype, "axes": shape})
            for name, (dtype, shape) in axes.items()
            if name.replace("__", ".") not in without
        }

    ids = {"input_ids": ("int64", ("B", "T")), "attention_mask": ("bool", ("B", "T"))}
    image = {"image_tokens": ("float32", ("B", PATCHES, DIM)), "image_mask": ("bool", ("B", PATCHES))}

    def cache(prefix: str, length: str) -> dict[str, tuple[str, tuple[str | int, ...]]]:
        return {
            f"{prefix}__0__{part}": ("float32", ("B", HEADS, length, HEAD_DIM)) for part in ("key", "value")
        }

    roles: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
        "image_encoder": (
            {"pixel_values": ("float32", ("B", 3, SIZE, SIZE))},
            {
                **image,
                "image_embeds": ("float32", ("B", DIM)),
                "label_logits": ("float32", ("B", len(LABELS))),
                "stage_features__0": ("float32", ("B", 3, 2, 2)),
                "stage_features__1": ("float32", ("B", 3, 1, 1)),
            },
        ),
        "text_encoder": (
            ids,
            {"text_tokens": ("float32", ("B", "T", DIM)), "text_embeds": ("float32", ("B", DIM))},
        ),
        "fusion_encoder": (
            {**ids, **image},
            {
                "fused_tokens": ("float32", ("B", "T", DIM)),
                "match_logits": ("float32", ("B", 2)),
                "token_logits": ("float32", ("B", "T", vocab_size)),
                "answer_logits": ("float32", ("B", len(ANSWERS))),
            },
        ),
        "decoder_memory": ({"memory_tokens": ("float32", ("B", "N", DIM))}, cache("cross", "N")),
        "text_decoder": (
            {
                "input_ids": ("int64", ("B", "T")),
                "attention_mask": ("bool", ("B", "P+T")),
                "beam_idx": ("int64", ("B",)),
                "memory_mask": ("bool", ("B", "N")),
                **cache("past_key_values", "P"),
                **cache("cross", "N"),
            },
            {"logits": ("float32", ("B", "T", vocab_size)), **cache("present", "P+T")},
        ),
    }
    return {
        role: GraphSpec(files={}, inputs=tensors(**inputs), outputs=tensors(**outputs))
        for role, (inputs, outputs) in roles.items()
    }


def make_manifest(engine: ToyEngine, **changes: Any) -> Manifest:
    fields: dict[str, Any] = {
        "name": "toy",
        "family": "toy",
        "version": "1",
        "config": {},
        "tasks": ("embed", "match", "classify", "caption", "ask", "features", "fill"),
        "languages": ("en", "zh"),
        "graphs": engine.graphs,
        "image": ImageSpec(height=SIZE, width=SIZE),
        "text": built_in_text_spec(CONTEXT),
        "prompts": {"classify": {"en": ("a photo of a {}", "{}"), "zh": ("一张{}的照片",)}},
        "answers": ANSWERS,
        "labels": LABELS,
        "licence": "none",
        **changes,
    }
    return Manifest(**fields)
