"""Every error seetell raises on purpose.

    SeetellError
    +-- UsageError             the call is wrong: bad argument or option
    |   +-- RecipeError        a training recipe that does not parse or contradicts itself
    |   +-- TaskUnavailable    the model cannot do this; lists what it can
    |   +-- MissingExtra       an optional dependency is not installed; names the extra
    +-- InputError             one input (a photo, a text, a data file) is unusable; others may be fine
    |   +-- ImageError         kind: missing, permission, directory, empty, not_an_image, truncated,
    |   |                      too_large, unsupported, unreadable
    |   +-- TextError          empty or too long a text
    |   +-- DataError          a caption, question or label file that breaks its format
    |   +-- FetchError         kind: url_refused, fetch_failed, too_large, timeout
    +-- BundleError            a bundle as a whole is unusable
    |   +-- BundleNotFound
    |   +-- BundleInvalid      the manifest breaks the contract
    |   +-- BundleDamaged      a file is missing or differs from its recorded size or hash
    |   +-- ConversionNeeded   a public checkpoint without a converted bundle; gives the command
    |   +-- PickleRefused      a checkpoint that could run code when read
    +-- EngineError            the inference engine failed
    |   +-- PrecisionUnavailable
    |   +-- DeviceUnavailable
    +-- TrainingError          a run that cannot go on
    |   +-- NonFiniteLoss      the loss became NaN or infinite; names the batch
    |   +-- CheckpointError    a checkpoint that is missing, damaged or of another run
    +-- ExportError            an exported graph does not agree with the torch model
    +-- StorageError           the disk is full or a folder cannot be written
    +-- GateFailed             a quality gate or audit did not pass (exit status 3)
    +-- RemoteError            a model behind a server gave no answer. kind: refused, unreachable, busy,
    |                          failed, timeout, bad_answer, declined, stopped
    +-- RequestError           a request that the server does not answer as asked
        +-- ServerBusy         its queue is full; says when to try again
        +-- DeadlineExceeded   the answer would have come too late

Each message is one line: what was wrong, with which input, and what to do. ``kind`` is a stable word
for programs; the message is for people.
"""

from __future__ import annotations

from seetell.core.installation import install_command


class SeetellError(Exception):
    """Base of every error raised on purpose. ``kind`` is stable; the text is for people."""

    kind: str = "error"


class UsageError(SeetellError):
    kind = "usage"


class RecipeError(UsageError):
    kind = "recipe"


class TaskUnavailable(UsageError):
    kind = "task_unavailable"


class MissingExtra(UsageError):
    """An optional dependency is missing.

    Args:
        package: the import that failed.
        extra: the extra of seetell that brings it.
        purpose: what it is needed for, as in "to draw the plot".
    """

    kind = "missing_extra"

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        self.package = package
        self.extra = extra
        self._purpose = purpose
        super().__init__(f"{package} is needed {purpose}: {install_command(extra)}")

    def __reduce__(self) -> tuple[type[MissingExtra], tuple[str, str, str]]:
        # An exception is rebuilt from its message alone, when it comes out of another process.
        return type(self), (self.package, self.extra, self._purpose)


class InputError(SeetellError):
    kind = "input"


class ImageError(InputError):
    """A photo that cannot be used. ``kind`` is one of the words listed at the top of this module."""

    def __init__(self, kind: str, message: str) -> None:
        self.kind = kind
        super().__init__(message)

    def __reduce__(self) -> tuple[type[ImageError], tuple[str, str]]:
        # An exception is rebuilt from its message alone, when it comes out of another process.
        return type(self), (self.kind, str(self))


class TextError(InputError):
    kind = "text"


class DataError(InputError):
    kind = "data"


class FetchError(InputError):
    """An address that may not be fetched, or could not be. ``kind`` is one of the words listed at the top."""

    def __init__(self, kind: str, message: str) -> None:
        self.kind = kind
        super().__init__(message)

    def __reduce__(self) -> tuple[type[FetchError], tuple[str, str]]:
        return type(self), (self.kind, str(self))


class BundleError(SeetellError):
    kind = "bundle"


class BundleNotFound(BundleError):
    kind = "bundle_not_found"


class BundleInvalid(BundleError):
    kind = "bundle_invalid"


class BundleDamaged(BundleError):
    kind = "bundle_damaged"


class ConversionNeeded(BundleError):
    kind = "conversion_needed"


class PickleRefused(BundleError):
    kind = "pickle_refused"


class EngineError(SeetellError):
    kind = "engine"


class PrecisionUnavailable(EngineError):
    kind = "precision_unavailable"


class DeviceUnavailable(EngineError):
    kind = "device_unavailable"


class TrainingError(SeetellError):
    kind = "training"


class NonFiniteLoss(TrainingError):
    kind = "non_finite_loss"


class CheckpointError(TrainingError):
    kind = "checkpoint"


class ExportError(SeetellError):
    kind = "export"


class StorageError(SeetellError):
    kind = "storage"


class GateFailed(SeetellError):
    kind = "gate_failed"


class RemoteError(SeetellError):
    """A model behind a server gave no answer. ``kind`` is one of the words listed at the top. ``ends``: what
    else is asked of it would fare the same, a key that is refused say."""

    kind = "remote"

    def __init__(self, kind: str, message: str, ends: bool = False) -> None:
        self.kind = kind
        self.ends = ends
        super().__init__(message)

    def __reduce__(self) -> tuple[type[RemoteError], tuple[str, str, bool]]:
        return type(self), (self.kind, str(self), self.ends)


class RequestError(SeetellError):
    kind = "request"


class ServerBusy(RequestError):
    """The queue is full. ``retry_after_s``: when a place is likely to be free."""

    kind = "queue_full"

    def __init__(self, message: str, retry_after_s: int) -> None:
        self.retry_after_s = retry_after_s
        super().__init__(message)

    def __reduce__(self) -> tuple[type[ServerBusy], tuple[str, int]]:
        return type(self), (str(self), self.retry_after_s)


class DeadlineExceeded(RequestError):
    kind = "timeout"
