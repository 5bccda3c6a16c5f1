"""Settings from the environment are parsed, or refused by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from seetell.core import settings
from seetell.core.errors import UsageError


@pytest.mark.parametrize(
    ("text", "expected"),
    [("1", True), ("true", True), (" Yes ", True), ("ON", True), ("0", False), ("False", False), ("", False)],
)
def test_offline(monkeypatch: pytest.MonkeyPatch, text: str, expected: bool) -> None:
    monkeypatch.setenv("SEETELL_OFFLINE", text)
    assert settings.offline() is expected


@pytest.mark.parametrize("text", ["flase", "2", "-", "None", "真"])
def test_a_word_that_is_neither_is_refused(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("SEETELL_OFFLINE", text)
    with pytest.raises(UsageError, match="SEETELL_OFFLINE="):
        settings.offline()


def test_the_hub_is_one_that_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    for text, expected in (
        ("", "huggingface"),
        ("huggingface", "huggingface"),
        (" ModelScope", "modelscope"),
    ):
        monkeypatch.setenv("SEETELL_HUB", text)
        assert settings.hub() == expected
    monkeypatch.setenv("SEETELL_HUB", "hf")
    with pytest.raises(
        UsageError, match="SEETELL_HUB='hf' is no hub known here: use huggingface or modelscope"
    ):
        settings.hub()


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("SEETELL_THREADS", settings.threads),
        ("SEETELL_MAX_PIXELS", settings.max_pixels),
        ("SEETELL_BATCH_SIZE", settings.batch_size),
        ("SEETELL_PHOTO_PX", settings.photo_px),
    ],
)
@pytest.mark.parametrize("text", ["0", "-1", "many", "1.5", "1e3", "0x10"])
def test_numbers_are_whole_and_positive(
    monkeypatch: pytest.MonkeyPatch, name: str, read: Callable[[], int | None], text: str
) -> None:
    monkeypatch.setenv(name, "12")
    assert read() == 12
    monkeypatch.setenv(name, text)
    with pytest.raises(UsageError, match=name):
        read()


@pytest.mark.parametrize("text", ["0", "-1", "long", "inf", "nan"])
def test_patience_is_a_number_of_seconds(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("SEETELL_PATIENCE", "1.5")
    assert settings.patience_s() == 1.5
    monkeypatch.setenv("SEETELL_PATIENCE", text)
    with pytest.raises(UsageError, match="SEETELL_PATIENCE"):
        settings.patience_s()


def test_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MODEL", "OFFLINE", "THREADS", "MAX_PIXELS", "CACHE"):
        monkeypatch.delenv(f"SEETELL_{name}", raising=False)
    assert settings.model() is None
    assert settings.offline() is False
    assert settings.threads() is None
    assert settings.max_pixels() == settings.DEFAULT_MAX_PIXELS
    assert settings.cache_override() is None


def test_the_cache_may_start_at_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SEETELL_CACHE", "~/models")
    assert settings.cache_override() == tmp_path / "models"


def test_a_cache_in_a_home_nobody_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEETELL_CACHE", "~no-such-user-here/models")
    with pytest.raises(UsageError, match="SEETELL_CACHE"):
        settings.cache_override()
