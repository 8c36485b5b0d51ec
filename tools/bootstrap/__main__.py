"""Prepare this machine, and run the test suite.

    python3 -m bootstrap system        Debian packages that are missing
    python3 -m bootstrap venv          the checkout's .venv, for development and tests
    python3 -m bootstrap envs          the environments for quantization and for vLLM on CPU, in the cache
    python3 -m bootstrap tools         the pinned Go tools, in the cache; prints their folder
    python3 -m bootstrap test          every layer of tests with a summary
    python3 -m bootstrap clean-cache   remove the cache
"""

import shutil
import sys
from pathlib import Path

from . import cache, environments, gotools, layers, system

KNOWN = {"tools", "uv", "uv.lock", "envs", "images", "images.lock", "registry", "store", "models"}


def envs() -> None:
    for name in environments.EXTRAS:
        print(f"{name}: {environments.make(name)}")


def clean_cache() -> None:
    """Remove the cache; not if something else lies in it, or is mounted there, as a cluster's node would be."""
    root = cache.root()
    if not root.exists():
        return
    if strange := sorted(x.name for x in root.iterdir() if x.name not in KNOWN):
        raise SystemExit(f"{root} also holds {', '.join(strange)}: not removed")
    mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    if used := [m for m in mounts if m.startswith(f"{root}/")]:
        raise SystemExit(f"{root} is in use ({used[0]} is mounted): not removed")
    with cache.step(f"removing {root}"):
        shutil.rmtree(root)


VERBS = {
    "system": system.install, "venv": lambda: environments.make("dev"), "envs": envs,
    "tools": lambda: print(gotools.build()), "clean-cache": clean_cache,
}


def main() -> int:
    verb = sys.argv[1] if len(sys.argv) == 2 else ""
    if verb == "test":
        return layers.run()
    if verb not in VERBS:
        raise SystemExit(__doc__)
    VERBS[verb]()
    return 0


if __name__ == "__main__":
    sys.exit(main())
