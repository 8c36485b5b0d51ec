"""What is verified, for the record that an evaluate Job writes beside its answers."""

from typing import Any

from quantroll.api.jobs import PrepareResult
from quantroll.api.spec import QuantizedModelSpec
from quantroll.api.status import Artifact, RevisionSpec


def subject(
    spec: QuantizedModelSpec,
    prepared: PrepareResult,
    name: str,
    revision: str,
    served: RevisionSpec,
    artifact: Artifact | None,
) -> dict[str, Any]:
    """All that went into the arm of this name, as JSON values; without an artifact it is the full-precision model."""
    variant = next((variant for variant in spec.variants if variant.name == name), None)
    calibration = spec.calibration if variant and variant.needs_calibration else None
    data = prepared.calibration if calibration else None
    return {
        "name": name,
        "revision": revision,
        "model": {
            "source": spec.model.source,
            "revision": spec.model.revision,
            "dtype": spec.model.dtype,
            "digest": prepared.model.digest,
        },
        "artifact": artifact.to_wire() if artifact else None,
        "recipe": _without(variant.to_wire(), "serving") if variant else None,
        "calibration": {**calibration.to_wire(), "sha256": data.sha256, "overlap": prepared.overlap}
        if calibration and data
        else None,
        "engine": {"name": served.engine, **served.profile.to_wire()},
        "serving": _without(served.serving.to_wire(), "replicas"),
    }


def _without(wire: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in wire.items() if key != name}
