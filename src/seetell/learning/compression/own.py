"""A bundle of our own model as torch has it, and what was made of it as a bundle again."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from seetell.bundle.manifest import Manifest, Role
from seetell.bundle.store import Bundle, open_bundle
from seetell.core.errors import UsageError

# What needs torch is imported where it is used: int8 alone, which asks nothing of the model, does without.
if TYPE_CHECKING:
    from seetell.modeling.export.roles.base import RoleModule
    from seetell.modeling.models.unified import UnifiedModel
    from seetell.modeling.start import Start


def check_own(manifest: Manifest, option: str) -> None:
    """Raises UsageError for a bundle of a public family, to which ``option`` was applied."""
    from seetell.modeling.models.unified import UnifiedModel

    if manifest.family != UnifiedModel.family:
        raise UsageError(
            f"{manifest.name} is of the public family {manifest.family}; {option} fits our own model and "
            "what was taught from it, and --quantize int8 fits every bundle"
        )


@dataclass(frozen=True, slots=True)
class OwnModel:
    """The model of a bundle, what its manifest says besides, and which roles and outputs it does not ship."""

    model: UnifiedModel
    start: Start
    without: frozenset[str]

    def roles(self, model: UnifiedModel | None = None) -> Mapping[Role, RoleModule]:
        """The roles of this model, or of what was made of it, as the bundle has them."""
        from seetell.modeling.export.roles.registry import role_modules

        return role_modules(self.model if model is None else model, self.without)

    def write(self, model: UnifiedModel, out: Path) -> Bundle:
        """What was made of it as a bundle of the same abilities. Raises ExportError and StorageError."""
        from seetell.modeling.export.write_bundle import write_bundle

        start = self.start
        write_bundle(
            lambda: copy.deepcopy(model), start.tokenizer_json, out, start.facts, without=self.without
        )
        return open_bundle(out)


def read_own(bundle: Bundle) -> OwnModel:
    """The model of a bundle that :func:`check_own` lets by. Raises BundleError."""
    from seetell.modeling.models.unified import UnifiedModel
    from seetell.modeling.start import read_start

    start = read_start(str(bundle.folder))
    model = start.model
    assert isinstance(model, UnifiedModel)
    return OwnModel(model, start, _left_out(model, bundle.manifest))


def _left_out(model: UnifiedModel, manifest: Manifest) -> frozenset[str]:
    """Roles and outputs that the model could give and its bundle does not."""
    from seetell.modeling.export.roles.registry import role_modules

    missing: set[str] = set()
    for role, module in role_modules(model).items():
        if role not in manifest.graphs:
            missing.add(role)
        else:
            missing.update(set(module.outputs) - set(manifest.graphs[role].outputs))
    return frozenset(missing)
