"""Which families are known, and which of them a checkpoint is of."""

from __future__ import annotations

import pkgutil
from functools import cache
from importlib import import_module

from seetell.core.errors import CheckpointError
from seetell.modeling.checkpoints import families
from seetell.modeling.checkpoints.foreign import refuse_foreign
from seetell.modeling.checkpoints.source import CheckpointFolder
from seetell.modeling.checkpoints.table import Family, understanding


@cache
def known_families() -> tuple[Family, ...]:
    """Of every table file: its ``FAMILIES``."""
    names = sorted(found.name for found in pkgutil.iter_modules(families.__path__))
    return tuple(family for name in names for family in import_module(f"{families.__name__}.{name}").FAMILIES)


def family_of(folder: CheckpointFolder) -> Family:
    """The family of a checkpoint. Raises CheckpointError naming what it says it is and what is known, and for
    one that says so and is not."""
    refuse_foreign(folder)
    for family in known_families():
        with understanding(folder, family.name):
            if family.matches(folder):
                return family
    told = folder.config.get("model_type") or folder.config.get("architecture") or "nothing it is known by"
    architectures = folder.config.get("architectures")
    also = f" ({', '.join(map(str, architectures))})" if isinstance(architectures, list) else ""
    names = ", ".join(family.name for family in known_families())
    raise CheckpointError(
        f"{folder.folder}: its configuration says {told}{also}, which no family here is; known are: {names}"
    )


def unread_settings(folder: CheckpointFolder) -> tuple[str, ...]:
    """Settings by which a checkpoint's texts are written elsewhere and that a bundle of it does not have."""
    family = family_of(folder)
    with understanding(folder, family.name):
        return family.reading(folder).unread
