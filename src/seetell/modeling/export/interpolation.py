"""Weights between those of several models.

Between what a run began with and what it ended with lies what fine-tuning gained, mostly, and what it forgot:
WiSE-FT (Wortsman et al. 2022, "Robust fine-tuning of zero-shot models", section 3).

    theta = (1 - share) * theta_start + share * theta_end

Models that were taught from one another can be averaged too, and are often better than each of them at the
cost of one: model soups (Wortsman et al. 2022, "Model soups", section 2).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from seetell.core.errors import CheckpointError, SeetellError, UsageError
from seetell.modeling.checkpoints.run_folder import read_description
from seetell.modeling.export.adjustment import Adjustment, short_name
from seetell.modeling.models.assembled import AssembledModel
from seetell.modeling.start import by_entry, read_start


def interpolate(start: Mapping[str, Tensor], end: Mapping[str, Tensor], share: float) -> dict[str, Tensor]:
    """State dicts; ``share`` 0 gives ``start``, 1 gives ``end``, bit by bit.

    What ``start`` lacks, or has in another shape (a new head), and what is no floating-point number stays as
    in ``end``.
    """
    found: dict[str, Tensor] = {}
    for name, there in end.items():
        here = start.get(name)
        mixed = here is not None and here.shape == there.shape and there.is_floating_point()
        # In this form of lerp, unlike in start + share * (end - start), both ends are exact.
        found[name] = torch.lerp(here.to(there), there, share) if mixed and here is not None else there
    return found


def average(
    own: Mapping[str, Tensor], others: Sequence[tuple[Mapping[str, Tensor], float]]
) -> dict[str, Tensor]:
    """State dicts of one shape: of ``others`` each its share, of ``own`` the rest. What is no floating-point
    number stays as in ``own``."""
    rest = 1.0 - math.fsum(share for _, share in others)
    found: dict[str, Tensor] = {}
    for name, tensor in own.items():
        if not tensor.is_floating_point():
            found[name] = tensor
            continue
        mean = tensor.double() * rest
        for state, share in others:
            mean += state[name].to(tensor.device).double() * share
        found[name] = mean.to(tensor.dtype)
    return found


def averaged_with(
    run_folder: Path, others: Sequence[tuple[str, float]], tokenizer_json: bytes | None
) -> Adjustment:
    """Moves the model of a run to its average with ``others``: (a bundle's or a
    run's folder, its share of the whole). tokenizer_json: the run's.

    What each learned of an answer or a label is averaged with what the others did, wherever their lists have
    it. Raises UsageError for shares that leave the run none and for a model with other tokens, answers or
    labels or of another shape, and BundleError and CheckpointError for one that cannot be read.
    """
    for name, share in others:
        if not 0.0 < share < 1.0:
            raise UsageError(f"--average {name}={share:g}: a share lies between 0 and 1")
    if math.fsum(share for _, share in others) >= 1.0 - 1e-9:
        raise UsageError(f"--average: the shares leave nothing for {run_folder}; they add up to 1 or more")
    facts = read_start(str(run_folder)).facts
    states: list[tuple[Mapping[str, Tensor], float]] = []
    for name, share in others:
        start = read_start(name, "--average")
        if start.tokenizer_json != tokenizer_json:
            raise UsageError(f"--average {name}: its tokens are others than those of {run_folder}")
        state: Mapping[str, Tensor] = start.model.state_dict()
        for head, what in (("answer_head", "answers"), ("label_head", "labels")):
            before, now = getattr(start.facts, what), getattr(facts, what)
            if before and now and sorted(before) != sorted(now):
                raise UsageError(f"--average {name}: its {what} are others than those of {run_folder}")
            state = by_entry(state, state, head, before, now)
        states.append((state, share))

    def move(model: AssembledModel) -> None:
        own = model.state_dict()
        for (name, _), (state, _) in zip(others, states, strict=True):
            # Some layers averaged and others not would be a model that nobody has taught.
            for key, tensor in own.items():
                if key not in state or state[key].shape != tensor.shape:
                    raise UsageError(
                        f"--average {name}: a model of another shape than that of {run_folder} ({key})"
                    )
        model.load_state_dict(average(own, states))

    parts = ", ".join(f"{share:g} of {short_name(name)}" for name, share in others)
    return Adjustment(move, f"averaged with {parts}")


def towards_start(run_folder: Path, share: float) -> Adjustment:
    """Moves the model of a run to ``share`` of the way from where it began.

    Raises UsageError for a share outside 0..1 or a run that began from nothing, and CheckpointError where
    what it began from is gone.
    """
    if not 0.0 <= share <= 1.0:
        raise UsageError(f"--interpolate is a share from 0 (the start) to 1 (the end), not {share:g}")
    init = _init(run_folder)
    try:
        start = read_start(init).model.state_dict()
    except SeetellError as error:
        raise CheckpointError(
            f"{run_folder}: it began from {init}, which is needed to interpolate: {error}"
        ) from error

    def move(model: AssembledModel) -> None:
        own = model.state_dict()
        if not any(name in start and start[name].shape == tensor.shape for name, tensor in own.items()):
            raise CheckpointError(f"{run_folder}: {init} is another model than it began from")
        model.load_state_dict(interpolate(start, own, share))

    return Adjustment(move, f"{share:g} of the way from {short_name(init)}")


def _init(run_folder: Path) -> str:
    description = read_description(run_folder)
    if description.init is None:
        raise UsageError(f"--interpolate belongs to a run that began from a model, and {run_folder} did not")
    if description.init_layers != "first":
        raise UsageError(
            f"--interpolate: by init_layers blocks of {run_folder} began as others of {description.init}, "
            "with nothing between"
        )
    return description.init
