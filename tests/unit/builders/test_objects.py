"""Names, ownership, sources, shares and claims."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantroll.api.spec import Storage
from quantroll.api.status import Share
from quantroll.builders import claim, names, route, sources
from quantroll.constants import LABEL_OWNER
from quantroll.domain import locate
from unit.builders.samples import CPU, OWNER, PREPARE, ROUTING, STORE, all_manifests, pod_template, preparation, server

DNS_1035 = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")
OWNERS = st.from_regex(r"[a-z]([-a-z0-9]{0,38}[a-z0-9])?", fullmatch=True)
KEYS = st.text("0123456789abcdef", min_size=64, max_size=64)


@given(OWNERS, KEYS)
def test_names_are_dns_labels(owner, key):
    made = [
        names.prepare_job(owner, key),
        names.quantize_job(owner, key),
        names.evaluate_job(owner, key),
        names.confirm_job(owner, key),
        names.benchmark_job(owner, key),
        names.prober(owner),
        names.revision(owner, key[:10]),
        names.stable_service(owner),
        names.route(owner),
        names.artifacts_claim(owner, Storage()),
    ]
    assert [name for name in made if not DNS_1035.fullmatch(name)] == []


@given(OWNERS, KEYS, KEYS)
def test_names_differ_with_the_key(owner, key, other):
    same = key[:10] == other[:10]
    assert (names.quantize_job(owner, key) == names.quantize_job(owner, other)) is same


def test_longest_name_fits():
    longest = [names.evaluate_job("n" * 40, "f" * 64), names.quantize_job("n" * 40, "f" * 64)]
    assert max(map(len, longest)) <= 63


@pytest.mark.parametrize(("name", "manifest"), all_manifests().items())
def test_every_child_is_labelled_and_owned(name, manifest):
    meta = manifest["metadata"]
    assert manifest["apiVersion"]
    assert meta["namespace"] == OWNER.namespace
    assert meta["labels"][LABEL_OWNER] == OWNER.name
    assert all(re.fullmatch(r"[a-zA-Z0-9]([-._a-zA-Z0-9]{0,61}[a-zA-Z0-9])?", v) for v in meta["labels"].values())
    if name == "claim-retain":
        assert "ownerReferences" not in meta
    else:
        (reference,) = meta["ownerReferences"]
        assert (reference["uid"], reference["controller"]) == (OWNER.uid, True)


@given(st.integers(0, 100))
def test_shares_sum_to_100(weight):
    shares = [Share(revision="a", weight=100 - weight), Share(revision="b", weight=weight)]
    backends = route.route(OWNER, ROUTING, shares)["spec"]["rules"][0]["backendRefs"]
    assert sum(backend["weight"] for backend in backends) == 100
    assert [(b["name"], b["weight"]) for b in backends] == [(f"{OWNER.name}-{s.revision}", s.weight) for s in shares]


@pytest.mark.parametrize("weights", [[], [0], [0, 0], [50], [60, 60], [150, -50]])
def test_shares_that_do_not_sum_to_100_are_refused(weights):
    with pytest.raises(ValueError, match="sum to 100"):
        route.route(OWNER, ROUTING, [Share(revision=str(i), weight=w) for i, w in enumerate(weights)])


def test_route_without_hostnames_takes_every_host():
    routing = ROUTING.model_copy(update={"hostnames": None})
    assert route.route(OWNER, routing, [Share(revision="a", weight=100)])["spec"]["hostnames"] == []


def test_users_own_claim_is_never_made():
    with pytest.raises(ValueError, match="mine"):
        claim.artifacts_claim(OWNER, Storage(claim_name="mine"))
    assert names.artifacts_claim("x", Storage(claim_name="mine")) == "mine"


@pytest.mark.parametrize(
    ("model", "path"),
    [
        ("pvc://models/a/b", "/claims/models/a/b"),
        ("models/abc", "/artifacts/models/abc"),
        ("sources/abc", "/artifacts/sources/abc"),
    ],
)
def test_model_in_a_pod(model, path):
    assert locate.model_path(model) == path


@pytest.mark.parametrize("path", ["/claims", "/claims/x", "/etc/passwd", "/claims//x"])
def test_path_outside_of_the_mounts_is_refused(path):
    with pytest.raises(ValueError, match="mounted claim"):
        sources.read_mounts([path], STORE)


def test_claim_that_is_store_and_source_is_one_volume():
    manifest = preparation(PREPARE, store="models")
    pod = pod_template(manifest)
    claims = [v["persistentVolumeClaim"]["claimName"] for v in pod["volumes"] if "persistentVolumeClaim" in v]
    mounts = {m["mountPath"]: m for m in pod["containers"][0]["volumeMounts"]}
    assert claims == ["data", "models"]
    assert mounts["/claims/models"]["name"] == mounts["/artifacts"]["name"]
    assert mounts["/claims/models"]["readOnly"] is True
    assert "readOnly" not in mounts["/artifacts"]


def test_model_path_is_not_expanded():
    hostile = CPU.model_copy(update={"model": "pvc://models/$(HOME)"})
    assert pod_template(server(hostile, "v", "r"))["containers"][0]["args"][0] == "/claims/models/$$(HOME)"
