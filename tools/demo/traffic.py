"""A client that sends requests through the gateway for as long as it is let, and counts what fails."""

import json
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Self

import httpx

PROMPTS = ("Q:rev abcd\nA:", "Q:37+05\nA:", "Q:rev wxyz\nA:", "Q:12+30\nA:")
LONGEST = 60.0


@dataclass
class Traffic:
    """Two clients of one host, one of them streaming; a context manager. They end with it; that one had to end
    before, after `limit` seconds, is a failure. `between`, which may change under way, are the seconds from an answer
    to the next request of the same client: a steady load, not a stress test."""

    url: str
    host: str
    model: str
    limit: float = 3600
    between: float = 0.1
    sent: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    _end: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def __enter__(self) -> Self:
        for kind in ("whole", "streamed"):
            thread = threading.Thread(target=self._send, args=(kind,), name=kind, daemon=True)
            thread.start()
            self._threads.append(thread)
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join(timeout=LONGEST + 5)
            if thread.is_alive():
                self._failed(thread.name, "its last request has not ended")

    def _send(self, kind: str) -> None:
        began, number = time.monotonic(), 0
        with httpx.Client(base_url=self.url, headers={"Host": self.host}, timeout=LONGEST, trust_env=False) as client:
            while not self._end.wait(self.between):
                if time.monotonic() - began >= self.limit:  # from then on nobody would see a failure
                    self._failed(kind, f"the client has ended after {self.limit:g} s")
                    return
                prompt = PROMPTS[number % len(PROMPTS)]
                number += 1
                self.sent[kind] += 1
                try:
                    wrong = ask(client, self.model, prompt, stream=kind == "streamed")
                except Exception as error:  # noqa: BLE001 - a client that ended would see no failure any more
                    wrong = f"{type(error).__name__}: {error}"
                if wrong:
                    self._failed(kind, wrong)

    def _failed(self, kind: str, wrong: str) -> None:
        self.failures.append(f"{time.strftime('%H:%M:%S')} {kind}: {wrong}")

    @property
    def summary(self) -> str:
        """One line: how many requests, how many failed."""
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(self.sent.items()))
        return f"{sum(self.sent.values())} requests sent ({kinds}), {len(self.failures)} failed"


def ask(client: httpx.Client, model: str, prompt: str, *, stream: bool = False) -> str | None:
    """One completion; None when it came whole, else what was wrong."""
    body = {"model": model, "prompt": prompt, "max_tokens": 8, "temperature": 0, "stream": stream}
    try:
        with client.stream("POST", "/v1/completions", json=body) as answer:
            text = "".join(answer.iter_text())
    except httpx.HTTPError as error:
        return f"{type(error).__name__}: {error}"
    if answer.status_code != 200:
        return f"HTTP {answer.status_code}: {text[:200]}"
    if stream:
        return None if text.rstrip().endswith("data: [DONE]") else f"the stream ended early: …{text[-100:]!r}"
    return None if json.loads(text)["choices"][0]["text"] else f"an empty answer: {text[:200]}"
