"""Which of a model's parameters learn, and how fast each does: adapters, frozen parts, layer-wise decay."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from fnmatch import fnmatchcase
from itertools import takewhile

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from seetell.core.errors import RecipeError
from seetell.learning.training.sections import LoraSettings, TuneSettings
from seetell.modeling.parts.lora import LoraLinear, adapters, add_adapters

# Every model is assembled from the same parts, so these are the names in all of them.
_LAYERS = {
    "attention": tuple(f"*attention.{part}" for part in ("query", "key", "value", "out")),
    "mlp": ("*mlp.gate", "*mlp.up", "*mlp.down"),
}
# A block of a stack: the stack's name, and the block's number in it.
_BLOCK = re.compile(r"^(?P<stack>(?:.+\.)?blocks)\.(?P<number>\d+)\.")
# What turns pixels and words into what the first block reads. The stages of a ResNet are among it: where
# there are blocks, they lie above the stages.
_BELOW = re.compile(
    r"(?:^|\.)(?:patch_embed|class_token|positions|pre_norm|embedding|text_embedding|modality|resnet)(?:\.|$)"
)


def apply_tuning(model: nn.Module, settings: TuneSettings) -> None:
    """Freeze what ``settings`` freezes and put adapters where they go, in place.

    Raises RecipeError for a pattern that fits nothing, also of ``rates``, and where nothing is left to learn.
    """
    if settings.lora is not None:
        _adapt(model, settings.lora)
    names = [*(name for name, _ in model.named_parameters()), *_statistics(model)]
    frozen = _fitting(settings.freeze, names, "tune.freeze")
    for name, parameter in model.named_parameters():
        if name in frozen:
            parameter.requires_grad_(False)
    rate_scales(model, settings)
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise RecipeError("tune: everything is frozen, so nothing is left to learn")


def drawn_anew(model: nn.Module, patterns: Sequence[str]) -> dict[str, Tensor]:
    """The parameters that patterns fit, as they are now, by name: a copy.

    Raises RecipeError for a pattern that fits nothing.
    """
    own = dict(model.named_parameters())
    return {name: own[name].detach().clone() for name in _fitting(patterns, list(own), "tune.reset")}


def _adapt(model: nn.Module, settings: LoraSettings) -> None:
    linear = [
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and not isinstance(module, LoraLinear)
    ]
    also = _fitting(settings.also, [name for name, _ in model.named_parameters()], "tune.lora.also")
    chosen: dict[str, None] = {}
    for wish in settings.on:
        fitting = [
            name
            for name in linear
            if any(fnmatchcase(name, pattern) for pattern in _LAYERS.get(wish, (wish,)))
        ]
        if not fitting:
            raise RecipeError(f"tune.lora.on: {wish!r} is no linear layer here; there are {_some(linear)}")
        chosen.update(dict.fromkeys(fitting))
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in also)
    try:
        add_adapters(model, chosen, settings.rank, settings.alpha)
    except ValueError as error:
        raise RecipeError(f"tune.lora.on: {error}") from error


def _fitting(patterns: Sequence[str], names: Sequence[str], key: str) -> set[str]:
    """The names that a pattern fits, or fits a parent of. Raises RecipeError for one that fits none."""
    found: set[str] = set()
    for pattern in patterns:
        fits = [name for name in names if fnmatchcase(name, pattern) or fnmatchcase(name, f"{pattern}.*")]
        if not fits:
            parents = {name.partition(".")[0] for name in names}
            raise RecipeError(
                f"{key}: {pattern!r} fits no parameter; they begin with {_some(sorted(parents))}"
            )
        found.update(fits)
    return found


def _some(names: Iterable[str]) -> str:
    known = list(names)
    return ", ".join(known[:8]) + (", ..." if len(known) > 8 else "")


def hold_frozen_statistics(model: nn.Module, freeze: Sequence[str] = ()) -> None:
    """Keep the running statistics of batch norms that do not learn, and of those without parameters that the
    patterns ``freeze`` fit; called after every ``train()``.

    In training they would follow the new photos, and a frozen part would not be what it was.
    """
    held = _fitting(
        freeze, [*(name for name, _ in model.named_parameters()), *_statistics(model)], "tune.freeze"
    )
    for name, module in model.named_modules():
        own = list(module.parameters(recurse=False))
        if not isinstance(module, _BatchNorm):
            continue
        if (own and not any(one.requires_grad for one in own)) or f"{name}.running_mean" in held:
            module.eval()


def _statistics(model: nn.Module) -> list[str]:
    """The running means of batch norms that have no parameters, by which those may be frozen."""
    return [
        f"{name}.running_mean"
        for name, module in model.named_modules()
        if isinstance(module, _BatchNorm) and not list(module.parameters(recurse=False))
    ]


def rate_scales(model: nn.Module, settings: TuneSettings) -> Callable[[str], float]:
    """What the learning rate of a parameter, by its name in ``model``, is multiplied by.

    In a stack of L blocks, block i of 0..L-1 learns at ``layer_decay ** (L - i)``, what lies below the stack
    at ``layer_decay ** (L + 1)``, and all else (norms, projections and heads above it) at 1. Each tower is a
    stack of its own. Where one of ``rates`` fits, it multiplies that.

    Raises RecipeError for a pattern of ``rates`` that fits nothing.
    """
    layer_decay = settings.layer_decay
    names = [name for name, _ in model.named_parameters()]
    own: dict[str, float] = {}
    for pattern, factor in settings.rates.items():
        own.update(dict.fromkeys(_fitting([pattern], names, "tune.rates"), factor))
    depths: dict[str, int] = {}
    for name in names:
        if found := _BLOCK.match(name):
            stack = found["stack"]
            depths[stack] = max(depths.get(stack, 0), int(found["number"]) + 1)

    def scale(name: str) -> float:
        return by_depth(name) * own.get(name, 1.0)

    def by_depth(name: str) -> float:
        if found := _BLOCK.match(name):
            return layer_decay ** (depths[found["stack"]] - int(found["number"]))
        if depths and _BELOW.search(name):
            # The stack it feeds is named most alike: text_embedding goes with text_encoder.blocks.
            near = max(depths, key=lambda stack: (_alike(stack, name), depths[stack]))
            return layer_decay ** (depths[near] + 1)
        return 1.0

    return scale


def _alike(one: str, other: str) -> int:
    """How many characters two names have in common at their beginning."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


def tuned_summary(model: nn.Module) -> str | None:
    """How much of the model learns, for people; None where all of it does."""
    total = sum(parameter.numel() for parameter in model.parameters())
    learning = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    if learning == total:
        return None
    number = len(adapters(model))
    kind = f", in adapters on {number} layers" if number else ""
    return f"{learning:,} of {total:,} parameters learn{kind}"
