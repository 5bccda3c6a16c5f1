"""Chat templates, rendered where they can do no harm: in Jinja's sandbox, in a process with bounds of its
own."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from seetell.core.errors import BundleInvalid, MissingExtra, StorageError, UsageError
from seetell.core.lines import printable
from seetell.tasks.chat import render

# All that the process is told of this one's: keys of servers are nothing to a template.
_PASSED_ON = ("PATH", "PYTHONPATH", "PYTHONHOME", "LD_LIBRARY_PATH", "SYSTEMROOT", "LANG", "TZ")
# For a machine that cannot count a process's own time, and for one that is very busy.
_PATIENCE_S = 60.0


class TemplateRenderer:
    """Renders one model's template. The process is started when it is first needed, and again where it ended.

    Args:
        name: of the model, for messages.
        template: of Jinja.
        tokens: what it may write by name.
    """

    def __init__(self, name: str, template: str, tokens: dict[str, str]) -> None:
        self._name = name
        self._template = template
        self._tokens = tokens
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def render(self, messages: list[dict[str, Any]], *, marker: str) -> str:
        """One text from a conversation, up to where the answer begins. marker: not to stand in the template's
        own text.

        Raises UsageError for a conversation that the template is not made for, BundleInvalid for a template
        that fails or goes over its bounds of time, memory and length, and MissingExtra without jinja2.
        """
        if marker in self._template:
            raise BundleInvalid(
                f"{self._name}: a character of no meaning (U+{ord(marker):04X}) in its template"
            )
        # Some templates ask after tools without asking whether there is such a word.
        always = {"add_generation_prompt": True, "tools": None, "documents": None}
        request = {
            "template": self._template,
            "variables": {**always, "messages": messages, **self._tokens},
        }
        with self._lock:
            answer = self._asked(json.dumps(request).encode("ascii") + b"\n")
        if answer is None:
            raise BundleInvalid(
                f"{self._name}: its chat template does not come to an end within {render.MOST_CPU_S:g} s or "
                "needs too much memory; the model cannot be talked to"
            )
        if "refused" in answer:
            raise UsageError(f"{self._name} cannot be talked to like that: {printable(answer['refused'])}")
        if "error" in answer:
            raise BundleInvalid(f"{self._name}: its chat template fails: {printable(answer['error'])}")
        return str(answer["text"])

    def close(self) -> None:
        """End the process. It is started again where it is needed again."""
        with self._lock:
            self._end()

    def _asked(self, request: bytes) -> dict[str, str] | None:
        """What the process answers; None where it ended over it."""
        process = self._started()
        assert process.stdin is not None and process.stdout is not None
        watch = threading.Timer(_PATIENCE_S, process.kill)
        watch.start()
        try:
            process.stdin.write(request)
            process.stdin.flush()
            line = process.stdout.readline()
        except OSError:
            line = b""
        finally:
            watch.cancel()
        if not line.endswith(b"\n"):
            self._end()
            return None
        answer: dict[str, str] = json.loads(line)
        return answer

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is not None and self._process.poll() is None:
            return self._process
        if importlib.util.find_spec("jinja2") is None:
            raise MissingExtra("jinja2", "chat", "to talk to a model")
        self._end()
        environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        try:
            process = subprocess.Popen(
                [sys.executable, "-P", str(Path(render.__file__))],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=environment,
            )
        except OSError as error:
            raise StorageError(
                f"a process to render chat templates cannot be started ({error.strerror})"
            ) from error
        self._process = process
        assert process.stdout is not None
        if not process.stdout.readline():
            self._end()
            raise StorageError("the process that renders chat templates ended at once; is jinja2 in order?")
        return process

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                stream.close()

    def __del__(self) -> None:
        self._end()
