"""How these programs end."""

import os
import signal
import threading


def end_on_sigterm() -> None:
    """End at once when the pod is deleted.

    A handler would wait for the main thread to come back from a long computation, and PID 1 ignores a signal without
    one. Nothing has to be tidied up: what is not whole has not got its name yet.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})

    def wait() -> None:
        signal.sigwait({signal.SIGTERM})
        os._exit(128 + signal.SIGTERM)

    threading.Thread(target=wait, name="sigterm", daemon=True).start()
