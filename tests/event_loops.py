"""Runs coroutines for tests that have no event loop, whatever else runs in their thread."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

Result = TypeVar("Result")


def in_own_loop(coroutine: Coroutine[Any, Any, Result]) -> Result:
    """What the coroutine returns. It runs in a thread of its own: the browser of the page's tests keeps a
    loop in the main thread for as long as it is open, and there can be no second one in a thread."""
    with ThreadPoolExecutor(1) as threads:
        return threads.submit(asyncio.run, coroutine).result()
