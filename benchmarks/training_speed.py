"""How fast a training step is, beside plain PyTorch loops of the same model.

    python benchmarks/training_speed.py [--rounds 6] [--steps 2] [--batch 128] [--precision auto]
        [--json FILE]

ViT-S/16 at 112 pixels and a text tower of 6 layers, 384 wide, learn from a contrastive loss, three ways:

- `seetell`: the training loop as `seetell train` runs it, logging included, in `--precision`;
- `plain bf16`: torch.nn.TransformerEncoder, AdamW, gradient clipping and bf16 autocast, as the manuals show;
- `plain fp32`: the same without autocast.

Each is a process of its own, for settings of one must not help another; in every round each does `--steps`
steps while the others wait. The plain model gets the weights of ours, and both must give the same loss before
anything is timed. Photos are noise in memory, texts have the lengths of Flickr8k's English captions: this is
the step, not the reading of files. A processor without bf16 arithmetic runs it, and slowly.

Beside the times stands the share of the rate at which this machine multiplies large matrices, the faster of
fp32 and bf16, measured between the rounds: the operations of a step, counted by torch, over its time and that
rate.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from seetell.evaluation.machine import describe_machine
from seetell.learning.batch import Batch, Captions
from seetell.learning.training.dual_encoder_step import DualEncoderStep
from seetell.learning.training.loop import TrainingLoop
from seetell.learning.training.objective_spec import ObjectiveSpec
from seetell.learning.training.precision import settled_precision
from seetell.learning.training.recipe import parse_recipe
from seetell.modeling.models.dual_encoder import (
    DualEncoder,
    DualEncoderConfig,
    ImageTowerConfig,
    TextTowerConfig,
)
from seetell.modeling.parts.block import TransformerBlock

WAYS = ("plain fp32", "plain bf16", "seetell")
BASE, OURS = "plain fp32", "seetell"
WIDTH, HEADS, SIZE, PATCH, VOCABULARY, LONGEST = 384, 6, 112, 16, 6000, 64
START, END = 1, 2
BATCHES = 4
# Of Flickr8k's 30,000 English training captions, in the tokens of the built-in model, start and end included.
MEAN_LENGTH, LENGTH_SPREAD, SHORTEST_TEXT, LONGEST_TEXT = 13.5, 4.0, 6, 30
RATE = 1e-4


def build(image_depth: int = 12, text_depth: int = 6) -> DualEncoder:
    """The model, the same each time."""
    torch.manual_seed(0)
    towers: dict[str, Any] = {"embed_dim": WIDTH, "num_heads": HEADS, "activation": "gelu"}
    image = ImageTowerConfig(image_size=(SIZE, SIZE), patch_size=PATCH, depth=image_depth, **towers)
    text = TextTowerConfig(
        vocab_size=VOCABULARY, context_length=LONGEST, depth=text_depth, eos_id=END, **towers
    )
    model = DualEncoder(DualEncoderConfig(image=image, text=text, shared_dim=WIDTH))
    nn.init.constant_(model.logit_scale, math.log(1 / 0.07))
    return model


def batch(number: int, photos: int) -> Batch:
    """Noise, and texts of as many tokens as captions have."""
    random = torch.Generator().manual_seed(number)
    lengths = torch.randn(photos, generator=random) * LENGTH_SPREAD + MEAN_LENGTH
    lengths = lengths.round().clamp(SHORTEST_TEXT, LONGEST_TEXT).long()
    mask = torch.arange(int(lengths.max())) < lengths[:, None]
    ids = torch.randint(END + 1, VOCABULARY, mask.shape, generator=random).masked_fill(~mask, 0)
    ids[:, 0] = START
    ids[torch.arange(photos), lengths - 1] = END
    pixels = torch.randn(photos, 3, SIZE, SIZE, generator=random)
    captions = Captions(ids, mask, torch.arange(photos), ("en",) * photos)
    keys = tuple(str(row) for row in range(photos))
    return Batch(keys, pixels.contiguous(memory_format=torch.channels_last), captions)


class PlainModel(nn.Module):
    """The same model written with what torch.nn has, and nothing else; ``forward`` gives the loss."""

    def __init__(self, model: DualEncoder) -> None:
        super().__init__()
        image = model.image_encoder
        self.patches = nn.Conv2d(3, WIDTH, PATCH, PATCH, bias=False)
        self.class_token = nn.Parameter(torch.zeros(WIDTH))
        self.image_positions = nn.Parameter(torch.zeros_like(image.positions))
        self.before = nn.LayerNorm(WIDTH)
        self.image_tower = self._tower(len(image.transformer.blocks))
        self.image_norm = nn.LayerNorm(WIDTH)
        self.image_projection = nn.Linear(WIDTH, WIDTH, bias=False)
        self.words = nn.Embedding(VOCABULARY, WIDTH)
        self.text_positions = nn.Parameter(torch.zeros(LONGEST, WIDTH))
        self.text_tower = self._tower(len(model.text_encoder.blocks))
        self.text_norm = nn.LayerNorm(WIDTH)
        self.text_projection = nn.Linear(WIDTH, WIDTH, bias=False)
        self.logit_scale = nn.Parameter(torch.zeros(()))
        self._copy(model)

    @staticmethod
    def _tower(depth: int) -> nn.TransformerEncoder:
        layer = nn.TransformerEncoderLayer(
            WIDTH, HEADS, 4 * WIDTH, 0.0, "gelu", batch_first=True, norm_first=True
        )
        return nn.TransformerEncoder(layer, depth, enable_nested_tensor=False)

    @torch.no_grad()
    def _copy(self, model: DualEncoder) -> None:
        image, text = model.image_encoder, model.text_embedding
        for mine, theirs in (
            (self.patches, image.patch_embed),
            (self.before, image.pre_norm),
            (self.image_norm, model.image_norm),
            (self.image_projection, model.image_projection),
            (self.words, text.tokens),
            (self.text_norm, model.text_norm),
            (self.text_projection, model.text_projection),
        ):
            mine.load_state_dict(theirs.state_dict())
        self.class_token.copy_(image.class_token)
        self.image_positions.copy_(image.positions)
        self.text_positions.copy_(text.positions.table.weight)
        self.logit_scale.copy_(model.logit_scale)
        for mine, blocks in (
            (self.image_tower, image.transformer.blocks),
            (self.text_tower, model.text_encoder.blocks),
        ):
            for layer, block in zip(mine.layers, blocks, strict=True):
                _copy_block(layer, block)

    def forward(self, batch: Batch) -> Tensor:
        patches = self.patches(batch.pixel_values).flatten(2).transpose(1, 2)
        first = self.class_token.expand(len(patches), 1, WIDTH)
        photos = self.before(torch.cat([first, patches], dim=1) + self.image_positions)
        photo = self.image_projection(self.image_norm(self.image_tower(photos)[:, 0]))
        ids = batch.captions.ids
        length = ids.shape[1]
        texts = self.words(ids) + self.text_positions[:length]
        # What follows a text's end is never looked at from it, so padding needs no mask.
        causal = nn.Transformer.generate_square_subsequent_mask(length)
        read = self.text_norm(self.text_tower(texts, mask=causal, is_causal=True))
        text = self.text_projection(read[torch.arange(len(ids)), (ids == END).int().argmax(dim=1)])
        photo, text = F.normalize(photo.float(), dim=-1), F.normalize(text.float(), dim=-1)
        logits = self.logit_scale.exp() * photo @ text.T
        right = torch.arange(len(logits))
        return (F.cross_entropy(logits, right) + F.cross_entropy(logits.T, right)) / 2


def _copy_block(layer: nn.TransformerEncoderLayer, block: TransformerBlock) -> None:
    parts = (block.attention.query, block.attention.key, block.attention.value)
    layer.self_attn.in_proj_weight.copy_(torch.cat([part.weight for part in parts]))
    layer.self_attn.in_proj_bias.copy_(torch.cat([part.bias for part in parts]))
    for mine, theirs in (
        (layer.self_attn.out_proj, block.attention.out),
        (layer.norm1, block.attention_norm),
        (layer.norm2, block.mlp_norm),
        (layer.linear1, block.mlp.up),
        (layer.linear2, block.mlp.down),
    ):
        mine.load_state_dict(theirs.state_dict())


def autocast(half: bool) -> AbstractContextManager[Any]:
    return torch.autocast("cpu", dtype=torch.bfloat16) if half else nullcontext()


def losses_differ_by(model: DualEncoder, one: Batch) -> float:
    """How far the two models' losses lie apart, both in float32."""
    with torch.no_grad():
        ours = DualEncoderStep(model, ObjectiveSpec(name="contrastive"))(one)["loss"]
        return abs(float(ours) - float(PlainModel(model)(one)))


