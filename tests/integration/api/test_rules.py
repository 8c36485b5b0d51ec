"""Everything that the schema demands, kept and broken in front of a real API server."""

import pytest

from contract.constraints import Constraint, collect
from contract.manifests import Object, claimed, full, minimal, quantized_model
from contract.mistakes import MISTAKES, Mistake
from integration.rest import Rest, models
from quantroll.api.spec import QuantizedModelSpec

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]


def create(rest: Rest, manifest: Object) -> tuple[int, Object]:
    """What the API server answers; nothing is stored."""
    return rest.request("POST", models("default"), manifest, dryRun="All")


def causes(answer: Object) -> list[str]:
    return [f"{cause['field']}: {cause['message']}" for cause in answer["details"]["causes"]]


@pytest.mark.parametrize("constraint", list(collect()), ids=lambda c: c.id)
def test_a_constraint_kept_is_accepted_and_broken_is_rejected(rest: Rest, constraint: Constraint) -> None:
    code, answer = create(rest, constraint.keeps)
    assert code == 201, answer["message"]

    code, answer = create(rest, constraint.breaks)
    assert code == 422, answer
    found = [text for text in causes(answer) if text.startswith(constraint.field) and constraint.message in text]
    assert found, causes(answer)


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda m: m.id)
def test_a_mistake_gets_its_message_and_put_right_it_is_accepted(rest: Rest, mistake: Mistake) -> None:
    code, answer = create(rest, mistake.wrong())
    assert code in (400, 422), answer
    assert mistake.message in answer["message"]

    code, answer = create(rest, mistake.right())
    assert code == 201, answer["message"]


@pytest.mark.parametrize("spec", [minimal(), full(), claimed()], ids=["minimal", "full", "claimed"])
def test_both_sides_understand_a_spec_alike(rest: Rest, spec: Object) -> None:
    ours = QuantizedModelSpec.model_validate(spec)
    code, stored = create(rest, quantized_model(spec))
    assert code == 201, stored
    assert QuantizedModelSpec.model_validate(stored["spec"]) == ours

    code, stored = create(rest, quantized_model(ours.to_wire()))
    assert code == 201, stored
    assert QuantizedModelSpec.model_validate(stored["spec"]) == ours
