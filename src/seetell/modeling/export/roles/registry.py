"""Which roles which model has."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from seetell.bundle.manifest import Role
from seetell.modeling.export.roles import (
    causal,
    dual_encoder,
    encoder_decoder,
    grounded,
    image_classifier,
    single_stream,
    text_models,
    unified,
)
from seetell.modeling.export.roles.base import RoleModule
from seetell.modeling.models.assembled import AssembledModel
from seetell.modeling.models.causal import CausalModel
from seetell.modeling.models.dual_encoder import DualEncoder
from seetell.modeling.models.encoder_decoder import EncoderDecoder
from seetell.modeling.models.grounded import GroundedModel
from seetell.modeling.models.image_classifier import ImageClassifier
from seetell.modeling.models.single_stream import SingleStreamModel
from seetell.modeling.models.text_models import TextDecoder, TextEncoder
from seetell.modeling.models.unified import UnifiedModel

# A role's class: called with the model and what to leave out; ``role`` is its name.
_RoleClass = Callable[[Any, Collection[str]], RoleModule]

_ROLES: Mapping[type[AssembledModel], Sequence[_RoleClass]] = {
    ImageClassifier: image_classifier.ROLES,
    TextEncoder: text_models.ENCODER_ROLES,
    TextDecoder: text_models.DECODER_ROLES,
    EncoderDecoder: encoder_decoder.ROLES,
    UnifiedModel: unified.ROLES,
    DualEncoder: dual_encoder.ROLES,
    GroundedModel: grounded.ROLES,
    SingleStreamModel: single_stream.ROLES,
    CausalModel: causal.ROLES,
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
