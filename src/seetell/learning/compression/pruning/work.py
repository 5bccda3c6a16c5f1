"""How much arithmetic a model takes to do once what it can do: what a share to prune is a share of.

One photo seen, a text of so many tokens read alone and one beside the photo, and a caption written, as
:mod:`seetell.bundle.architecture` counts them: a bundle's graphs and a model before its export alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from seetell.bundle.architecture import CAPTION_TOKENS, QUESTION_TOKENS
from seetell.bundle.manifest import GraphSpec, Role, TensorSpec
from seetell.bundle.store import Bundle
from seetell.modeling.export.roles.base import RoleModule, graph_specs
from seetell.runtime.graph_flops import count_flops

_DTYPES = {"float32": torch.float32, "int64": torch.int64, "int32": torch.int32, "bool": torch.bool}


def _sizes(graphs: Mapping[Role, GraphSpec]) -> dict[str, int]:
    """Lengths of the axes; a caption's steps are all as the one in its middle (the work grows evenly)."""
    tokens = graphs["image_encoder"].outputs.get("image_tokens")
    seen = tokens.axes[1] if tokens is not None else None
    found = {"B": 1, "T": QUESTION_TOKENS, "P": CAPTION_TOKENS // 2}
    return {**found, "N": seen if isinstance(seen, int) else QUESTION_TOKENS}


def _run(role: Role, sizes: Mapping[str, int]) -> tuple[dict[str, int], int]:
    """Lengths of one run of a role, and how often it is run."""
    return ({**sizes, "T": 1}, CAPTION_TOKENS) if role == "text_decoder" else (dict(sizes), 1)


def bundle_flops(bundle: Bundle) -> dict[str, int]:
    """Operations of each graph of a bundle. Raises EngineError for a graph that cannot be read."""
    sizes = _sizes(bundle.manifest.graphs)
    found: dict[str, int] = {}
    for role in bundle.manifest.graphs:
        lengths, times = _run(role, sizes)
        found[role] = times * count_flops(bundle, role, lengths)
    return found


def model_flops(modules: Mapping[Role, RoleModule]) -> dict[str, int]:
    """The same of a model's roles, counted while torch runs them."""
    sizes = _sizes(graph_specs(modules.values()))
    found: dict[str, int] = {}
    for role, module in modules.items():
        lengths, times = _run(role, sizes)
        inputs = [_input(spec, lengths) for spec in module.inputs.values()]
        counter = FlopCounterMode(display=False)
        with counter, torch.no_grad():
            module(*inputs)
        found[role] = times * counter.get_total_flops()
    return found


def _input(spec: TensorSpec, sizes: Mapping[str, int]) -> Tensor:
    shape = [
        axis if isinstance(axis, int) else sum(sizes[name] for name in axis.split("+")) for axis in spec.axes
    ]
    kind: Any = _DTYPES[spec.dtype]
    return torch.ones(shape, dtype=kind) if spec.dtype == "bool" else torch.zeros(shape, dtype=kind)
