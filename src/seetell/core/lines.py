"""Texts of others, made fit for a message of one line."""

from __future__ import annotations

_LONGEST = 200


def printable(text: str) -> str:
    """``text`` on one line and harmless to a terminal: line breaks, control characters and undecodable bytes
    of file names appear as escapes."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode("ascii")
        for character in text
    )


def said_by(error: object) -> str:
    """What an error of another library says, on one line of bounded length."""
    return " ".join(str(error).split())[:_LONGEST]
