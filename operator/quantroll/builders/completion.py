"""A command of the engine's image that asks the engine beside it for one completion: a healthy engine may give none."""

import json

from quantroll.builders.meta import Manifest

TIMEOUT = 55  # seconds; the first completion may compile kernels

_SCRIPT = """\
import http.client, json, sys
connection = http.client.HTTPConnection("127.0.0.1", {port}, timeout={timeout})
body = {body}
try:
    connection.request("POST", "/v1/completions", json.dumps(body), {{"Content-Type": "application/json"}})
    answer = connection.getresponse()
    text = answer.read(300).decode(errors="replace")
except OSError as error:
    sys.exit(f"no answer yet: {{error}}")
sys.exit(0 if answer.status == 200 else f"HTTP {{answer.status}}: {{text}}")
"""


def command(served_name: str, port: int, timeout: int = TIMEOUT) -> list[str]:
    """It ends well with a completion; without one after `timeout` seconds, its last line says why."""
    body: Manifest = {"model": served_name, "prompt": "1", "max_tokens": 1}
    return ["python3", "-c", _SCRIPT.format(port=port, timeout=timeout, body=json.dumps(body))]
