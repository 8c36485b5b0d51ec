"""A model that prepare fetches, through the real library from a server that speaks the hub's HTTP API."""

import errno
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import pytest
from huggingface_hub.utils import close_session

from quantroll.api.jobs import (
    EXIT_BAD_INPUT,
    EXIT_TRY_AGAIN,
    INPUT_VARIABLE,
    DataFile,
    HubModel,
    PrepareInput,
    Report,
)
from quantroll.constants import Reason
from quantroll_jobs import hub as ours
from quantroll_jobs import prepare, store
from quantroll_jobs.errors import JobError
from unit.jobs import hub as fake
from unit.jobs.handmade import CONFIG, KEY, LLAMA, OTHER_KEY, item, safetensors, write_lines, write_model
from unit.jobs.hub import REPOSITORY, REVISION, Fault

ROOT = Path(__file__).parents[3]
TOKEN = "hf_AbCdEf0123456789"
WEIGHTS = "model.safetensors"


@pytest.fixture
def hub(tmp_path, monkeypatch):
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr(time, "sleep", lambda _: None)  # of the library's own tries
    write_model(tmp_path / "original")
    with fake.running() as hub:
        hub.take_over(tmp_path / "original")
        monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
        yield hub
        close_session()


@pytest.fixture
def job(tmp_path, hub):
    write_lines(tmp_path / "eval.jsonl", item(1), item(2))
    (tmp_path / "store").mkdir()
    return PrepareInput(
        key=KEY,
        store=str(tmp_path / "store"),
        model_path=str(tmp_path / "store" / "sources" / OTHER_KEY),
        hub=HubModel(repository=REPOSITORY, revision=REVISION),
        dtype="bfloat16",
        eval_set=DataFile(path=str(tmp_path / "eval.jsonl")),
    )


def _fails(job, reason, text, *, permanent=True):
    with pytest.raises(JobError, match=text) as caught:
        prepare.run(job)
    assert (caught.value.reason, caught.value.permanent) == (reason, permanent)
    assert store.finished(job) is None
    assert not Path(job.model_path).exists()
    return caught.value


def test_what_is_fetched_is_the_model(hub, job, tmp_path):
    found = prepare.run(job).prepare.model
    assert found == prepare.check_model(tmp_path / "original", job.dtype)
    folder = Path(job.model_path)
    assert (folder / WEIGHTS).read_bytes() == hub.files[WEIGHTS]
    assert {path.name for path in folder.iterdir()} == {*hub.files, ours.MANIFEST}
    assert {path.name for path in folder.parent.iterdir()} == {OTHER_KEY, f"{OTHER_KEY}.lock"}
    assert folder.stat().st_mode & 0o777 == 0o755
    assert (folder / WEIGHTS).stat().st_mode & 0o777 == 0o644


def test_only_what_a_checkpoint_needs_is_fetched(hub, job):
    wanted = set(hub.files) | {"tokenizer.model", "chat_template.jinja", "additional_chat_templates/tool.jinja"}
    unwanted = {
        "pytorch_model.bin", "modeling.py", "consolidated.safetensors", "onnx/config.json", "README.md", ".git.json",
        "quantroll-manifest.json", "original/params.json", "additional_chat_templates/readme.md",
    }  # fmt: skip
    hub.files |= dict.fromkeys((wanted | unwanted) - set(hub.files), b"{}")
    prepare.run(job)
    assert hub.fetched() == sorted(wanted)
    present = {str(p.relative_to(job.model_path)) for p in Path(job.model_path).rglob("*") if p.is_file()}
    assert present == wanted | {ours.MANIFEST}


def test_a_copy_that_is_there_is_not_fetched_again(hub, job):
    first = prepare.run(job)
    hub.seen.clear()
    assert prepare.run(job) == first
    assert hub.seen == []


@pytest.mark.parametrize(
    "spoil",
    [
        lambda folder: (folder / WEIGHTS).write_bytes(b"x" * (folder / WEIGHTS).stat().st_size),
        lambda folder: (folder / "tokenizer.json").unlink(),
        lambda folder: (folder / "vocab.txt").write_text("more"),
        lambda folder: (folder / ours.MANIFEST).unlink(),
        lambda folder: (folder / ours.MANIFEST).write_text("[]"),
        lambda folder: (folder / ours.MANIFEST).write_text('{"files": {}}'),
    ],
    ids=["bytes", "missing", "added", "no manifest", "odd manifest", "empty manifest"],
)
def test_a_copy_that_changed_is_fetched_again(hub, job, spoil):
    first = prepare.run(job)
    spoil(Path(job.model_path))
    assert prepare.run(job) == first
    assert {path.name for path in Path(job.model_path).iterdir()} == {*hub.files, ours.MANIFEST}


def test_a_cut_connection_is_resumed_where_it_broke_off(hub, job, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 100)
    hub.faults = [Fault(WEIGHTS, cut_after=100, method="GET", times=2)]
    prepare.run(job)
    assert [seen.range for seen in hub.seen if seen.method == "GET" and seen.path.endswith(WEIGHTS)] == [
        None,
        "bytes=100-",
        "bytes=200-",
    ]


