"""The one fetcher of addresses: a photo from the web, and never a byte to where a stranger should not reach.

A server that fetches what its clients name can be made to ask its own network: other machines, services on
loopback, a cloud's metadata. So the check is where connections are made, and there is no way around it: the
name is looked up once, every address it gives must be allowed, and the connection goes to one of these very
addresses, so that a name whose answer changes gains nothing. Redirects come by the same way. Sizes and times
are bounded, proxies are not used, and nothing is unpacked.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterable
from functools import cache
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import SplitResult, urljoin, urlsplit

from seetell.core.errors import FetchError, MissingExtra

if TYPE_CHECKING:
    import httpcore2

Reach = Literal["public", "any"]
Address = ipaddress.IPv4Address | ipaddress.IPv6Address
# From a name and a port to the addresses it has now.
Resolve = Callable[[str, int], Awaitable[list[str]]]
# Told how many more bytes are there.
Arrived = Callable[[int], None]

_LONGEST_URL = 4096
_REDIRECTS = 3
_REDIRECTED = frozenset({301, 302, 303, 307, 308})
_WEB_PORTS = frozenset({80, 443})
_FIRST_FREE_PORT = 1024

# Of IPv6 only what is given out as public is allowed; within it, what leads elsewhere is not: Teredo and
# other special blocks, examples, 6to4. NAT64 (64:ff9b::), mapped and unique local addresses lie outside.
_PUBLIC_6 = ipaddress.ip_network("2000::/3")
_NOT_PUBLIC_6 = tuple(map(ipaddress.ip_network, ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")))
# Protocol assignments (Python calls most of them global), 6to4 relays, and the address at which Azure's
# machines find their platform.
_NOT_PUBLIC_4 = tuple(map(ipaddress.ip_network, ("192.0.0.0/24", "192.88.99.0/24", "168.63.129.16/32")))
# Never reached, whatever is allowed: a cloud's metadata lives at addresses like these.
_NEVER = tuple(
    ipaddress.ip_network(one)
    for one in (
        "169.254.0.0/16",
        "168.63.129.16/32",
        "100.100.100.200/32",
        "192.0.0.192/32",
        "fe80::/10",
        "fd00:ec2::254/128",
        "fd20:ce::254/128",
    )
)
_EMBEDDED_6 = tuple(map(ipaddress.ip_network, ("::/96", "::ffff:0:0/96", "::ffff:0:0:0/96")))
_TRANSLATED_6 = tuple(map(ipaddress.ip_network, ("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32")))


def check_address(text: str, reach: Reach = "public") -> Address:
    """The address of ``text``. Raises FetchError (url_refused) where it may not be connected to.

    ``any`` also allows private networks and loopback, and never link-local addresses and metadata services.
    IPv6 addresses that stand for IPv4 ones are refused in either case: a client may name the plain one.
    """
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        raise _refused(f"{text[:100]!r} is no address") from None
    allowed = _public(address) if reach == "public" else _reachable(address)
    if not allowed:
        raise _refused(f"{address} is not a public address" if reach == "public" else f"{address} is refused")
    return address


def _public(address: Address) -> bool:
    if isinstance(address, ipaddress.IPv4Address):
        special = address.is_multicast or address.is_reserved or any(address in one for one in _NOT_PUBLIC_4)
        return address.is_global and not special
    if address.scope_id is not None or _names_ipv4(address):
        return False
    return address in _PUBLIC_6 and not any(address in one for one in _NOT_PUBLIC_6)


def _reachable(address: Address) -> bool:
    if address.is_multicast or address.is_unspecified or any(address in one for one in _NEVER):
        return False
    if isinstance(address, ipaddress.IPv4Address):
        return not address.is_reserved
    if address.scope_id is not None or any(address in one for one in _TRANSLATED_6):
        return False
    return address.is_loopback or not (any(address in one for one in _EMBEDDED_6) or _names_ipv4(address))


def _names_ipv4(address: ipaddress.IPv6Address) -> bool:
    """Whether its interface is ISATAP's, which names an IPv4 address (RFC 5214)."""
    return address.packed[8:12] in (b"\x00\x00\x5e\xfe", b"\x02\x00\x5e\xfe")


