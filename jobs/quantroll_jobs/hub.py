"""A model from the Hugging Face hub, at one commit, copied to the artifact volume.

Only what a checkpoint needs is fetched: no pickled weights, no code. Before the copy gets its final name, its files are
compared with the digests that the hub lists; later runs compare with what was found then, and do not ask the hub.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from huggingface_hub import HfApi, hf_hub_download
from huggingface_hub.hf_api import RepoSibling
from huggingface_hub.utils.tqdm import disable_progress_bars

from quantroll.api.jobs import HubModel
from quantroll.constants import Reason
from quantroll_jobs import store
from quantroll_jobs.checkpoint import INDEX, OTHER_FORMATS, SINGLE, TEMPLATES, TEXT_SUFFIXES
from quantroll_jobs.digests import sha256_file
from quantroll_jobs.errors import JobError, no_room
from quantroll_jobs.hub_errors import translated

MANIFEST = "quantroll-source.json"
ENDPOINT = "https://huggingface.co"
_CHUNK = 1 << 20
_TIMEOUT = 30.0  # seconds
_PARALLEL = 4  # files


class Hub(NamedTuple):
    """Where to fetch from, and with which right."""

    endpoint: str
    token: str | None


def fetch(model: HubModel, folder: Path) -> dict[str, str]:
    """The commit's files stand whole in `folder`; returns the sha256 of each. Raises JobError.

    A copy that is there and unchanged is used as it is.
    """
    with store.locked(folder):
        if (known := _unchanged(model, folder)) is not None:
            print(f"{model.repository}: the copy at {folder} is as it was fetched", flush=True)
            return known
        hub = Hub(os.environ.get("HF_ENDPOINT") or ENDPOINT, _token())
        growing = folder.with_name(f"{folder.name}.tmp-download")  # kept: another attempt goes on with whole files
        with translated(model, hub.endpoint, has_token=hub.token is not None):
            files = _chosen(model, hub)
            _check_room(files, growing)
            _download(model, hub, files, growing)
        digests = {file.rfilename: _checked(file, growing / file.rfilename) for file in files}
        _tidy(growing, digests)
        manifest = {"repository": model.repository, "revision": model.revision, "files": digests}
        store.write_json(growing / MANIFEST, manifest)
        store.publish(growing, folder)
        return digests


def _unchanged(model: HubModel, folder: Path) -> dict[str, str] | None:
    """The digests of a finished copy; None where there is none, or it is not what was fetched."""
    try:
        manifest = json.loads((folder / MANIFEST).read_bytes())
        expected = dict(manifest["files"])
        found = {name: sha256_file(folder / name) for name in expected}
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, AttributeError):
        return None  # damaged: fetched anew
    present = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()} - {MANIFEST}
    same = (manifest.get("repository"), manifest.get("revision")) == (model.repository, model.revision)
    if same and found == expected and present == set(expected):
        return found
    print(f"{model.repository}: the copy at {folder} has changed since it was fetched: it is fetched again", flush=True)
    return None


def _tidy(growing: Path, wanted: Iterable[str]) -> None:
    """Take away what is no part of the copy, such as the library's own notes."""
    shutil.rmtree(growing / ".cache", ignore_errors=True)
    for path in growing.rglob("*"):
        if path.is_file() and str(path.relative_to(growing)) not in set(wanted):
            path.unlink()


def _token() -> str | None:
    token = os.environ.get("HF_TOKEN", "").strip()  # files made by editors end in a newline
    if token and not (token.isascii() and token.isprintable() and " " not in token):
        raise JobError(
            Reason.MODEL_FORBIDDEN,
            "the key of the Secret that model.tokenSecretRef names does not hold a token: it has blanks or characters"
            " that no token has",
        )
    return token or None


def _chosen(model: HubModel, hub: Hub) -> list[RepoSibling]:
    """The files of the commit that belong to a safetensors checkpoint."""
    api = HfApi(endpoint=hub.endpoint, token=hub.token or False)
    found = api.model_info(model.repository, revision=model.revision, files_metadata=True, timeout=_TIMEOUT)
    if found.sha != model.revision:
        raise JobError(Reason.MODEL_NOT_FOUND, f"model.revision {model.revision} is no commit: it leads to {found.sha}")
    files = found.siblings or []
    names = [file.rfilename for file in files]
    if not any(name.endswith(".safetensors") for name in names):
        others = sorted(name for name in names if Path(name).suffix in OTHER_FORMATS)
        if others:
            raise JobError(
                Reason.NOT_SAFETENSORS,
                f"{model.repository} has its weights in {others[0]}, which can run code or is not readable here: take"
                " a revision with safetensors weights",
            )
    return [file for file in files if _belongs(file.rfilename, names)]


def _belongs(name: str, names: Iterable[str]) -> bool:
    folder, _, base = name.rpartition("/")
    if base.startswith((".", "quantroll-")):
        return False
    if folder:
        return folder == TEMPLATES and base.endswith(".jinja")
    if base.endswith(".safetensors"):
        # some repositories carry the weights once more in their author's own layout
        doubled = base.startswith("consolidated") and bool({INDEX, SINGLE} & set(names))
        return not doubled
    return Path(base).suffix in TEXT_SUFFIXES


def _check_room(files: list[RepoSibling], growing: Path) -> None:
    growing.mkdir(parents=True, exist_ok=True)
    there = sum((growing / file.rfilename).stat().st_size for file in files if (growing / file.rfilename).is_file())
    needed, free = _size(files) - there, shutil.disk_usage(growing).free
    if needed > free:
        raise no_room(f"the model needs {needed} bytes more, and {free} are free")


def _size(files: list[RepoSibling]) -> int:
    return sum(file.size or 0 for file in files)


def _download(model: HubModel, hub: Hub, files: list[RepoSibling], growing: Path) -> None:
    """File by file: a whole snapshot would be listed once more, and the library waits for that without a limit."""
    print(f"fetching {len(files)} files, {_size(files)} bytes, of {model.repository} from {hub.endpoint}", flush=True)
    disable_progress_bars()

    def one(file: RepoSibling) -> str:
        return hf_hub_download(
            model.repository,
            file.rfilename,
            revision=model.revision,
            local_dir=growing,
            endpoint=hub.endpoint,
            token=hub.token or False,
        )

    with ThreadPoolExecutor(_PARALLEL) as pool:
        running = [pool.submit(one, file) for file in files]
        try:
            for future in running:
                future.result()
        finally:
            pool.shutdown(cancel_futures=True)


def _checked(file: RepoSibling, path: Path) -> str:
    """The sha256 of a file that is what the hub lists; one that is not is removed, to be fetched again."""
    sha256, git = hashlib.sha256(), hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    with path.open("rb") as content:
        while chunk := content.read(_CHUNK):
            sha256.update(chunk)
            if file.lfs is None:
                git.update(chunk)
    right = sha256.hexdigest() == file.lfs.sha256 if file.lfs else git.hexdigest() == file.blob_id
    if not right:
        path.unlink()
        raise JobError(
            Reason.HUB_UNREACHABLE,
            f"{file.rfilename} was damaged on its way: it has not the digest that the hub lists; it is fetched again",
            permanent=False,
        )
    return sha256.hexdigest()
