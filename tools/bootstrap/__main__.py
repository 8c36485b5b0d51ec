"""Prepare this machine, and run the test suite.

python3 -m bootstrap system        Debian packages that are missing
python3 -m bootstrap venv          the checkout's .venv, for development and tests
python3 -m bootstrap envs          the environments for quantization and for vLLM on CPU, in the cache
python3 -m bootstrap tools         the pinned Go tools, in the cache; prints their folder
python3 -m bootstrap kubernetes    of these only Kubernetes' own, which integration tests need
python3 -m bootstrap bench         what the benchmark needs beside these
python3 -m bootstrap mypy          prints mypy's folder in the cache: it looks at versions and contents itself
python3 -m bootstrap test          every layer of tests with a summary
python3 -m bootstrap clean-cache   remove the cache
"""

import sys

from . import cache, environments, gotools, layers, system


def envs() -> None:
    for name in environments.EXTRAS:
        print(f"{name}: {environments.make(name)}")


VERBS = {
    "system": system.install,
    "venv": lambda: environments.make("dev"),
    "envs": envs,
    "tools": lambda: print(gotools.build()),
    "kubernetes": lambda: print(gotools.build(("kubernetes",))),
    "bench": lambda: print(gotools.build(), gotools.build(gotools.BENCH, gotools.BENCH)),
    "mypy": lambda: print(cache.root() / "mypy"),
    "clean-cache": cache.remove,
}


def main() -> int:
    verb = sys.argv[1] if len(sys.argv) == 2 else ""
    if verb == "test":
        return layers.run()
    if verb not in VERBS:
        raise SystemExit(__doc__)
    if verb != "clean-cache":
        cache.tag()
    VERBS[verb]()
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)  # as the shell has it
