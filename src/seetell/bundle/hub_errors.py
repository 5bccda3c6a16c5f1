"""What can go wrong when Hugging Face is asked, as our errors: one line, and what to do.

``huggingface_hub`` itself is handed in by :mod:`seetell.bundle.huggingface`, the only file that imports it.
"""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

from seetell.core.errors import BundleNotFound, SeetellError
from seetell.core.files import storage_error
from seetell.core.lines import said_by

_LOGIN = "log in with `hf auth login` or set HF_TOKEN"
_NO_MIRROR = "a mirror is sent no token: fetch it once without HF_ENDPOINT, where you may"
# What a failed write looks like, among the many things that reach us as an OSError.
_WRITE_ERRORS = {
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.ENAMETOOLONG,
    errno.EIO,
}


def translated(
    error: Exception, hub: Any, hub_id: str, revision: str | None, cached: bool, mirror: bool
) -> SeetellError:
    """Our error for one of huggingface_hub's, or of the libraries under it.

    Args:
        hub: the module huggingface_hub.
        hub_id, revision: what was asked for.
        cached: the cache has something of it, which the message then offers.
        mirror: it was asked of a mirror, which no login opens.
    """
    login = _NO_MIRROR if mirror else _LOGIN
    errors, endpoint = hub.errors, hub.constants.ENDPOINT
    # "Not in the cache, and asking the hub failed": why it failed is the news.
    cause = error.__cause__ if isinstance(error, errors.LocalEntryNotFoundError) else None
    if isinstance(cause, Exception):
        return translated(cause, hub, hub_id, revision, cached, mirror)
    if isinstance(error, errors.GatedRepoError):
        return BundleNotFound(f"{hub_id}: gated; accept its terms at {endpoint}/{hub_id}, then {login}")
    if isinstance(error, errors.RepositoryNotFoundError):
        return BundleNotFound(
            f"{hub_id}: no such model on {endpoint}, or a private one; check the spelling, or {login}"
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return BundleNotFound(
            f"{hub_id}: no revision {revision or 'main'!r}; those there are: {endpoint}/{hub_id}/commits"
        )
    hint = ", or with SEETELL_OFFLINE=1 to use what the cache has of it" if cached else ""
    if isinstance(error, errors.HfHubHTTPError):
        return BundleNotFound(f"{hub_id}: {endpoint} {_refusal(error, hint, login)}")
    if isinstance(error, OSError) and error.errno in _WRITE_ERRORS:
        return storage_error(error, Path(error.filename or hub.constants.HF_HUB_CACHE))
    return BundleNotFound(
        f"{hub_id}: cannot be fetched from {endpoint} ({type(error).__name__}: {said_by(error)}); check the "
        f"network and HF_ENDPOINT, then run the same again{hint}"
    )


def _refusal(error: Any, hint: str, login: str) -> str:
    """The hub answered, and the answer is no: what it said and what to do."""
    response = error.response
    status = response.status_code
    if status == 401:
        return f"does not accept the token, or the model is private or not there; {login}"
    if status == 403:
        said = said_by(error.server_message or "forbidden")
        return f"gives no access to it ({said}); {login}, with a token that may read it"
    if status == 404:
        return "has no such model or file; check the spelling and HF_ENDPOINT"
    if status == 429:
        seconds = response.headers.get("Retry-After", "")
        wait = f"{seconds} seconds" if seconds.isdigit() else "some minutes"
        return f"got too many requests from here; wait {wait} and run the same again, or {login}"
    return f"failed (HTTP status {status}); run the same again later{hint}"
