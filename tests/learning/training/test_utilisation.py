"""Model FLOPs utilisation: operations counted as they are known to be, without a trace in what is learned."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from stand_in import TOTAL, loop, make_batch
from torch import nn

from seetell.learning.batch import Batch
from seetell.learning.training import loop as loops
from seetell.learning.training.gemm_rate import gemm_rate
from seetell.learning.training.metrics_log import read_metrics
from seetell.learning.training.progress import ProgressDisplay
from seetell.learning.training.utilisation import Utilisation
from tests.learning.training.processes_script import build, joint_batch

CPU = torch.device("cpu")


def pictures(size: int, count: int = 4) -> Batch:
    return Batch(("photo",) * count, torch.randn(count, 3, size, size))


def counted(model: nn.Module, batch: Batch) -> float:
    found = Utilisation(CPU, 1)
    assert not found.knows(batch)
    with found.counting(batch):
        model(batch.pixel_values).sum().backward()
    assert found.knows(batch) and not found.knows(pictures(int(batch.pixel_values.shape[-1]) + 8))
    return found.flops_per_photo(batch)


def test_a_linear_layer_is_counted_forward_and_backward() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(192, 10), nn.Linear(10, 7))
    # The first layer needs no gradient of its input, the second one does.
    expected = 2 * (2 * 192 * 10) + 3 * (2 * 10 * 7)
    assert counted(model, pictures(8)) == expected
    # Frozen, it asks for no gradient of what it gives to the second one either.
    model[1].requires_grad_(False)
    assert counted(model, pictures(8)) == 2 * 192 * 10 + 2 * (2 * 10 * 7)


@pytest.mark.parametrize("groups", [1, 3])
def test_a_convolution_is_counted_by_the_channels_that_meet(groups: int) -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1, groups=groups, bias=False),
        nn.Conv2d(6, 6, 5, padding=2, groups=2 * groups, bias=False),
        nn.ConvTranspose2d(6, 3, 2, stride=2, groups=groups, bias=False),
    )
    # Cells, kernel, and for each of the channels that come out those that it reads; of the last, that go in.
    first = 2 * 64 * 9 * 6 * (3 // groups)
    second = 2 * 64 * 25 * 6 * (6 // (2 * groups))
    third = 2 * 64 * 4 * 6 * (3 // groups)
    assert counted(model, pictures(8)) == 2 * first + 3 * second + 3 * third


@pytest.mark.parametrize("masked", [False, True])
def test_attention_is_counted_on_a_processor(masked: bool) -> None:
    heads, tokens, width = 2, 16, 12

    class Attention(nn.Module):
        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            inputs = pixels.reshape(len(pixels), heads, tokens, -1)[..., :width].requires_grad_()
            mask = torch.ones(tokens, tokens, dtype=torch.bool) if masked else None
            return nn.functional.scaled_dot_product_attention(inputs, inputs, inputs, attn_mask=mask)

    product = 2 * heads * tokens * tokens * width
    # Two products forward and four backward; kernels that keep no scores compute them once more.
    assert counted(Attention(), pictures(16)) in (6 * product, 7 * product)


def test_counting_leaves_no_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, step = loop(tmp_path / "one")
    whole.run()
    rows = [row for row in read_metrics(tmp_path / "one" / "metrics.jsonl") if row["kind"] == "train"]
    assert len(rows) == TOTAL and all(0 < row["mfu"] < 1 for row in rows)
    monkeypatch.setattr(loops.Utilisation, "knows", lambda *_: True)
    monkeypatch.setattr(loops.Utilisation, "share", lambda *_: 0.5)
    uncounted, other = loop(tmp_path / "two")
    uncounted.run()
    for name, tensor in step.state_dict().items():
        assert torch.equal(tensor, other.state_dict()[name]), name


def test_chunks_are_counted_as_often_as_they_are_encoded() -> None:
    batch = joint_batch(0)

    def flops(chunk: int | None, backward: bool) -> float:
        step, found = build(chunk), Utilisation(CPU, 1)
        with found.counting(batch):
            loss = step(batch)["loss"]
            if backward:
                loss.backward()
        return found.flops_per_photo(batch)

    again = flops(3, True) - flops(None, True)
    # All of the way forward but the products between photos and texts.
    assert 0.9 * flops(None, False) < again <= flops(None, False)


def test_processes_share_the_rate() -> None:
    alone, shared = Utilisation(CPU, 1), Utilisation(CPU, 2)
    batch = make_batch(0)
    for one in (alone, shared):
        with one.counting(batch):
            nn.functional.conv2d(batch.pixel_values, torch.randn(4, 3, 3, 3))
    assert shared.share(batch, 100.0) == alone.share(batch, 50.0) > 0
    assert gemm_rate(CPU) > 1e8


def test_a_step_that_is_counted_does_not_count_for_the_pace(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("seetell.learning.training.progress.time.monotonic", lambda: now[0])
    display = ProgressDisplay(10, 0, shown=False)

    def pace(seconds: float, typical: bool = True) -> float:
        now[0] += seconds
        return display.pace(8, typical=typical)

    assert pace(4.0, typical=False) == 2.0
    assert pace(1.0) == 8.0
    assert pace(1.0) == 8.0
    assert pace(9.0, typical=False) == 8.0
    assert pace(1.0) == 8.0
