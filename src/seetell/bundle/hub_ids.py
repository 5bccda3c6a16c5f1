"""What a hub id names: which hub, which repository there, and which folder in that.

``OWNER/NAME`` is of Hugging Face and ``modelscope:OWNER/NAME`` of ModelScope; a third name is a folder
within. With ``SEETELL_HUB=modelscope`` the short form, too, is of ModelScope. What is kept of a checkpoint is
kept under its id in full, so that the same name on two hubs is never taken for the same model.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from seetell.core import settings

MODELSCOPE = "modelscope:"

_HUB_ID = re.compile(r"(modelscope:)?[A-Za-z0-9][\w.\-]*(/[A-Za-z0-9][\w.\-]*){1,2}")


def is_hub_id(text: str) -> bool:
    """Whether ``text`` has the form ``owner/name`` or ``owner/name/folder``, a hub before it or not."""
    return _HUB_ID.fullmatch(text) is not None


def in_full(text: str) -> str:
    """A hub id that means the same whatever ``SEETELL_HUB`` says; what is no hub id comes back as it is.

    Raises UsageError where that variable names no hub.
    """
    if not is_hub_id(text) or text.startswith(MODELSCOPE):
        return text
    return MODELSCOPE + text if settings.hub() == "modelscope" else text


@dataclass(frozen=True, slots=True)
class HubId:
    """text: the id in full. repository: ``owner/name``. below: the beginning of its files' names, empty or
    ``folder/``."""

    text: str
    repository: str
    below: str

    @classmethod
    def of(cls, text: str) -> HubId:
        """The parts of an id in full. Whether they can be names at all is each hub's to say."""
        owner, *rest = text.removeprefix(MODELSCOPE).split("/", 2)
        return cls(text, "/".join([owner, *rest[:1]]), f"{rest[1]}/" if len(rest) > 1 else "")

    @property
    def on_modelscope(self) -> bool:
        return self.text.startswith(MODELSCOPE)

    def commit(self, folder: Path) -> str:
        """The commit of a checkpoint's folder in a cache, whose files lie in a folder of that name."""
        return (folder.parent if self.below else folder).name
