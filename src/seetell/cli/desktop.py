"""Opening the page in a browser, where somebody sits before a desktop."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Mapping
from urllib.parse import urlsplit

# Where a server listens for everybody there is nothing to connect to by that name.
_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}


def has_desktop(environment: Mapping[str, str] = os.environ, platform: str = sys.platform) -> bool:
    """Whether a browser that is opened would be seen: not over SSH, and not without a display."""
    if environment.get("SSH_CONNECTION"):
        return False
    if platform in ("darwin", "win32"):
        return True
    return bool(environment.get("DISPLAY") or environment.get("WAYLAND_DISPLAY"))


def own_address(address: str) -> str:
    """What a browser on this machine asks for, of a server's address."""
    host, _, port = urlsplit(address).netloc.rpartition(":")
    return f"http://{_EVERYWHERE.get(host, host)}:{port}"


def open_page(address: str) -> None:
    """Open it in the user's browser and go on at once: some browsers take their time."""
    import webbrowser

    threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()
