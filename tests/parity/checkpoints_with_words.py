"""Tiny checkpoints whose text is BERT's: weights that matter, a WordPiece vocabulary, and the model behind
seetell's own tasks."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from seetell.bundle.tokenizer import Tokenizer
from seetell.core.results import Answer
from seetell.media.preprocess import preprocess
from seetell.modeling.checkpoints.registry import family_of
from seetell.modeling.checkpoints.source import CheckpointFolder
from seetell.modeling.checkpoints.table import load_model
from seetell.modeling.export.torch_engine import TorchEngine
from seetell.modeling.export.write_bundle import manifest_of
from seetell.modeling.facts import BundleFacts
from seetell.modeling.models.assembled import AssembledModel
from seetell.tasks.context import Context
from seetell.tasks.model import Model

WORDS = [
    *("a", "an", "the", "of", "in", "on", "with", "and", "is", "are", "what", "who", "how", "many", "color"),
    *(
        "where",
        "picture",
        "photo",
        "dog",
        "cat",
        "man",
        "woman",
        "boat",
        "tree",
        "car",
        "ball",
        "red",
        "green",
    ),
    *("blue", "white", "black", "big", "small", "two", "three", "yes", "no", "left", "right", "run", "sit"),
    *("##s", "##ing", "##ed", "##ting", "?", ".", ",", "!", "1", "2", "3"),
]
VOCABULARY = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS)
PAD, CLS, SEP, MASK = 0, 2, 3, 4


def save_vocabulary(folder: Path) -> None:
    """The files of a BERT tokenizer, as published checkpoints have them beside or without tokenizer.json."""
    (folder / "vocab.txt").write_text("\n".join(VOCABULARY) + "\n", encoding="utf-8")
    settings = {"tokenizer_class": "BertTokenizer", "do_lower_case": True}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")


def shake(model: Any, seed: int = 0) -> Any:
    """Weights under which every part counts: at their first values norms and biases do nothing, image
    tokens hardly differ and all texts come out alike."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if parameter.ndim == 1:
                parameter.add_(noise * 0.2)
            elif "embedding" in name or "cls_token" in name:
                parameter.copy_(noise * 0.5)
            else:
                parameter.copy_(noise * parameter[0].numel() ** -0.5)
    return model.eval()


def photos(count: int = 3) -> list[NDArray[np.uint8]]:
    """Photos of several shapes, wide and high."""
    random = np.random.default_rng(5)
    sizes = [(40, 60), (64, 48), (37, 91), (50, 50)]
    return [random.integers(0, 256, (*size, 3), dtype=np.uint8) for size in sizes[:count]]


@dataclass(frozen=True)
class Loaded:
    """A checkpoint read by its table: the torch model and the tasks over it."""

    model: AssembledModel
    tasks: Model
    context: Context

    def pixels(self, count: int = 3) -> tuple[Tensor, Tensor | None]:
        """What the family's preprocessing makes of :func:`photos`."""
        assert self.context.manifest.image is not None
        values, mask = preprocess(photos(count), self.context.manifest.image)
        return torch.from_numpy(values), None if mask is None else torch.from_numpy(mask)

    def ids(self, *texts: str) -> tuple[Tensor, Tensor]:
        """Texts as the text encoder gets them."""
        ids, mask = self.context.tokenizer.encode(texts, lead_id=CLS)
        return torch.from_numpy(ids), torch.from_numpy(mask)


def load(folder: Path) -> Loaded:
    checkpoint = CheckpointFolder(folder)
    family = family_of(checkpoint)
    reading = family.reading(checkpoint)
    model = load_model(checkpoint, family)
    facts = BundleFacts(
        name=family.name,
        licence="for tests only",
        languages=reading.languages,
        image=reading.image,
        text=reading.text,
        generation=reading.generation,
        score=reading.score,
        answers=reading.answers,
        labels=reading.labels,
    )
    engine = TorchEngine(model)
    manifest = manifest_of(model, engine.graphs, facts)
    assert reading.tokenizer_json is not None and reading.text is not None
    tokenizer = Tokenizer(reading.tokenizer_json.decode("utf-8"), reading.text)
    tasks = Model(manifest, tokenizer, engine, exact_decode=True)
    return Loaded(model, tasks, Context(manifest, tokenizer, engine))


def difference(ours: Any, theirs: Any) -> float:
    """The largest absolute difference of two arrays or tensors of one shape."""
    first, second = (torch.as_tensor(one).detach().double() for one in (ours, theirs))
    assert first.shape == second.shape, (first.shape, second.shape)
    return float((first - second).abs().max())


def confidences(answer: Answer) -> list[float]:
    """Of the alternatives, best first."""
    return [one.confidence for one in answer.alternatives]
