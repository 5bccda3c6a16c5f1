"""seetell: ask a photo anything. Captions, answers, matching, labels and search, offline and without torch.

    import seetell
    model = seetell.load()
    model.caption("photo.jpg").text

Names are loaded when first used, so that importing seetell imports nothing heavy.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from seetell.core.errors import (
        BundleDamaged,
        BundleError,
        BundleInvalid,
        BundleNotFound,
        CheckpointError,
        ConversionNeeded,
        DataError,
        DeviceUnavailable,
        EngineError,
        ExportError,
        GateFailed,
        ImageError,
        InputError,
        MissingExtra,
        NonFiniteLoss,
        PickleRefused,
        PrecisionUnavailable,
        RecipeError,
        RemoteError,
        SeetellError,
        StorageError,
        TaskUnavailable,
        TextError,
        TrainingError,
        UsageError,
    )
    from seetell.core.results import (
        Alternative,
        Answer,
        Caption,
        Classification,
        Failure,
        Features,
        Fill,
        Hit,
        Match,
        RankedLabel,
        Reply,
        TokenLogProb,
    )
    from seetell.runtime.generation import GenerationOptions
    from seetell.search.checking import Check
    from seetell.search.photo_index import Added, PhotoIndex
    from seetell.search.updating import Change
    from seetell.tasks.chat.chatter import ChatStream
    from seetell.tasks.model import Model, load
    from seetell.tasks.policy import Policy, Request
    from seetell.tasks.remote import RemoteModel

    __version__: str

__all__ = [
    "Added",
    "Alternative",
    "Answer",
    "BundleDamaged",
    "BundleError",
    "BundleInvalid",
    "BundleNotFound",
    "Caption",
    "Change",
    "ChatStream",
    "Check",
    "CheckpointError",
    "Classification",
    "ConversionNeeded",
    "DataError",
    "DeviceUnavailable",
    "EngineError",
    "ExportError",
    "Failure",
    "Features",
    "Fill",
    "GateFailed",
    "GenerationOptions",
    "Hit",
    "ImageError",
    "InputError",
    "Match",
    "MissingExtra",
    "Model",
    "NonFiniteLoss",
    "PhotoIndex",
    "PickleRefused",
    "Policy",
    "PrecisionUnavailable",
    "RankedLabel",
    "RecipeError",
    "RemoteError",
    "RemoteModel",
    "Reply",
    "Request",
    "SeetellError",
    "StorageError",
    "TaskUnavailable",
    "TextError",
    "TokenLogProb",
    "TrainingError",
    "UsageError",
    "__version__",
    "load",
]

_RESULTS = (
    "Alternative Answer Caption Classification Failure Features Fill Hit Match RankedLabel Reply TokenLogProb"
)
_HOMES = {
    "Added": "seetell.search.photo_index",
    "Change": "seetell.search.updating",
    "ChatStream": "seetell.tasks.chat.chatter",
    "Check": "seetell.search.checking",
    "GenerationOptions": "seetell.runtime.generation",
    "Model": "seetell.tasks.model",
    "PhotoIndex": "seetell.search.photo_index",
    "RemoteModel": "seetell.tasks.remote",
    "Policy": "seetell.tasks.policy",
    "Request": "seetell.tasks.policy",
    "load": "seetell.tasks.model",
    **dict.fromkeys(_RESULTS.split(), "seetell.core.results"),
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'seetell' has no attribute {name!r}")
    if name == "__version__":
        # Read where the package was installed, so that pyproject.toml is the only place to change it.
        value: Any = import_module("importlib.metadata").version("seetell")
    else:
        # What has no home listed is an error: they are by far the most.
        value = getattr(import_module(_HOMES.get(name, "seetell.core.errors")), name)
    globals()[name] = value  # the next use does not come here
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
