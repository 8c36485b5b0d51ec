"""What the models compute from what the user wrote."""

from datetime import timedelta

import pytest
from pydantic import TypeAdapter, ValidationError

from contract.manifests import full, minimal
from quantroll.api.base import Duration, Quantity, parse_duration
from quantroll.api.spec import QuantizedModelSpec, Serving, ServingOverride, Variant


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("15m", 900), ("1h30m", 5400), ("1h0m5s", 3605), ("99999h99999m99999s", 366096339)],
)
def test_a_duration_is_the_sum_of_its_parts(text: str, seconds: int) -> None:
    assert parse_duration(TypeAdapter(Duration).validate_python(text)) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "5", "5 m", "1m1h", "-5m", "1.5h", "1h\n", "100000h"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Duration).validate_python(text)


@pytest.mark.parametrize("value", ["1", 1, 0, "0.5", "500m", "1k", "8Gi", "2E", "1e3"])
def test_a_quantity_stays_as_it_was_written(value: str | int) -> None:
    assert TypeAdapter(Quantity).validate_python(value) == value


@pytest.mark.parametrize("value", [-1, "-1", 0.5, True, "1ki", "1GB", "Gi", "", "1" * 33])
def test_what_is_no_quantity(value: object) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Quantity).validate_python(value)


@pytest.mark.parametrize(
    ("variant", "algorithm", "group_size", "calibration"),
    [
        ({"scheme": "W8A8"}, "GPTQ", None, True),
        ({"scheme": "W8A8", "algorithm": "RTN"}, "RTN", None, False),
        ({"scheme": "W8A8", "algorithm": "RTN", "smoothQuantStrength": 0.5}, "RTN", None, True),
        ({"scheme": "W4A16"}, "GPTQ", 128, True),
        ({"scheme": "W4A16", "groupSize": 32}, "GPTQ", 32, True),
        ({"scheme": "FP8_DYNAMIC"}, "RTN", None, False),
    ],
)
def test_defaults_that_depend_on_the_scheme(
    variant: dict[str, object], algorithm: str, group_size: int | None, calibration: bool
) -> None:
    parsed = Variant.model_validate({"name": "v", **variant})
    assert parsed.resolved_algorithm == algorithm
    assert parsed.resolved_group_size == group_size
    assert parsed.needs_calibration is calibration


def test_an_arm_overrides_what_it_sets_and_inherits_the_rest() -> None:
    shared = QuantizedModelSpec.model_validate(full()).serving
    assert shared.for_arm(None) == shared
    arm = shared.for_arm(ServingOverride(tensor_parallel_size=8))
    assert arm == Serving.model_validate({**shared.to_wire(), "tensorParallelSize": 8})


def test_an_unknown_field_is_refused() -> None:
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        QuantizedModelSpec.model_validate({**minimal(), "qualityGates": {}})
