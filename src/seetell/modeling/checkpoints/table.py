"""What a family's table file says, and how a checkpoint is read by it.

A table has three maps: configuration to a model of ours, names of weights to ours, preprocessing and
tokenizer settings to the bundle's. Weights are read one tensor at a time into a model that was built
without any, so that a checkpoint is never held twice.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor, nn

from seetell.bundle.manifest import ChatSpec, GenerationDefaults, ScoreSpec, TextSpec
from seetell.core.errors import CheckpointError
from seetell.media.preprocess import ImageSpec
from seetell.modeling.checkpoints.source import CheckpointFolder
from seetell.modeling.models.assembled import AssembledModel

# Names listed in an error; a checkpoint of a wholly other model has thousands.
_LISTED = 20
# What arithmetic, look-ups and torch raise over a setting that is none.
_MISUNDERSTOOD = (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)


@dataclass(frozen=True, slots=True)
class Rename:
    r"""One row of a name map.

    pattern: a regular expression that must match the whole of a checkpoint's name.
    to: our names, as templates of ``re.Match.expand`` (``\1`` is the first group). Of several, each takes an
        equal part of the tensor's rows (a fused query, key and value).
    transpose: the checkpoint stores [in, out] where torch's Linear has [out, in] (GPT-2's Conv1D); applied
        before rows are divided.
    reshape: turns the tensor into ours where neither is enough, as in dropping a leading axis of 1.
    """

    pattern: str
    to: str | tuple[str, ...]
    transpose: bool = False
    reshape: Callable[[Tensor], Tensor] | None = None

    def apply(self, name: str, tensor: Callable[[], Tensor]) -> dict[str, Callable[[], Tensor]] | None:
        """Our names and how to get their tensors; None where the pattern does not match."""
        found = re.fullmatch(self.pattern, name)
        if found is None:
            return None
        targets = (self.to,) if isinstance(self.to, str) else self.to
        many = len(targets)

        def part(index: int) -> Tensor:
            whole = tensor()
            whole = whole.t() if self.transpose else whole
            whole = self.reshape(whole) if self.reshape is not None else whole
            return whole if many == 1 else whole.chunk(many)[index]

        return {found.expand(to): partial(part, index) for index, to in enumerate(targets)}


@dataclass(frozen=True, slots=True)
class Reading:
    """How the family sees photos and reads text, and what its heads mean; fields as in the manifest.

    tokenizer_json: None for a model without text.
    unread: settings by which its texts are written elsewhere and that ``generation`` cannot say.
    """

    image: ImageSpec | None = None
    text: TextSpec | None = None
    tokenizer_json: bytes | None = None
    chat: ChatSpec | None = None
    languages: tuple[str, ...] = ()
    prompts: dict[str, dict[str, tuple[str, ...]]] = field(default_factory=dict)
    generation: GenerationDefaults = field(default_factory=GenerationDefaults)
    score: ScoreSpec | None = None
    answers: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Family:
    """One family's table.

    name: of the family, as in the manifest's ``source``; never looked at when running.
    matches: whether a checkpoint is of this family, by its configuration alone.
    build: the configuration map: the model of ours that the checkpoint's configuration describes. It is
        called where tensors have no storage (torch's meta device), so it must not compute with them.
    names: the name map; the first row that matches a name counts.
    ignored: names (regular expressions) that carry no weight, such as stored position numbers.
    reading: the preprocessing map.
    """

    name: str
    matches: Callable[[CheckpointFolder], bool]
    build: Callable[[CheckpointFolder], AssembledModel]
    names: Sequence[Rename]
    reading: Callable[[CheckpointFolder], Reading]
    ignored: Sequence[str] = ()


@contextmanager
def understanding(folder: CheckpointFolder, name: str) -> Iterator[None]:
    """Within the block, what goes wrong over the settings of ``folder`` becomes a CheckpointError.

    A table takes a configuration at its word: a number may be a list in it, or zero, or below.
    """
    try:
        yield
    except _MISUNDERSTOOD as error:
        what = f"it lacks {error}" if isinstance(error, KeyError) else " ".join(str(error).split())
        raise CheckpointError(f"{folder.folder}: not a {name} configuration: {what[:300]}") from error


def load_model(folder: CheckpointFolder, family: Family) -> AssembledModel:
    """The checkpoint's model in evaluation mode, its weights in float32.

    Raises CheckpointError for a configuration this family cannot have, and listing the weights that are
    unknown, missing or of another shape.
    """
    with understanding(folder, family.name), torch.device("meta"):
        model = family.build(folder)
    # Of tied weights each name is an entry, and setting one sets all.
    wanted = dict(_slots(model))
    unknown: list[str] = []
    shapes: list[str] = []
    filled: set[int] = set()
    for name in folder.weight_names():
        if any(re.fullmatch(pattern, name) for pattern in family.ignored):
            continue
        targets = _targets(family.names, name, folder)
        if targets is None or not all(target in wanted for target in targets):
            unknown.append(name)
            continue
        for target, read in targets.items():
            slot = wanted[target]
            tensor = read()
            if tensor.shape != slot.tensor.shape:
                shapes.append(f"{name} is {list(tensor.shape)}, not {list(slot.tensor.shape)}")
                continue
            slot.fill(tensor)
            filled.add(id(slot.tensor))
    missing = [name for name, slot in wanted.items() if id(slot.tensor) not in filled]
    faults = [f"unknown: {_listed(unknown)}"] if unknown else []
    faults += [f"missing: {_listed(missing)}"] if missing else []
    faults += [f"of another shape: {_listed(shapes)}"] if shapes else []
    if faults:
        raise CheckpointError(
            f"{folder.folder}: its weights are not those of the {family.name} model its configuration "
            f"describes; {'; '.join(faults)}"
        )
    return model.eval()


@dataclass(frozen=True, slots=True)
class _Slot:
    """A parameter or buffer, and every place in the model that holds it. tensor: what it was built as."""

    tensor: Tensor
    places: list[tuple[nn.Module, str]]

    def fill(self, value: Tensor) -> None:
        dtype = torch.float32 if self.tensor.is_floating_point() else self.tensor.dtype
        ready = value.to(dtype).contiguous()
        if isinstance(self.tensor, nn.Parameter):
            # One for all places: two over the same memory would be two to an optimiser.
            ready = nn.Parameter(ready, requires_grad=self.tensor.requires_grad)
        for module, name in self.places:
            setattr(module, name, ready)


def _slots(model: nn.Module) -> Iterator[tuple[str, _Slot]]:
    slots: dict[int, _Slot] = {}
    for prefix, module in model.named_modules():
        persistent = {**module._parameters, **module._buffers}
        for name, tensor in persistent.items():
            if tensor is None or name in module._non_persistent_buffers_set:
                continue
            slot = slots.setdefault(id(tensor), _Slot(tensor, []))
            slot.places.append((module, name))
            yield (f"{prefix}.{name}" if prefix else name), slot


def _targets(
    names: Sequence[Rename], name: str, folder: CheckpointFolder
) -> dict[str, Callable[[], Tensor]] | None:
    for row in names:
        found = row.apply(name, lambda: folder.tensor(name))
        if found is not None:
            return found
    return None


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _LISTED
    return ", ".join(names[:_LISTED]) + (f" and {more} more" if more > 0 else "")
