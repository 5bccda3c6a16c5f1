"""Addresses that lead where a stranger should not reach are refused before a byte is sent."""

from __future__ import annotations

import ipaddress
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpcore2
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from seetell.core.errors import FetchError
from seetell.media.fetch import Fetcher, Reach, check_address, check_url
from tests.event_loops import in_own_loop

# Addresses of the public internet, as far as the guard knows; the tests connect them to this machine.
PUBLIC, PUBLIC_2, PUBLIC_6 = "93.184.215.14", "8.8.8.8", "2606:2800:21f:cb07::1"


class Listener:
    """A server on loopback. ``seen`` holds what each connection sent first; it must often stay empty.
    ``answers`` by path; a callable writes its own."""

    def __init__(self, answers: dict[str, Any] | None = None) -> None:
        self.answers = answers or {}
        self.seen: list[bytes] = []
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection:
            self.seen.append(b"")
            head = connection.recv(65536)
            self.seen[-1] = head
            path = head.split(b" ")[1].decode() if head.count(b" ") > 1 else ""
            answer = self.answers.get(path, b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n")
            try:
                if callable(answer):
                    answer(connection)
                else:
                    connection.sendall(answer)
            except OSError:
                return


@contextmanager
def listening(answers: dict[str, Any] | None = None) -> Iterator[Listener]:
    listener = Listener(answers)
    try:
        yield listener
    finally:
        listener.socket.close()


def ok(body: bytes, **headers: str) -> bytes:
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 200 OK\r\ncontent-length: {len(body)}\r\n{lines}\r\n".encode() + body


def moved(where: str) -> bytes:
    return f"HTTP/1.1 302 Found\r\nlocation: {where}\r\ncontent-length: 0\r\n\r\n".encode()


class Internet(httpcore2.AsyncNetworkBackend):
    """Public addresses lead to one port of this machine; ``connected`` says which were asked for."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.connected: list[str] = []
        self._inner = httpcore2.AnyIOBackend()

    async def connect_tcp(self, host: str, port: int, **more: Any) -> Any:
        self.connected.append(host)
        assert host in (PUBLIC, PUBLIC_2, PUBLIC_6), f"connected to {host}"
        return await self._inner.connect_tcp("127.0.0.1", self.port, **more)


class Names:
    """A resolver: each look-up of a name takes its next answer, and the last one again and again."""

    def __init__(self, **answers: list[list[str]]) -> None:
        self.answers = {name.replace("_", "."): list(one) for name, one in answers.items()}
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int) -> list[str]:
        self.asked.append(host)
        if host not in self.answers:
            raise socket.gaierror(socket.EAI_NONAME, "unknown")
        left = self.answers[host]
        return left.pop(0) if len(left) > 1 else left[0]


def fetch(url: str, **options: Any) -> bytes:
    async def run() -> bytes:
        return await Fetcher(**{"largest_bytes": 1000, "timeout_s": 5, **options}).fetch(url)

    return in_own_loop(run())


def kind_of(act: Callable[[], Any]) -> str:
    with pytest.raises(FetchError) as caught:
        act()
    assert "\n" not in str(caught.value)
    return caught.value.kind


def test_what_arrives_is_told_and_may_be_too_much() -> None:
    told: list[int] = []

    def enough(size_bytes: int) -> None:
        told.append(size_bytes)
        if sum(told) > 500:
            raise FetchError("too_large", "no room for it")

    async def run(url: str) -> bytes:
        return await Fetcher(largest_bytes=1000, timeout_s=5, reach="any").fetch(url, enough)

    with listening({"/small": ok(b"x" * 400), "/large": ok(b"x" * 900)}) as inside:
        address = f"http://127.0.0.1:{inside.port}"
        assert in_own_loop(run(f"{address}/small")) == b"x" * 400
        assert sum(told) == 400
        assert kind_of(lambda: in_own_loop(run(f"{address}/large"))) == "too_large"


# Every way to write an address of this machine, its network, or a cloud's metadata. {port} is the listener's.
SPELLINGS = [
    "http://127.0.0.1:{port}/",
    "http://127.1:{port}/",
    "http://127.0.1:{port}/",
    "http://2130706433:{port}/",
    "http://017700000001:{port}/",
    "http://0x7f000001:{port}/",
    "http://0x7f.0.0.1:{port}/",
    "http://0177.0.0.1:{port}/",
    "http://127.0.0.1.:{port}/",
    "http://127.255.255.254:{port}/",
    "http://0.0.0.0:{port}/",
    "http://0:{port}/",
    "http://localhost:{port}/",
    "http://LOCALHOST.:{port}/",
    "http://①②⑦.⓪.⓪.①:{port}/",
    "http://１２７.０.０.１:{port}/",
    "http://127。0。0。1:{port}/",
    "http://[::1]:{port}/",
    "http://[0:0:0:0:0:0:0:1]:{port}/",
    "http://[::]:{port}/",
    "http://[::ffff:127.0.0.1]:{port}/",
    "http://[::ffff:7f00:1]:{port}/",
    "http://[::127.0.0.1]:{port}/",
    "http://[::ffff:0:127.0.0.1]:{port}/",
    "http://[64:ff9b::127.0.0.1]:{port}/",
    "http://[64:ff9b:1::7f00:1]:{port}/",
    "http://[2002:7f00:1::]:{port}/",
    "http://[2001:0:53aa:64c:0:0:80ff:fffe]:{port}/",
    "http://[2001:470::5efe:7f00:1]:{port}/",
    "http://[fe80::1]:{port}/",
    "http://[fe80::1%25lo]:{port}/",
    "http://[fc00::1]:{port}/",
    "http://[fd00:ec2::254]/",
    "http://[fec0::1]/",
    "http://[ff02::1]:{port}/",
    "http://[2001:db8::1]/",
    "http://10.0.0.1/",
    "http://172.16.0.1/",
    "http://192.168.1.1/",
    "http://100.64.0.1/",
    "http://100.100.100.200/",
    "http://168.63.129.16/",
    "http://169.254.169.254/latest/meta-data/",
    "http://0xa9fea9fe/",
    "http://2852039166/",
    "http://0251.0376.0251.0376/",
    "http://[::ffff:a9fe:a9fe]/",
    "http://192.0.0.192/",
    "http://192.0.2.1/",
    "http://192.88.99.1/",
    "http://198.18.0.1/",
    "http://224.0.0.1/",
    "http://239.255.255.250/",
    "http://240.0.0.1/",
    "http://255.255.255.255/",
    "http://user@127.0.0.1:{port}/",
    "http://93.184.215.14@127.0.0.1:{port}/",
    "http://127.0.0.1:{port}\\@93.184.215.14/",
    "http://127.0.0.1:{port} @93.184.215.14/",
    "http://93.184.215.14:22/",
    "http:///",
    "http://:80/",
    "http://[/",
    "http://[::1/",
    "http://a:b/",
    "ftp://127.0.0.1:{port}/",
    "file:///etc/passwd",
    "gopher://127.0.0.1:{port}/_GET",
    "//127.0.0.1:{port}/",
    "127.0.0.1:{port}",
    "",
]


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_every_spelling_is_refused_before_a_byte_is_sent(spelling: str) -> None:
    with listening() as listener:
        url = spelling.format(port=listener.port)
        assert kind_of(lambda: fetch(url)) == "url_refused"
        assert listener.seen == []


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_as_a_redirect_too(spelling: str) -> None:
    with listening() as silent:
        url = spelling.format(port=silent.port)
        with listening({"/": moved(url)}) as public:
            network = Internet(public.port)
            kind = kind_of(lambda: fetch(f"http://{PUBLIC}/", network=network))
            # What has no scheme or host leads to the host that redirects, and so in a circle.
            relative = url in ("", "http:///", f"127.0.0.1:{silent.port}")
            assert kind == "fetch_failed" if relative else kind == "url_refused"
        assert silent.seen == []


@pytest.mark.parametrize(
    "answers",
    [["127.0.0.1"], ["::1"], ["10.1.2.3"], ["169.254.169.254"], [PUBLIC, "127.0.0.1"], ["::ffff:7f00:1"]],
)
def test_a_name_that_leads_inside_is_refused(answers: list[str]) -> None:
    with listening() as silent:
        network = Internet(silent.port)
        url = f"http://photos.example:{silent.port}/"
        names = Names(photos_example=[answers])
        assert kind_of(lambda: fetch(url, resolve=names, network=network)) == "url_refused"
        assert (network.connected, silent.seen) == ([], [])


def test_a_name_whose_answer_changes_gains_nothing() -> None:
    """The name is public when it is checked and leads inside when it is looked up again."""
    with listening({"/a.png": ok(b"photo")}) as public:
        network = Internet(public.port)
        names = Names(photos_example=[[PUBLIC], ["127.0.0.1"]])
        assert fetch("http://photos.example/a.png", resolve=names, network=network) == b"photo"
        assert names.asked == ["photos.example"], "looked up once"
        assert network.connected == [PUBLIC], "and connected to what was checked"


def test_a_name_whose_answer_changes_at_a_redirect() -> None:
    with listening({"/a.png": moved("/b.png")}) as public:
        network = Internet(public.port)
        names = Names(photos_example=[[PUBLIC], ["127.0.0.1"]])
        url = "http://photos.example/a.png"
        assert kind_of(lambda: fetch(url, resolve=names, network=network)) == "url_refused"
        assert (network.connected, len(public.seen)) == ([PUBLIC], 1)


def test_what_is_sent() -> None:
    with listening({"/a%C3%A4.png?x=1": ok(b"photo")}) as public:
        network, names = Internet(public.port), Names(photos_example=[[PUBLIC_6]])
        assert fetch("http://Photos.example./aä.png?x=1#f", resolve=names, network=network) == b"photo"
    head = public.seen[0].decode().lower()
    assert "host: photos.example\r\n" in head and "accept-encoding: identity" in head
    assert "cookie" not in head and "authorization" not in head and "referer" not in head


def test_redirects_are_followed_and_counted() -> None:
    answers = {"/0": moved("/1"), "/1": moved(f"http://{PUBLIC_2}/2"), "/2": ok(b"photo")}
    answers["/loop"] = moved("/loop")
    with listening(answers) as public:
        network = Internet(public.port)
        assert fetch(f"http://{PUBLIC}/0", network=network) == b"photo"
        assert network.connected == [PUBLIC, PUBLIC, PUBLIC_2]
        assert kind_of(lambda: fetch(f"http://{PUBLIC}/loop", network=network)) == "fetch_failed"
        assert len(network.connected) == 3 + 4


def endless(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n")
    while True:
        connection.sendall(b"x" * 4096)


def dripping_head(connection: socket.socket) -> None:
    for letter in "HTTP/1.1 200 OK\r\n" + "x-y: z\r\n" * 1000:
        connection.sendall(letter.encode())
        threading.Event().wait(0.05)


def dripping_body(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 900\r\n\r\n")
    for _ in range(900):
        connection.sendall(b"x")
        threading.Event().wait(0.05)


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (b"HTTP/1.1 200 OK\r\ncontent-length: 1001\r\n\r\n", "too_large"),
        (endless, "too_large"),
        (dripping_head, "timeout"),
        (dripping_body, "timeout"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf", "fetch_failed"),
        (b"HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n", "fetch_failed"),
        (b"SSH-2.0-OpenSSH_9.0\r\n", "fetch_failed"),
        (b"", "fetch_failed"),
        (ok(b"x", content_encoding="gzip"), "fetch_failed"),
    ],
)
def test_bounds(answer: Any, kind: str) -> None:
    with listening({"/": answer}) as public:
        url = f"http://{PUBLIC}/"
        assert kind_of(lambda: fetch(url, network=Internet(public.port), timeout_s=0.7)) == kind


def test_an_unknown_name() -> None:
    assert kind_of(lambda: fetch("http://photos.example/", resolve=Names())) == "fetch_failed"


@pytest.mark.parametrize(
    ("address", "public", "any_"),
    [
        (PUBLIC, True, True),
        (PUBLIC_6, True, True),
        ("10.0.0.1", False, True),
        ("127.0.0.1", False, True),
        ("::1", False, True),
        ("fd12:3456::1", False, True),
        ("169.254.169.254", False, False),
        ("168.63.129.16", False, False),
        ("100.100.100.200", False, False),
        ("fe80::1", False, False),
        ("fd00:ec2::254", False, False),
        ("::ffff:169.254.169.254", False, False),
        ("64:ff9b::a9fe:a9fe", False, False),
        ("2002:a9fe:a9fe::", False, False),
        ("0.0.0.0", False, False),
        ("::", False, False),
        ("224.0.0.1", False, False),
        ("ff02::1", False, False),
        ("255.255.255.255", False, False),
    ],
)
def test_what_may_be_reached(address: str, public: bool, any_: bool) -> None:
    def allowed(reach: Reach) -> bool:
        try:
            check_address(address, reach)
        except FetchError:
            return False
        return True

    assert (allowed("public"), allowed("any")) == (public, any_)


def _allowed(address: Any) -> bool:
    try:
        check_address(str(address))
    except FetchError:
        return False
    return True


@given(st.ip_addresses(v=4))
def test_no_address_that_python_calls_private_is_public(address: ipaddress.IPv4Address) -> None:
    if _allowed(address):
        assert address.is_global and not (address.is_private or address.is_loopback or address.is_link_local)


@given(st.ip_addresses(v=4), st.sampled_from(["::ffff:0:0/96", "64:ff9b::/96", "2002::/16", "::/96"]))
@example(ipaddress.ip_address("127.0.0.1"), "64:ff9b::/96")
def test_no_address_that_names_another_is_public(address: ipaddress.IPv4Address, block: str) -> None:
    network = ipaddress.ip_network(block)
    inside = int(network.network_address) | int(address) << (80 if block == "2002::/16" else 0)
    assert not _allowed(ipaddress.IPv6Address(inside))


@given(st.ip_addresses(v=4))
def test_numbers_are_no_names(address: ipaddress.IPv4Address) -> None:
    """An address is taken as it is usually written, and in no other way."""
    number = int(address)
    parts = str(address).split(".")
    for spelling in (str(number), hex(number), f"0{number:o}", ".".join(f"0{int(one):o}" for one in parts)):
        with pytest.raises(FetchError):
            check_url(f"http://{spelling}/")
    assert check_url(f"http://{address}/")[1] == str(address)


@given(st.text(max_size=60))
def test_any_text_is_an_address_or_refused(text: str) -> None:
    for url in (text, f"http://{text}/", f"https://{text}"):
        try:
            _, host, port = check_url(url)
        except FetchError:
            continue
        assert host and host.isascii() and 0 < port < 65536