def test_a_connection_that_is_always_cut(hub, job):
    hub.faults = [Fault(WEIGHTS, cut_after=0, method="GET")]
    _fails(job, Reason.HUB_UNREACHABLE, "did not get on", permanent=False)
    hub.faults = []
    hub.seen.clear()
    prepare.run(job)
    assert hub.fetched() == [WEIGHTS]  # the others were whole already


def test_what_another_attempt_left_is_no_part_of_the_copy(hub, job):
    growing = Path(f"{job.model_path}.tmp-download")
    growing.mkdir(parents=True)
    (growing / "vocab.json").write_text("{}")
    assert prepare.run(job).ok
    assert not (Path(job.model_path) / "vocab.json").exists()


@pytest.mark.parametrize("path", [f"revision/{REVISION}", WEIGHTS, "config.json"])
@pytest.mark.parametrize("status", [500, 503, 429, 418])
def test_a_hub_that_does_not_get_on(hub, job, path, status):
    hub.faults = [Fault(path, status=status)]
    _fails(job, Reason.HUB_UNREACHABLE, f"HTTP {status}", permanent=False)


def test_a_hiccup_is_not_noticed(hub, job):
    hub.faults = [Fault("config.json", status=503, times=3)]
    assert prepare.run(job).ok


def test_nobody_listens(hub, job, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    _fails(job, Reason.HUB_UNREACHABLE, r"127\.0\.0\.1:9 did not get on: ConnectError", permanent=False)


def test_a_hub_that_is_silent(hub, job, monkeypatch):
    def silent(*_, **__):
        raise httpx.ReadTimeout("timed out")

    monkeypatch.setattr(ours, "hf_hub_download", silent)
    _fails(job, Reason.HUB_UNREACHABLE, "ReadTimeout: timed out", permanent=False)


@pytest.mark.parametrize("body", [b"<html>welcome</html>", b'{"error": "who are you"}', b"[7]"])
def test_something_else_answers(hub, job, body):
    hub.faults = [Fault(f"revision/{REVISION}", status=200, body=body)]
    _fails(job, Reason.HUB_UNREACHABLE, r"does not speak the hub's protocol.*huggingFace\.endpoint", permanent=False)


def test_a_mirror_without_the_hubs_headers(hub, job):
    hub.faults = [Fault(WEIGHTS, status=200, body=b"x", method="HEAD")]
    _fails(job, Reason.HUB_UNREACHABLE, "does not speak the hub's protocol", permanent=False)


def test_no_such_repository(hub, job):
    model = job.hub.model_copy(update={"repository": "team/other"})
    _fails(
        job.model_copy(update={"hub": model}), Reason.MODEL_NOT_FOUND, "no model team/other at http.*no token is given"
    )


def test_a_repository_that_may_be_private(hub, job):
    """The hub does not tell strangers whether a repository exists."""
    hub.faults = [Fault(f"revision/{REVISION}", status=401, headers={"X-Error-Code": "RepoNotFound"})]
    _fails(job, Reason.MODEL_NOT_FOUND, r"no model .* or it is private.*check model\.source and model\.tokenSecretRef")


def test_no_repository_can_have_this_name(hub, job):
    model = job.hub.model_copy(update={"repository": "team/a--b"})
    _fails(job.model_copy(update={"hub": model}), Reason.MODEL_NOT_FOUND, r"model\.source")


def test_no_such_revision(hub, job):
    model = job.hub.model_copy(update={"revision": "f" * 40})
    _fails(job.model_copy(update={"hub": model}), Reason.MODEL_NOT_FOUND, "has no commit ffff")


def test_a_branch_that_is_named_like_a_commit(hub, job):
    hub.head = "e" * 40
    _fails(job, Reason.MODEL_NOT_FOUND, "is no commit: it leads to eeee")


@pytest.mark.parametrize(("token", "status", "says"), [(None, 401, "no token"), ("hf_other", 403, "the token")])
def test_a_gated_model(hub, job, monkeypatch, token, status, says):
    hub.token = TOKEN
    if token:
        monkeypatch.setenv("HF_TOKEN", token)
    error = _fails(job, Reason.MODEL_FORBIDDEN, rf"HTTP {status}\): {says}.*tokenSecretRef")
    assert "hf_other" not in error.message


def test_a_token_that_nobody_knows(hub, job, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_other")
    said = {"X-Error-Message": "Invalid credentials in Authorization header"}
    hub.faults = [Fault(f"revision/{REVISION}", status=401, headers=said)]
    _fails(job, Reason.MODEL_FORBIDDEN, "HTTP 401")


@pytest.mark.parametrize("given", [TOKEN, f"{TOKEN}\n"])
def test_the_token_opens_a_gated_model_and_goes_nowhere_else(hub, job, monkeypatch, given, capfd):
    hub.token = TOKEN
    monkeypatch.setenv("HF_TOKEN", given)
    prepare.run(job)
    by_host = {seen.host.partition(":")[0]: {s.token for s in hub.seen if s.host == seen.host} for seen in hub.seen}
    assert by_host == {"127.0.0.1": {TOKEN}, "localhost": {None}}
    assert TOKEN not in "".join(capfd.readouterr())
    assert not [p for p in Path(job.store).rglob("*") if p.is_file() and TOKEN.encode() in p.read_bytes()]


@pytest.mark.parametrize("token", ["two words", "hf_é", "hf_a\nhf_b"])
def test_a_secret_that_holds_no_token(hub, job, monkeypatch, token):
    monkeypatch.setenv("HF_TOKEN", token)
    error = _fails(job, Reason.MODEL_FORBIDDEN, "does not hold a token")
    assert token not in error.message
    assert hub.seen == []


@pytest.mark.parametrize("name", [WEIGHTS, "tokenizer.json"])
def test_a_file_that_was_damaged_on_its_way(hub, job, name):
    hub.sent[name] = bytes(len(hub.files[name]))
    _fails(job, Reason.HUB_UNREACHABLE, f"{name} was damaged on its way", permanent=False)
    hub.sent.clear()
    assert prepare.run(job).ok


def test_pickled_weights_are_not_fetched(hub, job):
    hub.files["pytorch_model.bin"] = hub.files.pop(WEIGHTS)
    _fails(job, Reason.NOT_SAFETENSORS, r"pytorch_model\.bin")
    assert hub.fetched() == []


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({"config.json": json.dumps(CONFIG | {"auto_map": {"AutoModel": "evil.Model"}}).encode()}, Reason.REMOTE_CODE),
        ({"config.json": json.dumps(CONFIG | {"dtype": "float16"}).encode()}, Reason.DTYPE_MISMATCH),
        ({"config.json": None}, Reason.MODEL_NOT_FOUND),
        ({WEIGHTS: safetensors(LLAMA)[:-10]}, Reason.NOT_SAFETENSORS),
        ({WEIGHTS: None, "adapter_model.safetensors": b"", "adapter_config.json": b"{}"}, Reason.ADAPTER_ONLY),
    ],
)
def test_what_is_fetched_is_checked_like_any_model(hub, job, files, reason):
    for name, content in files.items():
        hub.files.pop(name, None)
        if content is not None:
            hub.files[name] = content
    with pytest.raises(JobError) as caught:
        prepare.run(job)
    assert caught.value.reason is reason


