"""Checkpoints: one folder per step, whole or absent, that a run goes on from exactly.

``step-N/`` holds ``step.safetensors`` (the training step with its model), ``ema.safetensors`` (averaged
weights of the model alone, what export reads), ``optimizer.safetensors`` and ``state.json``, which is
small, human-readable and lists the other files' sizes and hashes. Nothing is pickled.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from seetell.core.errors import CheckpointError, StorageError
from seetell.core.files import atomic_folder, atomic_write_text
from seetell.learning.training.ema import Ema
from seetell.modeling.parts.lora import merge_weights
from seetell.modeling.start import by_entry

FORMAT = 1
STEP_FILE = "step.safetensors"
EMA_FILE = "ema.safetensors"
OPTIMIZER_FILE = "optimizer.safetensors"
STATE_FILE = "state.json"
_NAME = re.compile(r"^step-(\d+)$")
_RANDOM = "random.cpu"
# A block of a stack, of a transformer or of a ResNet's stage: the stack's name, and the block's number in it.
_BLOCK = re.compile(r"^(?P<stack>(?:.+\.)?(?:blocks|stages\.\d+))\.(?P<number>\d+)\.")


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a run is.

    step: optimiser steps done. fingerprint: which run it is. best_step, best_value: the best validation
    so far. misses: validations since then without improvement. guard_start: what the forgetting guard
    measured before training. guard_metric, guard_step, guard_value: what it measured last, and after which
    step. awaits_measuring: written before the measuring that is due after this step, and that has not ended.
    """

    step: int
    fingerprint: str
    best_step: int | None = None
    best_value: float | None = None
    misses: int = 0
    ema_updates: int = 0
    guard_start: float | None = None
    guard_metric: str | None = None
    guard_step: int | None = None
    guard_value: float | None = None
    awaits_measuring: bool = False


def checkpoint_path(folder: Path, step: int) -> Path:
    """The folder of one step's checkpoint below ``folder``."""
    return folder / f"step-{step:07d}"


def checkpoints(folder: Path) -> list[tuple[int, Path]]:
    """Whole checkpoints below ``folder`` as (step, path), oldest first; half-written ones do not count,
    since a checkpoint gets its name only when it is complete."""
    if not folder.is_dir():
        return []
    found = [(int(match.group(1)), path) for path in folder.iterdir() if (match := _NAME.match(path.name))]
    return sorted(found)


def latest(folder: Path) -> Path | None:
    """The newest checkpoint below ``folder``, None when there is none."""
    found = checkpoints(folder)
    return found[-1][1] if found else None


def latest_step(folder: Path) -> int:
    """Of the newest checkpoint below ``folder``; 0 when there is none."""
    found = checkpoints(folder)
    return found[-1][0] if found else 0


def save_checkpoint(
    folder: Path,
    progress: Progress,
    step: nn.Module,
    optimizer: torch.optim.Optimizer,
    ema: Ema | None,
) -> Path:
    """Write a checkpoint below ``folder`` and return its path. Raises StorageError when the disk refuses.

    A checkpoint of the same step is replaced.
    """
    tensors = {
        STEP_FILE: step.state_dict(),
        OPTIMIZER_FILE: {**_optimizer_tensors(optimizer), _RANDOM: torch.get_rng_state()},
    }
    if ema is not None:
        tensors[EMA_FILE] = ema.state_dict()
    target = checkpoint_path(folder, progress.step)
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_folder(target, overwrite=True) as writing:
        files: dict[str, dict[str, Any]] = {}
        for name, content in tensors.items():
            try:
                save_file(_storable(content), writing / name)
            except SafetensorError as error:
                # A full disk is the library's own error, not Python's.
                reason = " ".join(str(error).split())
                raise StorageError(
                    f"{target}: cannot be written ({reason}); the checkpoints before it are whole: make "
                    "room, or give checkpoint.dir another place, and run the same command"
                ) from error
            files[name] = _record(writing / name)
        document = {"format": FORMAT, **asdict(progress), "files": files}
        (writing / STATE_FILE).write_text(_state_text(document), encoding="utf-8")
    return target


