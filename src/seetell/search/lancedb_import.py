"""The import of LanceDB (the extra ``search``).

Half of its time, 0.4 s, goes into ``lance_namespace_urllib3_client``: some two hundred pydantic models for
talking to a catalogue over the network, which a table in a folder never needs. A process of the command line
does without them. A program that imports seetell may have its own use for LanceDB and gets it as it is.
"""

from __future__ import annotations

import importlib
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import Loader
from importlib.machinery import ExtensionFileLoader, ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

from seetell.core import own_process
from seetell.core.errors import MissingExtra, StorageError

_CLIENT = "lance_namespace_urllib3_client"
# What holds on to names of the client.
_USERS = ("lancedb", "lance_namespace")

_LOCK = threading.Lock()


def import_lancedb(inside: str = "") -> Any:
    """The ``lancedb`` module, or the one of that name inside it. Raises MissingExtra without LanceDB, and
    StorageError where what is there cannot be imported."""
    with _LOCK:
        if own_process.is_ours() and not sys.modules.keys() & {_CLIENT, *_USERS}:
            _import_without_client()
        try:
            module = importlib.import_module("lancedb")
        except ModuleNotFoundError as error:
            raise MissingExtra("lancedb", "search", "to keep an index of photos on disk") from error
        except Exception as error:  # of a library that is there in part, or does not fit this machine
            why = str(error).partition("\n")[0] or type(error).__name__
            raise StorageError(
                f"LanceDB is installed here but cannot be imported ({why}); install it again"
            ) from error
        return importlib.import_module(f"lancedb.{inside}") if inside else module


def _import_without_client() -> None:
    try:
        with _client_left_out():
            importlib.import_module("lancedb")
    except Exception:
        # Not installed, or a later LanceDB that needs more of the client: it is imported as everybody has it.
        _forget(*_USERS)


class _LeftOut(type):
    """A class of the client that stands for its name alone, and is looked up should anyone use it."""

    def _real(cls) -> Any:
        real = getattr(importlib.import_module(cls.__module__), cls.__name__)
        if real is cls:
            raise AttributeError(f"{cls.__name__} is needed while LanceDB is imported")
        return real

    def __call__(cls, *values: Any, **named: Any) -> Any:
        return cls._real()(*values, **named)

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(cls._real(), name)


class _Nearly(ModuleType):
    """A module of the client in which every class is found that is asked for."""

    def __getattr__(self, name: str) -> Any:
        if not name[0].isupper():  # nobody's class
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        made = _LeftOut(name, (), {"__module__": self.__name__})
        setattr(self, name, made)
        return made


class _Finder(Loader):
    """Finds the modules that the client has, and reads none of them."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        real = PathFinder.find_spec(name, path) if _is_of(name, _CLIENT) else None
        if real is None:
            return None
        spec = ModuleSpec(name, self, is_package=real.submodule_search_locations is not None)
        spec.submodule_search_locations = real.submodule_search_locations
        return spec

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _Nearly(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """There is nothing in it to run."""


@contextmanager
def _client_left_out() -> Iterator[None]:
    finder = _Finder()
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        _forget(_CLIENT)  # whoever imports it from now on gets the real one


def _forget(*packages: str) -> None:
    """All but compiled modules: the one of LanceDB cannot be loaded twice."""
    for name, module in list(sys.modules.items()):
        loader = getattr(getattr(module, "__spec__", None), "loader", None)
        if _is_of(name, *packages) and not isinstance(loader, ExtensionFileLoader):
            del sys.modules[name]


def _is_of(module: str, *packages: str) -> bool:
    return module.partition(".")[0] in packages
