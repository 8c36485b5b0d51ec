"""A server on loopback that answers as a test tells it to."""

import http.server
import json
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit

NOW = 1_760_000_000.0
JSON = "application/json"
AMPLE = 20.0  # seconds for an answer that comes: what it says is the test, and not how busy the machine is


@dataclass
class Script:
    """What the server says, and what it was asked. Of several answers each is given once, the last for ever."""

    answers: list = field(default_factory=list)
    asked: list = field(default_factory=list, repr=False)
    headers: list = field(default_factory=list, repr=False)
    over: threading.Event = field(default_factory=threading.Event)
    url: str = ""

    def says(self, *answers):
        self.answers = list(answers)

    def vector(self, *series, **more):
        """A successful answer: each series is its labels and its value as text."""
        result = [{"metric": labels, "value": [NOW, value]} for labels, value in series]
        self.says((200, JSON, json.dumps(document(result, **more))))


def document(result, **more):
    return {"status": "success", "data": {"resultType": "vector", "result": result}, **more}


def handler_of(script):
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # an answer is two writes

        def do_GET(self):
            script.asked.append({key: values[0] for key, values in parse_qs(urlsplit(self.path).query).items()})
            script.headers.append(self.headers)
            answer = script.answers.pop(0) if len(script.answers) > 1 else script.answers[0]
            self.close_connection = callable(answer)  # as these leave it, no other answer can follow
            if callable(answer):
                answer(self, script)
                return
            status, kind, body = answer
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body.encode())))
            if 300 <= status < 400:
                self.send_header("Location", "https://login.test/")
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_):
            pass

    return Handler


def hangs(request, script):
    """Never answers."""
    script.over.wait(20)


def drips(request, script):
    """Answers a byte at a time, each soon enough for a limit on single reads."""
    request.send_response(200)
    request.end_headers()
    while not script.over.wait(0.05):
        try:
            request.wfile.write(b" ")
        except OSError:
            return


def breaks_off(request, script):
    """Promises more than it sends."""
    request.send_response(200)
    request.send_header("Content-Length", "1000")
    request.end_headers()
    request.wfile.write(b'{"status":')


def speaks_nonsense(request, script):
    """No HTTP at all."""
    request.wfile.write(b"220 mail.test ESMTP\r\n")


def floods(request, script):
    """Sends more than anybody wants."""
    request.send_response(200)
    request.end_headers()
    end = time.monotonic() + 10
    while time.monotonic() < end:
        try:
            request.wfile.write(b"x" * 65536)
        except OSError:
            return


@contextmanager
def serving(tls=None):
    """A running server; with a TLS context it speaks HTTPS."""
    script = Script()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler_of(script))
    server.daemon_threads = True
    if tls:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    script.url = f"{'https' if tls else 'http'}://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield script
    finally:
        script.over.set()
        server.shutdown()
        thread.join()
        server.server_close()
