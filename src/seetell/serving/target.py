"""What a request's target means: the path that is asked for here, wherever the server seems to lie."""

from __future__ import annotations

import re
from urllib.parse import quote, unquote

from starlette.types import Scope

from seetell.core.errors import UsageError

# What proxies, and clients told of one, send: the whole address. RFC 9112 has every server understand it.
_ABSOLUTE = re.compile(rb"https?://(?P<host>[^/?#]*)(?P<path>/?.*)", re.IGNORECASE | re.DOTALL)
_SLASHES = re.compile("/{2,}")
_ROOT_PATH = re.compile(r"(/[A-Za-z0-9._~-]+)+")


def checked_root_path(given: str) -> str:
    """A prefix without a slash at its end; empty for none. Raises UsageError."""
    prefix = given.rstrip("/")
    if prefix and (_ROOT_PATH.fullmatch(prefix) is None or ".." in prefix):
        raise UsageError(
            f"--root-path {given!r} is no path; write what the proxy puts before ours, as /photos (letters, "
            "digits and . _ ~ - between slashes)"
        )
    return prefix


def understood(scope: Scope, root_path: str) -> Scope:
    """The request with the path that is asked for here: without ``root_path``, where a proxy has left it, and
    without the slashes that clients add where they put two addresses together."""
    path, headers = scope["path"], scope["headers"]
    whole = _ABSOLUTE.fullmatch(scope.get("raw_path", b""))
    if whole is not None:
        path = unquote(whole["path"].decode("ascii", "replace"))
        # RFC 9112, 3.2.2: the host of the target counts, whatever the header says.
        headers = [(b"host", whole["host"]), *((name, value) for name, value in headers if name != b"host")]
    if path == root_path or path.startswith(f"{root_path}/"):
        path = path[len(root_path) :]
    path = _SLASHES.sub("/", f"/{path}")
    path = path if path == "/" else path.removesuffix("/")
    return {**scope, "path": path, "raw_path": quote(path).encode(), "headers": headers}


def answered_as(scope: Scope) -> Scope:
    """The request that the app answers: for HEAD it is GET; the connection leaves the body out."""
    return {**scope, "method": "GET"} if scope["method"] == "HEAD" else scope
