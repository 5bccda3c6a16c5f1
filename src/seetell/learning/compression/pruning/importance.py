"""How much each unit matters: what leaving it out would change of the bundle's outputs, to first order.

The first-order estimate of Michel et al. 2019 (heads) and Molchanov et al. 2019 (channels), gradient times
activation, is the derivative by a factor on the unit. Its square, summed over the calibration's runs, is what
counts here. There it is taken of a task's loss; a bundle has no labels, and its outputs are what its gate
holds it to, so here it is taken of them: along a random direction, whose expected square is the square of the
whole change relative to the output (Hutchinson 1989), and of logits along the log-probability of a word drawn
from the model itself, whose expected square is the Fisher information (Theis et al. 2018).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from seetell.bundle.manifest import Role
from seetell.learning.compression.pruning.gates import gated
from seetell.learning.compression.pruning.units import blocks, groups
from seetell.modeling.export.roles.base import RoleModule
from seetell.modeling.models.unified import UnifiedModel
from seetell.runtime.engine import Arrays

# Caches are no end in themselves: what changes in them shows in the logits.
_CACHES = ("present.", "cross.")
Scores = dict[str, NDArray[np.float64]]


def importance(
    model: UnifiedModel, modules: Mapping[Role, RoleModule], samples: Mapping[str, Sequence[Arrays]]
) -> Scores:
    """Scores of every group's units, float64[count], and of every block, float64[].

    Args:
        model: in evaluation mode.
        modules: its roles, those the bundle has.
        samples: role -> inputs of runs, as calibration records them.

    Roles count alike, however many runs of each there are, and so do the outputs of a run. A unit that no
    sample reaches has the score 0.
    """
    gates = {group.name: torch.ones(group.count, requires_grad=True) for group in groups(model)}
    gates.update({block.name: torch.ones((), requires_grad=True) for block in blocks(model)})
    found: Scores = {name: np.zeros(tuple(gate.shape)) for name, gate in gates.items()}
    random = torch.Generator().manual_seed(0)
    before = [parameter.requires_grad for parameter in model.parameters()]
    model.requires_grad_(False)
    try:
        with gated(model, gates), torch.enable_grad():
            for role, module in modules.items():
                runs = samples.get(role, ())
                for inputs in runs:
                    loss = _direction(module, inputs, random)
                    if loss is None or not loss.requires_grad:
                        break  # a role of caches alone
                    changes = torch.autograd.grad(loss, list(gates.values()), allow_unused=True)
                    for name, change in zip(gates, changes, strict=True):
                        if change is not None:
                            found[name] += change.double().square().numpy() / len(runs)
    finally:
        for parameter, wanted in zip(model.parameters(), before, strict=True):
            parameter.requires_grad_(wanted)
    return found


def _direction(module: RoleModule, inputs: Arrays, random: torch.Generator) -> Tensor | None:
    """A number whose derivative's expected square is the mean over outputs of their relative squared change;
    None for a role without an output that counts."""
    tensors = [
        torch.from_numpy(np.require(inputs[name], spec.dtype, ["C", "W"]))
        for name, spec in module.inputs.items()
    ]
    outputs = dict(zip(module.outputs, module(*tensors), strict=True))
    counted = {
        name: output
        for name, output in outputs.items()
        if output.is_floating_point() and not name.startswith(_CACHES)
    }
    if not counted:
        return None
    words = inputs.get("attention_mask")
    real = None if words is None else torch.from_numpy(np.require(words, bool))
    parts = [
        _along(output, name.endswith("logits"), real, random) / len(counted) ** 0.5
        for name, output in counted.items()
    ]
    return torch.stack(parts).sum()


def _along(output: Tensor, is_logits: bool, real: Tensor | None, random: torch.Generator) -> Tensor:
    """The output along one random direction, padding left out. real: bool[B, T], or longer by the cache."""
    rows = output.flatten(0, -2)
    if real is not None and output.ndim == 3:
        rows = rows[real[:, -output.shape[1] :].flatten()]
    if is_logits:
        logs = rows.log_softmax(dim=-1)
        drawn = torch.multinomial(logs.detach().exp(), 1, generator=random)
        logged: Tensor = logs.gather(1, drawn).sum() / len(rows) ** 0.5
        return logged
    size = rows.detach().norm().clamp(min=1e-12)
    along: Tensor = (torch.randn(rows.shape, generator=random) * rows).sum() / size
    return along