def operations(loss: Callable[[], Tensor]) -> int:
    """Of a step, forward and backward, a multiply-add being two."""
    # The fused kernel has no formula; the same products one by one have.
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        loss().backward()
    return int(counter.get_total_flops())


# A process that does steps when it is told to -----------------------------------------------------------


def say(**fields: Any) -> None:
    print(json.dumps(fields), flush=True)


def told() -> bool:
    """Wait for the word; False when there are no more rounds."""
    return bool(sys.stdin.readline())


def work_plain(photos: int, steps: int, half: bool) -> None:
    """The loop of the manuals."""
    model = build()
    batches = [batch(number, photos) for number in range(BATCHES)]
    plain = PlainModel(model).train()
    del model
    optimizer = torch.optim.AdamW(plain.parameters(), lr=RATE)
    flops = operations(lambda: plain(batches[0]))
    done = 0

    def go() -> float:
        nonlocal done
        began = time.perf_counter()
        for _ in range(steps):
            optimizer.zero_grad()
            with autocast(half):
                loss = plain(batches[done % BATCHES])
            loss.backward()
            nn.utils.clip_grad_norm_(plain.parameters(), 1.0)
            optimizer.step()
            done += 1
        return time.perf_counter() - began

    go()
    say(flops=flops)
    while told():
        say(seconds=go())


