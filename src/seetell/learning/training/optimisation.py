"""AdamW's parameter groups and the learning rate's course."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import nn

from seetell.core.errors import NonFiniteLoss, RecipeError
from seetell.learning.training.sections import OptimizerSettings, ScheduleSettings

DEFAULT_WARMUP = 0.03
LR_SCALE = "lr_scale"


def parameter_groups(
    module: nn.Module, weight_decay: float, scale: Callable[[nn.Parameter], float] = lambda _: 1.0
) -> list[dict[str, object]]:
    """Two groups: weights that decay and parameters that do not; two for each different ``scale``.

    Decay is for matrices and kernels. Norms, biases, temperatures and loss weights are not directions
    to shrink, and embeddings of rare words would fade between their few updates; everything with
    fewer than two axes and every embedding table is left alone. A tied matrix is an embedding.
    """
    tables = [part for part in module.modules() if isinstance(part, nn.Embedding)]
    spared = {id(part.weight) for part in tables}
    decayed: dict[float, list[nn.Parameter]] = {}
    kept: dict[float, list[nn.Parameter]] = {}
    for name, parameter in module.named_parameters():
        if not parameter.requires_grad:
            continue
        # Learned positions and class tokens are tables looked up by place, stored [1, N, D].
        table = parameter.ndim < 2 or id(parameter) in spared or _looked_up(name)
        (kept if table else decayed).setdefault(scale(parameter), []).append(parameter)
    return [
        {"params": parameters, "weight_decay": decay, LR_SCALE: factor}
        for by_scale, decay in ((decayed, weight_decay), (kept, 0.0))
        for factor, parameters in by_scale.items()
    ]


def _looked_up(name: str) -> bool:
    last = name.rpartition(".")[2]
    return "position" in last or last.endswith("token") or "embed" in last


def build_optimizer(
    module: nn.Module, settings: OptimizerSettings, scale: Callable[[nn.Parameter], float] = lambda _: 1.0
) -> torch.optim.AdamW:
    """AdamW over all parameters of ``module`` that learn; ``scale``: what each's learning rate is multiplied
    by."""
    return torch.optim.AdamW(
        parameter_groups(module, settings.weight_decay, scale),
        lr=settings.lr,
        betas=settings.betas,
        eps=settings.eps,
    )


def warmup_steps(settings: ScheduleSettings, total_steps: int) -> int:
    """How many steps the warm-up takes. Raises RecipeError when it fills the whole run."""
    count = settings.warmup_steps
    if count is None:
        fraction = DEFAULT_WARMUP if settings.warmup_fraction is None else settings.warmup_fraction
        return round(fraction * total_steps)
    if count >= total_steps:
        raise RecipeError(f"schedule.warmup_steps: {count} must be fewer than the run's {total_steps} steps")
    return count


def learning_rate(step: int, *, peak: float, warmup: int, total: int, min_ratio: float) -> float:
    """The learning rate of ``step``, counted from 0.

    Rises linearly, so that step ``warmup - 1`` runs at the peak, then follows half a cosine, so that the
    last step runs at ``peak * min_ratio`` (Loshchilov and Hutter 2017, "SGDR", without restarts).
    """
    if step < warmup:
        return peak * (step + 1) / warmup
    span = max(1, total - 1 - warmup)
    progress = min(1.0, (step - warmup) / span)
    return peak * (min_ratio + (1.0 - min_ratio) * 0.5 * (1.0 + math.cos(math.pi * progress)))


def set_learning_rate(optimizer: torch.optim.Optimizer, value: float) -> None:
    """Give every group the learning rate, times its own scale."""
    for group in optimizer.param_groups:
        group["lr"] = value * group.get(LR_SCALE, 1.0)


def clip_gradients(module: nn.Module, limit: float) -> float:
    """Scale gradients down to a joint norm of ``limit``; returns the norm before.

    Raises NonFiniteLoss when the norm is not finite: stepping on it would destroy every weight.
    """
    norm = float(nn.utils.clip_grad_norm_(module.parameters(), limit))
    if not math.isfinite(norm):
        raise NonFiniteLoss(f"the gradient's norm is {norm}")
    return norm
