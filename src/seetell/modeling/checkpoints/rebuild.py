"""A model of ours from what was written down of it: its family and its configuration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from seetell.modeling.models.assembled import AssembledModel
from seetell.modeling.models.config import UnifiedConfig
from seetell.modeling.models.dual_encoder import DualEncoder, DualEncoderConfig
from seetell.modeling.models.grounded import GroundedConfig, GroundedModel
from seetell.modeling.models.single_stream import SingleStreamConfig, SingleStreamModel
from seetell.modeling.models.unified import UnifiedModel

# The models that can be taught: each with the configuration that rebuilds it.
_TAUGHT: tuple[tuple[type[AssembledModel], type[BaseModel]], ...] = (
    (UnifiedModel, UnifiedConfig),
    (DualEncoder, DualEncoderConfig),
    (GroundedModel, GroundedConfig),
    (SingleStreamModel, SingleStreamConfig),
)
_BY_FAMILY = {model.family: (model, config) for model, config in _TAUGHT}


def rebuild(family: str, config: Mapping[str, Any]) -> AssembledModel:
    """A freshly initialised model. Raises KeyError for a family that cannot be taught, naming those that can,
    and pydantic's ValidationError for a configuration that is none of it."""
    if family not in _BY_FAMILY:
        raise KeyError(
            f"{family!r} cannot be taught; the families that can are {', '.join(sorted(_BY_FAMILY))}"
        )
    model, schema = _BY_FAMILY[family]
    return model(schema.model_validate(config))
