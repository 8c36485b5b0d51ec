import os
import stat

import pytest

from quantroll.api.jobs import DataFacts, DataFile, ModelFacts, PrepareInput, PrepareResult, Report
from quantroll.constants import Reason
from quantroll_jobs import store
from quantroll_jobs.errors import JobError
from unit.jobs.handmade import KEY, OTHER_KEY


def job_of(tmp_path, key=KEY):
    return PrepareInput(key=key, store=str(tmp_path), model_path="/m", dtype="bfloat16", eval_set=DataFile(path="/e"))


def report_of(key=KEY, items=1):
    facts = ModelFacts(digest="d", weight_bytes=1, architecture="X", dtype="bfloat16")
    return Report(
        kind="prepare", key=key, prepare=PrepareResult(model=facts, eval_set=DataFacts(sha256="s", items=items))
    )


def test_written_whole_and_found_again(tmp_path):
    job = job_of(tmp_path)
    assert store.finished(job) is None
    old = os.umask(0o077)
    try:
        with store.attempt(job) as folder:
            (folder / "sub").mkdir()
            (folder / "sub" / "weights").write_text("w")
            assert store.finished(job) is None
            assert store.commit(folder, job, report_of()) == report_of()
    finally:
        os.umask(old)
    assert store.finished(job) == report_of()
    final = store.result_folder(tmp_path, "prepare", KEY)
    assert [path.name for path in final.parent.iterdir()] == [KEY]
    assert stat.S_IMODE((final / "sub" / "weights").stat().st_mode) == 0o644
    assert {stat.S_IMODE(p.stat().st_mode) for p in (final.parent, final, final / "sub")} == {0o755}


def test_a_failed_attempt_leaves_nothing(tmp_path):
    job = job_of(tmp_path)

    def fail():
        with store.attempt(job) as folder:
            (folder / "half").write_text("h")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert list((tmp_path / "prepare").iterdir()) == []


def test_left_overs_of_the_same_key_go_away(tmp_path):
    mine, other = tmp_path / "prepare" / f"{KEY}.tmp-1", tmp_path / "prepare" / f"{OTHER_KEY}.tmp-1"
    for folder in (mine, other):
        folder.mkdir(parents=True)
        (folder / "half").write_text("h")
    with store.attempt(job_of(tmp_path)) as folder:
        assert folder.is_dir()
        assert not mine.exists()
    assert other.exists()


def test_the_first_of_two_parallel_runs_wins(tmp_path):
    job = job_of(tmp_path)
    with store.attempt(job) as slow:
        final = store.result_folder(tmp_path, "prepare", KEY)
        final.mkdir()
        store.write_json(final / store.MANIFEST, {"report": report_of(items=7).to_wire()})
        assert store.commit(slow, job, report_of(items=1)).prepare.eval_set.items == 7
    assert store.finished(job).prepare.eval_set.items == 7


@pytest.mark.parametrize("content", ["", "{", "[]", '{"report": 1}', '{"report": {"kind": "prepare", "key": "short"}}'])
def test_a_damaged_manifest_is_made_anew(tmp_path, content):
    job = job_of(tmp_path)
    final = store.result_folder(tmp_path, "prepare", KEY)
    final.mkdir(parents=True)
    (final / store.MANIFEST).write_text(content)
    assert store.finished(job) is None
    with store.attempt(job) as folder:
        store.commit(folder, job, report_of())
    assert store.finished(job) == report_of()


def test_a_manifest_of_another_key_or_of_a_failure_does_not_count(tmp_path):
    final = store.result_folder(tmp_path, "prepare", KEY)
    final.mkdir(parents=True)
    for report in (report_of(OTHER_KEY), Report(kind="prepare", key=KEY, reason=Reason.JOB_FAILED)):
        store.write_json(final / store.MANIFEST, {"report": report.to_wire()})
        assert store.finished(job_of(tmp_path)) is None


def test_a_missing_volume_may_come_back(tmp_path):
    with pytest.raises(JobError) as caught:
        store.check_mounted(tmp_path / "nowhere")
    assert caught.value.reason is Reason.VOLUME_MISSING
    assert not caught.value.permanent
