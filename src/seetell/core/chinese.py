"""Which characters are Chinese: one answer for whatever counts words or guesses a language."""

from __future__ import annotations

import re

HAN = (
    "\u2e80-\u2fdf"  # radicals
    "\u3005\u3007"  # iteration mark, zero
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    "\U00020000-\U000323af"
)
"""Chinese characters, as what stands between the brackets of a regular expression."""

_HAN = re.compile(f"[{HAN}]")


def has_chinese(text: str) -> bool:
    """Whether any character of a text is Chinese."""
    return _HAN.search(text) is not None
