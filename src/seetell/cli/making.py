"""What the commands of the making half share: the answer when torch is not installed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

# What the extra `train` brings.
TRAIN_PACKAGES = {"accelerate", "torch", "onnx", "onnxscript", "yaml", "tensorboard"}


@contextmanager
def needs_train_extra(purpose: str) -> Iterator[None]:
    """Turn a missing package of the extra ``train`` into MissingExtra; ``purpose`` as in "to train"."""
    from seetell.core.errors import MissingExtra

    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in TRAIN_PACKAGES:
            raise
        raise MissingExtra(package, "train", purpose) from error
