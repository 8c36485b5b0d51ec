"""Python environments from the project's lock: the checkout's `.venv`, and one per set of tools that conflict.

uv itself is pinned and lives in the cache. An environment is made again when the packages locked for it change, and
not with every other line of the lock. `.venv` has the project itself, editable; the others find it by PYTHONPATH.
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from . import cache, system

UV = "0.13.9"
DEV = ("--extra", "operator", "--extra", "client", "--extra", "cli", "--group", "dev")
EXTRAS = ("quantize", "quantize-autoawq", "serve", "lm-eval")
READY = ".quantroll-ready"
UNUSED = 14 * 86400  # seconds after which an environment that nobody asked for goes


def uv() -> Path:
    """The pinned uv, installed first if need be."""
    home = cache.root() / "uv" / UV
    program = home / "bin" / "uv"
    with cache.lock(cache.root() / "uv.lock"):
        if not program.exists():
            with cache.step(f"uv {UV}"):
                shutil.rmtree(home, ignore_errors=True)
                _install_uv(home)
    return program


def _install_uv(home: Path) -> None:
    """Into a venv, or, where Debian has left that out, by pip into a folder; else Debian's package is installed."""
    if _succeeds(sys.executable, "-m", "ensurepip", "--version"):
        subprocess.run([sys.executable, "-m", "venv", home], check=True)
        subprocess.run([home / "bin" / "python", "-m", "pip", "install", "--quiet", f"uv=={UV}"], check=True)
    elif _succeeds(sys.executable, "-m", "pip", "--version"):
        subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "--target", home, f"uv=={UV}"], check=True)
    elif not os.geteuid() and shutil.which("apt-get"):
        system.apt("python3-venv")
        _install_uv(home)
    else:
        raise SystemExit(f"{sys.executable} has neither ensurepip nor pip: install python3-venv")


def _succeeds(*command: str) -> bool:
    return not subprocess.run(command, check=False, capture_output=True).returncode


def settings(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment for uv: what this machine tells pip holds for uv too, unless it tells uv something else."""
    same = {
        "PIP_INDEX_URL": "UV_DEFAULT_INDEX",
        "PIP_EXTRA_INDEX_URL": "UV_INDEX",
        "PIP_CERT": "SSL_CERT_FILE",
        "PIP_DEFAULT_TIMEOUT": "UV_HTTP_TIMEOUT",
    }
    translated = {theirs: environment[ours] for ours, theirs in same.items() if ours in environment}
    return {"UV_SYSTEM_CERTS": "true", **translated, **environment}


def folder(name: str) -> Path:
    """Where the environment `dev` or of one of the extras is, made or not."""
    return cache.CHECKOUT / ".venv" if name == "dev" else cache.root() / "envs" / f"{name}-{key(name)}"


def key(name: str) -> str:
    """A digest of the packages locked for it and of the Python version."""
    locked = subprocess.run(
        [uv(), "export", "--frozen", "--quiet", "--no-header", "--no-emit-project", *_chosen(name)],
        cwd=cache.CHECKOUT,
        env=settings(os.environ),
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return cache.digest([], locked.stdout, sys.version)


def _chosen(name: str) -> tuple[str, ...]:
    return DEV if name == "dev" else ("--extra", name)


def make(name: str) -> Path:
    """Make an environment if it is not there or out of date; returns its Python."""
    current = key(name)
    home = folder(name)
    stamp = home / READY
    with cache.lock(cache.root() / "envs" / f"{name}.lock"):
        if not stamp.exists() or stamp.read_text() != current:
            stamp.unlink(missing_ok=True)
            with cache.step(f"Python environment {name}"):
                subprocess.run(
                    [
                        uv(),
                        "sync",
                        "--frozen",
                        "--quiet",
                        "--python",
                        sys.executable,
                        *_chosen(name),
                        # of dev's, made anew in every checkout, tests load a part; a process that loads it keeps it
                        *([] if name == "dev" else ["--no-install-project", "--compile-bytecode"]),
                    ],
                    cwd=cache.CHECKOUT,
                    check=True,
                    env={**settings(os.environ), "UV_PROJECT_ENVIRONMENT": str(home)},
                )
            stamp.write_text(current)
            _drop_unused()
        stamp.touch()
    return home / "bin" / "python"


def _drop_unused() -> None:
    for stamp in (cache.root() / "envs").glob(f"*/{READY}"):
        if time.time() - stamp.stat().st_mtime > UNUSED:
            shutil.rmtree(stamp.parent)
