"""Unpacked images: when they are unpacked anew, how long they stay, and what a node has of them."""

from pathlib import Path

import pytest

from cluster import node, nodeinit, registry, store
from cluster.binaries import Binaries
from cluster.procs import State

PROGRAMS = Binaries([])


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("QUANTROLL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


class Unpacking:
    """Stands for a containerd that unpacks images: notes which, on top of what, and leaves a folder."""

    def __init__(self):
        self.done = []

    def __call__(self, work, binaries):
        self.work = work
        return self

    def make_store(self, old, references, out):
        self.work.rmdir()
        (out / store.BLOBS).mkdir(parents=True)
        (out / "layers").write_text(" ".join(references))
        self.done.append((old and (old / "layers").read_text(), list(references)))


@pytest.fixture
def unpacked(monkeypatch):
    unpacking = Unpacking()
    monkeypatch.setattr(store, "_cluster", unpacking)
    return unpacking.done


@pytest.fixture
def cluster(tmp_path):
    """Make one, as its state shows it."""

    def made(name):
        state = State(tmp_path / name)
        state.dir.mkdir(exist_ok=True)
        state.save()
        return state

    return made


def test_what_is_there_is_used_and_what_is_missing_is_added(unpacked, cluster):
    one = cluster("one")
    first = store.ensure(["a@1", "b@1"], PROGRAMS, one)
    assert store.ensure(["b@1"], PROGRAMS, one) == first
    second = store.ensure(["a@2"], PROGRAMS, one)
    assert second != first
    assert store.ensure(["a@2", "b@1"], PROGRAMS, one) == second
    assert store.ensure(["a@1"], PROGRAMS, one) != second
    assert store.ensure([], PROGRAMS, one) is None
    assert unpacked == [(None, ["a@1", "b@1"]), ("a@1 b@1", ["a@2"]), ("a@2", ["a@1"])]


def test_a_store_stays_while_a_cluster_uses_it(unpacked, cluster, root):
    one, two = cluster("one"), cluster("two")
    first = store.ensure(["a@1"], PROGRAMS, one)
    store.ensure(["a@1"], PROGRAMS, two)
    second = store.ensure(["a@2"], PROGRAMS, two)
    one.path.unlink()
    third = store.ensure(["a@3"], PROGRAMS, cluster("three"))
    assert all(made.is_dir() for made in (first, second, third)), "two has been started from either"
    two.path.unlink()
    cluster("two")  # another one in the same folder
    fourth = store.ensure(["a@4"], PROGRAMS, cluster("four"))
    assert {entry.name for entry in (root / "store").iterdir() if entry.is_dir()} == {
        name for made in (third, fourth) for name in (made.name, f"{made.name}.users")
    }


def test_what_an_interrupted_unpacking_left_goes(unpacked, cluster, root):
    (root / "store" / "images-half" / "deep").mkdir(parents=True)
    made = store.ensure(["a@1"], PROGRAMS, cluster("one"))
    assert [entry for entry in (root / "store").glob("images-*") if entry.suffix != ".users"] == [made]


def test_large_layers_are_stored_once(tmp_path):
    content = tmp_path / "containerd" / store.BLOBS
    content.mkdir(parents=True)
    for value, size in (("b" * 64, store.LARGE), ("c" * 64, 10)):
        twin = registry.blob(f"sha256:{value}")
        twin.parent.mkdir(parents=True)
        for path in (twin, content / value):
            path.write_bytes(b"x" * size)
    (content / ("d" * 64)).write_bytes(b"x" * store.LARGE)
    store.share_blobs(tmp_path / "containerd")
    assert (content / ("b" * 64)).samefile(registry.blob("sha256:" + "b" * 64))
    assert not (content / ("c" * 64)).samefile(registry.blob("sha256:" + "c" * 64))
    assert (content / ("d" * 64)).stat().st_nlink == 1


@pytest.mark.parametrize("way", [node.copy_root, node.refer_to_root])
def test_a_node_changes_nothing_of_what_it_starts_from(tmp_path, way):
    root, own = tmp_path / "root", tmp_path / "own"
    layer = root / node.LAYERS / "7" / "fs"
    layer.mkdir(parents=True)
    (layer / "file").write_text("of a layer")
    for database in (root / "meta.db", root / node.LAYERS / ".." / "metadata.db"):
        database.write_text("before")
    (root / store.BLOBS).mkdir(parents=True)
    (root / store.BLOBS / "blob").write_text("bytes")
    way(root, own)
    assert (own / node.LAYERS / "7" / "fs" / "file").samefile(layer / "file")
    assert (own / node.LAYERS / "7").is_symlink() == (way is node.refer_to_root)
    assert (own / store.BLOBS / "blob").samefile(root / store.BLOBS / "blob")
    (own / node.LAYERS / "8").mkdir()
    for database in (own / "meta.db", own / node.LAYERS / ".." / "metadata.db"):
        database.write_text("after")
    assert (root / "meta.db").read_text() == (root / node.LAYERS / ".." / "metadata.db").read_text() == "before"
    assert [entry.name for entry in (root / node.LAYERS).iterdir()] == ["7"]


def test_a_node_does_not_see_what_the_machine_has_where_its_own_folders_are(tmp_path):
    assert nodeinit.sees(tmp_path)
    hidden = tmp_path / "cache"
    hidden.symlink_to("/var/lib/cache")
    assert not nodeinit.sees(hidden / "store")
    assert not nodeinit.sees(Path("/run/user/0/cache"))
    assert nodeinit.sees(Path("/var/library"))
