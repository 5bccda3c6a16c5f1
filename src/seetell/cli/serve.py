"""``seetell serve``: the verbs over HTTP."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from seetell.cli.options import Shared, open_model, option, shared_options


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
    fetch: Annotated[
        Literal["public", "any", "none"],
        option("--fetch", help="Where addresses of photos may lead; any allows private networks, too."),
    ] = "public",
    *,
    shared: Shared,
) -> None:
    """Answer over HTTP: captions, answers, matches, labels and vectors, and OpenAI's API.

    Ends with Ctrl-C or SIGTERM, after what was asked is answered.
    """
    from seetell.cli.output import json_line, say
    from seetell.core import settings
    from seetell.serving import require_extra

    require_extra()
    from seetell.serving.app import App
    from seetell.serving.limits import usable_processors
    from seetell.serving.logs import log_to_stderr
    from seetell.serving.model_pool import Source
    from seetell.serving.server import serve as serve_app

    keys = [key.strip() for key in (api_key or "").split(",") if key.strip()]
    model = open_model(shared, threads=settings.threads() or usable_processors())
    app = App(
        [Source(model.name, 0, lambda: model)],
        keys=keys,
        reach=None if fetch == "none" or settings.offline() else fetch,
    )

    def started(address: str) -> None:
        if shared.json:
            typer.echo(json_line({"address": address}))
        else:
            say(f"{model.name} at {address} (Ctrl-C ends)")
        if not keys and host not in ("127.0.0.1", "::1", "localhost"):
            say("warning: anybody who can reach this address can use it; give --api-key")

    log_to_stderr()
    serve_app(app, host=host, port=port, started=started)
