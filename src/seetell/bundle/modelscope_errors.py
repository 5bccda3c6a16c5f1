"""What can go wrong when ModelScope is asked, as our errors: one line, and what to do.

It answers 404 for whatever may not be had, and says why by a number and a message in the answer.
"""

from __future__ import annotations

from http.client import HTTPException
from urllib.error import HTTPError, URLError

from pydantic import BaseModel, Field, ValidationError

from seetell.bundle.hub_ids import HubId
from seetell.core.errors import BundleNotFound
from seetell.core.lines import printable, said_by

_NO_FILES_AT_REVISION = 10990101004
_MOST_SAID_BYTES = 1 << 16
_NO_TOKEN = (
    "no token is sent there: download what is not public with ModelScope's own client, and convert the folder"
)


class _Said(BaseModel):
    code: int = Field(0, alias="Code")
    message: str | None = Field(None, alias="Message")


def no_model(hub_id: str, endpoint: str, message: str | None) -> BundleNotFound:
    """The model is not there, or not for everybody: the hub does not tell which."""
    return BundleNotFound(
        f"{hub_id}: no such model on {endpoint}, or one that is not public{_quoted(message)}; check the "
        f"spelling; {_NO_TOKEN}"
    )


def no_revision(place: HubId, endpoint: str, revision: str) -> BundleNotFound:
    """The model is there, and has no files at that revision."""
    return BundleNotFound(
        f"{place.text}: no files at revision {revision!r}; those there are, mostly 'master', stand at "
        f"{endpoint}/models/{place.repository}/files"
    )


def no_hash(hub_id: str, endpoint: str, name: str) -> BundleNotFound:
    """A file that could not be told from a damaged one."""
    return BundleNotFound(f"{hub_id}: {endpoint} tells no SHA-256 of {name}, so it cannot be checked")


def leads_out(hub_id: str, endpoint: str, path: str) -> BundleNotFound:
    """A path that no honest repository has."""
    return BundleNotFound(
        f"{hub_id}: {endpoint} lists a file {said_by(repr(path))}, which leads out of the model's folder; "
        "nothing was fetched"
    )


def not_a_hub(hub_id: str, endpoint: str) -> BundleNotFound:
    """An answer of another kind."""
    return BundleNotFound(
        f"{hub_id}: {endpoint} answers with something else than a list of files; check MODELSCOPE_ENDPOINT"
    )


def refused(
    error: Exception, place: HubId, endpoint: str, revision: str, is_kept: bool, name: str | None
) -> BundleNotFound:
    """Our error for one of the network's.

    Args:
        revision: what was asked for.
        is_kept: the cache has it, which the message then offers.
        name: the file that was asked for; None for the list of them.
    """
    hub_id = place.text
    hint = ", or with SEETELL_OFFLINE=1 to use what the cache has of it" if is_kept else ""
    if not isinstance(error, HTTPError):
        cause = error.reason if isinstance(error, URLError) else error
        return BundleNotFound(
            f"{hub_id}: cannot be fetched from {endpoint} ({printable(said_by(cause))}); check the network "
            f"and MODELSCOPE_ENDPOINT, then run the same again{hint}"
        )
    said, status = _said(error), error.code
    if status == 404 and name is not None:
        return BundleNotFound(
            f"{hub_id}: {endpoint} lists {name} and has it not{_quoted(said.message)}; run the same again"
        )
    if status == 404 and said.code == _NO_FILES_AT_REVISION:
        return no_revision(place, endpoint, revision)
    if status == 404:
        return no_model(hub_id, endpoint, said.message)
    if status in (401, 403):
        return BundleNotFound(
            f"{hub_id}: {endpoint} gives no access to it{_quoted(said.message)}; {_NO_TOKEN}"
        )
    if status == 429:
        seconds = error.headers.get("Retry-After", "")
        wait = f"{seconds} seconds" if seconds.isdigit() else "some minutes"
        return BundleNotFound(
            f"{hub_id}: {endpoint} got too many requests from here; wait {wait} and run the same again{hint}"
        )
    return BundleNotFound(
        f"{hub_id}: {endpoint} failed (HTTP status {status}); run the same again later{hint}"
    )


def _said(error: HTTPError) -> _Said:
    try:
        return _Said.model_validate_json(error.read(_MOST_SAID_BYTES))
    except (OSError, HTTPException, ValidationError):
        return _Said.model_validate({})
    finally:
        error.close()


def _quoted(message: str | None) -> str:
    return f" ({printable(said_by(message))})" if message else ""
