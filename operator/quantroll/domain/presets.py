"""What a workload stands for, and a spec in which that is filled in.

The floors: 0.94 is what llm-compressor's own tests ask of 4 bit GPTQ, and 0.95 what they ask by default.
Extraction and Code get the stricter one, because one wrong symbol spoils an answer. Reasoning gets 0.97, four answers
an item and no 4 bit weights: errors add up along a chain of thought, and single answers scatter.
"""

from quantroll.api.spec import Algorithm, QuantizedModelSpec, Scheme, Variant, Workload
from quantroll.api.status import Preset

_EIGHT_BIT = [Scheme.FP8_DYNAMIC, Scheme.W8A16]
_PRESETS = {
    Workload.CHAT: (0.94, 1, [*_EIGHT_BIT, Scheme.W4A16]),
    Workload.EXTRACTION: (0.95, 1, [*_EIGHT_BIT, Scheme.W4A16]),
    Workload.CODE: (0.95, 1, [*_EIGHT_BIT, Scheme.W4A16]),
    Workload.REASONING: (0.97, 4, _EIGHT_BIT),
}
_VARIANTS = {
    Scheme.FP8_DYNAMIC: Variant(name="fp8", scheme=Scheme.FP8_DYNAMIC),
    Scheme.W8A16: Variant(name="int8", scheme=Scheme.W8A16, algorithm=Algorithm.RTN),
    Scheme.W4A16: Variant(name="int4", scheme=Scheme.W4A16),
}


def preset_of(workload: Workload) -> Preset:
    """What the workload stands for in this release."""
    min_acceptable, repeats, schemes = _PRESETS[workload]
    return Preset(workload=workload, min_acceptable=min_acceptable, repeats=repeats, schemes=schemes)


def filled_in(spec: QuantizedModelSpec, preset: Preset) -> QuantizedModelSpec:
    """The spec with the preset's values where the user left them out; what needs calibration only where it is given."""
    gate = spec.quality_gate
    generation = gate.generation
    if "repeats" not in generation.model_fields_set:
        generation = generation.model_copy(update={"repeats": preset.repeats})
    changes: dict[str, object] = {"generation": generation}
    if "min_acceptable" not in gate.model_fields_set:
        changes["min_acceptable"] = preset.min_acceptable
    default = [_VARIANTS.get(scheme) or _plain(scheme) for scheme in preset.schemes]
    made = [variant for variant in default if spec.calibration or not variant.needs_calibration]
    return spec.model_copy(update={"quality_gate": gate.model_copy(update=changes), "variants": spec.variants or made})


def _plain(scheme: Scheme) -> Variant:
    """For what another release pinned and this one does not offer by itself."""
    return Variant(name=scheme.value.lower().replace("_", "-"), scheme=scheme)
