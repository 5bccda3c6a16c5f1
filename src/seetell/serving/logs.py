"""The server's log on standard error: a line for people on a terminal, one JSON object per line for what
collects logs."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime

from seetell.core.lines import printable


class JsonLines(logging.Formatter):
    """``time``, ``level``, ``event`` and the fields of the event."""

    def format(self, record: logging.LogRecord) -> str:
        """A record as one line."""
        fields = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            fields["traceback"] = self.formatException(record.exc_info)
        return json.dumps(fields, ensure_ascii=True, default=str)


class PlainLines(logging.Formatter):
    """A time, and what happened; of a request its method, path, status and milliseconds."""

    def format(self, record: logging.LogRecord) -> str:
        """A record as one line, and what led to an error below it."""
        fields = getattr(record, "fields", {})
        said = [datetime.fromtimestamp(record.created).strftime("%H:%M:%S")]
        if record.getMessage() == "request":
            said += [f"{fields['method']} {printable(fields['path'])} {fields['status']}"]
            said += [f"{fields['duration_ms']:.0f} ms"]
            if "error" in fields:
                said.append(f"({printable(fields['error'])})")
        else:
            said.append(record.getMessage())
            said += [f"{name} {printable(str(value))}" for name, value in fields.items()]
        lines = ["  ".join(said)]
        if record.exc_info:
            lines.append(self.formatException(record.exc_info))
        return "\n".join(lines)


def log_to_stderr() -> None:
    """Send the server's own log, and uvicorn's warnings, to standard error: for people where that is a
    terminal."""
    _log(PlainLines() if sys.stderr.isatty() else JsonLines())


def log_json_to_stderr() -> None:
    """The same, as JSON also on a terminal."""
    _log(JsonLines())


def _log(formatter: logging.Formatter) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    for name, level in (("seetell.serving", logging.INFO), ("uvicorn.error", logging.WARNING)):
        logger = logging.getLogger(name)
        logger.handlers[:] = [handler]
        logger.setLevel(level)
        logger.propagate = False
