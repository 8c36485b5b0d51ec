"""What a verdict was measured with, in short, so that what has changed since can be named."""

from typing import Any

from quantroll.api.jobs import PrepareResult
from quantroll.api.spec import QuantizedModelSpec, Variant
from quantroll.api.status import RevisionSpec
from quantroll.domain.fingerprints import fingerprint

PARTS = (
    "full-precision model", "how it is served", "recipe", "calibration data", "engine image", "engine arguments",
    "engine environment", "serving settings", "resources", "eval set", "scorer", "generation",
)  # fmt: skip
"""Names of the parts, in their order in the status: new ones come last."""

DIGITS = 4  # of a part's digest: there is little room, and only the name of a change depends on it
_LABELS = {"name", "serving", "allowNaive", "allowSubFourBit"}  # say nothing about what is made
_PLACE = {"resources", "nodeSelector"}
_AROUND = {"engine", "replicas", "tolerations", *_PLACE}


def parts(
    spec: QuantizedModelSpec, variant: Variant, prepared: PrepareResult, served: RevisionSpec, baseline: str
) -> str:
    """Digests of all that a variant's counts depend on, one after the other as `PARTS`; `baseline` is its revision."""
    gate, serving = spec.quality_gate.to_wire(), served.serving.to_wire()
    calibration = spec.calibration.to_wire() if variant.needs_calibration and spec.calibration else {}
    data = prepared.calibration.sha256 if calibration and prepared.calibration else None
    values = (
        [prepared.model.digest, served.dtype],
        baseline,
        _without(variant.to_wire(), _LABELS),
        [data, _without(calibration, {"dataset", "sha256"})],
        served.profile.image,
        served.profile.args,
        served.profile.env,
        _without(serving, _AROUND),
        {name: serving.get(name) for name in sorted(_PLACE)},
        [prepared.eval_set.sha256, _without(gate["evalSet"], {"source", "sha256"})],
        [gate.get(name) for name in ("scorer", "scoring", "alsoReport")],
        gate["generation"],
    )
    return "".join(fingerprint("part", 1, {"value": value})[:DIGITS] for value in values)


def changed(before: str, now: str) -> str:
    """Names of the parts that differ. Where all is as it was, the full-precision model has been measured anew."""
    found = [name for name, old, new in zip(PARTS, _split(before), _split(now), strict=False) if old != new]
    # What the full-precision model is served with changes with most others: it is named where it changed alone.
    told = [name for name in found if name != PARTS[1]] or found
    names = ", ".join("how the full-precision model is served" if name == PARTS[1] else name for name in told)
    return f"{names} changed" if names else "the full-precision model was measured anew"


def _split(digests: str) -> list[str]:
    return [digests[i : i + DIGITS] for i in range(0, len(digests), DIGITS)]


def _without(wire: dict[str, Any], names: set[str]) -> dict[str, Any]:
    return {name: value for name, value in wire.items() if name not in names}
