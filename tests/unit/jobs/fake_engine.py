"""A small HTTP server in place of an engine, to inject faults that a real one does not have on command."""

import json
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Raw:
    """A reply as it goes over the wire."""

    data: bytes
    content_type: str = "application/json"
    status: int = 200
    encoding: str = "identity"


RESET = object()  # the connection is torn down


class FakeEngine:
    """`answer(body)` returns the text, (text, finish_reason), an HTTP status, a Raw, RESET, or None to hang up.

    Requests are recorded, and the connection of each.
    """

    def __init__(self) -> None:
        self.health: Any = 200  # a status, or a function that returns one
        self.warm_up: Any = "!"
        self.answer: Callable[[dict[str, Any]], Any] = lambda body: f"answer {body['prompt'].split()[-1][:-1]}"
        self.requests: list[dict[str, Any]] = []
        self.peers: list[int] = []  # of each request, the port that it came from
        self.url = ""

    def asked(self) -> list[dict[str, Any]]:
        """The requests without the first, of readiness."""
        return [body for body in self.requests if body.get("prompt") != "Hello"]

    @contextmanager
    def serving(self) -> Iterator["FakeEngine"]:
        engine = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                if self.path == "/version":
                    self.send(_json(200, {"version": "1.2.3"}))
                else:
                    self.send(_json(engine.health() if callable(engine.health) else engine.health, {}))

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                engine.requests.append(body | {"path": self.path})
                engine.peers.append(self.client_address[1])
                warm_up = engine.warm_up if callable(engine.warm_up) else lambda _: engine.warm_up
                found = (warm_up if body.get("prompt") == "Hello" else engine.answer)(body)
                if found is None or found is RESET:
                    self.hang_up(reset=found is RESET)
                else:
                    self.send(_raw(found, body))

            def hang_up(self, *, reset):
                if reset:
                    self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    self.connection.close()
                self.close_connection = True

            def send(self, raw):
                self.send_response(raw.status)
                self.send_header("Content-Type", raw.content_type)
                self.send_header("Content-Encoding", raw.encoding)
                self.send_header("Content-Length", str(len(raw.data)))
                self.end_headers()
                self.wfile.write(raw.data)

            def log_message(self, *args):
                pass

        class Server(ThreadingHTTPServer):
            def handle_error(self, request, client_address):
                """A client that hangs up is what some tests are about."""

        server = Server(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        self.url = f"http://127.0.0.1:{server.server_port}"
        try:
            yield self
        finally:
            server.shutdown()
            server.server_close()
            thread.join()


def _json(status: int, value: Any) -> Raw:
    return Raw(json.dumps(value).encode(), status=status)


def _raw(found: Any, body: dict[str, Any]) -> Raw:
    if isinstance(found, Raw):
        return found
    if isinstance(found, int):
        return _json(found, {"error": {"message": f"status {found}"}})
    text, finish = found if isinstance(found, tuple) else (found, "stop")
    message = {"message": {"role": "assistant", "content": text}} if "messages" in body else {"text": text}
    choice = {"index": 0, "finish_reason": finish, **message}
    return _json(200, {"id": "x", "object": "o", "created": 1, "model": "m", "choices": [choice]})
