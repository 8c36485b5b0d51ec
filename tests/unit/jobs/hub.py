"""A server that speaks the Hugging Face hub's HTTP API for one repository, and goes wrong when told to.

Small files come from the hub itself, large ones by a redirect from another host, as they do from the real one.
"""

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

REPOSITORY = "team/tiny-llama"
REVISION = "0123456789abcdef0123456789abcdef01234567"


@dataclass(frozen=True)
class Seen:
    """A request that arrived."""

    method: str
    path: str
    host: str
    token: str | None
    range: str | None


@dataclass(frozen=True)
class Fault:
    """What to do instead of answering properly, the next `times` times that a path ends in `path`."""

    path: str
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    cut_after: int | None = None  # bytes of the body, then the connection ends
    method: str = ""
    times: int = 1_000_000


class Hub:
    """The repository's files, what is needed to read them, and what was asked."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.files: dict[str, bytes] = {}
        self.head = REVISION  # the commit that the revision leads to
        self.token: str | None = None  # needed for the files
        self.sent: dict[str, bytes] = {}  # what is sent instead of what is listed
        self.faults: list[Fault] = []
        self.seen: list[Seen] = []
        self._lock = threading.Lock()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def storage(self) -> str:
        """The same server by another name: large files come from another host."""
        return f"http://localhost:{self.port}"

    def take_over(self, folder: Path) -> None:
        self.files = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    def fetched(self) -> list[str]:
        """Names of the files whose content was asked for."""
        asked = (seen.path for seen in self.seen if seen.method == "GET" and "/api/" not in seen.path)
        return sorted({path.rpartition(f"{REVISION}/")[2] for path in asked})

    def fault_for(self, method: str, path: str) -> Fault | None:
        with self._lock:
            for number, fault in enumerate(self.faults):
                if path.endswith(fault.path) and fault.method in ("", method) and fault.times:
                    left = {**fault.__dict__, "times": fault.times - 1}
                    self.faults[number] = Fault(**left)
                    return fault
        return None

    def listing(self) -> bytes:
        files = [_entry(name, content) for name, content in sorted(self.files.items())]
        return json.dumps({"id": REPOSITORY, "sha": self.head, "siblings": files}).encode()


def is_large(name: str) -> bool:
    return name.endswith((".safetensors", ".bin"))


def _entry(name: str, content: bytes) -> dict[str, object]:
    blob = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
    entry: dict[str, object] = {"rfilename": name, "size": len(content), "blobId": blob}
    if is_large(name):
        entry["lfs"] = {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 134}
    return entry


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, *args: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        path = unquote(urlsplit(self.path).path)
        token = self.headers.get("Authorization", "").removeprefix("Bearer ") or None
        self.hub.seen.append(Seen(self.command, path, self.headers["Host"], token, self.headers.get("Range")))
        fault = self.hub.fault_for(self.command, path)
        if fault and fault.status:
            self._send(fault.status, fault.body, fault.headers)
        elif not (REPOSITORY in path or path.startswith("/storage/")):
            self._refuse(404, "RepoNotFound", "Repository not found")
        elif f"/{REVISION}" not in path:
            self._refuse(404, "RevisionNotFound", "Invalid rev id")
        elif path == f"/api/models/{REPOSITORY}/revision/{REVISION}":
            self._send(200, self.hub.listing(), {"Content-Type": "application/json"})
        else:
            self._file(path, token, fault)

    def _file(self, path: str, token: str | None, fault: Fault | None) -> None:
        name = path.rpartition(f"{REVISION}/")[2]
        stored = path.startswith("/storage/")
        if self.hub.token and token != self.hub.token and not stored:
            self._refuse(403 if token else 401, "GatedRepo", "Access to this model is restricted")
            return
        content = self.hub.sent.get(name, self.hub.files.get(name))
        if content is None:
            self._refuse(404, "EntryNotFound", "Entry not found")
            return
        etag = f'"{hashlib.sha256(self.hub.files[name]).hexdigest()}"'
        if is_large(name) and not stored:
            self._send(
                302,
                b"",
                {
                    "Location": f"{self.hub.storage}/storage/{REVISION}/{name}",
                    "X-Repo-Commit": REVISION,
                    "X-Linked-Etag": etag,
                    "X-Linked-Size": str(len(content)),
                },
            )
            return
        self._send_content(content, {"ETag": etag, "X-Repo-Commit": REVISION}, fault)

    def _send_content(self, content: bytes, headers: dict[str, str], fault: Fault | None) -> None:
        wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        start = int(wanted.group(1)) if wanted else 0
        if wanted:
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        cut = fault.cut_after if fault and self.command == "GET" else None
        self._send(206 if wanted else 200, content[start:], headers, cut)

    def _refuse(self, status: int, code: str, message: str) -> None:
        self._send(status, json.dumps({"error": message}).encode(), {"X-Error-Code": code, "X-Error-Message": message})

    def _send(self, status: int, body: bytes, headers: dict[str, str], cut: int | None = None) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body[:cut])
        if cut is not None:
            self.close_connection = True


@contextmanager
def running() -> Iterator[Hub]:
    """A hub that listens, until the end of the block."""
    handler = type("Handler", (_Handler,), {})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        handler.hub = hub = Hub(server.server_address[1])
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield hub
        finally:
            server.shutdown()
            thread.join()
