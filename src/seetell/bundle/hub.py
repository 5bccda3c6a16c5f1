"""Fetching a public checkpoint or a bundle from the Hugging Face hub, or finding what was fetched before.

Everything goes through ``huggingface_hub``: its cache (shared with transformers and every other tool, so
nothing is downloaded twice), its login, its ``HF_ENDPOINT``, ``HF_TOKEN``, ``HF_HUB_CACHE`` and
``HF_HUB_OFFLINE``. But unlike there, a mirror that ``HF_ENDPOINT`` names is never sent the token. Only the
files a conversion needs are fetched, all of one commit. A connection that breaks is resumed where it broke;
a fetch that was given up keeps its complete files, and starts the incomplete one anew the next time
(huggingface_hub keeps no parts of files between calls).
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from seetell.bundle.checkpoint_files import (
    CONFIG,
    OPEN_CLIP_CONFIG,
    bundle_files,
    choose_files,
    names_in,
)
from seetell.bundle.hub_errors import translated
from seetell.bundle.manifest import MANIFEST_NAME
from seetell.core import settings
from seetell.core.errors import BundleNotFound, MissingExtra, StorageError, UsageError
from seetell.core.files import storage_error
from seetell.core.lines import said_by

if TYPE_CHECKING:
    from huggingface_hub.hf_api import RepoSibling

Progress = Callable[[int, int], None]

# Who gave the token, and so may see it.
_TOKEN_HOSTS = ("huggingface.co", "hf.co")
_BELOW = re.compile(r"[A-Za-z0-9][\w.\-]*/", re.ASCII)
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True, slots=True)
class HubCheckpoint:
    """Where a checkpoint's files lie on this machine (never write there), and the commit they are of."""

    folder: Path
    revision: str

    @property
    def is_bundle(self) -> bool:
        """Whether it is a bundle, and nothing is left to convert."""
        return (self.folder / MANIFEST_NAME).is_file()


@dataclass(frozen=True, slots=True)
class _Place:
    """What a hub id names: a repository, and the beginning of its files' names, empty or ``folder/``."""

    hub_id: str
    repository: str
    below: str

    @classmethod
    def of(cls, hub_id: str) -> _Place:
        owner, *rest = hub_id.split("/", 2)
        return cls(hub_id, "/".join([owner, *rest[:1]]), f"{rest[1]}/" if len(rest) > 1 else "")

    def commit(self, folder: Path) -> str:
        """The commit of a checkpoint's folder in the cache, whose files lie in a folder of that name."""
        return (folder.parent if self.below else folder).name


def fetch_checkpoint(
    hub_id: str,
    *,
    revision: str | None = None,
    token: str | None = None,
    offline: bool | None = None,
    allow_pickle: bool = False,
    progress: Progress | None = None,
) -> HubCheckpoint:
    """Fetch the files of a model repository that a conversion needs, or all of a bundle's; not those that the
    cache has.

    Args:
        hub_id: ``owner/name``, or ``owner/name/folder`` where the checkpoint lies in one of its folders.
        revision: a branch, tag or commit; by default the repository's main branch.
        token: by default ``HF_TOKEN``, or the login that huggingface_hub keeps; neither is sent to a mirror.
        offline: use the cache alone; by default ``SEETELL_OFFLINE``. ``HF_HUB_OFFLINE`` always has its way.
        allow_pickle: fetch pickled weights where there are no safetensors.
        progress: called with the bytes fetched so far and the bytes to fetch, without what the cache has;
            never where nothing is to be fetched. May come from another thread, and goes back when a
            server makes a file start again.

    Raises:
        MissingExtra: huggingface_hub is not installed.
        UsageError: ``hub_id`` cannot be one; or ``token`` would be sent to a mirror.
        BundleNotFound: the repository or revision does not exist, is gated or private, is no checkpoint,
            or cannot be had: no network, a hub that refuses, or offline and not in the cache.
        PickleRefused: it has pickled weights only.
        StorageError: the cache's disk has not enough space, or cannot be written.
    """
    hub = _huggingface_hub()
    place = _Place.of(hub_id)
    try:
        hub.utils.validate_repo_id(place.repository)
    except ValueError as error:
        raise UsageError(f"{hub_id!r} is no hub id; one is OWNER/NAME ({said_by(error)})") from error
    if place.below and not _BELOW.fullmatch(place.below):
        raise UsageError(f"{hub_id!r} is no hub id; one is OWNER/NAME, or OWNER/NAME/FOLDER")
    if revision is not None and not revision.strip():
        raise UsageError("the revision is empty; give a branch, a tag or a commit")
    if (settings.offline() if offline is None else offline) or hub.constants.HF_HUB_OFFLINE:
        return _find_cached(hub, place, revision, allow_pickle)
    sent = _token_for(hub.constants.ENDPOINT, token or None)
    return _Fetch(hub, place, revision, sent, _Counter(progress)).run(allow_pickle)


