"""What turns a Dockerfile into images and pushes them: docker where its daemon answers, else buildah.

buildah pulls nothing: the Dockerfile's base is made once with debootstrap and tagged as the official image. RUN steps
see this machine's CA bundle and package index by files mounted for the build only: nothing of them is in the
Dockerfile or in an image.
"""

import configparser
import json
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from bootstrap import cache

from .registry import Served

BASE = "docker.io/library/python:3.11-slim-bookworm"
PACKAGES = "python3,python3-pip,python3-venv,ca-certificates"
CA_IN_IMAGE = "/etc/ssl/certs/ca-certificates.crt"
CA_VARIABLES = ("PIP_CERT", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
NOT_FOR_IMAGES = ("PIP_CERT", "PIP_FIND_LINKS", "PIP_REQUIREMENT")  # paths of this machine


class Builder(Protocol):
    """Builds one target of a Dockerfile, and pushes the result to a registry without TLS."""

    isolated: bool  # whether `push` can enter the network namespace of a registry

    def build(self, tag: str, context: Path, target: str) -> str:
        """Returns the image's id, which changes only with its contents. One build at a time."""

    def push(self, tag: str, name: str, to: Served) -> str:
        """Returns the digest (`sha256:…`) by which the registry knows it; `name` is `repository:tag` there."""

    def forget(self, version: str) -> None:
        """Remove the tags `localhost/quantroll/…:VERSION`."""

    def prune(self) -> None:
        """Let go of layers that no image has any more."""


class Docker:
    """The docker command line with a daemon behind it."""

    isolated = False  # the daemon pushes, not we

    @staticmethod
    def usable() -> bool:
        """Whether the daemon answers."""
        return (
            bool(shutil.which("docker"))
            and not subprocess.run(["docker", "info"], check=False, capture_output=True).returncode
        )

    def build(self, tag: str, context: Path, target: str) -> str:
        subprocess.run(
            ["docker", "build", "--quiet", "--target", target, "--tag", tag, context],
            check=True,
            stdout=subprocess.DEVNULL,
            env={**os.environ, "DOCKER_BUILDKIT": "1"},
        )
        return self._docker("image", "inspect", "--format", "{{.Id}}", tag).strip()

    def push(self, tag: str, name: str, to: Served) -> str:
        reference = f"{to.address}/{name}"
        self._docker("tag", tag, reference)
        try:
            said = self._docker("push", reference)
        finally:
            self._docker("image", "rm", reference)
        return said.split("digest: ")[1].split()[0]

    def forget(self, version: str) -> None:
        """Of images that somebody else tagged, too, only these tags go."""
        images = ["image", "ls", "--filter", f"reference=localhost/quantroll/*:{version}"]
        if found := self._docker(*images, "--format", "{{.Repository}}:{{.Tag}}").split():
            self._docker("image", "rm", *found)

    def prune(self) -> None:
        """Nothing: the daemon's storage is the user's."""

    @staticmethod
    def _docker(*args: str) -> str:
        return subprocess.run(["docker", *args], check=True, stdout=subprocess.PIPE, text=True).stdout


class Buildah:
    """buildah with a storage folder of its own, in the cache."""

    isolated = True

    def __init__(self, folder: Path | None = None) -> None:
        self.dir = folder or cache.root() / "images"
        for sub in ("root", "run", "build"):
            (self.dir / sub).mkdir(parents=True, exist_ok=True)
        (self.dir / "storage.conf").write_text(
            f'[storage]\ndriver = "overlay"\ngraphroot = "{self.dir}/root"\nrunroot = "{self.dir}/run"\n'
        )
        self.policy = self.dir / "policy.json"
        self.policy.write_text('{"default": [{"type": "insecureAcceptAnything"}]}')
        (self.dir / "registries.conf").write_text("unqualified-search-registries = []\n")

    def run(self, *args: object, enter: Sequence[str] = ()) -> str:
        """Run buildah; its standard output. What it and the build's commands say on standard error is shown."""
        env = {
            **os.environ,
            "CONTAINERS_STORAGE_CONF": f"{self.dir}/storage.conf",
            "TMPDIR": f"{self.dir}/build",
            "CONTAINERS_REGISTRIES_CONF": f"{self.dir}/registries.conf",
            "BUILDAH_ISOLATION": "chroot",
            "XDG_CONFIG_HOME": f"{self.dir}",
        }
        return subprocess.run(
            [*enter, "buildah", *map(str, args)], env=env, check=True, text=True, stdout=subprocess.PIPE
        ).stdout.strip()

    def build(self, tag: str, context: Path, target: str) -> str:
        self.run("rm", "--all")  # what an interrupted build left mounted: the caller sees to it that none is running
        self._base()
        self._share_uv_cache()
        mounts = [o for source, at in self.machine_files().items() for o in ("--volume", f"{source}:{at}:ro")]
        said = self.run(
            "bud",
            "--layers",
            "--pull-never",
            "--isolation=chroot",
            "--quiet",
            "--signature-policy",
            self.policy,
            *mounts,
            "--target",
            target,
            "--tag",
            tag,
            context,
        )
        return said.split()[-1]

    def push(self, tag: str, name: str, to: Served) -> str:
        digest = self.dir / "build" / "digest"
        self.run(
            "push",
            "--quiet",
            "--tls-verify=false",
            "--compression-format=zstd",  # gzip, the default, takes longer: layers have gigabytes
            "--compression-level=1",
            "--signature-policy",
            self.policy,
            "--digestfile",
            digest,
            tag,
            f"docker://{to.address}/{name}",
            enter=to.enter,
        )
        return digest.read_text().strip()

    def forget(self, version: str) -> None:
        names = self.run("images", "--format", "{{.Name}}:{{.Tag}}").split()
        if ours := [n for n in names if n.startswith("localhost/quantroll/") and n.endswith(f":{version}")]:
            self.run("rmi", *ours)

    def prune(self) -> None:
        self.run("rmi", "--prune")

    def _base(self) -> None:
        """Make the base once: a minimal Debian whose `python3`, `pip` and venv work as in the official image."""
        if self.run("images", "--quiet", "--filter", f"reference={BASE}"):
            return
        root = self.dir / "rootfs"
        shutil.rmtree(root, ignore_errors=True)
        with cache.step("base image (debootstrap)"):
            subprocess.run(
                ["debootstrap", "--variant=minbase", f"--include={PACKAGES}", "bookworm", root],
                check=True,
                stdout=subprocess.DEVNULL,
            )
            _like_the_official_image(root)
            container = self.run("from", "--signature-policy", self.policy, "scratch")
            try:
                self.run("add", "--quiet", container, root, "/")
                self.run(
                    "config",
                    "--cmd",
                    "python3",
                    "--env",
                    "LANG=C.UTF-8",
                    "--env",
                    "PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin",
                    container,
                )
                self.run("commit", "--quiet", "--signature-policy", self.policy, container, BASE)
            finally:
                self.run("rm", container)
            shutil.rmtree(root)

    def _share_uv_cache(self) -> None:
        """Let the Dockerfile's uv cache mount be this machine's uv cache: gigabytes are then not fetched twice."""
        mount = self.dir / "build" / "buildah-cache" / "quantroll-uv"  # where buildah keeps the mount of that id
        if mount.is_symlink() or mount.exists():
            return
        own = Path(os.environ.get("UV_CACHE_DIR") or Path.home() / ".cache" / "uv")
        own.mkdir(parents=True, exist_ok=True)
        mount.parent.mkdir(parents=True, exist_ok=True)
        mount.symlink_to(own)

    def machine_files(self) -> dict[Path, str]:
        """What RUN steps need to reach package indexes from here, as files to mount over the image's.

        The CA bundle covers the image's own, which is what pip, uv, OpenSSL and most else read; pip's and uv's
        settings come from their variables. Proxy variables are passed by buildah itself.
        """
        files: dict[Path, str] = {}
        ca = next((Path(os.environ[v]) for v in CA_VARIABLES if os.environ.get(v)), None)
        if ca and ca.is_file():
            files[ca.resolve()] = CA_IN_IMAGE
        settings = pip_settings(os.environ)
        if ca:
            settings["cert"] = CA_IN_IMAGE
        if settings:
            files[_write_pip_conf(self.dir / "pip.conf", settings)] = "/etc/pip.conf"
        if uv := self._uv_config():
            files[uv] = "/etc/uv/uv.toml"
        return files

    def _uv_config(self) -> Path | None:
        """This machine's configuration of uv, or one that names the index that pip is told to use."""
        for given in (os.environ.get("UV_CONFIG_FILE"), "/etc/uv/uv.toml"):
            if given and Path(given).is_file():
                return Path(given).resolve()
        index = os.environ.get("UV_DEFAULT_INDEX") or os.environ.get("PIP_INDEX_URL")
        if not index:
            return None
        path = self.dir / "uv.toml"
        path.write_text(f"[[index]]\nurl = {json.dumps(index)}\ndefault = true\n")
        return path


def pip_settings(environment: Mapping[str, str]) -> dict[str, str]:
    """This machine's PIP_* variables as keys of pip's configuration file, without paths that images do not have."""
    return {
        name[4:].lower().replace("_", "-"): value
        for name, value in environment.items()
        if name.startswith("PIP_") and name not in NOT_FOR_IMAGES
    }


def _write_pip_conf(path: Path, settings: Mapping[str, str]) -> Path:
    conf = configparser.ConfigParser(interpolation=None)
    conf["global"] = dict(settings)
    with path.open("w") as file:
        conf.write(file)
    return path


def _like_the_official_image(root: Path) -> None:
    """Let `python` be found where it is in the official image, and leave nothing of this machine."""
    for marker in root.glob("usr/lib/python3*/EXTERNALLY-MANAGED"):
        marker.unlink()  # `RUN pip install` outside of a venv works in the official image
    for name in ("python", "python3"):
        (root / "usr/local/bin" / name).symlink_to("/usr/bin/python3")
    for junk in ("var/cache/apt", "var/lib/apt/lists", "usr/share/doc", "usr/share/man", "usr/share/locale"):
        for path in (root / junk).iterdir():
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    (root / "etc/resolv.conf").write_text("")  # debootstrap copies this machine's
    (root / "etc/hostname").unlink(missing_ok=True)
    (root / "etc/uv").mkdir()
    for mounted in ("hosts", "pip.conf", "uv/uv.toml"):
        (root / "etc" / mounted).touch()  # mounted over in RUN steps, which would leave empty files in their layers
