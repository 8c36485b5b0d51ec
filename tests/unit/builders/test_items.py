"""The Job that prints items: it reads, under the rules of every pod, and the operator does not take it for its own."""

from quantroll.builders.items import items_job
from quantroll.constants import LABEL_MANAGED_BY, LABEL_OWNER, MANAGER

JOB = items_job("tiny", "team", store="tiny-artifacts", image="client:1", key="a" * 64, baseline_key="b" * 64)
POD = JOB["spec"]["template"]["spec"]
CONTAINER = POD["containers"][0]


def test_it_only_reads():
    assert CONTAINER["volumeMounts"][0]["mountPath"] == "/artifacts"
    assert CONTAINER["volumeMounts"][0]["readOnly"] is True
    claims = [volume["persistentVolumeClaim"] for volume in POD["volumes"] if "persistentVolumeClaim" in volume]
    assert claims == [{"claimName": "tiny-artifacts", "readOnly": True}]


def test_it_names_the_variants_folder_first():
    folders = [f"/artifacts/evaluations/{letter * 64}" for letter in "ab"]
    assert CONTAINER["command"] == ["python", "-m", "quantroll_jobs.items", *folders]


def test_it_has_no_rights_and_no_token():
    assert POD["automountServiceAccountToken"] is False
    assert POD["securityContext"]["runAsNonRoot"] is True
    assert CONTAINER["securityContext"]["readOnlyRootFilesystem"] is True
    assert CONTAINER["securityContext"]["capabilities"] == {"drop": ["ALL"]}


def test_it_goes_by_itself_and_is_not_the_operators():
    assert JOB["spec"]["ttlSecondsAfterFinished"] == 60
    assert JOB["spec"]["backoffLimit"] == 0
    for labels in (JOB["metadata"]["labels"], JOB["spec"]["template"]["metadata"]["labels"]):
        assert labels[LABEL_MANAGED_BY] != MANAGER
        assert LABEL_OWNER not in labels
