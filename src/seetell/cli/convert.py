"""``seetell convert``: a checkpoint becomes a bundle. Reaches into the making half, when it runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from seetell.cli.options import option, repeatable
from seetell.cli.output import say

if TYPE_CHECKING:
    from seetell.bundle.hub import HubCheckpoint

# What a training run's folder has and a public checkpoint has not.
_RUN_MARK = "recipe.yaml"


def convert(
    checkpoint: Annotated[
        str,
        typer.Argument(
            metavar="CHECKPOINT",
            help="A training run's folder, a public checkpoint's folder or GGUF file, or its hub id "
            "(OWNER/NAME, or modelscope:OWNER/NAME).",
        ),
    ],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The bundle's folder; must not exist.")],
    which: Annotated[
        str | None,
        option(
            "--checkpoint",
            metavar="NAME",
            help="Of a run: latest, best, or one by name.",
            show_default="latest; best where the run stops early, and of a public model that was measured",
        ),
    ] = None,
    interpolate: Annotated[
        float | None,
        option(
            "--interpolate",
            metavar="SHARE",
            help="Of a fine-tuned run: weights between its start (0) and its end (1), which forget less.",
        ),
    ] = None,
    revision: Annotated[
        str | None,
        option(
            "--revision",
            metavar="REV",
            help="Of a hub id: branch, tag or commit.",
            show_default="its main branch",
        ),
    ] = None,
    allow_pickle: Annotated[
        bool,
        option("--allow-pickle", help="Read pickled weights, restricted to tensors, if there are no others."),
    ] = False,
    offline: Annotated[
        bool, option("--offline", help="Fetch nothing: take a hub id's files from the cache.")
    ] = False,
    overwrite: Annotated[bool, option("--overwrite", help="Replace OUT if it is a bundle.")] = False,
    *,
    average: Annotated[
        list[str],
        repeatable(
            "--average",
            metavar="MODEL=SHARE",
            help="Of a run: average its weights with those of a bundle or run alike; may be repeated.",
        ),
    ],
) -> None:
    """Turn a training run or a public checkpoint into a bundle."""
    from seetell.cli.interrupt import clearing_up
    from seetell.cli.making import needs_train_extra
    from seetell.core.errors import UsageError

    folder = Path(checkpoint)
    is_run = (folder / _RUN_MARK).is_file()
    if which is not None and not is_run:
        raise UsageError(f"--checkpoint belongs to the folder of a training run, which {checkpoint} is not")
    if interpolate is not None and not is_run:
        raise UsageError(f"--interpolate belongs to the folder of a training run, which {checkpoint} is not")
    if average and not is_run:
        raise UsageError(f"--average belongs to the folder of a training run, which {checkpoint} is not")
    others = [_with_share(one) for one in average]
    if revision is not None and folder.exists():
        raise UsageError(f"--revision belongs to a hub id, and {checkpoint} is a file or folder")
    if overwrite:
        _check_replaceable(out, folder)
    with needs_train_extra("to convert a checkpoint"), clearing_up():
        if is_run:
            from seetell.modeling.export.conversion import convert_run

            convert_run(
                folder, out, checkpoint=which, interpolate=interpolate, average=others, overwrite=overwrite
            )
        else:
            _convert_public(checkpoint, out, revision, allow_pickle, offline, overwrite)
    say(f"{out}: bundle written; try `seetell doctor {out}`")


def _with_share(text: str) -> tuple[str, float]:
    """``runs/other=0.4`` as its two parts. Raises UsageError."""
    from seetell.core.errors import UsageError

    name, _, share = text.rpartition("=")
    try:
        part = float(share)
    except ValueError:
        part = 0.0
    if not name or not 0.0 < part < 1.0:
        raise UsageError(f"--average: give MODEL=SHARE with a share between 0 and 1, not {text!r}")
    return name, part


def _check_replaceable(out: Path, checkpoint: Path) -> None:
    """A slip of the keyboard must not cost a folder of other things, or the checkpoint itself."""
    from seetell.bundle.manifest import MANIFEST_NAME
    from seetell.core.errors import StorageError

    empty = out.is_dir() and not any(out.iterdir())
    if out.exists() and not empty and not (out / MANIFEST_NAME).is_file():
        raise StorageError(f"{out} is no bundle, and --overwrite replaces nothing else; choose another name")
    if checkpoint.exists() and checkpoint.resolve().is_relative_to(out.resolve()):
        raise StorageError(f"{out} holds the checkpoint itself; choose another name")


def _convert_public(
    checkpoint: str, out: Path, revision: str | None, allow_pickle: bool, offline: bool, overwrite: bool
) -> None:
    from seetell.bundle.hub_ids import in_full
    from seetell.bundle.manifest import Source
    from seetell.core.errors import StorageError
    from seetell.modeling.checkpoints.gguf_file import SUFFIX, open_checkpoint
    from seetell.modeling.checkpoints.registry import unread_settings
    from seetell.modeling.export.public import convert_checkpoint

    if out.exists() and not overwrite and (not out.is_dir() or any(out.iterdir())):
        # Said before gigabytes are fetched.
        raise StorageError(f"{out} exists already; choose another name, or --overwrite to replace it")
    folder, source = Path(checkpoint), None
    if not folder.is_dir() and folder.suffix != SUFFIX:
        checkpoint = in_full(checkpoint)
        fetched = _fetch(checkpoint, revision, allow_pickle, offline)
        folder, source = fetched.folder, Source(hub_id=checkpoint, revision=fetched.revision)
    convert_checkpoint(
        folder,
        out,
        name=checkpoint if source is not None else None,
        source=source,
        allow_pickle=allow_pickle,
        overwrite=overwrite,
    )
    unread = unread_settings(open_checkpoint(folder, allow_pickle=allow_pickle))
    if unread:
        say(f"{checkpoint}: not taken over, so its texts may differ from transformers': {', '.join(unread)}")


def _fetch(hub_id: str, revision: str | None, allow_pickle: bool, offline: bool) -> HubCheckpoint:
    from seetell.bundle.hub import fetch_checkpoint
    from seetell.bundle.hub_ids import is_hub_id
    from seetell.cli.progress import ByteBar
    from seetell.core.errors import BundleNotFound

    if not is_hub_id(hub_id):
        raise BundleNotFound(
            f"{hub_id}: no such folder, and no hub id either; a hub id is OWNER/NAME, "
            "as in openai/clip-vit-base-patch32, or modelscope:OWNER/NAME"
        )
    with ByteBar(f"fetching {hub_id}") as bar:
        return fetch_checkpoint(
            hub_id,
            revision=revision,
            offline=offline or None,
            allow_pickle=allow_pickle,
            progress=bar.show,
        )
