"""Whether a child still is what was asked for: what the server adds is no difference, what somebody changed is."""

import copy

import pytest

from quantroll.constants import ANNOTATION_DESIRED
from quantroll.controller.difference import differs, has_more, includes, same_stamp, stamped
from unit.builders.samples import all_manifests


@pytest.mark.parametrize(
    ("asked", "seen"),
    [
        ("1Gi", "1024Mi"), ("1024Mi", "1Gi"), ("0.5", "500m"), ("1000m", "1"), (2, "2"), ("2", 2), ("1.5Gi", "1536Mi"),
        ("0.1Gi", "107374182400m"), ("1k", "1000"), ("2E", "2000P"), ("1Ei", "1024Pi"), ("10e2", "1e3"), ("5M", "5e6"),
    ],
)  # fmt: skip
def test_equal_quantities_written_differently(asked, seen):
    assert includes(seen, asked)


@pytest.mark.parametrize(
    ("asked", "seen"),
    [("1Gi", "1G"), ("1", "1m"), ("500m", "0.6"), (1, 2), ("1Ki", "1k"), ("text", "test"), ("1", "x")],
)  # fmt: skip
def test_unequal_ones(asked, seen):
    assert not includes(seen, asked)


@pytest.mark.parametrize(
    ("asked", "seen", "same"),
    [
        ({"a": 1}, {"a": 1, "added": 2}, True),
        ({"a": 1}, {}, False),
        ({"a": {"b": 1}}, {"a": {"b": 2}}, False),
        ([1, 2], [1, 2], True),
        ([1, 2], [2, 1], False),
        ([1], [1, 2], False),  # an element that somebody added
        ([{"name": "x"}], [{"name": "x", "added": True}], True),
        ([], None, True),  # an empty list is not stored
        ({}, None, False),
        (False, None, True),  # nor is a false that is the default
        (True, None, False),
        (True, False, False),
        (None, "anything", True),
        ("x", None, False),
        ("", "", True),
        (0, 0, True),
        (True, 1, True),
    ],
)
def test_what_is_asked_for_is_there(asked, seen, same):
    assert includes(seen, asked) is same


def observed(manifest):
    """As the API server would show it."""
    body = copy.deepcopy(manifest)
    body["metadata"] |= {"uid": "u", "resourceVersion": "1", "creationTimestamp": "2026-03-02T08:00:00Z"}
    body["metadata"].setdefault("annotations", {})["deployment.kubernetes.io/revision"] = "1"
    if manifest["kind"] != "HTTPRoute":  # which is written with all that the server would add
        body["spec"]["addedByTheServer"] = {"x": 1}
    body["status"] = {}
    return body


@pytest.mark.parametrize("name", sorted(all_manifests()))
def test_what_the_server_adds_is_no_difference(name):
    manifest = stamped(all_manifests()[name])
    assert not differs(manifest, observed(manifest))


@pytest.mark.parametrize("part", ["labels", "ownerReferences", "spec", "annotations"])
def test_what_is_taken_away_is_noticed(part):
    manifest = stamped(all_manifests()["deployment-cpu"])
    body = observed(manifest)
    if part == "spec":
        del body["spec"]["replicas"]
    else:
        del body["metadata"][part]
    assert differs(manifest, body)


@pytest.mark.parametrize(
    ("place", "added"),
    [
        ((), {"useDefaultGateways": "All"}),
        (("rules", 0), {"filters": [{"type": "RequestRedirect"}]}),
        (("rules", 0, "matches", 0), {"headers": [{"name": "x", "value": "y"}]}),
        (("rules", 0, "backendRefs", 0), {"filters": [{"type": "RequestMirror"}]}),
        (("parentRefs", 0), {"port": 80}),
    ],
)
def test_what_somebody_adds_to_a_route_is_noticed(place, added):
    manifest = stamped(all_manifests()["route-split"])
    body = observed(manifest)
    inner = body["spec"]
    for key in place:
        inner = inner[key]
    inner |= {key: [] for key in added}
    assert not differs(manifest, body), "it says nothing"
    inner |= added
    assert differs(manifest, body)


def containers(spec):
    return spec["template"]["spec"]["containers"]


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("deployment-cpu", lambda spec: spec.update(paused=True)),
        ("deployment-cpu", lambda spec: spec["template"]["spec"].update(nodeSelector={"pool": "a"})),
        ("deployment-cpu", lambda spec: spec["template"]["spec"].update(hostNetwork=True)),
        ("deployment-cpu", lambda spec: spec["template"]["spec"].update(initContainers=[{"name": "x"}])),
        ("deployment-cpu", lambda spec: containers(spec).append({"name": "sidecar"})),
        ("deployment-cpu", lambda spec: containers(spec)[0]["env"].append({"name": "A", "value": "1"})),
        ("deployment-gpu", lambda spec: containers(spec)[0]["resources"]["limits"].update({"example.com/x": "1"})),
        ("deployment-cpu", lambda spec: containers(spec)[0]["securityContext"].update(privileged=True)),
        ("service-stable", lambda spec: spec["selector"].update(a="b")),
        ("service-stable", lambda spec: spec.update(publishNotReadyAddresses=True)),
        ("service-stable", lambda spec: spec["ports"].append({"name": "other", "port": 81})),
    ],
)
def test_what_somebody_adds_to_a_deployment_or_a_service_is_noticed(name, change):
    manifest = stamped(all_manifests()[name])
    body = observed(manifest)
    change(body["spec"])
    assert differs(manifest, body)
    assert has_more(manifest, body)


def test_hosts_that_somebody_adds_to_a_route_for_every_host_are_noticed():
    manifest = stamped(all_manifests()["route-split"])
    manifest["spec"]["hostnames"] = []
    body = observed(manifest)
    body["spec"]["hostnames"] = ["other.example.com"]
    assert differs(manifest, body)


def test_a_field_that_is_no_longer_asked_for_is_noticed_by_the_stamp():
    before = all_manifests()["deployment-cpu"]
    before["spec"]["minReadySeconds"] = 5
    after = all_manifests()["deployment-cpu"]
    assert not differs(after, observed(before)), "not by its fields: it is only more"
    assert differs(stamped(after), observed(stamped(before)))


def test_a_stamp_is_of_the_manifest_and_leaves_it_alone():
    manifest = all_manifests()["prepare-job"]
    before = copy.deepcopy(manifest)
    marked = stamped(manifest)
    assert manifest == before
    assert same_stamp(marked, observed(marked))
    assert stamped(manifest) == marked
    assert marked["metadata"]["annotations"].items() >= before["metadata"]["annotations"].items()
    other = copy.deepcopy(manifest)
    other["spec"]["template"]["spec"]["containers"][0]["image"] = "other"
    assert not same_stamp(stamped(other), observed(marked))


def test_what_was_never_stamped_is_not_ours_as_it_is():
    marked = stamped(all_manifests()["prepare-job"])
    bare = observed(all_manifests()["prepare-job"])
    assert ANNOTATION_DESIRED not in bare["metadata"]["annotations"]
    assert not same_stamp(marked, bare)
    del bare["metadata"]["annotations"]
    assert not same_stamp(marked, bare)