def note_progress(path: Path, progress: Progress) -> None:
    """Say in the checkpoint ``path`` what has been measured since it was written; its weights stay.

    Raises CheckpointError where its ``state.json`` is gone or damaged, and StorageError.
    """
    files = {
        name: {"size_bytes": size_bytes, "sha256": digest}
        for name, (size_bytes, digest) in _read_state(path)[1].items()
    }
    atomic_write_text(path / STATE_FILE, _state_text({"format": FORMAT, **asdict(progress), "files": files}))


def _state_text(document: Mapping[str, Any]) -> str:
    return json.dumps(document, indent=1) + "\n"


def read_progress(path: Path) -> Progress:
    """``state.json`` of the checkpoint ``path``, after checking every file it lists.

    Raises CheckpointError naming the file that is missing or damaged.
    """
    progress, recorded = _read_state(path)
    for name, expected in recorded.items():
        if not (path / name).is_file():
            raise CheckpointError(f"{path}: {name} is missing; {_ADVICE}")
        found = _record(path / name)
        if (found["size_bytes"], found["sha256"]) != expected:
            raise CheckpointError(f"{path}: {name} is damaged; {_ADVICE}")
    return progress


def read_fingerprint(path: Path) -> str:
    """Which run the checkpoint ``path`` is of, its large files not looked at. Raises CheckpointError."""
    return _read_state(path)[0].fingerprint


def another_run(path: Path, difference: str | None = None) -> CheckpointError:
    """What to say where the checkpoint ``path`` is of another run. difference: the setting that makes it so,
    where that is known."""
    named = "" if difference is None else f" ({difference} has changed)"
    return CheckpointError(
        f"{path}: is of a run with another model, data or seed{named}; give checkpoint.dir another folder"
    )


