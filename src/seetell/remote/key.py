"""The key of a server, and that no text can be made of it by mistake."""

from __future__ import annotations

import os

from seetell.core.errors import UsageError

# Ours first: one set to nothing keeps the other from being sent.
VARIABLES = ("SEETELL_REMOTE_API_KEY", "OPENAI_API_KEY")

# A server's own words may repeat the beginning and the end of a key with stars between.
_TELLING = 4
_SHORT = 8
_HIDDEN = "***"


class Key:
    """A key, or none. It shows in no representation, cannot be pickled, and is taken out of what others say.

    ``variable``: where it came from.
    """

    __slots__ = ("__text", "variable")

    def __init__(self, text: str, variable: str | None = None) -> None:
        self.__text = text
        self.variable = variable

    @classmethod
    def from_environment(cls) -> Key:
        """Of the first of :data:`VARIABLES` that is set. Raises UsageError for what no header can carry,
        without telling it."""
        for name in VARIABLES:
            if name in os.environ:
                text = os.environ[name].strip()
                if not text.isascii() or not text.isprintable() or " " in text:
                    raise UsageError(f"{name} is no key: it holds blanks or signs that no header can carry")
                return cls(text, name if text else None)
        return cls("")

    def __repr__(self) -> str:
        return f"Key({_HIDDEN if self else 'none'})"

    def __bool__(self) -> bool:
        return bool(self.__text)

    def __reduce__(self) -> str:
        raise TypeError("a key is not written down")

    def headers(self) -> dict[str, str]:
        """What carries it; nothing where there is none."""
        return {"Authorization": f"Bearer {self.__text}"} if self else {}

    def hidden(self, text: str) -> str:
        """An answer without the key. A short one is left: it may be a word that is meant."""
        return text.replace(self.__text, _HIDDEN) if len(self.__text) >= _SHORT else text

    def hidden_in_error(self, text: str) -> str:
        """What a server says went wrong, without the key and without words that tell its beginning or end."""
        if not self:
            return text
        telling = [self.__text]
        if len(self.__text) >= _SHORT:
            telling += [self.__text[:_TELLING], self.__text[-_TELLING:]]
        return " ".join(_HIDDEN if any(part in word for part in telling) else word for word in text.split())