def check_url(url: str) -> tuple[SplitResult, str, int]:
    """The parts of an http(s) address, its host in ASCII, its port. Raises FetchError (url_refused).

    A host that looks like a number must be an address as it is usually written: 2130706433, 0x7f.1 and
    0177.0.0.1 are read as 127.0.0.1 by some programs.
    """
    if len(url) > _LONGEST_URL or not url.isprintable() or re.search(r"[\s\\]", url):
        raise _refused("the address is too long, or holds blanks, control characters or backslashes")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
        host = host.encode("idna").decode("ascii").removesuffix(".") if not host.isascii() else host
    except ValueError as error:
        raise _refused(f"no valid address ({error})") from error
    host = host.removesuffix(".").lower()
    if parts.scheme not in ("http", "https") or not host:
        raise _refused("only http:// and https:// addresses are fetched")
    if "@" in parts.netloc:
        raise _refused("addresses with a name or password in them are not fetched")
    if ":" not in host and re.fullmatch(r"\d+|0x[0-9a-f]*", host.rpartition(".")[2]):
        try:
            ipaddress.IPv4Address(host)
        except ValueError:
            raise _refused(f"{host[:100]!r}: write the address as 203.0.113.7") from None
    elif ":" not in host and not re.fullmatch(r"[a-z0-9_]([a-z0-9_.\-]{0,251}[a-z0-9])?", host):
        raise _refused("no valid name of a host")
    if port is None:
        port = 443 if parts.scheme == "https" else 80
    if port not in _WEB_PORTS and port < _FIRST_FREE_PORT:
        raise _refused(f"port {port} is no port of the web")
    return parts, host, port


class Fetcher:
    """Fetches photos. Used inside one event loop; needs the extra ``serve``.

    Args:
        largest_bytes: of what is fetched.
        timeout_s: for everything: names, connections, redirects, bytes.
        at_once: fetched at the same time; others wait.
        reach: ``public``, or ``any`` for private networks too.
        resolve: looks names up; the system's by default.
        network: makes the connections that were checked; httpcore's by default.

    Raises MissingExtra.
    """

    def __init__(
        self,
        *,
        largest_bytes: int,
        timeout_s: float,
        at_once: int = 16,
        reach: Reach = "public",
        resolve: Resolve | None = None,
        network: httpcore2.AsyncNetworkBackend | None = None,
    ) -> None:
        self._http = _httpcore()
        self._largest_bytes = largest_bytes
        self._timeout_s = timeout_s
        self._places = asyncio.Semaphore(at_once)
        self._network = _guarded(reach, resolve or _system_resolve, network)

    async def fetch(self, url: str, arrived: Arrived | None = None) -> bytes:
        """What is there. ``arrived`` is told of each piece; what it raises ends it.

        Raises FetchError: url_refused, fetch_failed, too_large or timeout.
        """
        try:
            async with asyncio.timeout(self._timeout_s):
                async with self._places:
                    return await self._follow(url, arrived)
        except TimeoutError as error:
            raise FetchError("timeout", f"the photo did not arrive within {self._timeout_s:g} s") from error
        except (self._http.NetworkError, self._http.ProtocolError, self._http.TimeoutException) as error:
            # No more is said: whether a port is open is nobody's business.
            raise FetchError("fetch_failed", "the photo's address could not be fetched") from error

    async def _follow(self, url: str, arrived: Arrived | None) -> bytes:
        for _ in range(_REDIRECTS + 1):
            answer = await self._get(url, arrived)
            if isinstance(answer, bytes):
                return answer
            try:
                url = urljoin(url, answer)
            except ValueError as error:
                raise _refused(f"it redirects to no valid address ({error})") from error
        raise FetchError("fetch_failed", f"the photo's address redirects more than {_REDIRECTS} times")

    async def _get(self, url: str, arrived: Arrived | None) -> bytes | str:
        """The bytes, or where else to look."""
        parts, host, port = check_url(url)
        shown = f"[{host}]" if ":" in host else host
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        headers = {
            "Host": shown if port in _WEB_PORTS else f"{shown}:{port}",
            "User-Agent": "seetell",
            "Accept": "image/*",
            "Accept-Encoding": "identity",
            "Connection": "close",
        }
        where = self._http.URL(scheme=parts.scheme, host=host, port=port, target=_ascii(target))
        async with (
            self._http.AsyncConnectionPool(
                ssl_context=_tls(), network_backend=self._network, max_keepalive_connections=0
            ) as pool,
            pool.stream("GET", where, headers=headers) as response,
        ):
            given = {name.lower(): value for name, value in response.headers}
            if response.status in _REDIRECTED and b"location" in given:
                return str(given[b"location"].decode("latin-1"))
            if response.status != 200:
                raise FetchError("fetch_failed", f"the photo's address answered {response.status}")
            if given.get(b"content-encoding", b"identity") != b"identity":
                raise FetchError("fetch_failed", "the photo came compressed, which was not asked for")
            length = given.get(b"content-length", b"")
            if length.isdigit() and int(length[:20]) > self._largest_bytes:
                raise self._too_large()
            data = bytearray()
            async for piece in response.aiter_stream():
                if len(data) + len(piece) > self._largest_bytes:
                    raise self._too_large()
                if arrived is not None:
                    arrived(len(piece))
                data += piece
            return bytes(data)

    def _too_large(self) -> FetchError:
        return FetchError("too_large", f"the photo has more than the {self._largest_bytes:,} bytes allowed")


