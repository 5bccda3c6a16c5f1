"""How a model behind a server is named, ``openai:NAME`` with NAME as its server knows it, and how it is asked
where nobody says."""

from __future__ import annotations

PREFIX = "openai:"

# The longer edge of a photo as it is sent. Above this servers make photos smaller themselves, or charge for
# more; letters on signs are still read.
DEFAULT_PX = 1024

# Seconds for one photo, all its attempts and the pauses between them.
DEFAULT_PATIENCE_S = 120.0


def is_remote(source: object) -> bool:
    """Whether a model's name means one behind a server."""
    return isinstance(source, str) and source.startswith(PREFIX)
