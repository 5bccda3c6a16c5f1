"""One request at a time to a server that has OpenAI's chat completions: sent again where that may help, and
told in one line where it does not.

What comes back is a stranger's: bounded in size and time, never shown as it is, and no redirect is followed,
so that neither the key nor a photo goes where nobody sent it. The usual variables for proxies hold, but for
servers of this machine.
"""

from __future__ import annotations

import ipaddress
import json
import random
import ssl
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from email.utils import parsedate_to_datetime
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, ProxyHandler, Request, build_opener

from seetell.core.errors import RemoteError, UsageError
from seetell.core.lines import printable
from seetell.remote.answers import Said, read_answer, read_tokens
from seetell.remote.key import VARIABLES, Key
from seetell.remote.names import DEFAULT_PATIENCE_S
from seetell.remote.usage import Meter

_ATTEMPTS = 6
# An attempt has this share of the patience at most, so that one which hangs is followed by another.
_SHARE = 0.5
_FIRST_PAUSE_S = 0.5

_LARGEST_ANSWER_BYTES = 8 << 20
_BLOCK_BYTES = 1 << 16
_LONGEST_SAID = 200

# What is the same for every photo: a key, a bill, a model's name, an address.
_ENDING = frozenset({301, 302, 303, 307, 308, 401, 402, 404, 405})
_PASSING = frozenset({408, 429})

# Fields that not every server takes, and what to send in their place: OpenAI's models that think first have
# another name for a limit and no temperature, and not every model tells probabilities.
_INSTEAD: Mapping[str, str | None] = {
    "logprobs": None,
    "temperature": None,
    "max_tokens": "max_completion_tokens",
}


class Client:
    """Posts to ``BASE_URL/chat/completions``. Any number of threads may.

    Args:
        base_url: where the server's API is; without a path, ``/v1`` is meant.
        key: sent with every request to that address and to no other.
        meter: told of retries.
        patience_s: seconds to spend on one request, its retries included.

    Raises UsageError for an address that cannot be meant.
    """

    def __init__(
        self, base_url: str, key: Key, meter: Meter, *, patience_s: float = DEFAULT_PATIENCE_S
    ) -> None:
        self.base_url = _checked(base_url)
        self._key = key
        self._meter = meter
        self._patience_s = patience_s
        # A proxy leads out of this machine, and knows another one by its name.
        self._opener = build_opener(_NoRedirect, *([ProxyHandler({})] if self.is_local else []))
        self._instead: dict[str, str | None] = {}
        self._answered = False

    @property
    def is_local(self) -> bool:
        """Whether the server runs on this machine."""
        host = urlsplit(self.base_url).hostname or ""
        try:
            return ipaddress.ip_address(host).is_loopback
        except ValueError:
            return host == "localhost" or host.endswith(".localhost")

    def complete(self, fields: Mapping[str, Any], stop: threading.Event) -> Said:
        """What the model says. Raises RemoteError; its kind is ``stopped`` when ``stop`` is set."""
        document = self._post(fields, stop)
        said = None
        try:
            said = read_answer(document, self.base_url)
        finally:  # what is no answer was paid for too
            self._meter.answered(read_tokens(document), cut=said is not None and said.cut)
        return replace(said, text=self._key.hidden(said.text))

    def _post(self, fields: Mapping[str, Any], stop: threading.Event) -> dict[str, Any]:
        """The answer's JSON object."""
        started = time.monotonic()
        attempt = 1
        while True:
            sent = {self._instead.get(name, name): value for name, value in fields.items()}
            sent.pop(None, None)
            left_s = self._patience_s - (time.monotonic() - started)
            found = self._attempt(sent, max(1e-3, min(left_s, self._patience_s * _SHARE)))
            if isinstance(found, dict):
                return found
            if self._without(found, sent):
                continue
            # Drawn, so that many who were refused at once do not all come back at once.
            pause_s = _FIRST_PAUSE_S * 2 ** (attempt - 1) * random.uniform(0.5, 1)
            pause_s = max(pause_s, found.wait_s)
            left_s = self._patience_s - (time.monotonic() - started)
            if not found.passes or attempt == _ATTEMPTS or pause_s >= left_s:
                raise self._error(found, attempt, pause_s if pause_s >= left_s else None)
            if stop.wait(pause_s):
                raise RemoteError("stopped", f"{self.base_url}: nobody waits for this any more")
            self._meter.retried()
            attempt += 1

    def _without(self, found: _Trouble, sent: Mapping[Any, Any]) -> bool:
        """Whether a field was refused that can be left out or sent by another name, which is then done."""
        if found.status not in (400, 422):
            return False
        for name, instead in _INSTEAD.items():
            if name in sent and name in found.body:
                self._instead[name] = instead
                return True
        return False

    def _error(self, found: _Trouble, attempts: int, wait_s: float | None) -> RemoteError:
        words = found.words
        if found.status in (401, 403):
            words += f" ({self._key_advice()})"
        if found.passes and found.wait_s and wait_s is not None:
            words += f"; it asks to wait {found.wait_s:.0f} s, longer than there is patience for"
        elif attempts > 1:
            words += f"; tried {attempts} times"
        return RemoteError(found.kind, f"{self.base_url} {words}", ends=found.ends)

    def _key_advice(self) -> str:
        if self._key:
            return f"the key sent is that of {self._key.variable}"
        return f"no key was sent; set {' or '.join(VARIABLES)}"

    def _attempt(self, fields: Mapping[Any, Any], timeout_s: float) -> dict[str, Any] | _Trouble:
        until = time.monotonic() + timeout_s
        try:
            status, headers, body = self._exchange(json.dumps(fields).encode(), timeout_s, until)
        except TimeoutError:
            return _Trouble("timeout", f"did not answer within {timeout_s:.3g} s")
        except (OSError, HTTPException) as error:
            # `URLError` has what went wrong as its reason.
            return self._broken(error.reason if isinstance(error, URLError) else error, timeout_s)
        if status == 200:
            return self._parsed(body)
        text = body.decode("utf-8", "replace")
        said = self._clean(_message(text))
        words = f"answered {status}" + (f": {said}" if said else "")
        if 300 <= status < 400:
            where = self._clean(headers.get("location", "elsewhere"))
            words = f"answered {status}, which leads to {where}; name the address itself with --base-url"
        elif status == 404 and not said:
            words += "; does the address end in /v1?"
        kind = "busy" if status == 429 else "failed" if status >= 500 else "refused"
        spent = status == 429 and "insufficient_quota" in text
        return _Trouble(
            kind,
            words,
            passes=(status in _PASSING or status >= 500) and not spent,
            ends=status in _ENDING or spent,
            wait_s=_wait_s(headers.get("retry-after", "")),
            status=status,
            body=text,
        )

    def _exchange(self, body: bytes, timeout_s: float, until: float) -> tuple[int, Mapping[str, str], bytes]:
        request = Request(
            f"{self.base_url}/chat/completions",
            data=body,
            headers={"Content-Type": "application/json", "User-Agent": "seetell"},
        )
        for name, value in self._key.headers().items():
            request.add_unredirected_header(name, value)
        try:
            response = self._opener.open(request, timeout=timeout_s)
        except HTTPError as error:
            response = error
        with response:
            headers = {name.lower(): value for name, value in response.headers.items()}
            data = bytearray()
            # Block by block: the time a socket allows is between two of them, and a server may send one byte
            # a second for ever.
            while block := response.read1(_BLOCK_BYTES):
                data += block
                if time.monotonic() > until:
                    raise TimeoutError
                if len(data) > _LARGEST_ANSWER_BYTES:
                    break
            return int(response.status), headers, bytes(data)

    def _broken(self, error: object, timeout_s: float) -> _Trouble:
        if isinstance(error, TimeoutError):
            return _Trouble("timeout", f"did not answer within {timeout_s:.3g} s")
        why = self._clean(getattr(error, "strerror", None) or str(error) or type(error).__name__)
        if isinstance(error, ssl.SSLCertVerificationError):
            return _Trouble("unreachable", f"shows no certificate to trust ({why})", passes=False, ends=True)
        if isinstance(error, ConnectionResetError | BrokenPipeError | HTTPException):
            return _Trouble("failed", f"broke the connection off ({why})")
        # Where nothing was ever there, waiting for it helps nobody: more likely its address is wrong.
        return _Trouble("unreachable", f"cannot be reached ({why})", passes=self._answered, ends=True)

    def _parsed(self, body: bytes) -> dict[str, Any] | _Trouble:
        if len(body) > _LARGEST_ANSWER_BYTES:
            return _Trouble("bad_answer", "sent more than an answer can be", passes=False)
        if body.lstrip()[:1] == b"<":
            words = "answered with a page and not with JSON; does the address end in /v1?"
            return _Trouble("bad_answer", words, passes=False, ends=True)
        try:
            document: Any = json.loads(body)
        except (ValueError, RecursionError):
            # One that was cut off on its way is no JSON either.
            return _Trouble("bad_answer", "sent an answer that is cut off or no JSON")
        if not isinstance(document, dict):
            return _Trouble("bad_answer", "sent JSON that is no answer", passes=False)
        self._answered = True
        return document

    def _clean(self, text: str) -> str:
        """What others say, on one line, without the key."""
        return printable(" ".join(self._key.hidden_in_error(text).split())[:_LONGEST_SAID])


