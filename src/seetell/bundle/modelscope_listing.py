"""What ModelScope says of a model: its files, their hashes and the commit.

``GET ENDPOINT/api/v1/models/OWNER/NAME/repo/files?Revision=REVISION&Recursive=true`` lists them, and
``GET ENDPOINT/models/OWNER/NAME/resolve/REVISION/PATH`` is one of them, itself or where it was moved to.
"""

from __future__ import annotations

import hashlib
import os
import re
from http.client import HTTPException
from pathlib import PurePath
from urllib.parse import quote, urlencode, urlsplit

from pydantic import BaseModel, ConfigDict, NonNegativeInt, ValidationError
from pydantic.alias_generators import to_pascal

from seetell.bundle.download import ask
from seetell.bundle.hub_ids import HubId
from seetell.bundle.modelscope_errors import leads_out, no_model, no_revision, not_a_hub, refused
from seetell.core.errors import BundleNotFound, UsageError

MAIN_BRANCH = "master"
_ENDPOINT = "https://modelscope.cn"
_MOST_LISTED_BYTES = 1 << 26
_COMMIT = re.compile(r"[0-9a-f]{7,64}")
# What a commit is called here, or what stands for it where none is told.
KEY = re.compile(rf"{_COMMIT.pattern}|files-[0-9a-f]{{12}}")


class _Told(BaseModel):
    """A part of an answer. Every field but those needed may be missing or null."""

    model_config = ConfigDict(alias_generator=to_pascal, frozen=True)


class ListedFile(_Told):
    """``revision`` is the commit that changed this file last, seldom the one that was asked for."""

    path: str
    type: str
    size: NonNegativeInt | None = None
    sha256: str | None = None
    revision: str | None = None

    @property
    def size_bytes(self) -> int:
        return self.size or 0


class _Committer(_Told):
    id: str | None = None
    short_id: str | None = None


class _Data(_Told):
    files: tuple[ListedFile, ...] | None = None
    latest_committer: _Committer | None = None


class _Answer(_Told):
    code: int
    message: str | None = None
    data: object = None


class Listing:
    """The files that a revision has now; asked for when it is made. Raises BundleNotFound where that fails.

    files: those below the checkpoint's folder, by name. key: the commit.
    """

    def __init__(self, place: HubId, revision: str | None, *, is_kept: bool) -> None:
        self.place = place
        self.revision = revision or MAIN_BRANCH
        self.endpoint = _endpoint()
        self._is_kept = is_kept
        data = self._ask()
        # A revision that is not there is answered with success, and null for its files.
        listed = [file for file in data.files or () if file.type == "blob"]
        if not listed:
            raise no_revision(place, self.endpoint, self.revision)
        for file in listed:
            path = PurePath(file.path)
            if path.anchor or ".." in path.parts or "\0" in file.path:
                raise leads_out(place.text, self.endpoint, file.path)
        below = place.below
        named = {file.path.removeprefix(below): file for file in listed if file.path.startswith(below)}
        self.files = {name: file for name, file in named.items() if name}
        self.key = _key(listed, data.latest_committer)

    def url(self, file: ListedFile) -> str:
        """Where a file is. By the name of the revision, not its commit, of which often a part alone is told;
        what has changed since it was listed has another hash."""
        repository, revision = quote(self.place.repository), quote(self.revision, safe="")
        return f"{self.endpoint}/models/{repository}/resolve/{revision}/{quote(file.path)}"

    def refused(self, error: Exception, name: str | None = None) -> BundleNotFound:
        """Our error for one of the network, when the list or the file ``name`` was asked for."""
        return refused(error, self.place, self.endpoint, self.revision, self._is_kept, name)

    def _ask(self) -> _Data:
        query = urlencode({"Revision": self.revision, "Recursive": "true"})
        url = f"{self.endpoint}/api/v1/models/{quote(self.place.repository)}/repo/files?{query}"
        try:
            with ask(url) as response:
                body = response.read(_MOST_LISTED_BYTES)
        except (OSError, HTTPException, UnicodeError) as error:
            raise self.refused(error) from error
        try:
            answer = _Answer.model_validate_json(body)
            if answer.code != 200:
                raise no_model(self.place.text, self.endpoint, answer.message)
            return _Data.model_validate(answer.data)
        except ValidationError as error:
            raise not_a_hub(self.place.text, self.endpoint) from error


def _key(files: list[ListedFile], latest: _Committer | None) -> str:
    """The commit. Often only its beginning is told, and the whole of it by a file that it changed; where none
    is told, what the files hold stands for it."""
    head = (latest.id or latest.short_id or "") if latest is not None else ""
    if _COMMIT.fullmatch(head):
        changed = (file.revision or "" for file in files)
        return next((one for one in changed if _COMMIT.fullmatch(one) and one.startswith(head)), head)
    digest = hashlib.sha256()
    for file in sorted(files, key=lambda file: file.path):
        digest.update(f"{file.path}\0{file.sha256}\n".encode())
    return f"files-{digest.hexdigest()[:12]}"


def _endpoint() -> str:
    for variable in ("MODELSCOPE_ENDPOINT", "MODELSCOPE_DOMAIN"):
        told = os.environ.get(variable, "").strip()
        if told:
            address = (told if "://" in told else f"https://{told}").rstrip("/")
            try:
                parts = urlsplit(address)
            except ValueError:
                parts = urlsplit("")
            if parts.scheme in ("http", "https") and parts.hostname:
                return address
            raise UsageError(f"{variable}={told!r} is no address of a server; give one such as {_ENDPOINT}")
    return _ENDPOINT
