"""Pinned Go tools, built from the module proxy into the cache: the parts of the cluster, Prometheus and Helm.

Each folder under `tools/go` is one module: with `tool` lines, or with a `main.go` where a tool's own command compiles
much that no cluster here uses. What several of them use is of one version in all, as far as their code allows (a test
says so): it is compiled once then. The result lies in CACHE/tools/KEY/bin, KEY being a digest of all that decides about
it. A build that was cut short goes on where it stopped: a module is finished when its stamp exists, and Go's own build
cache keeps the rest.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from . import cache

SOURCE = cache.CHECKOUT / "tools" / "go"
MODULES = ("kubernetes", "containerd", "coredns", "registry", "contour", "helm", "prometheus", "pause")
BENCH = ("kwok",)  # for the benchmark alone, so beside the others with a key of its own
GO = "go1.26.8"  # 1.27's encoding/json/v2 breaks /openapi/v2 of Kubernetes 1.36, and with it `kubectl apply`
GATEWAY_API = "sigs.k8s.io/gateway-api@v1.4.1"
KUBE_MINOR = "36"
FLAGS = ("-trimpath", "-mod=readonly", "-buildvcs=false")
TAGS = {"prometheus": "remove_all_sd,enable_kubernetes_sd"}  # the others' clients are most of what it compiles


def key(of: tuple[str, ...] = MODULES) -> str:
    """Changes with every pin, flag and version stamp of these modules; not with anything else of the project."""
    files = [f for m in of for f in sorted((SOURCE / m).iterdir()) if f.is_file()]
    tags = [f"{m} {TAGS[m]}" for m in of if m in TAGS]
    return cache.digest(files, GO, GATEWAY_API, KUBE_MINOR, *FLAGS, *tags, "recipe 1")


def folder(of: tuple[str, ...] = MODULES) -> Path:
    """The folder of the tools of this checkout, built or not."""
    return cache.root() / "tools" / key(of) / "bin"


def build(modules: tuple[str, ...] = MODULES, of: tuple[str, ...] = MODULES) -> Path:
    """Build those of the modules `of` one folder that are not built yet; returns the folder of the binaries.

    Raises CalledProcessError when Go fails.
    """
    to = folder(of)
    with cache.lock(to.parent / "lock"):
        for module in modules:
            stamp = to.parent / f"{module}.built"
            if stamp.exists():
                continue
            with cache.step(f"Go tools: {module}"):
                _build(module, to)
            stamp.touch()
    return to


def _build(module: str, to: Path) -> None:
    """Build one module aside and move the result into place, so that no half-written binary is ever found."""
    where, aside = SOURCE / module, to.parent / f"{module}.new"
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    to.mkdir(exist_ok=True)
    what = "." if (where / "main.go").exists() else "tool"
    jobs = os.environ.get("JOBS") or str(os.cpu_count() or 2)
    flags = ["-p", jobs, "-tags", TAGS.get(module, ""), "-ldflags", " ".join(["-s -w", *_stamps(module)])]
    _go(where, "build", *flags, "-o", f"{aside}/", what)
    if module == "kubernetes":
        (aside / "server").rename(aside / "etcd")  # go.etcd.io/etcd/server/v3 is built under its last folder's name
    if module == "contour":
        _manifests(where, aside / "manifests")
    if module == "kwok":
        _stages(where, aside / "stages")
    for made in aside.iterdir():
        if made.is_dir():
            shutil.rmtree(to / made.name, ignore_errors=True)
        made.rename(to / made.name)
    aside.rmdir()


def _go(where: Path, *args: str) -> str:
    """Run Go with the one set of settings: another CGO_ENABLED or -trimpath would compile everything again."""
    env = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": " ".join(FLAGS), "GOTOOLCHAIN": GO, "GOWORK": "off"}
    return subprocess.run(["go", *args], cwd=where, env=env, check=True, stdout=subprocess.PIPE, text=True).stdout


def _stamps(module: str) -> list[str]:
    """Linker flags that put versions into binaries: kubectl cannot parse a server without one."""
    decide: dict[str, Callable[[], list[str]]] = {"kubernetes": _kubernetes_stamps, "helm": _helm_stamps}
    return decide.get(module, list)()


def _version(module: str, name: str) -> str:
    return _go(SOURCE / module, "list", "-m", "-f", "{{.Version}}", name).strip()


def _kubernetes_stamps() -> list[str]:
    values = {
        "gitVersion": _version("kubernetes", "k8s.io/kubernetes"),
        "gitMajor": "1",
        "gitMinor": KUBE_MINOR,
        "gitCommit": "none",
        "gitTreeState": "clean",
        "buildDate": "2026-01-01T00:00:00Z",
    }
    return [f"-X k8s.io/component-base/version.{name}={value}" for name, value in values.items()]


def _helm_stamps() -> list[str]:
    """Without these `helm template` claims to talk to Kubernetes v1.20."""
    flags = [f"-X helm.sh/helm/v3/internal/version.version={_version('helm', 'helm.sh/helm/v3')}"]
    for package in ("pkg/chartutil", "pkg/lint/rules"):
        flags += [
            f"-X helm.sh/helm/v3/{package}.k8sVersionMajor=1",
            f"-X helm.sh/helm/v3/{package}.k8sVersionMinor={KUBE_MINOR}",
        ]
    return flags


def _manifests(where: Path, to: Path) -> None:
    """Copy the Gateway's CRDs and Contour's role out of their modules."""
    contour = Path(_go(where, "list", "-m", "-f", "{{.Dir}}", "github.com/projectcontour/contour").strip())
    gateway = Path(json.loads(_go(where, "mod", "download", "-json", GATEWAY_API))["Dir"])
    wanted = {
        "contour": [contour / "examples/contour" / name for name in ("01-crds.yaml", "02-role-contour.yaml")],
        "gateway-api": sorted((gateway / "config/crd/standard").glob("*.yaml")),
    }
    for name, files in wanted.items():
        (to / name).mkdir(parents=True)
        for file in files:
            shutil.copyfile(file, to / name / file.name)  # not the mode: the module cache is read-only


def _stages(where: Path, to: Path) -> None:
    """Copy how nodes are played out of KWOK's module; how pods are is the benchmark's own."""
    kwok = Path(_go(where, "list", "-m", "-f", "{{.Dir}}", "sigs.k8s.io/kwok").strip())
    to.mkdir()
    for file in sorted((kwok / "kustomize" / "stage" / "node" / "fast").glob("node-*.yaml")):
        shutil.copyfile(file, to / file.name)
