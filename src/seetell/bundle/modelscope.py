"""Fetching from ModelScope, a hub that can be reached where Hugging Face cannot.

Its own package is not needed: one request lists a repository's files with their hashes, and one fetches each
of them. ``MODELSCOPE_ENDPOINT`` (or ``MODELSCOPE_DOMAIN``, without the scheme) names another server than
modelscope.cn. No token is sent, neither its own nor Hugging Face's, so what is private there cannot be had.

In our cache ``fetched/modelscope+OWNER+NAME/`` holds, of one repository,

    contents/SHA256      what has come and was compared with its hash; SHA256.part what has come so far
    revisions/COMMIT/    the files of a commit under their names, which are further names of those contents
    names/REVISION.txt   the commit that a branch or tag meant when it was last asked for

so that a newer commit costs what has changed, and offline the files are found. One process fetches at a time.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from urllib.parse import quote

from seetell.bundle.checkpoint_files import bundle_files
from seetell.bundle.download import bytes_there, download, part_of
from seetell.bundle.fetching import (
    Counter,
    HubCheckpoint,
    Progress,
    check_space,
    fetched_folder,
    find_kept,
    needed_files,
)
from seetell.bundle.hub_ids import MODELSCOPE, HubId, is_hub_id
from seetell.bundle.manifest import MANIFEST_NAME
from seetell.bundle.modelscope_errors import no_hash
from seetell.bundle.modelscope_listing import KEY, MAIN_BRANCH, ListedFile, Listing
from seetell.bundle.store import cached_name
from seetell.core.errors import UsageError
from seetell.core.files import atomic_write_text, storage_error
from seetell.core.locking import in_turn

_SHA256 = re.compile(r"[0-9a-f]{64}")


def fetch(
    place: HubId, revision: str | None, offline: bool, allow_pickle: bool, progress: Progress | None
) -> HubCheckpoint:
    """As ``hub.fetch_checkpoint``."""
    _check_id(place)
    kept = _Kept(place)
    if offline:
        folder = kept.checkpoint(revision)
        return find_kept(folder, place, revision, allow_pickle, kept.folder, "SEETELL_OFFLINE")
    listing = Listing(place, revision, is_kept=kept.checkpoint(revision) is not None)
    files = needed_files(listing.files, place, revision, allow_pickle)
    wanted = {name: listing.files[name] for name in files.names}
    for name, file in wanted.items():
        if not _SHA256.fullmatch(file.sha256 or ""):
            raise no_hash(place.text, listing.endpoint, name)
    with kept.in_turn():
        _download(wanted, listing, kept, Counter(progress))
        folder = kept.put(wanted, listing.key, revision)
    return HubCheckpoint(folder, listing.key)


def holds_bundle(place: HubId, revision: str | None, offline: bool) -> bool:
    """As ``hub.holds_bundle``."""
    _check_id(place)
    folder = _Kept(place).checkpoint(revision)
    if offline:
        return folder is not None and (folder / MANIFEST_NAME).is_file()
    return bundle_files(Listing(place, revision, is_kept=folder is not None).files) is not None


def _check_id(place: HubId) -> None:
    if not is_hub_id(place.text):
        raise UsageError(
            f"{place.text!r} is no hub id; one is {MODELSCOPE}OWNER/NAME, or with /FOLDER after it"
        )


class _Kept:
    """What the cache has of one repository."""

    def __init__(self, place: HubId) -> None:
        self.place = place
        self.folder = fetched_folder() / cached_name(MODELSCOPE + place.repository)

    def checkpoint(self, revision: str | None) -> Path | None:
        """The checkpoint's folder at a revision as it was when that was last fetched."""
        asked = revision or MAIN_BRANCH
        key = _read(self._note(asked)) or asked
        folder = self._of(key)
        return folder if KEY.fullmatch(key) and folder.is_dir() else None

    def content(self, file: ListedFile) -> Path:
        return self.folder / "contents" / (file.sha256 or "")

    def has(self, file: ListedFile) -> bool:
        content = self.content(file)
        return content.is_file() and bytes_there(content) == file.size_bytes

    @contextmanager
    def in_turn(self) -> Iterator[None]:
        """While this process is the only one that fetches from the repository."""
        try:
            (self.folder / "contents").mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise storage_error(error, self.folder) from error
        with in_turn(self.folder / ".lock"):
            yield

    def put(self, files: Mapping[str, ListedFile], key: str, revision: str | None) -> Path:
        """Give contents that are all here the names they have in a commit; the checkpoint's folder."""
        folder = self._of(key)
        try:
            for name, file in files.items():
                _name_it(self.content(file), folder / name)
        except OSError as error:
            raise storage_error(error, folder) from error
        note = self._note(revision or MAIN_BRANCH)
        if _read(note) != key:  # else a cache that may only be read will do
            atomic_write_text(note, key)
        return folder

    def _of(self, key: str) -> Path:
        return self.folder / "revisions" / key / self.place.below

    def _note(self, revision: str) -> Path:
        return self.folder / "names" / f"{quote(revision, safe='')}.txt"


def _download(wanted: Mapping[str, ListedFile], listing: Listing, kept: _Kept, counter: Counter) -> None:
    """Fetch the contents that are not here yet."""
    place = listing.place
    missing = {file.sha256: file for file in wanted.values() if not kept.has(file)}
    left = {key: file.size_bytes - bytes_there(part_of(kept.content(file))) for key, file in missing.items()}
    counter.total = sum(left.values())
    check_space(place.text, counter.total, kept.folder, "SEETELL_CACHE")
    for key, file in missing.items():
        what = f"{place.text}: {file.path}"
        try:
            download(listing.url(file), kept.content(file), file.size_bytes, key or "", counter, what)
        except (OSError, HTTPException) as error:
            if error is counter.failure:
                raise
            raise listing.refused(error, file.path) from error
        counter.file_done(left[key])


def _read(note: Path) -> str | None:
    try:
        return note.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return None


def _name_it(content: Path, name: Path) -> None:
    """A further name for a content; where the disk knows no such thing, a copy."""
    name.parent.mkdir(parents=True, exist_ok=True)
    if name.exists() and os.path.samefile(content, name):
        return
    new = name.with_name(f".{name.name}.new")
    new.unlink(missing_ok=True)
    try:
        os.link(content, new)
    except OSError:
        shutil.copyfile(content, new)
    os.replace(new, name)
