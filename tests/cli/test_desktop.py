"""Where a browser is opened, and with which address."""

from __future__ import annotations

import threading
import webbrowser

import pytest

from seetell.cli.desktop import has_desktop, open_page, own_address


@pytest.mark.parametrize(
    ("environment", "platform", "seen"),
    [
        ({}, "linux", False),
        ({"DISPLAY": ""}, "linux", False),
        ({"DISPLAY": ":0"}, "linux", True),
        ({"WAYLAND_DISPLAY": "wayland-0"}, "linux", True),
        ({"DISPLAY": "localhost:10.0", "SSH_CONNECTION": "10.0.0.1 5 10.0.0.2 22"}, "linux", False),
        ({}, "darwin", True),
        ({"SSH_CONNECTION": "10.0.0.1 5 10.0.0.2 22"}, "darwin", False),
        ({}, "win32", True),
    ],
)
def test_where_there_is_a_desktop(environment: dict[str, str], platform: str, seen: bool) -> None:
    assert has_desktop(environment, platform) is seen


@pytest.mark.parametrize(
    ("listens", "asked"),
    [
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000"),
        ("http://0.0.0.0:8001", "http://127.0.0.1:8001"),
        ("http://[::]:8000", "http://[::1]:8000"),
        ("http://[::1]:8000", "http://[::1]:8000"),
        ("http://192.168.1.2:80", "http://192.168.1.2:80"),
    ],
)
def test_the_address_of_a_server_for_this_machine(listens: str, asked: str) -> None:
    assert own_address(listens) == asked


def test_a_slow_browser_holds_nothing_up(monkeypatch: pytest.MonkeyPatch) -> None:
    go_on, done = threading.Event(), threading.Event()
    opened: list[str] = []

    def slow(address: str) -> bool:
        assert go_on.wait(30)
        opened.append(address)
        done.set()
        return True

    monkeypatch.setattr(webbrowser, "open", slow)
    open_page("http://127.0.0.1:8000")
    assert opened == []
    go_on.set()
    assert done.wait(30)
    assert opened == ["http://127.0.0.1:8000"]
