"""Names of images, what is pushed when, and what of this machine reaches a build."""

import json
import re
from contextlib import contextmanager
from typing import ClassVar

import pytest

from bootstrap import cache
from cluster import images, registry
from cluster.binaries import Binaries
from cluster.builders import Buildah, pip_settings

DIGEST = "sha256:" + "a" * 64


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("QUANTROLL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


class FakeBuilder:
    """Builds nothing; `push` leaves the blob that a registry would keep."""

    isolated = False

    def __init__(self, identity="id-1"):
        self.identity, self.pruned = identity, False
        self.built, self.pushed, self.forgotten = [], [], []

    def build(self, tag, context, target):
        self.built.append(target)
        return f"{self.identity}-{target}"

    def forget(self, version):
        self.forgotten.append(version)

    def prune(self):
        self.pruned = True

    def push(self, tag, name, to):
        self.pushed.append(f"{to.address}/{name}")
        blob = registry.blob(DIGEST)
        blob.parent.mkdir(parents=True, exist_ok=True)
        blob.write_text("manifest")
        return DIGEST


@pytest.fixture
def build(tmp_path, monkeypatch):
    @contextmanager
    def serving(_, *, isolated):
        yield registry.Served("127.0.0.1:1", [])

    monkeypatch.setattr(registry, "serving", serving)
    record = tmp_path / "run" / "images.json"
    context = tmp_path / "context"
    (context / "code" / "__pycache__").mkdir(parents=True)
    (context / ".dockerignore").write_text("*\n!code\n!lock\n")
    for name in ("Dockerfile", "lock", "code/a.py", "code/__pycache__/a.pyc", "not let in"):
        (context / name).write_text(name)
    return lambda builder, *targets: images.build(targets or ["operator"], Binaries([]), builder, record, context)


def test_every_target_is_in_the_dockerfile_and_what_few_need_is_built_only_when_named():
    stages = re.findall(r"^FROM \S+ AS (\S+)$", (cache.CHECKOUT / "Dockerfile").read_text(), flags=re.MULTILINE)
    assert {*images.TARGETS, *images.OPTIONAL} <= set(stages)
    assert not set(images.TARGETS) & set(images.OPTIONAL)
    assert images.OPTIONAL == ("quantize-autoawq", "client-lm-eval")


def test_an_image_is_named_by_digest_at_the_clusters_registry(build, tmp_path):
    got = build(FakeBuilder())
    assert got == {"operator": f"127.0.0.1:5000/quantroll/operator@{DIGEST}"}
    assert images.references(tmp_path / "run" / "images.json") == got


def test_only_what_changed_is_pushed(build, tmp_path):
    build(FakeBuilder())
    code = tmp_path / "context" / "code" / "a.py"
    same, again, other = FakeBuilder(), FakeBuilder(), FakeBuilder("id-2")
    code.write_text("a comment")
    build(same)
    build(again)
    code.write_text("a change")
    build(other)
    assert (same.built, same.pushed) == (["operator"], [])
    assert again.built == [], "what made no other image is not built again and again"
    (pushed,) = other.pushed
    assert re.fullmatch(r"127\.0\.0\.1:1/quantroll/operator:dev-[0-9a-f]{16}", pushed)


@pytest.mark.parametrize("change", ["Dockerfile", "lock", "code/a.py", "code/b.py", "mode", "moved"])
def test_nothing_is_built_until_something_changes_that_is_let_in(build, tmp_path, change):
    build(FakeBuilder())
    context = tmp_path / "context"
    for name in ("not let in", "code/__pycache__/a.pyc"):
        (context / name).write_text("changed")
    second, third = FakeBuilder(), FakeBuilder()
    build(second)
    assert second.built == []
    if change == "mode":
        (context / "code" / "a.py").chmod(0o755)
    elif change == "moved":
        (context / "code" / "sub").mkdir()
        (context / "code" / "a.py").rename(context / "code" / "sub" / "a.py")
    else:
        (context / change).write_text("changed")
    build(third)
    assert third.built == ["operator"]


def test_an_image_that_the_registry_lost_is_pushed_again(build):
    build(FakeBuilder())
    registry.blob(DIGEST).unlink()
    again = FakeBuilder()
    build(again)
    assert len(again.pushed) == 1


def test_old_layers_go_when_the_packages_change(build, root, monkeypatch):
    collected = []
    monkeypatch.setattr(registry, "collect_garbage", collected.append)
    for change, pruned in ((False, False), (False, False), (True, True)):
        if change:
            (known,) = (root / "images" / "checkouts").iterdir()
            known.write_text(json.dumps({"path": str(cache.CHECKOUT), "built": {"operator": "other packages"}}))
        builder = FakeBuilder()
        build(builder)
        assert builder.pruned is pruned
    assert len(collected) == 1


@pytest.fixture
def other(root, tmp_path, monkeypatch):
    """Another checkout that has built something; `collected` is how often the registry's blobs were gone through."""
    folder = tmp_path / "other"

    class Other:
        collected: ClassVar[list[Binaries]] = []
        tags = registry.storage() / "docker/registry/v2/repositories/quantroll/operator/_manifests/tags"

        def has_built(self, **built):
            folder.mkdir()
            for name in ("dev-other", "dev-own"):
                (self.tags / name).mkdir(parents=True)
            (root / "images" / "checkouts").mkdir(parents=True, exist_ok=True)
            record = {"path": str(folder), "built": built}
            (root / "images" / "checkouts" / "dev-other").write_text(json.dumps(record))

        def goes(self):
            folder.rmdir()

    monkeypatch.setattr(registry, "collect_garbage", Other.collected.append)
    return Other()


def test_what_another_checkout_uses_stays_until_that_is_gone(build, other):
    other.has_built(operator="another lock")
    second = FakeBuilder()
    build(second)
    assert (second.forgotten, second.pruned) == ([], False)
    assert (other.tags / "dev-other").exists()
    other.goes()
    third = FakeBuilder()
    build(third)
    assert (third.forgotten, third.pruned, len(other.collected)) == (["dev-other"], True, 1)
    assert [tag.name for tag in other.tags.iterdir()] == ["dev-own"]


def recipe(root):
    """By which this checkout builds."""
    (own,) = (file for file in (root / "images" / "checkouts").iterdir() if file.name != "dev-other")
    return json.loads(own.read_text())["built"]["operator"]


def test_layers_of_a_checkout_that_is_gone_are_there_for_the_next_one(build, root, other):
    build(FakeBuilder())
    same = recipe(root)
    other.has_built(**{"operator": same, "quantize": same, "client-lm-eval": same, "scripted-engine": same})
    other.goes()
    for target, forgotten in (
        ("scripted-engine", []),
        ("quantize", []),
        ("vllm-cpu", []),
        ("client-lm-eval", ["dev-other"]),
    ):
        builder = FakeBuilder()
        build(builder, target)
        assert (builder.forgotten, builder.pruned) == (forgotten, bool(forgotten)), target


def test_of_other_packages_only_what_everybody_builds_is_waited_for(build, other):
    other.has_built(**{"operator": "another lock", "quantize": "another lock", "client-lm-eval": "another lock"})
    other.goes()
    for target, forgotten in (("operator", []), ("quantize", ["dev-other"])):
        builder = FakeBuilder()
        build(builder, target)
        assert builder.forgotten == forgotten, target


def test_before_the_first_build_there_are_no_references(tmp_path):
    assert images.references(tmp_path / "none.json") == {}


def test_paths_of_this_machine_do_not_reach_an_images_pip():
    got = pip_settings(
        {"PIP_INDEX_URL": "https://index.test/simple", "PIP_FIND_LINKS": "/wheels", "HOME": "/home/user"}
    )
    assert got == {"index-url": "https://index.test/simple"}


def test_an_index_set_for_pip_reaches_uv_in_builds(monkeypatch, tmp_path):
    monkeypatch.setenv("PIP_INDEX_URL", "https://index.test/simple")
    mounted = {at: path for path, at in Buildah(tmp_path / "b").machine_files().items()}
    assert 'url = "https://index.test/simple"' in mounted["/etc/uv/uv.toml"].read_text()
    assert "index-url = https://index.test/simple" in mounted["/etc/pip.conf"].read_text()


def test_programs_are_found_in_order_and_their_lack_is_named(tmp_path):
    first, second = tmp_path / "1", tmp_path / "2"
    for folder, names in ((first, "a"), (second, "ab")):
        folder.mkdir()
        for name in names:
            (folder / name).touch(mode=0o755)
    both = Binaries([first, second])
    assert both("a") == first / "a"
    assert both("b") == second / "b"
    assert both.missing(["a", "c"]) == ["c"]
    with pytest.raises(FileNotFoundError, match=r"c is in none of .*make setup"):
        both("c")


def test_envtest_users_keep_their_binaries(tmp_path, monkeypatch):
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(tmp_path))
    (tmp_path / "etcd").touch(mode=0o755)
    assert Binaries.for_tests()("etcd") == tmp_path / "etcd"
