"""A headless Chromium that is spoken to in the DevTools protocol through two pipes: no port, no further package."""

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any, Self

PROGRAM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
_FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
          "--disable-background-networking", "--disable-component-update", "--disable-extensions", "--disable-sync",
          "--remote-debugging-pipe")  # fmt: skip
_LIMIT = 40.0  # seconds for one answer
Object = dict[str, Any]


class Browser:
    """One page in one browser; a context manager."""

    def __init__(self, profile: Path) -> None:
        self._profile = profile
        self._number = 0
        self._rest = b""
        self.events: list[Object] = []
        """What the browser has said by itself since the last `open`."""

    def __enter__(self) -> Self:
        assert PROGRAM
        commands, self._to = os.pipe()
        self._from, answers = os.pipe()
        # the browser reads descriptor 3 and writes descriptor 4; from 100 on, neither is one of them already
        theirs = [fcntl.fcntl(end, fcntl.F_DUPFD, 100) for end in (commands, answers)]
        line = f'exec 3<&{theirs[0]} 4>&{theirs[1]}; exec "$@"'
        command = ["bash", "-c", line, "bash", PROGRAM, *_FLAGS, f"--user-data-dir={self._profile}", "about:blank"]
        self._process = subprocess.Popen(command, pass_fds=theirs, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for end in (commands, answers, *theirs):
            os.close(end)
        pages = [target for target in self._send("Target.getTargets")["targetInfos"] if target["type"] == "page"]
        attached = self._send("Target.attachToTarget", targetId=pages[0]["targetId"], flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.do(f"{domain}.enable")
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._to)  # the end of its orders is the end of the browser
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._from)

    def open(self, address: str, *, width: int, dark: bool) -> None:
        """Load a page in a window of this width, until it is whole."""
        self.do("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.do("Emulation.setEmulatedMedia", features=[scheme])
        self.events.clear()
        self.do("Page.navigate", url=address)
        self._until(lambda event: event.get("method") == "Page.loadEventFired")
        self.evaluate("new Promise(done => requestAnimationFrame(() => setTimeout(done, 0)))")

    def evaluate(self, expression: str) -> Any:
        """The value of an expression on the page."""
        answer = self.do("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def screenshot(self, file: Path) -> None:
        """The whole page as PNG."""
        data = self.do("Page.captureScreenshot", captureBeyondViewport=True)["data"]
        file.write_bytes(base64.b64decode(data))

    @property
    def requests(self) -> list[str]:
        """Addresses that were asked for, the page's own among them."""
        return [e["params"]["request"]["url"] for e in self.events if e.get("method") == "Network.requestWillBeSent"]

    @property
    def complaints(self) -> list[Object]:
        """Errors, warnings and messages of the console."""
        telling = ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded")
        return [event for event in self.events if event.get("method") in telling]

    def do(self, method: str, **params: Any) -> Object:
        """A command for the page; its result."""
        return self._send(method, self._session, **params)

    def _send(self, method: str, session: str | None = None, **params: Any) -> Object:
        self._number += 1
        number = self._number
        order = {"id": number, "method": method, "params": params} | ({"sessionId": session} if session else {})
        os.write(self._to, json.dumps(order).encode() + b"\0")
        answer = self._until(lambda message: message.get("id") == number)
        assert "error" not in answer, (method, answer)
        return answer["result"]

    def _until(self, wanted: Any) -> Object:
        end = time.monotonic() + _LIMIT
        while True:
            while b"\0" in self._rest:
                line, _, self._rest = self._rest.partition(b"\0")
                message = json.loads(line)
                if "id" not in message:
                    self.events.append(message)
                if wanted(message):
                    return message
            ready, _, _ = select.select([self._from], [], [], max(end - time.monotonic(), 0))
            assert ready, f"no answer within {_LIMIT} s"
            data = os.read(self._from, 1 << 20)
            assert data, f"the browser has ended: {self._process.wait(5)}"
            self._rest += data