def holds_bundle(hub_id: str, *, revision: str | None = None, offline: bool | None = None) -> bool:
    """Whether what a hub id names is a bundle already. Only the list of its files is asked for. Raises what
    :func:`fetch_checkpoint` does."""
    hub = _huggingface_hub()
    place = _Place.of(hub_id)
    if (settings.offline() if offline is None else offline) or hub.constants.HF_HUB_OFFLINE:
        folder = _snapshot(hub, place, revision)
        return folder is not None and (folder / MANIFEST_NAME).is_file()
    fetch = _Fetch(hub, place, revision, _token_for(hub.constants.ENDPOINT, None), _Counter(None))
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


# --- offline --------------------------------------------------------------------------------------------


def _find_cached(hub: Any, place: _Place, revision: str | None, allow_pickle: bool) -> HubCheckpoint:
    cache = hub.constants.HF_HUB_CACHE
    hub_id = place.hub_id
    what = hub_id if revision is None else f"{hub_id} at {revision}"
    advice = "run again with a network and without SEETELL_OFFLINE and HF_HUB_OFFLINE"
    folder = _snapshot(hub, place, revision)
    if folder is None:
        raise BundleNotFound(f"{what}: not in the cache ({cache}), and set offline; {advice}")
    try:
        names = names_in(folder)
        files = bundle_files(names) or choose_files(
            names, source=hub_id, revision=revision, allow_pickle=allow_pickle
        )
        missing = files.missing_shards
    except BundleNotFound as error:  # another tool has fetched the config alone, say
        raise BundleNotFound(f"{what}: only a part is in the cache ({folder}); {advice}") from error
    except OSError as error:
        raise BundleNotFound(f"{what}: its cache cannot be listed ({folder}: {error.strerror})") from error
    if missing:
        raise BundleNotFound(f"{what}: {missing[0]} is not in the cache ({folder}); {advice}")
    return HubCheckpoint(folder, place.commit(folder))


def _snapshot(hub: Any, place: _Place, revision: str | None) -> Path | None:
    """The folder in the cache that holds a revision of the checkpoint, as far as it was fetched."""
    for name in (MANIFEST_NAME, CONFIG, OPEN_CLIP_CONFIG):
        found = hub.try_to_load_from_cache(place.repository, place.below + name, revision=revision)
        if isinstance(found, str):  # else None, or a mark that the repository has no such file
            return Path(found).parent
    return None


# --- online ---------------------------------------------------------------------------------------------


class _Counter:
    """Counts bytes over all files, in the shape of the progress bar that huggingface_hub drives."""

    def __init__(self, report: Progress | None) -> None:
        self._report = report
        self.total = 0
        self._complete = 0
        self._current = 0
        self.failure: Exception | None = None

    def add(self, n_bytes: float | None) -> None:
        """More bytes of the current file; fewer when a server makes it start again."""
        self._current += int(n_bytes or 0)
        self._tell()

    def file_done(self, size_bytes: int) -> None:
        """The current file is complete; what was counted of it gives way to what it has."""
        self._complete, self._current = self._complete + size_bytes, 0
        self._tell()

    def _tell(self) -> None:
        if self._report is None or not self.total:
            return
        try:
            self._report(max(0, min(self._complete + self._current, self.total)), self.total)
        except Exception as error:  # told apart from the hub's errors, which it would be among
            self.failure = error
            raise

    def bar_class(self) -> type[Any]:
        """A stand-in for tqdm. Given even where nobody listens, so that no other bar is drawn."""
        counter = self

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
        place: _Place,
        revision: str | None,
        token: str | Literal[False] | None,
        counter: _Counter,
    ) -> None:
        self.hub = hub
        self.place = place
        self.hub_id = place.hub_id
        self.revision = revision
        self.token = token
        self.counter = counter
        self.cache = Path(hub.constants.HF_HUB_CACHE).expanduser()

    def run(self, allow_pickle: bool) -> HubCheckpoint:
        """Fetch what is needed; see :func:`fetch_checkpoint`."""
        commit, listing = self._list()
        files = bundle_files(listing) or choose_files(
            listing, source=self.hub_id, revision=self.revision, allow_pickle=allow_pickle
        )
        if files.missing_shards:
            raise BundleNotFound(
                f"{self.hub_id}: it lacks {files.missing_shards[0]}, so its weights are partial"
            )
        wanted = {name: self._bytes_to_fetch(listing[name], commit) for name in files.names}
        self.counter.total = sum(wanted.values())
        self._check_space(self.counter.total)
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
                tqdm_class=self.counter.bar_class(),
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

    def _check_space(self, needed_bytes: int) -> None:
        folders = (self.cache.absolute(), *self.cache.absolute().parents)
        place = next(path for path in folders if os.path.isdir(path))
        try:
            free_bytes = shutil.disk_usage(place).free
        except OSError as error:
            raise storage_error(error, self.cache) from error
        if needed_bytes > free_bytes:
            raise StorageError(
                f"{self.hub_id}: {_megabytes(needed_bytes)} to fetch, but {self.cache} has "
                f"{_megabytes(free_bytes)} free; free some space or set HF_HUB_CACHE to a folder elsewhere"
            )

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


def _megabytes(n_bytes: int) -> str:
    return f"{n_bytes / 1e6:,.1f} MB"
