"""Which roles which model has."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from seetell.bundle.manifest import Role
from seetell.modeling.export.roles import unified
from seetell.modeling.export.roles.base import RoleModule
from seetell.modeling.models.assembled import AssembledModel
from seetell.modeling.models.unified import UnifiedModel

# A role's class: called with the model and what to leave out; ``role`` is its name.
_RoleClass = Callable[[Any, Collection[str]], RoleModule]

_ROLES: Mapping[type[AssembledModel], Sequence[_RoleClass]] = {
    UnifiedModel: unified.ROLES,
}


def role_modules(model: AssembledModel, without: Collection[str] = ()) -> dict[Role, RoleModule]:
    """The roles of ``model``, which is put in evaluation mode.

    ``without`` names roles and outputs to leave out: heads nobody trained must not be shipped. A role of
    which no output is left is left out too.
    """
    model.eval()
    modules: dict[Role, RoleModule] = {}
    for make in _ROLES[type(model)]:
        if getattr(make, "role", None) in without:
            continue
        module = make(model, without)
        if module.outputs:
            # eval() on each: the flag of the wrapper itself is what exporters look at.
            modules[module.role] = module.eval()
    return modules
