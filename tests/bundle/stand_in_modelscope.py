"""A ModelScope on this machine: its list of files, the files themselves, and their faults.

As on the real one: whatever may not be had is a 404 with a number in its body; a revision that is not there
is listed with success and null; large files are redirected to another host; and the middle of a file is sent
with the status of a whole one.
"""

from __future__ import annotations

import hashlib
import json
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from typing import Any, Literal
from urllib.parse import parse_qs, quote, unquote, urlsplit

from tests.bundle.stand_in_hub import Fault, TwoServers, is_large

Ranges = Literal["status 200", "status 206", "ignored", "elsewhere"]


@dataclass(frozen=True)
class Request:
    """``server`` is ``hub`` or ``cdn``; ``path`` is unquoted, without the query."""

    server: str
    path: str
    headers: dict[str, str]


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class StandInModelScope(TwoServers):
    """Two servers on this machine. Change the attributes between and during calls.

    repositories: id -> revision -> (commit, files). faults: end of the path -> the answer to give instead.
    cut_after: file -> after how many bytes its connection breaks, once for each entry. ranges: what is made
    of a request for the middle of a file. told: what stands in the list in place of what is so. latest: what
    is told of the commit; None tells its beginning, as the real one does.
    """

    def __init__(self) -> None:
        self.repositories: dict[str, dict[str, tuple[str, dict[str, bytes]]]] = {}
        self.faults: dict[str, Fault] = {}
        self.cut_after: dict[str, list[int]] = {}
        self.ranges: Ranges = "status 200"
        self.told: dict[str, dict[str, Any]] = {}
        self.latest: dict[str, Any] | None = None
        self.requests: list[Request] = []
        self.lock = threading.Lock()
        self.serve()

    def add(self, name: str, commit: str, files: dict[str, bytes], revision: str = "master") -> None:
        """Let a branch or tag mean this commit."""
        self.repositories.setdefault(name, {})[revision] = (commit, files)

    def sent(self) -> list[str]:
        """Names of the files whose content was asked for, in order; not that of a redirect."""
        return [
            one.path.partition("/resolve/master/")[2] or one.path.rpartition("/")[2]
            for one in self.requests
            if one.server == "cdn" or ("/resolve/" in one.path and not is_large(one.path))
        ]

    def asked_from(self, name: str) -> list[str | None]:
        """The ranges of a file that were asked for, in order."""
        return [one.headers.get("range") for one in self.requests if one.path == f"/cdn/{name}"]

    def _listed(self, name: str, revision: str) -> dict[str, Any]:
        if revision not in self.repositories[name]:
            return {"Files": None, "IsVisual": 0, "LatestCommitter": None}
        commit, files = self.repositories[name][revision]
        listed: list[dict[str, Any]] = [{"Path": "onnx", "Type": "tree", "Size": 0, "Sha256": ""}]
        for number, (path, data) in enumerate(files.items()):
            facts = {"Path": path, "Name": path.rpartition("/")[2], "Type": "blob", "Size": len(data)}
            # A file tells the commit that changed it last.
            changed = commit if number == 0 else "0" * 40
            facts |= {"Sha256": sha256(data), "Revision": changed, "IsLFS": is_large(path)}
            listed.append(facts | self.told.get(path, {}))
        latest = {"Id": "", "ShortId": commit[:8]} if self.latest is None else self.latest
        return {"Files": listed, "IsVisual": 0, "LatestCommitter": latest}

    def _handler(self, server: str) -> type[BaseHTTPRequestHandler]:
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1  # headers and body in one packet
            disable_nagle_algorithm = True

            def log_message(self, format: str, *args: object) -> None:
                pass

            def do_GET(self) -> None:
                url = urlsplit(self.path)
                path = unquote(url.path)
                headers = {name.lower(): value for name, value in self.headers.items()}
                with hub.lock:
                    hub.requests.append(Request(server, path, headers))
                for end, fault in hub.faults.items():
                    if path.endswith(end):
                        return self.send(fault.status, fault.body, **fault.headers)
                if server == "cdn":
                    return self.send_file(path.removeprefix("/cdn/"))
                if path.startswith("/api/v1/models/"):
                    return self.send_list(path, parse_qs(url.query))
                return self.send_or_redirect(path)

            def send_list(self, path: str, query: dict[str, list[str]]) -> None:
                name = path.removeprefix("/api/v1/models/").removesuffix("/repo/files")
                if name not in hub.repositories:
                    return self.send_said(404, 10010205001, "获取模型目录树失败，信息：record not found")
                assert query["Recursive"] == ["true"]
                data = hub._listed(name, query["Revision"][0])
                answer = {"Code": 200, "Data": data, "Message": "success", "RequestId": "", "Success": True}
                return self.send(200, json.dumps(answer).encode())

            def send_or_redirect(self, path: str) -> None:
                name, _, rest = path.removeprefix("/models/").partition("/resolve/")
                for revision, (_, files) in hub.repositories.get(name, {}).items():
                    file = rest.removeprefix(f"{revision}/")
                    if files.get(file):
                        if is_large(file):
                            where = f"{hub.cdn}/cdn/{quote(file)}?name={name}&revision={revision}"
                            return self.send(302, Location=where)
                        return self.send_content(file, files[file])
                return self.send_said(404, 10990101007, "获取模型文件失败，文件内容为空")

            def send_file(self, file: str) -> None:
                query = parse_qs(urlsplit(self.path).query)
                files = hub.repositories[query["name"][0]][query["revision"][0]][1]
                self.send_content(file, files[file])

            def send_content(self, file: str, data: bytes) -> None:
                begin, headers, status = 0, {}, 200
                wanted = self.headers.get("Range")
                if wanted is not None and hub.ranges != "ignored":
                    begin = int(wanted.removeprefix("bytes=").removesuffix("-"))
                    begin = min(begin + 7, len(data)) if hub.ranges == "elsewhere" else begin
                    if begin >= len(data):
                        return self.send(416)
                    status = 200 if hub.ranges == "status 200" else 206
                    headers["Content-Range"] = f"bytes {begin}-{len(data) - 1}/{len(data)}"
                with hub.lock:
                    cuts = hub.cut_after.get(file, [])
                    cut = cuts.pop(0) if cuts else None
                body = data[begin:] if cut is None else data[begin:cut]
                self.send(status, body, length=len(data) - begin, **headers)
                self.close_connection = cut is not None
                return None

            def send_said(self, status: int, code: int, message: str) -> None:
                self.send(status, json.dumps({"Code": code, "Message": message, "Success": False}).encode())

            def send(self, status: int, body: bytes = b"", length: int | None = None, **headers: str) -> None:
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name.replace("_", "-"), value)
                self.send_header("Content-Length", str(len(body) if length is None else length))
                self.end_headers()
                self.wfile.write(body)

        return Handler
