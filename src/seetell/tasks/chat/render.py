"""A process of its own that renders chat templates, started by ``template.py`` as a script.

A template comes with a checkpoint and is anybody's. Jinja's sandbox keeps it from everything but its
variables; what it may still do, go on for ever or fill the memory, ends this process and no other. One JSON
object per line comes in, ``{"template", "variables"}``, and one goes out, ``{"text"}``,
``{"refused"}`` or ``{"error"}``.
"""

from __future__ import annotations

import contextlib
import json
import signal
import sys
from datetime import datetime
from functools import lru_cache
from typing import Any

MOST_CPU_S = 2.0
MOST_MEMORY_BYTES = 512 << 20
MOST_CHARACTERS = 4 << 20


def main() -> None:
    """Answer until there is nothing more to read."""
    # Whatever else is printed must not look like an answer.
    out, sys.stdout = sys.stdout.buffer, sys.stderr
    _bound_memory()
    compiled = lru_cache(4)(_environment().from_string)
    _send(out, {"ready": True})
    for line in sys.stdin.buffer:
        request = json.loads(line)
        _send(out, _rendered(compiled, request["template"], request["variables"]))


def _rendered(compiled: Any, template: str, variables: dict[str, Any]) -> dict[str, str]:
    _bound_time(MOST_CPU_S)
    try:
        pieces, size = [], 0
        for piece in compiled(template).generate(**variables):
            size += len(piece)
            if size > MOST_CHARACTERS:
                return {"error": f"it makes a text of more than {MOST_CHARACTERS} characters"}
            pieces.append(piece)
        return {"text": "".join(pieces)}
    except MemoryError:
        return {"error": f"it needs more than {MOST_MEMORY_BYTES >> 20} MB of memory"}
    except _Refused as error:
        return {"refused": " ".join(str(error).split())[:300]}
    except Exception as error:  # a template can raise anything
        return {"error": " ".join(str(error).split())[:300] or type(error).__name__}
    finally:
        _bound_time(0)


def _bound_memory() -> None:
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource  # not on Windows

        resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY_BYTES, MOST_MEMORY_BYTES))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _bound_time(seconds: float) -> None:
    # Of this process alone, however busy the machine is; what comes then ends it even within one long
    # product.
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_PROF, seconds)


def _environment() -> Any:
    """What templates of public checkpoints expect, as transformers sets it up."""
    from jinja2.ext import loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols]
    )
    environment.filters["tojson"] = _as_json
    environment.globals["raise_exception"] = _refuse
    environment.globals["strftime_now"] = lambda form: datetime.now().strftime(str(form))
    return environment


def _as_json(value: Any, indent: int | None = None, separators: Any = None, sort_keys: bool = False) -> str:
    # Jinja's own writes for pages of HTML.
    return json.dumps(value, ensure_ascii=False, indent=indent, separators=separators, sort_keys=sort_keys)


class _Refused(Exception):
    """What a template says of a conversation that it is not made for."""


def _refuse(message: str) -> None:
    raise _Refused(message)


def _send(out: Any, answer: dict[str, Any]) -> None:
    out.write(json.dumps(answer).encode("ascii") + b"\n")
    out.flush()


if __name__ == "__main__":
    main()
