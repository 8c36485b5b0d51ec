"""The project's images: built from the Dockerfile, pushed to the registry's storage, named by digest.

`build()` returns references that pods of a cluster with a registry can use. They are written down in the checkout too
(`.run/images.json`), for whoever comes later: `references()`.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from bootstrap import cache

from . import registry
from .binaries import Binaries
from .builders import Buildah, Builder, Docker

TARGETS = ("operator", "client", "quantize", "vllm-cpu")
OPTIONAL = ("quantize-autoawq", "client-lm-eval")  # built when somebody asks for it
RECORD = cache.CHECKOUT / ".run" / "images.json"


def references(record: Path = RECORD) -> dict[str, str]:
    """`127.0.0.1:5000/quantroll/TARGET@sha256:…` for every target that was built; empty before the first build."""
    if not record.exists():
        return {}
    return {name: entry["reference"] for name, entry in json.loads(record.read_text()).items()}


def build(
    targets: Iterable[str] = TARGETS,
    binaries: Binaries | None = None,
    builder: Builder | None = None,
    record: Path = RECORD,
    context: Path = cache.CHECKOUT,
) -> dict[str, str]:
    """Build the targets, push what changed, and return all references. A second call without a change takes no time.

    `context` is a folder with a Dockerfile that has these targets, and a .dockerignore that says what it may copy.
    """
    binaries, mark, targets = binaries or Binaries.pinned(), _mark(), list(targets)
    with cache.lock(cache.root() / "images.lock"):
        builder = builder or (Docker() if Docker.usable() else Buildah())
        known = json.loads(record.read_text()) if record.exists() else {}
        made_of = _made_of(context)
        for target in targets:
            old = known.get(target, {})
            there = bool(old) and registry.has(old["reference"])
            if there and old.get("of") == made_of:
                continue
            with cache.step(f"image {target}"):
                tag = f"localhost/quantroll/{target}:{mark}"
                identity = builder.build(tag, context, target)
                reference = old["reference"] if there and old["id"] == identity else ""
                if not reference:
                    with registry.serving(binaries, isolated=builder.isolated) as served:
                        digest = builder.push(tag, f"quantroll/{target}:{mark}", served)
                    reference = f"{registry.HOST}/quantroll/{target}@{digest}"
                known[target] = {"id": identity, "reference": reference, "of": made_of}
            record.parent.mkdir(exist_ok=True)
            record.write_text(json.dumps(known, indent=1) + "\n")
        _prune(builder, binaries, mark, targets)
    return {name: entry["reference"] for name, entry in known.items()}


def _made_of(context: Path) -> str:
    """A digest of the Dockerfile and of all files that it may copy, by path, mode and contents."""
    lines = (context / ".dockerignore").read_text().splitlines()
    let_in = [context / line.removeprefix("!") for line in lines if line.startswith("!")]
    files = [file for place in let_in for file in (place.rglob("*") if place.is_dir() else [place]) if file.is_file()]
    kept = sorted({context / "Dockerfile", *(file for file in files if "__pycache__" not in file.parts)})
    return cache.digest(kept, *(f"{file.relative_to(context)} {file.stat().st_mode:o}" for file in kept))


def _mark() -> str:
    """The tag of this checkout's images. Each has its own: what one builds anew, another may be using."""
    return f"dev-{cache.digest([], str(cache.CHECKOUT))}"


def _prune(builder: Builder, binaries: Binaries, mark: str, targets: Iterable[str]) -> None:
    """Let go of layers when the packages of what was built have changed, or another checkout is no more.

    Else the cache would grow by gigabytes with every change of the lock; small layers of code may pile up. What is left
    of a checkout that is no more stays until its images have been built here, from the very same large layers.
    """
    folder = cache.root() / "images" / "checkouts"
    folder.mkdir(parents=True, exist_ok=True)
    files = [cache.CHECKOUT / name for name in ("Dockerfile", "uv.lock")]
    scripts = sorted(file for file in (cache.CHECKOUT / "tools/images").iterdir() if file.is_file())
    recipe, own = cache.digest([*files, *scripts]), folder / mark
    before = _built(own) if own.exists() else {}
    built = {**before, **dict.fromkeys(targets, recipe)}
    others = [file for file in folder.iterdir() if file != own]
    left = [file for file in others if not Path(json.loads(file.read_text())["path"]).is_dir()]
    gone = [file for file in left if _is_replaced(_built(file), built)]
    for file in gone:
        builder.forget(file.name)
        registry.forget(file.name)
        file.unlink()
    if gone or any(built[target] != was for target, was in before.items()):
        with cache.step("removing layers that no image has any more"):
            builder.prune()
            registry.collect_garbage(binaries)
    own.write_text(json.dumps({"path": str(cache.CHECKOUT), "built": built}))


def _built(record: Path) -> dict[str, str]:
    """The targets that a checkout has built, each with the digest of what decided about its packages."""
    found: dict[str, str] = json.loads(record.read_text()).get("built", {})
    return found


def _is_replaced(left: Mapping[str, str], built: Mapping[str, str]) -> bool:
    """Whether what is left is of no more use: what everybody builds has been built here, and what few do, of these
    packages, too."""
    recipes = set(built.values())
    return all(target in built for target, recipe in left.items() if target in TARGETS or recipe in recipes)
