"""One role of a model to an ONNX graph, weights still inside.

The graph is exported unoptimised, because torch's optimiser transposes and folds every linear weight and
the bundle stores each weight once, as the model holds it. What depends on no weight (position grids,
shapes) is folded here, and everything that names the machine or the source files is removed, so that
the same model always gives the same bytes.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import onnx_ir as ir
import onnxscript.optimizer
import torch
from onnx_ir.passes import common as passes
from torch import Tensor

from seetell.bundle.manifest import TensorSpec
from seetell.core.errors import ExportError
from seetell.modeling.export.roles.base import RoleModule

# Numbers that differ from each other and from any fixed axis in use, so that no axis is taken for another.
_EXAMPLE_SIZES = {"B": 2, "T": 3, "P": 5, "N": 7, "P+T": 8, "K": 4}
_DTYPES = {"float32": torch.float32, "int64": torch.int64, "bool": torch.bool}
# Big enough for the position grid of a 1024-pixel photo at stride 16 and width 768.
_FOLD_LIMIT_BYTES = 16 << 20


def export_graph(module: RoleModule) -> ir.Model:
    """Export ``module`` with dynamic batch and length axes; initialisers are named as in the state dict.

    Raises ExportError when torch cannot export it.
    """
    examples = tuple(_example(spec, module.multiple_of) for spec in module.inputs.values())
    try:
        with _quiet(), torch.no_grad():
            program = torch.onnx.export(
                module,
                examples,
                input_names=list(module.inputs),
                output_names=list(module.outputs),
                dynamic_shapes=_dynamic_shapes(module),
                dynamo=True,
                optimize=False,
                verbose=False,
            )
    except Exception as error:  # the exporter raises many kinds
        raise ExportError(f"{module.role} cannot be exported to ONNX: {_first_line(error)}") from error
    if program is None:
        raise ExportError(f"{module.role} cannot be exported to ONNX: torch returned nothing")
    model = program.model
    _simplify(model)
    _name_axes(model.graph.inputs, module.inputs)
    _name_axes(model.graph.outputs, module.outputs)
    return model


def _example(spec: TensorSpec, multiple_of: int) -> Tensor:
    # Photos of 3 x 4 patches.
    sizes = {**_EXAMPLE_SIZES, "H": 3 * multiple_of, "W": 4 * multiple_of}
    shape = [sizes[axis] if isinstance(axis, str) else axis for axis in spec.axes]
    fill = torch.ones if spec.dtype == "bool" else torch.zeros
    return fill(shape, dtype=_DTYPES[spec.dtype])


def _dynamic_shapes(module: RoleModule) -> dict[str, object]:
    """In the form torch asks for: one entry per parameter of ``forward``, a tuple for ``*caches``."""
    axes = [
        {place: torch.export.Dim.DYNAMIC for place, axis in enumerate(spec.axes) if isinstance(axis, str)}
        for spec in module.inputs.values()
    ]
    code = module.forward.__code__
    names = code.co_varnames[1 : code.co_argcount]
    shapes: dict[str, object] = dict(zip(names, axes, strict=False))
    if len(axes) > len(names):
        shapes[code.co_varnames[code.co_argcount]] = tuple(axes[len(names) :])
    return shapes


def _simplify(model: ir.Model) -> None:
    weights = set(model.graph.initializers)

    def fold(node: ir.Node) -> bool | None:
        """False keeps the node; None leaves the choice to the folder, which knows its limits."""
        return False if any(value is not None and value.name in weights for value in node.inputs) else None

    with _quiet():
        onnxscript.optimizer.fold_constants(
            model, input_size_limit=_FOLD_LIMIT_BYTES, output_size_limit=_FOLD_LIMIT_BYTES, should_fold=fold
        )
    for tidy in (
        passes.IdentityEliminationPass(),
        passes.RemoveUnusedNodesPass(),
        passes.ClearMetadataAndDocStringPass(),
    ):
        tidy(model)
    # Inferred shapes carry symbols numbered by the exporter; engines infer them again.
    outputs = set(model.graph.outputs)
    for node in model.graph:
        for value in node.outputs:
            if value not in outputs:
                value.shape, value.type = None, None


def _name_axes(values: Sequence[ir.Value], specs: Mapping[str, TensorSpec]) -> None:
    by_name = {value.name: value for value in values}
    if set(by_name) != set(specs):
        raise ExportError(f"the exporter renamed {sorted(set(specs) ^ {str(name) for name in by_name})}")
    for name, spec in specs.items():
        by_name[name].shape = ir.Shape(list(spec.axes))


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's remarks about packages we do not use."""
    logger = logging.getLogger("torch.onnx")
    loud = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(loud)


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:300] if lines else type(error).__name__
