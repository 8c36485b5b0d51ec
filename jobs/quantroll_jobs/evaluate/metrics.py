"""How far an evaluation is, as a metrics page: the operator has no other way to learn it before the Job ends."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Gauge, start_http_server


@contextmanager
def told_on(port: int | None, total: int, answered: Callable[[], int]) -> Iterator[int | None]:
    """Tell on a port while this lasts, 0 for any; yields it. A page that cannot be offered is no reason to fail."""
    if port is None:
        yield None
        return
    registry = CollectorRegistry()
    Gauge("quantroll_evaluation_questions", "Questions of the evaluation that runs.", registry=registry).set(total)
    known = Gauge("quantroll_evaluation_answered", "Of these, questions that are answered.", registry=registry)
    known.set_function(answered)
    try:
        server, thread = start_http_server(port, registry=registry)
    except OSError as error:
        print(f"progress is not told on port {port}: {error}", flush=True)
        yield None
        return
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
