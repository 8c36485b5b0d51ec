"""Objects as a watch tells of them: to ask for them again and again would keep an API server busy."""

import http.client
import json
import threading
from urllib.parse import urlencode, urlsplit

from cluster.kube import Client
from integration.rest import Object

SECONDS = 20  # after which the API server ends a watch


class Watched:
    """The objects under a path, kept up to date by a thread from `start` to `close`."""

    def __init__(self, client: Client, path: str) -> None:
        self._client, self._path = client, path
        self._found: dict[str, Object] = {}
        self._version = ""  # none: all that is there is told of first
        self._error: BaseException | None = None
        self._end, self._thread = threading.Event(), threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Begin; what is there already is told of first."""
        self._thread.start()

    def close(self) -> None:
        """End, at the latest with the watch."""
        self._end.set()

    def items(self) -> list[Object]:
        """All objects as they were last told of. Raises what has ended the thread."""
        if self._error:
            raise self._error
        return list(self._found.values())

    def _run(self) -> None:
        try:
            self._follow()
        except BaseException as error:
            self._error = error
            raise

    def _follow(self) -> None:
        while not self._end.is_set():
            host = urlsplit(self._client.server).netloc
            connection = http.client.HTTPSConnection(host, context=self._client.ssl, timeout=SECONDS + 10)
            asked = {"watch": 1, "timeoutSeconds": SECONDS, "resourceVersion": self._version}
            try:
                connection.request("GET", f"{self._path}?{urlencode(asked)}")
                with connection.getresponse() as answer:
                    self._read(answer)
            except (OSError, http.client.HTTPException):
                self._end.wait(0.1)  # the API server may have been stopped
            finally:
                connection.close()

    def _read(self, answer: http.client.HTTPResponse) -> None:
        if answer.status != 200:
            self._end.wait(1)  # there is no such kind yet
            return
        for line in answer:
            if self._end.is_set():
                return
            event = json.loads(line)
            if event["type"] == "ERROR":  # the version is too old
                self._version, self._found = "", {}
                return
            meta = event["object"]["metadata"]
            self._version = meta["resourceVersion"]
            if event["type"] == "DELETED":
                self._found.pop(meta["uid"], None)
            else:
                self._found[meta["uid"]] = event["object"]