async def _system_resolve(host: str, port: int) -> list[str]:
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(one[4][0]) for one in found))


def _guarded(reach: Reach, resolve: Resolve, network: Any) -> Any:
    """A network backend of httpcore that connects to checked addresses only."""
    http = _httpcore()
    inner = network or http.AnyIOBackend()

    class Guarded(http.AsyncNetworkBackend):  # type: ignore[misc, name-defined]  # imported where it is needed
        async def connect_tcp(
            self,
            host: str,
            port: int,
            timeout: float | None = None,
            local_address: str | None = None,
            socket_options: Iterable[Any] | None = None,
        ) -> Any:
            try:
                # An address goes the same way: it is its own only answer.
                found = [host] if _is_address(host) else await resolve(host, port)
            except OSError as error:
                raise FetchError("fetch_failed", f"no host is called {host!r}") from error
            # All of them: an answer that mixes public and private addresses is not to be trusted.
            addresses = [check_address(one, reach) for one in found]
            if not addresses:
                raise FetchError("fetch_failed", f"no host is called {host!r}")
            failure: Exception | None = None
            for address in addresses[:2]:
                try:
                    return await inner.connect_tcp(
                        str(address), port, timeout=timeout, socket_options=socket_options
                    )
                except http.NetworkError as error:
                    failure = error
            assert failure is not None
            raise failure

        async def connect_unix_socket(self, *_: Any, **__: Any) -> Any:
            raise _refused("no socket of this machine is fetched from")

        async def sleep(self, seconds: float) -> None:
            await asyncio.sleep(seconds)

    return Guarded()


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _ascii(target: str) -> bytes:
    """A path and query as they are sent: what is not ASCII is percent-encoded UTF-8."""
    return "".join(
        character if character.isascii() else "".join(f"%{byte:02X}" for byte in character.encode())
        for character in target
    ).encode("ascii")


@cache
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()


def _refused(why: str) -> FetchError:
    return FetchError("url_refused", f"the photo's address is refused: {why}")


def _httpcore() -> Any:
    try:
        import httpcore2
    except ImportError as error:
        raise MissingExtra("httpcore2", "serve", "to fetch photos from the web") from error
    return httpcore2
