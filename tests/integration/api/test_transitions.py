"""Rules about changes: the API server compares with the object before."""

import pytest

from contract import constraints
from contract.manifests import minimal, quantized_model
from integration.rest import Rest, models

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]


@pytest.mark.parametrize("message", constraints.TRANSITIONS)
def test_forbidden_changes_are_refused_and_others_are_not(rest: Rest, namespace: str, message: str) -> None:
    code, answer = rest.request("POST", models(namespace), quantized_model(minimal(), name="changing"))
    assert code == 201, answer
    path = models(namespace, "changing")
    code, answer = rest.request("PATCH", path, {"spec": constraints.TRANSITIONS[message]})
    assert code == 422
    assert message in answer["message"]
    code, answer = rest.request("PATCH", path, {"spec": {"qualityGate": {"minAcceptable": 0.9}}})
    assert code == 200, answer
