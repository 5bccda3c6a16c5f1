"""A hub on this machine: the endpoints that huggingface_hub calls to fetch a model, and their faults.

As on the real one, small files are in git and come from the hub itself, large ones are redirected to
another host, which must never see the token.
"""

from __future__ import annotations

import hashlib
import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit


@dataclass(frozen=True)
class Request:
    """One request that came in. ``server`` is ``hub`` or ``cdn``; ``path`` is unquoted, without the query."""

    server: str
    method: str
    path: str
    token: str | None
    range: str | None


@dataclass(frozen=True)
class Fault:
    """An answer in place of the right one."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass
class Repository:
    """Files of each commit, and the commit that each branch or tag means."""

    commits: dict[str, dict[str, bytes]]
    revisions: dict[str, str]


def content_id(data: bytes) -> str:
    """The ETag of a large file."""
    return hashlib.sha256(data).hexdigest()


def git_id(data: bytes) -> str:
    """The ETag of a small file: what git calls its content."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def is_large(name: str) -> bool:
    """Whether the file is kept by git-lfs, as weights are."""
    return name.endswith((".safetensors", ".bin", ".pt", ".h5"))


class TwoServers:
    """A hub, and the host that it redirects large files to."""

    def serve(self) -> None:
        """Answer from now on."""
        self._hub = ThreadingHTTPServer(("127.0.0.1", 0), self._handler("hub"))
        self._cdn = ThreadingHTTPServer(("127.0.0.1", 0), self._handler("cdn"))
        self.endpoint = f"http://127.0.0.1:{self._hub.server_port}"
        self.cdn = f"http://localhost:{self._cdn.server_port}"
        for server in (self._hub, self._cdn):
            server.daemon_threads = True
            server.handle_error = lambda request, address: None  # a client that hangs up is no news
            threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        """Stop answering."""
        for server in (self._hub, self._cdn):
            server.shutdown()
            server.server_close()

    def _handler(self, server: str) -> type[BaseHTTPRequestHandler]:
        raise NotImplementedError  # each stand-in has its own


class StandInHub(TwoServers):
    """Two servers on this machine. Change the attributes between and during calls.

    repositories: by id. faults: (method, end of the path) -> the answer to give instead. cut_after: file ->
    the bytes after which the connection breaks, once. requests: all that came in, in order.
    """

    def __init__(self) -> None:
        self.repositories: dict[str, Repository] = {}
        self.faults: dict[tuple[str, str], Fault] = {}
        self.cut_after: dict[str, int] = {}
        self.requests: list[Request] = []
        self.lock = threading.Lock()
        self.serve()

    def add(self, hub_id: str, commit: str, files: dict[str, bytes], branch: str = "main") -> None:
        """Add a commit to a repository, as the newest of a branch."""
        repository = self.repositories.setdefault(hub_id, Repository({}, {}))
        repository.commits[commit] = files
        repository.revisions[branch] = commit

    def fetched(self) -> list[str]:
        """Names of the files whose content was sent, in order."""
        return [
            one.path.rpartition("/")[2]
            for one in self.requests
            if one.method == "GET" and ("/resolve/" in one.path or one.server == "cdn")
        ]

    def _handler(self, server: str) -> type[BaseHTTPRequestHandler]:
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            # Headers and body in one packet: two would wait for each other, 40 ms an answer.
            wbufsize = -1
            disable_nagle_algorithm = True

            def log_message(self, format: str, *args: object) -> None:
                pass

            def do_GET(self) -> None:
                self.answer("GET")

            def do_HEAD(self) -> None:
                self.answer("HEAD")

            def answer(self, method: str) -> None:
                url = urlsplit(self.path)
                path = unquote(url.path)
                token = self.headers.get("Authorization")
                with hub.lock:
                    hub.requests.append(Request(server, method, path, token, self.headers.get("Range")))
                for (wanted, end), fault in hub.faults.items():
                    if wanted == method and path.endswith(end):
                        return self.send(fault.status, fault.body, **fault.headers)
                if server == "cdn":
                    return self.send_large(path)
                if path.startswith("/api/models/"):
                    return self.send_listing(path, blobs="blobs" in parse_qs(url.query))
                return self.send_file(path)

            def send_listing(self, path: str, blobs: bool) -> None:
                hub_id, _, revision = path.removeprefix("/api/models/").partition("/revision/")
                repository = hub.repositories.get(hub_id)
                if repository is None:
                    return self.send(401, b'{"error":"Repository not found"}', X_Error_Code="RepoNotFound")
                revision = revision or "main"
                commit = repository.revisions.get(revision, revision)
                if commit not in repository.commits:
                    return self.send(404, b'{"error":"Invalid rev"}', X_Error_Code="RevisionNotFound")
                siblings = []
                for name, data in repository.commits[commit].items():
                    sibling: dict[str, object] = {"rfilename": name}
                    if blobs:
                        sibling |= {"size": len(data), "blobId": git_id(data)}
                        if is_large(name):
                            lfs = {"sha256": content_id(data), "size": len(data), "pointerSize": 130}
                            sibling["lfs"] = lfs
                    siblings.append(sibling)
                document = {"id": hub_id, "sha": commit, "siblings": siblings, "tags": [], "downloads": 0}
                return self.send(200, json.dumps(document).encode(), Content_Type="application/json")

            def send_file(self, path: str) -> None:
                hub_id, _, rest = path.removeprefix("/").partition("/resolve/")
                repository = hub.repositories.get(hub_id)
                if repository is None:  # huggingface_hub asks for other things too, now and then
                    return self.send(404)
                # Revisions and files may hold slashes: the longest revision that there is.
                known = {*repository.revisions, *repository.commits}
                revision = max((one for one in known if rest.startswith(f"{one}/")), key=len)
                name = rest.removeprefix(f"{revision}/")
                commit = repository.revisions.get(revision, revision)
                data = repository.commits[commit].get(name)
                if data is None:
                    return self.send(404, X_Error_Code="EntryNotFound", X_Repo_Commit=commit)
                if not is_large(name):
                    return self.send(200, data, ETag=f'"{git_id(data)}"', X_Repo_Commit=commit)
                return self.send(
                    302,
                    X_Repo_Commit=commit,
                    X_Linked_Size=str(len(data)),
                    X_Linked_ETag=f'"{content_id(data)}"',
                    Location=f"{hub.cdn}/{hub_id}/{commit}/{name}",
                )

            def send_large(self, path: str) -> None:
                owner, repository, commit, name = path.removeprefix("/").split("/", 3)
                hub_id = f"{owner}/{repository}"
                data = hub.repositories[hub_id].commits[commit][name]
                start, headers, status = 0, {"ETag": f'"{content_id(data)}"'}, 200
                wanted = self.headers.get("Range")
                if wanted is not None:
                    start = int(wanted.removeprefix("bytes=").removesuffix("-"))
                    headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
                    status = 206
                with hub.lock:
                    cut = hub.cut_after.pop(name, None) if self.command == "GET" else None
                if cut is None:
                    return self.send(status, data[start:], **headers)
                self.send(status, data[start:cut], length=len(data) - start, **headers)
                self.close_connection = True
                return None

            def send(self, status: int, body: bytes = b"", length: int | None = None, **headers: str) -> None:
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name.replace("_", "-"), value)
                self.send_header("Content-Length", str(len(body) if length is None else length))
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(body)

        return Handler
