"""Runs the layers of the test suite one after the other, and says at the end how each went and how long it took."""

import os
import subprocess
import time
from collections.abc import Sequence

from . import cache

LAYERS = ("setup", "lint", "type", "imports", "unit", "integration", "jobs", "e2e")


def run(layers: Sequence[str] = LAYERS) -> int:
    """Run `make LAYER` for each, all of them whatever fails; 0 if none failed. E2E=skip leaves the node out.

    Without a complete setup nothing else can be judged: then the rest is not run.
    """
    lines, failed, began = [], False, time.monotonic()
    for layer in layers:
        if layer == "e2e" and os.environ.get("E2E") == "skip":
            lines.append(f"{layer:12} SKIPPED (E2E=skip): nothing was tested on a node")
            continue
        at = time.monotonic()
        cache.say(f"layer {layer}")
        code = subprocess.run(["make", "--no-print-directory", layer], cwd=cache.CHECKOUT, check=False).returncode
        lines.append(f"{layer:12} {'FAILED' if code else 'ok':7} {time.monotonic() - at:7.1f} s")
        failed |= bool(code)
        if code and layer == "setup":
            lines.append("nothing else was run: the setup is not complete")
            break
    print("\n" + "\n".join(lines))
    print(f"{'all':12} {'FAILED' if failed else 'ok':7} {time.monotonic() - began:7.1f} s", flush=True)
    return int(failed)