def test_a_volume_without_room(hub, job, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 0, 10))
    _fails(job, Reason.STORAGE_FULL, "needs [0-9]+ bytes more, and 10 are free; enlarge its claim")
    assert hub.fetched() == []


def test_a_volume_that_is_full_in_the_end(hub, job, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(ours, "hf_hub_download", full)
    _fails(job, Reason.STORAGE_FULL, "No space left on device")


def test_trouble_with_the_volume_is_not_the_hubs(hub, job, monkeypatch):
    def refused(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(ours, "hf_hub_download", refused)
    with pytest.raises(PermissionError):
        prepare.run(job)


def test_two_at_once_fetch_once(hub, job, tmp_path):
    results = []
    others = [job, job.model_copy(update={"key": OTHER_KEY})]
    threads = [threading.Thread(target=lambda one=one: results.append(prepare.run(one))) for one in others]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 2
    assert len([seen for seen in hub.seen if "/storage/" in seen.path and seen.method == "GET"]) == 1


def _run(job, tmp_path, **variables):
    log = tmp_path / "report"
    kept = {name: os.environ[name] for name in ("PATH", "HF_ENDPOINT")}
    environment = {
        "HOME": str(tmp_path),
        "PYTHONPATH": f"{ROOT / 'operator'}:{ROOT / 'jobs'}",
        "QUANTROLL_TERMINATION_LOG": str(log),
        INPUT_VARIABLE: json.dumps(job.to_wire()),
    }
    command = [sys.executable, "-m", "quantroll_jobs"]
    done = subprocess.run(command, env=kept | environment | variables, capture_output=True, text=True, check=False)
    return done, Report.model_validate_json(log.read_bytes())


def test_the_job_as_a_process(hub, job, tmp_path):
    hub.token = TOKEN
    done, report = _run(job, tmp_path, HF_TOKEN="hf_other")
    assert (done.returncode, report.reason) == (EXIT_BAD_INPUT, Reason.MODEL_FORBIDDEN)
    assert "hf_other" not in done.stdout + done.stderr
    done, report = _run(job, tmp_path, HF_TOKEN=TOKEN)
    assert (done.returncode, report.ok) == (0, True), done.stderr
    assert TOKEN not in done.stdout + done.stderr
    shutil.rmtree(job.model_path)
    done, report = _run(job, tmp_path, HF_ENDPOINT="http://127.0.0.1:9")
    assert (done.returncode, report.reason) == (EXIT_TRY_AGAIN, Reason.HUB_UNREACHABLE)
