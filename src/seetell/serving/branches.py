"""Fields that may have one of several shapes: which of them is meant is seen first, and its faults alone
are told, at their places. pydantic would try all and tell the faults of each, the first one's first."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pydantic import ValidatorFunctionWrapHandler, WrapValidator
from pydantic_core import PydanticCustomError


def branch(shape_of: Callable[[Any], Callable[[Any], Any]]) -> WrapValidator:
    """For a union: ``shape_of`` gives what makes a value of what was sent, by the shape that is meant, and
    raises a ``wrong_shape`` where none is."""

    def made(given: Any, _all_shapes: ValidatorFunctionWrapHandler) -> Any:
        return shape_of(given)(given)

    return WrapValidator(made)


def wrong_shape(message: str) -> PydanticCustomError:
    """The fault of what has none of the shapes. ``message`` says the right one, and repeats nothing sent."""
    # Braces are a template's.
    return PydanticCustomError("wrong_shape", "{message}", {"message": message})
