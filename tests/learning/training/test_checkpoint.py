"""Checkpoints: whole or absent, checked before use, and starting weights taken where they fit."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from seetell.core.errors import CheckpointError, StorageError
from seetell.learning.training import checkpoint as checkpoints
from seetell.learning.training.checkpoint import Progress
from seetell.learning.training.ema import Ema


class Tied(nn.Module):
    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.table = nn.Embedding(6, width)
        self.head = nn.Linear(width, 6)
        self.head.weight = self.table.weight
        self.norm = nn.BatchNorm1d(6)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.norm(self.head(self.table(ids)))
        return out


def trained(steps: int = 2) -> tuple[Tied, torch.optim.AdamW, Ema]:
    torch.manual_seed(1)
    model = Tied()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    ema = Ema(model, 0.9)
    for _ in range(steps):
        optimizer.zero_grad()
        model(torch.arange(6)).square().mean().backward()
        optimizer.step()
        ema.update(model)
    return model, optimizer, ema


def saved(folder: Path, number: int = 2) -> Path:
    model, optimizer, ema = trained()
    return checkpoints.save_checkpoint(folder, Progress(number, "run", ema_updates=2), model, optimizer, ema)


def test_tied_weights_moments_averages_and_random_state_come_back(tmp_path: Path) -> None:
    model, optimizer, ema = trained()
    path = checkpoints.save_checkpoint(tmp_path, Progress(2, "run", 1, 0.5, 3, 2), model, optimizer, ema)
    expected_random = torch.rand(3)
    other, other_optimizer, other_ema = trained(0)
    progress = checkpoints.read_progress(path)
    checkpoints.load_checkpoint(path, progress, other, other_optimizer, other_ema)
    assert torch.equal(torch.rand(3), expected_random)
    assert progress == Progress(2, "run", 1, 0.5, 3, 2)
    assert other.head.weight is other.table.weight
    for (name, one), two in zip(model.state_dict().items(), other.state_dict().values(), strict=True):
        assert torch.equal(one, two), name
    for number, moments in optimizer.state_dict()["state"].items():
        again = other_optimizer.state_dict()["state"][number]
        assert all(torch.equal(value, again[name]) for name, value in moments.items())
    assert other_ema.updates == 2
    assert all(torch.equal(ema.state_dict()[name], value) for name, value in other_ema.state_dict().items())


def test_what_a_guard_measured_comes_back_and_an_older_state_has_none(tmp_path: Path) -> None:
    model, optimizer, ema = trained()
    progress = Progress(2, "run", guard_start=80.0, guard_metric="top_1", guard_step=2, guard_value=60.0)
    path = checkpoints.save_checkpoint(tmp_path, progress, model, optimizer, ema)
    assert checkpoints.read_progress(path) == progress
    document = json.loads((path / "state.json").read_text(encoding="utf-8"))
    older = {key: value for key, value in document.items() if not key.startswith("guard_")}
    (path / "state.json").write_text(json.dumps(older), encoding="utf-8")
    assert checkpoints.read_progress(path) == Progress(2, "run")


def test_whose_a_checkpoint_is_costs_no_look_at_its_weights(tmp_path: Path) -> None:
    path = saved(tmp_path)
    flip_a_byte(path / "step.safetensors")
    assert checkpoints.read_fingerprint(path) == "run"
    (path / "state.json").unlink()
    with pytest.raises(CheckpointError, match=r"state\.json is missing"):
        checkpoints.read_fingerprint(path)


def test_a_save_that_fails_leaves_no_checkpoint_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = saved(tmp_path, 1)
    real, calls = checkpoints.save_file, []

    def failing(tensors: dict[str, torch.Tensor], path: Path) -> None:
        calls.append(path)
        if len(calls) == 2:
            raise KeyboardInterrupt
        real(tensors, path)

    monkeypatch.setattr(checkpoints, "save_file", failing)
    with pytest.raises(KeyboardInterrupt):
        saved(tmp_path, 2)
    assert checkpoints.latest(tmp_path) == first
    assert [path.name for path in tmp_path.iterdir()] == [first.name]


def test_half_written_and_foreign_folders_are_no_checkpoints(tmp_path: Path) -> None:
    path = saved(tmp_path, 3)
    for name in (".step-0000009.abc.tmp", "step-x", "step-0000009.tmp", "other"):
        (tmp_path / name).mkdir()
    assert checkpoints.checkpoints(tmp_path) == [(3, path)]
    assert checkpoints.latest(tmp_path / "none") is None


def test_the_latest_goes_by_number_and_pruning_spares_the_best(tmp_path: Path) -> None:
    for number in (9, 10, 11, 100):
        saved(tmp_path, number)
    newest = checkpoints.latest(tmp_path)
    assert newest is not None and newest.name == "step-0000100"
    checkpoints.prune(tmp_path, 2, spared=9)
    assert [number for number, _ in checkpoints.checkpoints(tmp_path)] == [9, 11, 100]


def flip_a_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("name", ["step.safetensors", "ema.safetensors", "optimizer.safetensors"])
@pytest.mark.parametrize(
    "damage", [flip_a_byte, Path.unlink, lambda path: path.write_bytes(path.read_bytes()[:-9])]
)
def test_every_damage_is_found_before_anything_is_loaded(
    tmp_path: Path, name: str, damage: Callable[[Path], object]
) -> None:
    path = saved(tmp_path)
    damage(path / name)
    with pytest.raises(CheckpointError, match=name.replace(".", r"\.")) as caught:
        checkpoints.read_progress(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"format": 1, "files": {}}', "\x00"])
def test_a_broken_state_file_is_a_checkpoint_error(tmp_path: Path, content: str) -> None:
    path = saved(tmp_path)
    (path / "state.json").write_text(content, encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"state\.json") as caught:
        checkpoints.read_progress(path)
    assert "\n" not in str(caught.value)


def test_another_format_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path)
    document = json.loads((path / "state.json").read_text(encoding="utf-8"))
    (path / "state.json").write_text(json.dumps({**document, "format": 2}), encoding="utf-8")
    with pytest.raises(CheckpointError, match="format 2"):
        checkpoints.read_progress(path)


def test_a_checkpoint_of_another_model_is_refused_on_one_line(tmp_path: Path) -> None:
    path = saved(tmp_path)
    model = Tied(width=8)
    with pytest.raises(CheckpointError, match="another model") as caught:
        checkpoints.load_checkpoint(
            path, checkpoints.read_progress(path), model, torch.optim.AdamW(model.parameters()), None
        )
    assert "\n" not in str(caught.value)


def test_starting_weights_are_taken_where_name_and_shape_agree(tmp_path: Path) -> None:
    path = saved(tmp_path / "run" / "checkpoints")
    source, _, ema = trained()
    same = Tied()
    assert checkpoints.load_initial_weights(same, path) == []
    assert torch.equal(same.table.weight, ema.state_dict()["table.weight"])
    # A run's folder stands for its latest checkpoint.
    assert path.parent.name == "checkpoints"
    again = Tied()
    assert checkpoints.load_initial_weights(again, path.parent.parent) == []
    assert torch.equal(again.table.weight, same.table.weight)
    wider = Tied(width=8)
    untouched = checkpoints.load_initial_weights(wider, path)
    assert set(untouched) == {"table.weight", "head.weight"}
    assert torch.equal(wider.norm.running_mean, ema.state_dict()["norm.running_mean"])
    save_file(
        {f"model.{name}": value.clone() for name, value in source.state_dict().items()},
        tmp_path / "w.safetensors",
    )
    assert checkpoints.load_initial_weights(same, tmp_path / "w.safetensors") == []
    assert torch.equal(same.table.weight, source.table.weight)


def test_starting_weights_that_do_not_exist_or_do_not_fit_are_errors(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no weights there"):
        checkpoints.load_initial_weights(Tied(), tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"pickle")
    with pytest.raises(CheckpointError, match="safetensors"):
        checkpoints.load_initial_weights(Tied(), tmp_path)
    save_file({"other": torch.zeros(1)}, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match="none of its weights"):
        checkpoints.load_initial_weights(Tied(), tmp_path)


@pytest.mark.parametrize("small_disk", ["400k"], indirect=True)
def test_a_full_disk_is_said_and_leaves_the_last_checkpoint_whole(small_disk: Path) -> None:
    step = nn.Linear(100, 100)
    optimizer = torch.optim.AdamW(step.parameters())
    first = checkpoints.save_checkpoint(
        small_disk, checkpoints.Progress(step=1, fingerprint="x"), step, optimizer, None
    )
    large = nn.Linear(400, 400)
    with pytest.raises(StorageError, match=r"step-0000002.*[Nn]o space left") as caught:
        checkpoints.save_checkpoint(
            small_disk, checkpoints.Progress(step=2, fingerprint="x"), large, optimizer, None
        )
    assert "\n" not in str(caught.value)
    assert checkpoints.latest(small_disk) == first
    assert checkpoints.read_progress(first).step == 1
    assert [path.name for path in small_disk.iterdir()] == ["step-0000001"]
