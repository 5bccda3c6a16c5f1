"""What public configurations call the activations."""

from __future__ import annotations

_OURS = {
    "gelu": "gelu",
    "gelu_python": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "quick_gelu": "quick_gelu",
    "relu": "relu",
    "silu": "silu",
    "tanh": "tanh",
}


def activation_name(public: str) -> str:
    """The name that ``parts.mlp.activation_module`` takes. Raises ValueError for one that is not known."""
    try:
        return _OURS[public]
    except (KeyError, TypeError):
        raise ValueError(f"its activation is {public!r}; known are {', '.join(_OURS)}") from None
