"""The cache's keys and locks, and what is built or installed when."""

import os
import re
import shutil
import subprocess
import sys
import threading
import time

import pytest

from bootstrap import cache, environments, gotools, layers, system


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("QUANTROLL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_the_cache_is_where_the_user_says(tmp_path, monkeypatch):
    monkeypatch.delenv("QUANTROLL_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache.root() == tmp_path / "quantroll"
    monkeypatch.setenv("QUANTROLL_CACHE", str(tmp_path / "own"))
    assert cache.root() == tmp_path / "own"


def test_only_a_folder_marked_as_our_cache_is_removed(root):
    root.mkdir()
    (root / "letters").write_text("dear")
    with pytest.raises(SystemExit, match="not ours"):
        cache.remove()
    cache.tag()
    cache.remove()
    assert not root.exists()


def test_a_cache_is_not_removed_while_something_in_it_runs(root):
    cache.tag()
    program = root / "tools" / "sleep"
    program.parent.mkdir()
    shutil.copy("/bin/sleep", program)
    process = subprocess.Popen([program, "60"])
    try:
        with pytest.raises(SystemExit, match=rf"process {process.pid} runs {program}\): not removed; .*cluster-down"):
            cache.remove()
        assert program.exists()
    finally:
        process.kill()
        process.wait()
    cache.remove()
    assert not root.exists()


def test_a_digest_changes_with_contents_names_and_words(tmp_path):
    a, b = tmp_path / "a", tmp_path / "b"
    a.write_text("x")
    b.write_text("x")
    keys = {cache.digest([a]), cache.digest([b]), cache.digest([a, b]), cache.digest([a], "w")}
    before = cache.digest([a])
    a.write_text("y")
    assert len(keys) == 4
    assert cache.digest([a]) != before


def test_a_lock_lets_one_process_in_at_a_time(tmp_path):
    order = tmp_path / "order"
    code = (
        "import sys, time; from pathlib import Path; from bootstrap import cache\n"
        "with cache.lock(Path(sys.argv[1])):\n"
        "    f = Path(sys.argv[2]).open('a', buffering=1)\n"
        "    f.write('in\\n'); time.sleep(0.3); f.write('out\\n')"
    )
    many = [
        subprocess.Popen(
            [sys.executable, "-c", code, tmp_path / "lock", order],
            stderr=subprocess.DEVNULL,
            env={"PYTHONPATH": str(cache.CHECKOUT / "tools")},
        )
        for _ in range(3)
    ]
    assert [p.wait() for p in many] == [0, 0, 0]
    assert order.read_text() == "in\nout\n" * 3


def test_a_step_says_what_and_for_how_long_also_when_it_fails(capsys, monkeypatch):
    monkeypatch.setattr(cache, "BEAT", 0.05)
    with pytest.raises(ValueError, match="no"), cache.step("long work"):  # noqa: PT012 - the step is what is tested
        time.sleep(0.2)
        raise ValueError("no")
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "==> long work"
    assert "so far" in lines[1]
    assert lines[-1].startswith("==> long work: failed after 0.")


def test_go_modules_are_built_once_and_only_whole(root, monkeypatch):
    built = []

    def go(where, *args):
        built.append((where.name, args[args.index("-tags") + 1], args[-1]))
        out = args[args.index("-o") + 1]
        (cache.Path(out) / "tool").write_text("binary")
        if where.name == "prometheus" and len(built) == 3:
            raise subprocess.CalledProcessError(1, "go")
        return ""

    monkeypatch.setattr(gotools, "_go", go)
    with pytest.raises(subprocess.CalledProcessError):
        gotools.build(("containerd", "coredns", "prometheus"))
    assert (gotools.folder() / "tool").exists()
    gotools.build(("containerd", "coredns", "prometheus"))
    prometheus = ("prometheus", gotools.TAGS["prometheus"], "tool")
    own = ("coredns", "", ".")  # its main.go
    assert built == [("containerd", "", "tool"), own, prometheus, prometheus], "what was finished is not built again"
    assert not list(gotools.folder().parent.glob("*.new"))


def test_every_pinned_module_is_there_and_no_other():
    assert {d.name for d in gotools.SOURCE.iterdir()} == {*gotools.MODULES, *gotools.BENCH}


def test_what_modules_share_is_of_one_version():
    """Go's build cache knows a package by its version and by those of all below it: another one is compiled anew.

    Contour does not compile with Kubernetes' libraries of today.
    """
    versions: dict[str, dict[str, set[str]]] = {}
    for file in gotools.SOURCE.glob("*/go.mod"):
        text = file.read_text()
        replaced = dict(re.findall(r"^\s*(?:replace )?(\S+) => \S+ (v\S+)$", text, re.MULTILINE))
        for path, version in re.findall(r"^\s*(?:require )?(\S+) (v\S+)(?: // indirect)?$", text, re.MULTILINE):
            if file.parent.name != "contour" or not path.startswith(("k8s.io/", "sigs.k8s.io/")):
                versions.setdefault(path, {}).setdefault(replaced.get(path, version), set()).add(file.parent.name)
    assert {"k8s.io/client-go", "google.golang.org/grpc"} <= versions.keys()
    assert {path: found for path, found in versions.items() if len(found) > 1} == {}


def test_what_the_benchmark_needs_does_not_build_the_cluster_anew():
    assert gotools.folder(gotools.BENCH) != gotools.folder() == gotools.folder(gotools.MODULES)


def test_only_missing_packages_are_installed():
    assert system.missing({"have": "sh", "miss": "no-such-program", "file": "/no/such/file", "here": "/bin/sh"}) == [
        "miss",
        "file",
    ]


@pytest.mark.parametrize("docker", ["/usr/bin/docker", None])
def test_a_browser_is_wanted_for_tests_whatever_makes_the_images(monkeypatch, docker):
    monkeypatch.setattr(system.shutil, "which", lambda *_, **__: docker)
    monkeypatch.setattr(system.subprocess, "run", lambda *_, **__: subprocess.CompletedProcess([], 0))
    assert "chromium" in system.wanted()
    assert ("buildah" in system.wanted()) == (docker is None)


def test_settings_for_pip_hold_for_uv_unless_uv_has_its_own():
    given = {"PIP_INDEX_URL": "https://index.test/simple", "PIP_CERT": "/ca.pem", "SSL_CERT_FILE": "/own.pem"}
    got = environments.settings(given)
    assert got["UV_DEFAULT_INDEX"] == "https://index.test/simple"
    assert got["SSL_CERT_FILE"] == "/own.pem"
    assert environments.settings({"UV_SYSTEM_CERTS": "false"})["UV_SYSTEM_CERTS"] == "false"


class Makes:
    """Stands for `make`: fails for the layers named."""

    def __init__(self, *failing):
        self.failing, self.seen = failing, []

    def __call__(self, layer):
        self.seen.append(layer)
        return int(layer in self.failing)

    def beside(self, layer):
        return self(layer), f"from {layer}"


def making(monkeypatch, *failing):
    makes = Makes(*failing)
    monkeypatch.setattr(layers, "_make", makes)
    monkeypatch.setattr(layers, "_make_beside", makes.beside)
    return makes


@pytest.mark.parametrize("failing", ["type", "unit"])
def test_a_failed_layer_fails_the_whole_and_the_others_still_run(monkeypatch, capsys, failing):
    makes = making(monkeypatch, failing)
    monkeypatch.setenv("E2E", "skip")
    assert layers.run() == 1
    assert makes.seen[0] == "setup"
    assert [layer for layer in makes.seen if layer in layers.COMPUTING] == ["lint", "type", "imports", "jobs", "unit"]
    assert sorted(makes.seen) == sorted([*layers.COMPUTING, "setup", "integration"])
    summary = capsys.readouterr().out
    assert f"{failing:12} FAILED" in summary
    assert "e2e          SKIPPED (E2E=skip)" in summary
    assert "faults       SKIPPED (E2E=skip)" in summary
    assert "node         SKIPPED (E2E=skip)" in summary


def test_every_layer_has_a_target():
    targets = set(re.findall(r"^([a-z0-9-]+):", (cache.CHECKOUT / "Makefile").read_text(), flags=re.MULTILINE))
    assert set(layers.LAYERS) <= targets
    assert set(layers.LAYERS) > set(layers.ON_A_NODE)


@pytest.mark.parametrize("marker", ["integration", "jobs", "node", "e2e", "faults"])
def test_a_layer_collects_all_that_has_its_marker(marker):
    (folders,) = re.findall(rf'pytest -q ([a-z0-9/ ]*)-m "?{marker}\b', (cache.CHECKOUT / "Makefile").read_text())
    files = (cache.CHECKOUT / "tests").rglob("test_*.py")
    marked = [file for file in files if re.search(rf"^(?!.*re\.).*\bmark\.{marker}\b", file.read_text(), re.MULTILINE)]
    assert marked
    for file in marked:
        assert any(file.is_relative_to(cache.CHECKOUT / folder) for folder in folders.split()), file


def test_without_a_setup_nothing_is_judged(monkeypatch, capsys):
    makes = making(monkeypatch, "setup")
    assert layers.run() == 1
    assert makes.seen == ["setup"]
    assert "nothing else was run" in capsys.readouterr().out


def test_the_table_says_how_long_each_took_and_how_busy_the_machine_was(monkeypatch, capfd, tmp_path):
    (tmp_path / "Makefile").write_text("a b:\n\t@echo from $@; test $@ = a\n")
    monkeypatch.setattr(cache, "CHECKOUT", tmp_path)
    assert layers.run(["a", "b"]) == 1
    out = capfd.readouterr().out
    assert "from a\n" in out
    spent = r"processors worked \d+ s \(\d+ %\), the host took \d+ %"
    assert re.search(rf"^a +ok +[0-9.]+ s\nb +FAILED .*\nall +FAILED +[0-9.]+ s, {spent}$", out, re.MULTILINE)


def test_what_is_in_no_hurry_is_nice_to_the_others_and_tells_all_at_its_end(monkeypatch, capfd, tmp_path):
    (tmp_path / "Makefile").write_text("lint:\n\t@nice; echo oops >&2; exit 3\nfaults e2e:\n\t@nice\n")
    monkeypatch.setattr(cache, "CHECKOUT", tmp_path)
    assert layers.run(["lint", "e2e", "faults"]) == 1
    said = capfd.readouterr()
    told = dict(
        re.findall(r"==> layer (lint|faults) \(ran beside the others\)\n(.*?)(?=\n==>|\Z)", said.err, re.DOTALL)
    )
    mine = os.nice(0)
    assert told["lint"].split()[:2] == [f"{min(mine + layers.NICENESS, 19)}", "oops"]
    assert told["faults"].split() == [f"{mine}"], "beside the others, and in a hurry"
    assert said.out.startswith(f"{mine}\n"), "the one that is shown"


def test_unit_tests_are_nice_to_nobody():
    """With a tenth of a processor, tests of servers and limits in seconds failed at random."""
    assert "unit" in layers.COMPUTING
    assert "unit" not in layers.NICE


def test_the_first_has_the_machine_and_then_all_lanes_run_at_once(monkeypatch):
    all_run = threading.Barrier(3)  # no two of them alone come through
    order = []

    def make(layer):
        order.append(layer)
        if layer in ("e2e", "faults", "unit"):
            all_run.wait(10)
        return 0

    monkeypatch.setattr(layers, "_make", make)
    monkeypatch.setattr(layers, "_make_beside", lambda layer: (make(layer), ""))
    assert layers.run(["unit", "integration", "e2e", "faults", "node"]) == 0
    assert order.index("integration") < min(order.index("e2e"), order.index("faults"))
    assert order.index("faults") < order.index("node")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_what_could_not_be_run_beside_the_others_has_failed(monkeypatch, capsys):
    makes = making(monkeypatch)

    def broken(_):
        raise FileNotFoundError("nice")

    monkeypatch.setattr(layers, "_make_beside", broken)
    assert layers.run(["lint", "e2e"]) == 1
    assert makes.seen == ["e2e"]
    assert "lint         FAILED  was not run" in capsys.readouterr().out


def test_when_the_main_ones_are_interrupted_nothing_else_is_begun(monkeypatch):
    makes, asked = making(monkeypatch), threading.Event()

    def interrupted(_):
        asked.set()
        raise KeyboardInterrupt

    def beside(layer):
        assert asked.wait(10)
        time.sleep(0.2)
        return makes.beside(layer)

    monkeypatch.setattr(layers, "_make", interrupted)
    monkeypatch.setattr(layers, "_make_beside", beside)
    with pytest.raises(KeyboardInterrupt):
        layers.run(["lint", "type", "integration", "e2e", "faults"])
    assert makes.seen == ["lint"]


def test_the_seconds_of_processors_are_told_apart_from_what_the_host_took(tmp_path):
    ticks, stat = os.sysconf("SC_CLK_TCK"), tmp_path / "stat"

    def read(*seconds):
        stat.write_text(f"cpu  {' '.join(str(second * ticks) for second in seconds)}\nintr 1\n")
        return layers.processors(stat)

    #                user nice system idle disk irq softirq stolen guest nice
    before = read(10, 1, 5, 500, 7, 0, 0, 3, 99, 99)
    assert read(10, 1, 5, 600, 8, 0, 0, 3, 99, 99) - before == layers.Spent(0, 101, 0)
    spent = read(40, 11, 15, 510, 17, 2, 3, 28, 99, 99) - before
    assert spent == layers.Spent(55, 20, 25)
    assert spent.told() == "processors worked 55 s (55 %), the host took 25 %"
    assert (before - before).told() == "processors worked 0 s (0 %), the host took 0 %"


def test_the_summary_ends_with_the_tests_that_failed(monkeypatch, capfd, tmp_path):
    (tmp_path / "test_it.py").write_text(
        "import pytest\n@pytest.fixture\ndef broken(): raise OSError('no disk')\n"
        "def test_good(): pass\ndef test_bad(): assert 1 == 2, 'one is\\nnot two'\ndef test_set_up(broken): pass\n"
    )
    (tmp_path / "Makefile").write_text(f"a b:\n\t@test $@ = b || {sys.executable} -m pytest -q test_it.py\n")
    monkeypatch.setattr(cache, "CHECKOUT", tmp_path)
    assert layers.run(["a", "b"]) == 1
    bad, set_up = capfd.readouterr().out.splitlines()[-2:]
    assert bad.startswith("a: test_it::test_bad: AssertionError: one is not two")
    assert set_up == 'a: test_it::test_set_up: failed on setup with "OSError: no disk"'
    (tmp_path / "test_it.py").unlink()
    layers.run(["a"])
    assert "test_bad" not in capfd.readouterr().out, "of an earlier run"