def work_seetell(photos: int, steps: int, rounds: int, precision: str) -> None:
    """The library's own loop; between rounds it waits where it would validate."""
    step = DualEncoderStep(build(), ObjectiveSpec(name="contrastive"))
    batches = [batch(number, photos) for number in range(BATCHES)]
    flops = operations(lambda: step(batches[0])["loss"])
    began: float | None = None

    def wait(_: nn.Module) -> Mapping[str, float]:
        nonlocal began
        if began is None:
            say(flops=flops)
        else:
            say(seconds=time.perf_counter() - began)
        told()
        began = time.perf_counter()
        return {}

    total = steps * (rounds + 1)
    with tempfile.TemporaryDirectory() as folder:
        recipe = parse_recipe(
            {
                "data": [{"format": "coco_captions", "path": ".", "batch_size": photos}],
                "objectives": [{"name": "contrastive"}],
                "optimizer": {"lr": RATE},
                "precision": precision,
                "device": "cpu",
                "steps": total,
                "ema": None,
                "trackers": [],
                "validate": {"every": steps},
                "checkpoint": {"dir": folder, "every_minutes": None},
            },
            "training_speed",
        )
        TrainingLoop(
            recipe,
            step,
            step.model,
            lambda number: batches[number % BATCHES],
            total_steps=total,
            folder=Path(folder),
            fingerprint="",
            validate=wait,
        ).run()


# The process that tells them ------------------------------------------------------------------------------


