"""Fetching a public checkpoint or a bundle from a hub, or finding what was fetched before.

The id says which hub (``hub_ids.py``); ``huggingface.py`` and ``modelscope.py`` each know one. Only the files
a conversion needs are fetched, all of one commit, and those that the cache has are not fetched again.
"""

from __future__ import annotations

from seetell.bundle import huggingface, modelscope
from seetell.bundle.fetching import HubCheckpoint, Progress
from seetell.bundle.hub_ids import HubId, in_full
from seetell.core import settings
from seetell.core.errors import UsageError

__all__ = ["HubCheckpoint", "Progress", "fetch_checkpoint", "holds_bundle"]


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
        hub_id: ``owner/name``, or ``owner/name/folder`` where the checkpoint lies in one of its folders; of
            ModelScope ``modelscope:owner/name``.
        revision: a branch, tag or commit; by default the repository's main branch.
        token: by default ``HF_TOKEN``, or the login that huggingface_hub keeps; sent to Hugging Face alone.
        offline: use the cache alone; by default ``SEETELL_OFFLINE``. ``HF_HUB_OFFLINE`` always has its way
            with Hugging Face.
        allow_pickle: fetch pickled weights where there are no safetensors.
        progress: called with the bytes fetched so far and the bytes to fetch, without what the cache has;
            never where nothing is to be fetched. May come from another thread, and goes back when a
            server makes a file start again.

    Raises:
        MissingExtra: huggingface_hub is needed and not installed.
        UsageError: ``hub_id`` cannot be one; ``token`` would be sent elsewhere; or a variable names no hub.
        BundleNotFound: the repository or revision does not exist, is gated or private, is no checkpoint,
            or cannot be had: no network, a hub that refuses, or offline and not in the cache.
        BundleDamaged: a file came with another content than the hub lists.
        PickleRefused: it has pickled weights only.
        StorageError: the cache's disk has not enough space, or cannot be written.
    """
    place = HubId.of(in_full(hub_id))
    if revision is not None and not revision.strip():
        raise UsageError("the revision is empty; give a branch, a tag or a commit")
    offline = settings.offline() if offline is None else offline
    if not place.on_modelscope:
        return huggingface.fetch(place, revision, token, offline, allow_pickle, progress)
    if token:
        raise UsageError(f"{hub_id}: a token goes to Hugging Face alone, not to ModelScope; leave it out")
    return modelscope.fetch(place, revision, offline, allow_pickle, progress)


def holds_bundle(hub_id: str, *, revision: str | None = None, offline: bool | None = None) -> bool:
    """Whether what a hub id names is a bundle already. Only the list of its files is asked for. Raises what
    :func:`fetch_checkpoint` does."""
    place = HubId.of(in_full(hub_id))
    answer = modelscope.holds_bundle if place.on_modelscope else huggingface.holds_bundle
    return answer(place, revision, settings.offline() if offline is None else offline)
