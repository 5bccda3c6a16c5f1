"""The HTTP server: the verbs of one or more models for many clients at once. Needs the extra ``serve``."""

from __future__ import annotations

from importlib import import_module

from seetell.core.errors import MissingExtra


def require_extra() -> None:
    """Raises MissingExtra where the packages of the extra ``serve`` are not installed.

    The room's other modules import them at their top, and are imported after this.
    """
    for package in ("fastapi", "uvicorn", "prometheus_client", "httpcore2"):
        try:
            import_module(package)
        except ImportError as error:
            raise MissingExtra(package, "serve", "to serve a model over HTTP") from error
