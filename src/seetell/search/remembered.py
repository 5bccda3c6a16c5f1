"""What an index remembers besides its photos: which files could not be read, the captions of photos that have
gone, and what was named outright. A JSON file beside the table, ``PLACE/TABLE.json``."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import PIL

from seetell.core import settings
from seetell.core.errors import StorageError
from seetell.core.files import atomic_write_text
from seetell.search.details import Stamp


@dataclass(frozen=True, slots=True)
class KeptCaption:
    """The caption of bytes that are no photo of the index any more. path: where they lay last."""

    path: str
    text: str


@dataclass(slots=True)
class Remembered:
    """Whoever changes it holds the index's lock, and saves it.

    failed: files that could not be read, as they were then. captions: by content hash, kept until the photo
    is back or its place is taken out. outright: places that a walk through the folders above them would leave
    out, so that it does not take out what was named.
    """

    file: Path
    failed: dict[str, Stamp] = field(default_factory=dict)
    captions: dict[str, KeptCaption] = field(default_factory=dict)
    outright: set[str] = field(default_factory=set)
    _saved: str = ""

    @classmethod
    def read(cls, file: Path) -> Remembered:
        """Empty where there is none yet. Raises StorageError for a damaged one."""
        try:
            text = file.read_text(encoding="utf-8")
            document = json.loads(text)
            failed = {path: Stamp(*stamp) for path, stamp in document["failed"].items()}
            captions = {sha256: KeptCaption(*kept) for sha256, kept in document["captions"].items()}
            readers, outright = document["readers"], set(document["outright"])
        except FileNotFoundError:
            return cls(file)
        except OSError as error:
            raise StorageError(f"{file} cannot be read ({error.strerror or error})") from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise StorageError(
                f"{file} is damaged; remove it, and files that cannot be read are told of once more"
            ) from error
        if readers != _readers():
            failed.clear()  # they may be readable now
        return cls(file, failed, captions, outright, text)

    def save(self) -> None:
        """Write it, if there is anything new. Raises StorageError."""
        document = {
            "readers": _readers(),
            "failed": {path: [one.size_bytes, one.mtime_ns] for path, one in sorted(self.failed.items())},
            "captions": {sha256: [one.path, one.text] for sha256, one in sorted(self.captions.items())},
            "outright": sorted(self.outright),
        }
        # Escaped, because names of files may hold bytes that are no UTF-8.
        text = json.dumps(document, indent=0)
        if text != self._saved and (self._saved or self.failed or self.captions or self.outright):
            atomic_write_text(self.file, text)
            self._saved = text

    def keep(self, captions: Iterable[tuple[str, str, str]]) -> None:
        """(content hash, path, caption) of photos that are about to go."""
        self.captions.update((sha256, KeptCaption(path, text)) for sha256, path, text in captions)

    def forget(self, places: Container[str]) -> None:
        """Everything about files at or below these places."""
        self.failed = {path: one for path, one in self.failed.items() if path not in places}
        self.captions = {sha256: one for sha256, one in self.captions.items() if one.path not in places}
        self.outright = {path for path in self.outright if path not in places}

    def move(self, now: Callable[[str], str]) -> None:
        """Paths have become others."""
        self.failed = {now(path): one for path, one in self.failed.items()}
        self.captions = {
            sha256: KeptCaption(now(one.path), one.text) for sha256, one in self.captions.items()
        }
        self.outright = {now(path) for path in self.outright}


def _readers() -> str:
    """What decides which files can be read, besides the files."""
    from importlib.metadata import version

    heic = importlib.util.find_spec("pi_heif") is not None
    pixels = settings.max_pixels()
    return f"seetell {version('seetell')}, Pillow {PIL.__version__}, HEIC {heic}, {pixels} pixels"
