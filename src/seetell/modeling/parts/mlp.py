"""The perceptron of a transformer block, plain and gated."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn


class QuickGELU(nn.Module):
    """x * sigmoid(1.702 x), the approximation OpenAI's CLIP was trained with."""

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(1.702 * x)


_ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "gelu": nn.GELU,
    "gelu_tanh": partial(nn.GELU, approximate="tanh"),
    "quick_gelu": QuickGELU,
    "relu": nn.ReLU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
}


def activation_module(name: str) -> nn.Module:
    """``gelu`` (exact; BERT, ViT, BLIP), ``gelu_tanh`` (GPT-2, SigLIP), ``quick_gelu`` (CLIP), ``relu``,
    ``silu`` (Llama) or ``tanh``. Raises ValueError for another name."""
    try:
        return _ACTIVATIONS[name]()
    except KeyError:
        raise ValueError(f"unknown activation {name!r}; one of {', '.join(_ACTIVATIONS)}") from None


class Mlp(nn.Module):
    """float[..., D] -> float[..., D] through ``hidden_dim``."""

    def __init__(self, embed_dim: int, hidden_dim: int, activation: str = "gelu") -> None:
        super().__init__()
        self.up = nn.Linear(embed_dim, hidden_dim)
        self.activation = activation_module(activation)
        self.down = nn.Linear(hidden_dim, embed_dim)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.down(self.activation(self.up(x)))
        return out


class GatedMlp(nn.Module):
    """``down(activation(gate(x)) * up(x))``, float[..., D] -> float[..., D] through ``hidden_dim``.

    Source: Shazeer 2020, "GLU variants improve transformer"; with ``silu`` as in Llama and Qwen, where no
    layer has a bias.
    """

    def __init__(
        self, embed_dim: int, hidden_dim: int, activation: str = "silu", *, bias: bool = False
    ) -> None:
        super().__init__()
        self.gate = nn.Linear(embed_dim, hidden_dim, bias=bias)
        self.up = nn.Linear(embed_dim, hidden_dim, bias=bias)
        self.activation = activation_module(activation)
        self.down = nn.Linear(hidden_dim, embed_dim, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.down(self.activation(self.gate(x)) * self.up(x))
        return out