class Worker:
    """One of the ways, in a process of its own."""

    def __init__(self, way: str, photos: int, steps: int, rounds: int, precision: str) -> None:
        command = [sys.executable, __file__, "--way", way, "--precision", precision]
        command += ["--batch", str(photos), "--steps", str(steps), "--rounds", str(rounds)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.flops = int(self._heard()["flops"])

    def go(self) -> float:
        """Seconds of a round."""
        assert self._process.stdin is not None
        self._process.stdin.write("go\n")
        self._process.stdin.flush()
        return float(self._heard()["seconds"])

    def close(self) -> None:
        """Let it end."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.wait()

    def _heard(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            sys.exit(f"a process ended with status {self._process.wait()}")
        found: dict[str, Any] = json.loads(line)
        return found


@contextmanager
def workers(photos: int, steps: int, rounds: int, precision: str) -> Iterator[dict[str, Worker]]:
    found: dict[str, Worker] = {}
    try:
        for way in WAYS:
            found[way] = Worker(way, photos, steps, rounds, precision)
        yield found
    finally:
        for worker in found.values():
            worker.close()


def gemm_rate(photos: int, dtype: torch.dtype) -> float:
    """Operations a second of one large product, the better of two shapes: a square, and the model's MLP."""
    tokens = photos * ((SIZE // PATCH) ** 2 + 1)
    best = 0.0
    for rows, inner, columns in ((2048, 2048, 2048), (tokens, WIDTH, 4 * WIDTH)):
        left, right = (torch.randn(shape).to(dtype) for shape in ((rows, inner), (inner, columns)))
        for _ in range(3):
            began = time.perf_counter()
            left @ right
            best = max(best, 2 * rows * inner * columns / (time.perf_counter() - began))
    return best


def measure(photos: int, steps: int, rounds: int, precision: str) -> dict[str, Any]:
    difference = losses_differ_by(build(), batch(0, photos))
    if not difference < 1e-3:
        sys.exit(f"the two models are not the same: their losses lie {difference:.2e} apart")
    seconds: dict[str, list[float]] = {way: [] for way in WAYS}
    rates: dict[str, float] = {"bf16": 0.0, "fp32": 0.0}
    with workers(photos, steps, rounds, precision) as ready:
        flops = {way: ready[way].flops for way in WAYS}
        for number in range(rounds):
            for name, dtype in (("bf16", torch.bfloat16), ("fp32", torch.float32)):
                rates[name] = max(rates[name], gemm_rate(photos, dtype))
            # Each is first and last as often as the others.
            for way in (*WAYS[number % 3 :], *WAYS[: number % 3]):
                seconds[way].append(ready[way].go() / steps)
    return {
        "machine": describe_machine(),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "precision": settled_precision(precision, torch.device("cpu")),
        "batch": photos,
        "rounds": rounds,
        "steps_per_round": steps,
        "losses_differ_by": difference,
        "gemm_gflops": {name: rate / 1e9 for name, rate in rates.items()},
        "ways": {way: _figures(way, seconds, flops[way], max(rates.values()), photos) for way in WAYS},
    }


def _figures(
    way: str, seconds: Mapping[str, list[float]], flops: int, rate: float, photos: int
) -> dict[str, Any]:
    ratios = [base / own for base, own in zip(seconds[BASE], seconds[way], strict=True)]
    median_s = statistics.median(seconds[way])
    return {
        "seconds_per_step": seconds[way],
        "median_s": median_s,
        "photos_per_s": photos / median_s,
        "times_plain_fp32": statistics.median(ratios),
        "times_plain_fp32_range": [min(ratios), max(ratios)],
        "tflop_per_step": flops / 1e12,
        "share_of_gemm": flops / median_s / rate,
    }


def table(found: Mapping[str, Any]) -> str:
    lines = [
        "| | s a step | photos/s | times plain fp32 (rounds) | TFLOP a step | of the GEMM rate |",
        "|---|---|---|---|---|---|",
    ]
    for way, one in found["ways"].items():
        low, high = one["times_plain_fp32_range"]
        lines.append(
            f"| {way} | {one['median_s']:.2f} | {one['photos_per_s']:.1f} | "
            f"{one['times_plain_fp32']:.2f} ({low:.2f} to {high:.2f}) | {one['tflop_per_step']:.2f} | "
            f"{100 * one['share_of_gemm']:.0f}% |"
        )
    rates = found["gemm_gflops"]
    lines.append("")
    lines.append(
        f"{found['machine']}, {found['threads']} threads, torch {found['torch']}, batch {found['batch']}; "
        f"seetell in {found['precision']}; large matrices: bf16 {rates['bf16']:.0f} GFLOP/s, "
        f"fp32 {rates['fp32']:.0f} GFLOP/s"
    )
    return "\n".join(lines)


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description="A training step beside plain PyTorch loops.")
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--steps", type=int, default=2, help="in each round")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--precision", choices=("auto", "fp32", "bf16"), default="auto", help="of seetell")
    parser.add_argument("--json", type=Path, default=None, help="also write the figures here")
    parser.add_argument("--way", choices=WAYS, default=None, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.way is not None:
        work: dict[str, Callable[[], None]] = {
            "plain fp32": partial(work_plain, given.batch, given.steps, False),
            "plain bf16": partial(work_plain, given.batch, given.steps, True),
            "seetell": partial(work_seetell, given.batch, given.steps, given.rounds, given.precision),
        }
        work[given.way]()
        return
    found = measure(given.batch, given.steps, given.rounds, given.precision)
    if given.json is not None:
        given.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(table(found))


if __name__ == "__main__":
    main()
