"""Fetching from the Hugging Face hub.

Everything goes through ``huggingface_hub``: its cache (shared with transformers and every other tool, so
nothing is downloaded twice), its login, its ``HF_ENDPOINT``, ``HF_TOKEN``, ``HF_HUB_CACHE`` and
``HF_HUB_OFFLINE``. But unlike there, a mirror that ``HF_ENDPOINT`` names is never sent the token. A
connection that breaks is resumed where it broke; a fetch that was given up keeps its complete files, and
starts the incomplete one anew the next time (huggingface_hub keeps no parts of files between calls).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from seetell.bundle.checkpoint_files import CONFIG, OPEN_CLIP_CONFIG, bundle_files
from seetell.bundle.fetching import (
    Counter,
    HubCheckpoint,
    Progress,
    check_space,
    find_kept,
    needed_files,
)
from seetell.bundle.hub_errors import translated
from seetell.bundle.hub_ids import HubId
from seetell.bundle.manifest import MANIFEST_NAME
from seetell.core.errors import BundleNotFound, MissingExtra, UsageError
from seetell.core.lines import said_by

if TYPE_CHECKING:
    from huggingface_hub.hf_api import RepoSibling

# Who gave the token, and so may see it.
_TOKEN_HOSTS = ("huggingface.co", "hf.co")
_BELOW = re.compile(r"[A-Za-z0-9][\w.\-]*/", re.ASCII)
_COMMIT = re.compile(r"[0-9a-f]{40}")


def fetch(
    place: HubId,
    revision: str | None,
    token: str | None,
    offline: bool,
    allow_pickle: bool,
    progress: Progress | None,
) -> HubCheckpoint:
    """As ``hub.fetch_checkpoint``."""
    hub = _huggingface_hub()
    try:
        hub.utils.validate_repo_id(place.repository)
    except ValueError as error:
        raise UsageError(f"{place.text!r} is no hub id; one is OWNER/NAME ({said_by(error)})") from error
    if place.below and not _BELOW.fullmatch(place.below):
        raise UsageError(f"{place.text!r} is no hub id; one is OWNER/NAME, or OWNER/NAME/FOLDER")
    if offline or hub.constants.HF_HUB_OFFLINE:
        folder, cache = _snapshot(hub, place, revision), Path(hub.constants.HF_HUB_CACHE)
        variables = "SEETELL_OFFLINE and HF_HUB_OFFLINE"
        return find_kept(folder, place, revision, allow_pickle, cache, variables)
    sent = _token_for(hub.constants.ENDPOINT, token or None)
    return _Fetch(hub, place, revision, sent, Counter(progress)).run(allow_pickle)


def holds_bundle(place: HubId, revision: str | None, offline: bool) -> bool:
    """As ``hub.holds_bundle``."""
    hub = _huggingface_hub()
    if offline or hub.constants.HF_HUB_OFFLINE:
        folder = _snapshot(hub, place, revision)
        return folder is not None and (folder / MANIFEST_NAME).is_file()
    fetch = _Fetch(hub, place, revision, _token_for(hub.constants.ENDPOINT, None), Counter(None))
    return bundle_files(fetch.listing()) is not None


def takes_token(endpoint: str) -> bool:
    """Whether a hub may see the token: the one that gave it, and no mirror of it."""
    host = urlsplit(endpoint).hostname or ""
    return any(host == one or host.endswith(f".{one}") for one in _TOKEN_HOSTS)


def _token_for(endpoint: str, given: str | None) -> str | Literal[False] | None:
    """As huggingface_hub has it: False sends none, None the one of the environment or the login."""
    if takes_token(endpoint):
        return given
    if given is not None:
        raise UsageError(
            f"a token goes to {_TOKEN_HOSTS[0]} alone, not to the mirror {endpoint}; leave the token out, or "
            "unset HF_ENDPOINT"
        )
    return False


def _huggingface_hub() -> Any:
    # Its types are of little use here: what differs between its versions is what matters.
    try:
        import huggingface_hub
        import huggingface_hub.constants
        import huggingface_hub.errors
        import huggingface_hub.utils
    except ModuleNotFoundError as error:
        if error.name != "huggingface_hub":
            raise
        raise MissingExtra("huggingface_hub", "hub", "to fetch a public checkpoint") from error
    return huggingface_hub


def _snapshot(hub: Any, place: HubId, revision: str | None) -> Path | None:
    """The folder in the cache that holds a revision of the checkpoint, as far as it was fetched."""
    for name in (MANIFEST_NAME, CONFIG, OPEN_CLIP_CONFIG):
        found = hub.try_to_load_from_cache(place.repository, place.below + name, revision=revision)
        if isinstance(found, str):  # else None, or a mark that the repository has no such file
            return Path(found).parent
    return None


def _bar_class(counter: Counter) -> type[Any]:
    """A stand-in for tqdm. Given even where nobody listens, so that no other bar is drawn."""

    class Bar:
        def __init__(self, *args: object, **options: object) -> None:
            pass

        def __enter__(self) -> Bar:
            return self

        def __exit__(self, *args: object) -> None:
            pass

        def update(self, n: float | None = 1) -> None:
            counter.add(n)

        # Bytes of the network, beside those of the file that update() counts. Its being there tells
        # huggingface_hub not to make a second bar for them, which would count twice.
        def update_transfer(self, n: float | None = 1) -> None:
            pass

        def _draw_nothing(self, *args: object, **options: object) -> None:
            pass

        set_description = set_description_str = refresh = close = _draw_nothing
        set_postfix_str = set_transfer_postfix_str = _draw_nothing

    return Bar


class _Fetch:
    """One fetch: lists the repository, checks the disk, downloads."""

    def __init__(
        self,
        hub: Any,
        place: HubId,
        revision: str | None,
        token: str | Literal[False] | None,
        counter: Counter,
    ) -> None:
        self.hub = hub
        self.place = place
        self.hub_id = place.text
        self.revision = revision
        self.token = token
        self.counter = counter
        self.cache = Path(hub.constants.HF_HUB_CACHE).expanduser()

    def run(self, allow_pickle: bool) -> HubCheckpoint:
        """Fetch what is needed."""
        commit, listing = self._list()
        files = needed_files(listing, self.place, self.revision, allow_pickle)
        wanted = {name: self._bytes_to_fetch(listing[name], commit) for name in files.names}
        self.counter.total = sum(wanted.values())
        check_space(self.hub_id, self.counter.total, self.cache, "HF_HUB_CACHE")
        # By the name of the branch, which leaves a note in the cache of the commit it means: offline, that
        # is how the files are found. The others by the commit itself.
        folder = self._download(files.config, self.revision or self.hub.constants.DEFAULT_REVISION).parent
        if self.place.commit(folder) != commit:
            raise BundleNotFound(f"{self.hub_id}: it changed while it was fetched; run the same again")
        self.counter.file_done(wanted[files.config])
        for name in files.names[1:]:
            self._download(name, commit)
            self.counter.file_done(wanted[name])
        return HubCheckpoint(folder, commit)

    def listing(self) -> list[str]:
        """The names of the files there are."""
        return list(self._list()[1])

    def _list(self) -> tuple[str, dict[str, RepoSibling]]:
        """The commit that the revision means now, and the checkpoint's files in it."""
        with self._errors():
            info = self.hub.HfApi(library_name="seetell", token=self.token).model_info(
                self.place.repository,
                revision=self.revision,
                files_metadata=True,
                timeout=self.hub.constants.HF_HUB_ETAG_TIMEOUT,
            )
        if not isinstance(info.sha, str) or not _COMMIT.fullmatch(info.sha):
            raise BundleNotFound(
                f"{self.hub_id}: {self.hub.constants.ENDPOINT} names no commit for it; is it a hub?"
            )
        below = self.place.below
        files = [file for file in info.siblings or () if file.rfilename.startswith(below)]
        return info.sha, {file.rfilename.removeprefix(below): file for file in files}

    def _download(self, name: str, revision: str) -> Path:
        with self._errors():
            path: str = self.hub.hf_hub_download(
                self.place.repository,
                self.place.below + name,
                revision=revision,
                token=self.token,
                library_name="seetell",
                tqdm_class=_bar_class(self.counter),
            )
        return Path(path)

    def _bytes_to_fetch(self, file: RepoSibling, commit: str) -> int:
        """A file's size, or 0 if the cache has it, under this commit or (the same content) another."""
        repository_id = self.place.repository
        if isinstance(self.hub.try_to_load_from_cache(repository_id, file.rfilename, revision=commit), str):
            return 0
        # The cache keeps each content once, named by its ETag: the hash git, or git-lfs, knows it by.
        content = file.lfs.sha256 if file.lfs is not None else file.blob_id
        repository = self.cache / ("models--" + repository_id.replace("/", "--"))
        if content and (repository / "blobs" / content).is_file():
            return 0
        return file.size or 0

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Turn what huggingface_hub raises into our errors.

        Every Exception: beside its own there are those of its HTTP library (another one in each of its major
        versions), of the Rust library that large files come through, and of the file system.
        """
        try:
            yield
        except Exception as error:
            if error is self.counter.failure:
                raise
            cached = _snapshot(self.hub, self.place, self.revision) is not None
            mirror = self.token is False
            raise translated(error, self.hub, self.hub_id, self.revision, cached, mirror) from error
