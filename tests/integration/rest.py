"""Plain HTTPS to the API server: kubectl hides status codes and causes, and takes 100 ms a call."""

import http.client
import json
from typing import Any
from urllib.parse import urlencode, urlsplit

from cluster.kube import Client
from quantroll.constants import GROUP, PLURAL, VERSION

Object = dict[str, Any]

TYPES = {"POST": "application/json", "PUT": "application/json", "PATCH": "application/merge-patch+json"}


class Rest:
    """One connection with an administrator's certificate; not for several threads at once."""

    def __init__(self, client: Client) -> None:
        host = urlsplit(client.server).netloc
        self._connection = http.client.HTTPSConnection(host, context=client.ssl, timeout=30)

    def close(self) -> None:
        self._connection.close()

    def request(self, method: str, path: str, body: Object | None = None, **query: str) -> tuple[int, Object]:
        """HTTP status and the decoded answer; unknown and duplicate fields are refused, as kubectl does."""
        if method != "GET":
            query = {"fieldValidation": "Strict", **query}
        headers = {"Content-Type": TYPES[method]} if body is not None else {}
        data = None if body is None else json.dumps(body)
        url = f"{path}?{urlencode(query)}"
        try:
            response = self._asked(method, url, data, headers)
        except (OSError, http.client.HTTPException):  # closed by the server while nobody used it
            self._connection.close()
            response = self._asked(method, url, data, headers)
        with response:
            text = response.read().decode()
            known = response.headers.get_content_type() == "application/json"
            return response.status, json.loads(text) if known else {"message": text}

    def _asked(self, method: str, url: str, data: str | None, headers: dict[str, str]) -> http.client.HTTPResponse:
        self._connection.request(method, url, data, headers)
        return self._connection.getresponse()


def models(namespace: str, name: str = "", subresource: str = "") -> str:
    """Path of the QuantizedModels of a namespace, of one, or of its subresource."""
    parts = ("/apis", GROUP, VERSION, "namespaces", namespace, PLURAL, name, subresource)
    return "/".join(part for part in parts if part)