@dataclass(frozen=True, slots=True)
class _Trouble:
    """An attempt that gave no answer. words: follow the server's address. passes: it may do so next time.
    ends: other requests would fare the same. wait_s: how long the server asks to wait. body: as it came."""

    kind: str
    words: str
    passes: bool = True
    ends: bool = False
    wait_s: float = 0.0
    status: int | None = None
    body: str = ""


class _NoRedirect(HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        """None: the answer that redirects is the answer."""
        return None


def _checked(base_url: str) -> str:
    """The address without an end that is ours. Raises UsageError, which never tells an address that may hold
    a key."""
    text = str(base_url).strip()
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError:
        parts, host = urlsplit(""), None
    if parts.scheme not in ("http", "https") or not host or not text.isprintable() or " " in text:
        raise UsageError("base_url: give an address as http://localhost:8000/v1")
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise UsageError(
            "base_url: an address without a password, ? or # in it; a key comes from "
            f"{' or '.join(VARIABLES)}"
        )
    path = parts.path.rstrip("/").removesuffix("/chat/completions") or "/v1"
    return f"{parts.scheme}://{parts.netloc}{path}"


def _message(text: str) -> str:
    """What a server says went wrong; servers put it in different places. Empty for a page."""
    found: Any
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return "" if text.lstrip().startswith("<") else text
    for name in ("error", "message", "detail"):
        if isinstance(found, dict) and name in found:
            found = found[name]
    return found if isinstance(found, str) else json.dumps(found, ensure_ascii=False)


def _wait_s(retry_after: str) -> float:
    """``Retry-After`` in seconds, whether it is a number or a date; 0 for what is neither."""
    try:
        wait_s = float(retry_after)
    except ValueError:
        try:
            wait_s = parsedate_to_datetime(retry_after).timestamp() - time.time()
        except (ValueError, TypeError, IndexError, OverflowError):
            return 0.0
    return min(wait_s, 1e6) if wait_s > 0 else 0.0
