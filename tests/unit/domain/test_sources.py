"""Models from a hub, and backends that not every cluster has: what Jobs and revisions are told."""

from dataclasses import replace

import pytest

from quantroll.api.spec import Backend
from quantroll.constants import Reason
from quantroll.domain.fingerprints import source_key
from unit.domain.world import World, spec_with, steady

REVISION = "a" * 40
HUB = {"source": "hf://team/llama", "revision": REVISION}
COPY = f"sources/{source_key('team/llama', REVISION)}"


class OneBackend(World):
    """A cluster whose admin gave no image for AutoAWQ; `offered` may grow."""

    def __init__(self, spec):
        super().__init__(spec)
        self.offered = frozenset({Backend.LLM_COMPRESSOR})

    def snapshot(self):
        return replace(super().snapshot(), backends=self.offered)


def auto_awq():
    return spec_with(
        variants=[
            {"name": "gptq4", "scheme": "W4A16", "algorithm": "AWQ", "backend": "AutoAWQ"},
            {"name": "int8", "scheme": "W8A8", "smoothQuantStrength": 0.8},
        ]
    )


def test_all_jobs_of_a_hubs_model_read_the_copy():
    world = World(spec_with(model=HUB))
    world.tick()
    prepare = world.job("prepare").wanted.job_input
    assert (prepare.model_path, prepare.hub.repository) == (f"/artifacts/{COPY}", "team/llama")
    assert prepare.hub.revision == REVISION
    world.until("Quantizing")
    world.tick()
    assert world.job("quantize", "int8").wanted.job_input.model_path == f"/artifacts/{COPY}"
    assert world.status.stable.spec.model == COPY
    world.settle()
    assert world.status.phase == "Steady"


def test_a_baseline_from_a_hub_is_rolled_out_anew_like_any():
    world = World(spec_with(model=HUB))
    world.cells["int8"] = (300, 1690, 2, 8)
    world.settle()
    assert world.status.phase == "Rejected"
    world.edit(serving__maxNumSeqs=9)
    world.settle()
    assert world.status.stable.spec.model == COPY
    assert world.status.stable.spec.serving.max_num_seqs == 9


def test_another_commit_is_another_baseline():
    world = steady(spec_with(model=HUB))
    world.edit(model=HUB | {"revision": "b" * 40})
    world.tick()
    assert world.job("prepare").wanted.job_input.hub.revision == "b" * 40


@pytest.mark.parametrize("reason", [Reason.MODEL_FORBIDDEN, Reason.HUB_UNREACHABLE, Reason.STORAGE_FULL])
def test_what_kept_a_model_from_being_fetched_is_told_and_a_new_token_is_tried_at_once(reason):
    world = World(spec_with(model=HUB))
    world.tick()
    world.fail(world.job("prepare"), reason, "it says what to do")
    world.tick()
    assert world.condition("Stalled") == ("True", reason, "it says what to do")
    world.edit(model=HUB | {"tokenSecretRef": {"name": "hub"}})
    world.tick()
    world.tick()  # the first one drops the old Job
    assert world.job("prepare")


def test_a_backend_that_is_not_offered_is_told_and_skipped():
    world = OneBackend(auto_awq())
    world.settle()
    row = world.status.variants[0]
    assert (row.verdict, row.reason) == ("ERROR", Reason.BACKEND_UNKNOWN)
    assert "chart's values under images" in row.message
    assert world.verdicts()["int8"] == "PASS", "it says nothing about the rungs below"
    assert world.kinds().count("quantize") == 1


def test_a_backend_that_is_offered_later_is_used():
    world = OneBackend(auto_awq())
    world.until("Quantizing")
    world.tick()
    assert world.status.variants[0].reason == Reason.BACKEND_UNKNOWN
    world.offered = frozenset(Backend)
    world.tick()
    made = world.job("quantize", "gptq4").wanted.job_input
    assert (made.recipe.backend, made.recipe.algorithm) == (Backend.AUTO_AWQ, "AWQ")


def test_what_a_backend_made_stays_proven_without_it():
    world = OneBackend(auto_awq())
    world.offered = frozenset(Backend)
    world.settle()
    before = world.verdicts()
    world.offered = frozenset({Backend.LLM_COMPRESSOR})
    world.tick()
    assert world.verdicts() == before