def _read_state(path: Path) -> tuple[Progress, dict[str, tuple[int, str]]]:
    """``state.json``: the progress, and (size in bytes, hash) of each file."""
    try:
        document = json.loads((path / STATE_FILE).read_text(encoding="utf-8"))
        version, files = document.pop("format"), document.pop("files")
        progress = Progress(**document)
        recorded = {
            str(name): (int(entry["size_bytes"]), str(entry["sha256"])) for name, entry in files.items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{path}: {STATE_FILE} is missing or damaged ({error}); {_ADVICE}") from error
    if version != FORMAT:
        raise CheckpointError(
            f"{path}: checkpoint format {version} is not the one this seetell reads ({FORMAT})"
        )
    return progress, recorded


_ADVICE = "delete this folder to go on from the one before"


def load_checkpoint(
    path: Path, progress: Progress, step: nn.Module, optimizer: torch.optim.Optimizer, ema: Ema | None
) -> None:
    """Put a run back to where it was: weights, optimiser, averages and torch's random state.

    ``progress`` is what :func:`read_progress` gave for ``path``, and so the files are whole. Raises
    CheckpointError when they are of another model.
    """
    try:
        step.load_state_dict(_read(path / STEP_FILE))
        stored = _read(path / OPTIMIZER_FILE)
        random = stored.pop(_RANDOM)
        _restore_optimizer(optimizer, stored)
    except (RuntimeError, KeyError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise CheckpointError(f"{path}: is of another model or optimiser ({reason})") from error
    if ema is not None:
        ema.load_state_dict(_read(path / EMA_FILE), progress.ema_updates)
    torch.set_rng_state(random)


def load_initial_weights(
    model: nn.Module,
    source: Path,
    *,
    even: bool = False,
    lists: Mapping[str, tuple[Sequence[str], Sequence[str]]] | None = None,
) -> list[str]:
    """Start ``model`` from the weights in ``source``: a safetensors file, a checkpoint's folder (its
    averages, else its own weights), a run's folder (its latest checkpoint) or a folder with
    ``model.safetensors``.

    Tensors are taken where name and shape agree, so that a model with another vocabulary or head keeps
    its trunk. A stack of fewer blocks has the first ones, or with ``even`` those that
    :func:`evenly_chosen` says. lists: head -> the closed list that ``source`` has it over, and the model's:
    what was learned of an entry stays with it, wherever it stands. Returns the names that stayed as they
    were. Raises CheckpointError when nothing agrees.
    """
    file = _weights_file(source)
    stored = _without_adapters(_read(file), file)
    if not any(name in stored for name in model.state_dict()):
        stored = {name.removeprefix("model."): tensor for name, tensor in stored.items()}
    own = model.state_dict()
    if even:
        stored = evenly_chosen(stored, own)
    for head, (before, now) in (lists or {}).items():
        stored = by_entry(stored, own, head, before, now)
    taken = {
        name: tensor.to(own[name].dtype)
        for name, tensor in stored.items()
        if name in own and own[name].shape == tensor.shape
    }
    if not taken:
        raise CheckpointError(f"{file}: none of its weights has a name and shape of this model")
    model.load_state_dict(taken, strict=False)
    return [name for name in own if name not in taken]


def evenly_chosen(stored: Mapping[str, Tensor], wanted: Iterable[str]) -> dict[str, Tensor]:
    """``stored`` with the blocks of each stack numbered anew for a model with the names ``wanted``: of L
    blocks for l places, l < L, place i has block ``round(i * (L - 1) / (l - 1))``, one place alone the first.

    Source: Shleifer and Rush 2020, "Pre-trained summarization distillation", whose students copy maximally
    spaced layers of their teacher. Stacks that are not deeper than wanted stay as they are.
    """
    deep, shallow = _depths(stored), _depths(wanted)
    found: dict[str, Tensor] = {}
    for name, tensor in stored.items():
        match = _BLOCK.match(name)
        stack = match["stack"] if match else ""
        have, want = deep.get(stack, 0), shallow.get(stack, 0)
        if match is None or not 0 < want < have:
            found[name] = tensor
            continue
        for place in range(want):
            chosen = (2 * place * (have - 1) + want - 1) // (2 * (want - 1)) if want > 1 else 0
            if chosen == int(match["number"]):
                found[f"{stack}.{place}.{name[match.end() :]}"] = tensor
    return found


def _depths(names: Iterable[str]) -> dict[str, int]:
    """Blocks of each stack."""
    depths: dict[str, int] = {}
    for name in names:
        if match := _BLOCK.match(name):
            depths[match["stack"]] = max(depths.get(match["stack"], 0), int(match["number"]) + 1)
    return depths


def _without_adapters(weights: dict[str, Tensor], file: Path) -> dict[str, Tensor]:
    try:
        return merge_weights(weights)
    except KeyError as error:
        raise CheckpointError(f"{file}: an adapter in it lacks {error}") from error


def prune(folder: Path, keep: int, spared: int | None) -> None:
    """Delete all but the newest ``keep`` checkpoints below ``folder`` and that of step ``spared``."""
    for number, path in checkpoints(folder)[:-keep]:
        if number != spared:
            shutil.rmtree(path, ignore_errors=True)


def _weights_file(source: Path) -> Path:
    names = (EMA_FILE, STEP_FILE, "model.safetensors")
    folder = latest(source / "checkpoints") or source
    candidates = [source] if source.is_file() else [folder / name for name in names]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    raise CheckpointError(
        f"{source}: no weights there; expected a safetensors file or a folder with {' or '.join(names)}"
    )


def _read(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path}: cannot be read as safetensors ({error})") from error


def _storable(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    # Cloned because tied weights share storage, which the format refuses; loading either name restores both.
    return {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}


def _record(path: Path) -> dict[str, Any]:
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return {"size_bytes": path.stat().st_size, "sha256": digest}


def _optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimiser's state per parameter number and name. Hyperparameters come from the recipe."""
    return {
        f"{number}.{name}": torch.as_tensor(value)
        for number, state in optimizer.state_dict()["state"].items()
        for name, value in state.items()
    }


def _restore_optimizer(optimizer: torch.optim.Optimizer, stored: Mapping[str, Tensor]) -> None:
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in stored.items():
        number, _, name = key.partition(".")
        state.setdefault(int(number), {})[name] = tensor
    groups = optimizer.state_dict()["param_groups"]
    count = sum(len(group["params"]) for group in groups)
    if any(number >= count for number in state):
        raise ValueError(f"it has state for more than the optimiser's {count} parameters")
    optimizer.load_state_dict({"state": state, "param_groups": groups})
