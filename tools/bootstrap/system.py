"""Debian packages that cluster, images and tests need; installed only where something of them is missing."""

import os
import shutil
import subprocess
from pathlib import Path

from . import cache

SEARCH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
CLUSTER = {  # package: a file that it brings, or a program
    "iproute2": "ip",
    "util-linux": "unshare",
    "mount": "mount",
    "nftables": "nft",
    "runc": "/usr/sbin/runc",
    "containernetworking-plugins": "/usr/lib/cni/ptp",
    "ca-certificates": "update-ca-certificates",
}
IMAGES = {"debootstrap": "debootstrap", "buildah": "buildah"}
TESTS = {"chromium": "chromium"}  # looks at the report's page


def missing(wanted: dict[str, str]) -> list[str]:
    """The packages whose file or program is not there."""
    return [
        package
        for package, sign in wanted.items()
        if not (Path(sign).exists() if sign.startswith("/") else shutil.which(sign, path=SEARCH))
    ]


def wanted() -> dict[str, str]:
    """All packages for this machine: with a docker daemon buildah is not needed."""
    docker = (
        shutil.which("docker") and not subprocess.run(["docker", "info"], check=False, capture_output=True).returncode
    )
    return {**CLUSTER, **TESTS} if docker else {**CLUSTER, **TESTS, **IMAGES}


def install() -> None:
    """Install what is missing with apt. Raises SystemExit that names what somebody has to do by hand."""
    if not shutil.which("go"):
        raise SystemExit("Go is needed (1.21 or newer; it fetches the pinned version itself): https://go.dev/dl")
    packages = missing(wanted())
    if not packages:
        return
    if os.geteuid() or not shutil.which("apt-get"):
        cache.say(
            f"not installed: {', '.join(packages)} (needs root and apt): no node, no images and no"
            " test with a browser on this machine"
        )
        return
    apt(*packages)


def apt(*packages: str) -> None:
    """Install Debian packages without questions."""
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    with cache.step(f"apt: {' '.join(packages)}"):
        # a package source that does not answer is no reason to stop: the install below says what is really missing
        subprocess.run(["apt-get", "update", "--quiet", "--quiet"], env=env, check=False)
        subprocess.run(
            ["apt-get", "install", "--quiet", "--yes", "--no-install-recommends", *packages],
            env=env,
            check=True,
            stdout=subprocess.DEVNULL,
        )
