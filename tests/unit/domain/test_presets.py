"""What a workload stands for, and when it counts."""

import pytest

from quantroll.api.spec import QuantizedModelSpec, Scheme, Workload
from quantroll.domain import presets
from unit.domain.world import World, spec_with


def bare(**changes):
    """A spec that leaves to the workload what it can."""
    spec = spec_with(**changes)
    del spec["variants"]
    return spec


def filled_in(spec, workload):
    return presets.filled_in(QuantizedModelSpec.model_validate(spec), presets.preset_of(Workload(workload)))


@pytest.mark.parametrize(
    ("workload", "floor", "repeats", "names"),
    [
        ("Chat", 0.94, 1, ["fp8", "int8", "int4"]),
        ("Extraction", 0.95, 1, ["fp8", "int8", "int4"]),
        ("Code", 0.95, 1, ["fp8", "int8", "int4"]),
        ("Reasoning", 0.97, 4, ["fp8", "int8"]),
    ],
)
def test_what_a_workload_stands_for(workload, floor, repeats, names):
    spec = filled_in(bare(), workload)
    assert (spec.quality_gate.min_acceptable, spec.quality_gate.generation.repeats) == (floor, repeats)
    assert [variant.name for variant in spec.variants] == names
    without = bare()
    del without["calibration"]
    assert [variant.name for variant in filled_in(without, workload).variants] == ["fp8", "int8"]


def test_chat_is_what_a_spec_without_a_workload_means():
    spec = QuantizedModelSpec.model_validate(spec_with())
    assert spec.workload is Workload.CHAT
    assert presets.filled_in(spec, presets.preset_of(spec.workload)) == spec


def test_what_the_user_says_counts():
    said = {"minAcceptable": 0.94, "generation": {"repeats": 1}, "verifiedAgainst": "bfloat16"}
    spec = spec_with()
    spec["qualityGate"] |= said
    filled = filled_in(spec, "Reasoning")
    assert (filled.quality_gate.min_acceptable, filled.quality_gate.generation.repeats) == (0.94, 1)
    assert [variant.name for variant in filled.variants] == ["int8", "gptq4", "rtn4"]
    partly = filled_in(spec_with(qualityGate__generation={"maxTokens": 9}), "Reasoning").quality_gate.generation
    assert (partly.max_tokens, partly.repeats) == (9, 4)


def test_default_variants_need_nothing_that_has_to_be_allowed():
    for variant in filled_in(bare(), "Chat").variants:
        assert (variant.allow_naive, variant.allow_sub_four_bit) == (False, False)
        assert variant.scheme.weight_bits == 8 or variant.resolved_algorithm == "GPTQ"


def test_a_workload_is_adopted_with_its_generation_and_an_upgrade_changes_nothing(monkeypatch):
    world = World(bare(workload="Reasoning"))
    world.until("Evaluating")
    world.tick()
    assert [row.name for row in world.status.variants] == ["fp8", "int8"]
    assert world.job("evaluate").wanted.job_input.repeats == 4
    adopted = world.status.resolved.preset
    monkeypatch.setitem(presets._PRESETS, Workload.REASONING, (0.5, 2, []))
    world.tick()
    assert world.status.resolved.preset == adopted
    assert [row.name for row in world.status.variants] == ["fp8", "int8"]
    world.edit(driftCheck__schedule="@daily")
    world.tick()
    assert world.status.resolved.preset.min_acceptable == 0.5


def test_the_floor_of_a_workload_is_that_of_the_gate_and_of_the_drift_check():
    cells = (1900, 90, 2, 8)  # recovery 0.956
    chat, reasoning = World(spec_with()), World(spec_with(workload="Reasoning"))
    for world in (chat, reasoning):
        world.cells = dict.fromkeys(world.cells, cells)
    chat.until("Steady")
    assert {row.verdict for row in chat.status.variants} == {"PASS"}
    reasoning.until("Rejected")
    assert reasoning.status.variants[0].verdict == "FAIL"
    assert "floor 0.97" in reasoning.status.variants[0].message


def test_a_preset_that_another_release_pinned_is_kept():
    pinned = presets.preset_of(Workload.CHAT).model_copy(update={"schemes": [Scheme.W8A8]})
    found = presets.filled_in(QuantizedModelSpec.model_validate(bare()), pinned).variants
    assert [(variant.name, variant.scheme) for variant in found] == [("w8a8", "W8A8")]
