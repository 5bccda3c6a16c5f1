"""``seetell serve``: the verbs over HTTP."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from seetell.cli.options import Shared, env_name, open_model, option, repeatable, shared_options

if TYPE_CHECKING:
    from seetell.serving.model_pool import Source

# Strangers' photos are decoded, several at once: a PNG of so many pixels takes 200 MB.
_MAX_PIXELS = 64_000_000
_PIXELS_VARIABLE = "SEETELL_MAX_PIXELS"
_KEY_VARIABLE = env_name("--api-key")
# Two batches, each on half of the threads, take less time than one after the other on all of them.
_STREAMS = 2


@shared_options
def serve(
    host: Annotated[
        str, option("--host", help="Address to listen at; 0.0.0.0 for every one of this machine.")
    ] = "127.0.0.1",
    port: Annotated[int, option("--port", min=0, max=65535, help="0 takes any free one.")] = 8000,
    api_key: Annotated[
        str | None,
        option(
            "--api-key",
            metavar="KEY[,KEY]",
            help="Ask clients for one of these. Better given as SEETELL_API_KEY: others may see commands.",
        ),
    ] = None,
    index: Annotated[
        Path | None, option("--index", metavar="DIR", help="Answer searches from this index.")
    ] = None,
    fetch: Annotated[
        Literal["public", "any", "none"],
        option("--fetch", help="Where addresses of photos may lead; any allows private networks, too."),
    ] = "public",
    memory_mb: Annotated[
        int | None,
        option(
            "--memory-mb",
            min=1,
            metavar="MB",
            help="For models; those not used are put away for others.",
            show_default="no bound",
        ),
    ] = None,
    streams: Annotated[
        int | None,
        option(
            "--streams",
            min=1,
            help="Batches that compute side by side, each on its share of the threads; 1 answers a lone "
            "client sooner, and many of them later.",
            show_default="2, or 1 on one thread",
        ),
    ] = None,
    root_path: Annotated[
        str,
        option(
            "--root-path",
            metavar="PATH",
            help="What a proxy in front puts before every path, as /photos; it may take it away or leave it.",
            show_default="none",
        ),
    ] = "",
    open_browser: Annotated[
        bool, option("--open", help="Open the page in a browser, where there is a desktop.")
    ] = False,
    *,
    also: Annotated[
        list[str],
        repeatable("--also", metavar="MODEL", help="A further model, loaded when first asked for."),
    ],
    cors_origin: Annotated[
        list[str],
        repeatable(
            "--cors-origin", metavar="ORIGIN", help="Let web pages of this origin ask, too; * for all pages."
        ),
    ],
    photos: Annotated[
        list[str],
        repeatable("--photos", metavar="FOLDER", help="Clients may bring the index up to date from it."),
    ],
    shared: Shared,
) -> None:
    """Answer over HTTP: captions, answers, matches, labels, vectors and searches, and OpenAI's API.

    Ends with Ctrl-C or SIGTERM, after what was asked is answered.
    """
    from seetell.cli.desktop import has_desktop, open_page, own_address
    from seetell.cli.output import json_line, say
    from seetell.core import settings
    from seetell.core.errors import UsageError
    from seetell.serving import require_extra

    require_extra()
    from seetell.core.processors import usable_processors
    from seetell.serving.app import App
    from seetell.serving.cross_origin import EVERY_ORIGIN, checked_origins
    from seetell.serving.logs import log_json_to_stderr, log_to_stderr
    from seetell.serving.photo_index_api import ServedIndex
    from seetell.serving.server import serve as serve_app
    from seetell.serving.target import checked_root_path

    if photos and index is None:
        raise UsageError("--photos is for bringing an index up to date; give --index DIR, too")
    if missing := [folder for folder in photos if not Path(folder).is_dir()]:
        raise UsageError(f"--photos {missing[0]}: no such folder")
    origins, prefix = checked_origins(cors_origin), checked_root_path(root_path)
    os.environ.setdefault(_PIXELS_VARIABLE, str(_MAX_PIXELS))
    keys = _keys(api_key)
    threads = shared.threads or settings.threads() or usable_processors()
    streams = min(threads, _STREAMS) if streams is None else streams
    if streams > threads:
        raise UsageError(f"--streams {streams} is more than there are processor threads to share, {threads}")
    app = App(
        [_source(replace(shared, model=name), threads, streams) for name in (shared.model, *also)],
        keys=keys,
        workers=streams + 1,
        reach=None if fetch == "none" or settings.offline() else fetch,
        memory_bytes=None if memory_mb is None else memory_mb * 1_000_000,
        index=None if index is None else ServedIndex(index, [Path(folder) for folder in photos]),
        threads=threads,
        origins=origins,
        root_path=prefix,
    )

    opens = open_browser and has_desktop()

    def started(address: str) -> None:
        if shared.json:
            typer.echo(json_line({"address": address}))
        elif not shared.quiet:
            say(_where(app.serving.pool.names, address, opened=opens))
        if opens:
            open_page(own_address(address))
        if not keys and host not in ("127.0.0.1", "::1", "localhost"):
            say("warning: anybody who can reach this address can use it; give --api-key")
        elif not keys and EVERY_ORIGIN in origins:
            say("warning: any web page open in a browser on this machine can use it; give --api-key")

    if shared.json:
        log_json_to_stderr()
    else:
        log_to_stderr()
    serve_app(app, host=host, port=port, started=started)


def _where(names: Sequence[str], address: str, *, opened: bool) -> str:
    """The sentence that says where the page is."""
    from seetell.cli.desktop import own_address

    served = " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
    page = own_address(address)
    told = f"the page opens in your browser ({page})" if opened else f"open {page} in a browser"
    listens = "" if page == address else f", listening at {address}"
    return f"Serving {served}{listens}: {told}. Ctrl-C ends it."


def _keys(given: str | None) -> list[str]:
    """The keys of ``--api-key``, none where it is not given. Raises UsageError for one that holds no key: who
    wants a key must not get a server open to everybody because a command that makes one failed."""
    from seetell.core.errors import UsageError

    # Click takes an empty variable for one that is not set.
    if given is None and os.environ.get(_KEY_VARIABLE) is None:
        return []
    keys = [key.strip() for key in (given or "").split(",") if key.strip()]
    if not keys:
        where = "--api-key" if given is not None else _KEY_VARIABLE
        raise UsageError(f"{where} is given and holds no key; give one, or leave it out for no key")
    return keys


def _source(shared: Shared, threads: int, streams: int) -> Source:
    """The model of these options, to be opened when it is asked for. Raises what finding it raises."""
    from seetell.bundle.recommend import ALLOWANCE_BYTES
    from seetell.cli.options import convert_first
    from seetell.serving.model_pool import Source
    from seetell.tasks.model import identity_of

    bundle = convert_first(shared.model, quiet=shared.quiet)
    opened = partial(open_model, shared, threads=threads, streams=streams)
    manifest = bundle.manifest
    return Source(manifest.name, bundle.size_bytes + ALLOWANCE_BYTES, opened, identity_of(manifest))
