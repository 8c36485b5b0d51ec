"""Models from a hub, and backends that not every cluster has: what Jobs and revisions are told."""

from dataclasses import replace

import pytest

from quantroll.api.spec import Backend, QuantizedModelSpec, ScorerName
from quantroll.constants import Reason
from quantroll.domain.drift_check import floor_of
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


LM_EVAL = spec_with(
    qualityGate__evalSet={"source": "pvc://data/tasks"},
    qualityGate__scorer="LMEval",
    qualityGate__scoring={"lmEval": {"tasks": [{"name": "sums"}]}},
    probe={"source": "pvc://data/production.jsonl", "floor": 0.8, "scorer": "F1"},
    serving__maxModelLen=4096,
)


def test_lm_eval_gets_the_folder_and_the_baselines_tokenizer():
    world = World(LM_EVAL)
    world.tick()
    prepare = world.job("prepare").wanted.job_input
    assert (prepare.eval_set.path, prepare.scorer) == ("/claims/data/tasks", "LMEval")
    world.until("Evaluating")
    given = world.job("evaluate", "int8").wanted.job_input
    assert (given.tokenizer, given.max_length) == ("/claims/tiny/model", 4096)
    assert given.scoring.lm_eval.tasks[0].name == "sums"
    world.settle()
    assert world.status.phase == "Steady"


def test_tasks_of_lm_evals_own_need_no_folder():
    spec = {**LM_EVAL, "qualityGate": {**LM_EVAL["qualityGate"], "evalSet": {}}}
    world = World(spec)
    world.tick()
    assert world.job("prepare").wanted.job_input.eval_set.path == ""


def test_other_scorers_are_told_nothing_of_tokenizers():
    world = World()
    world.until("Evaluating")
    given = world.job("evaluate", "int8").wanted.job_input
    assert (given.tokenizer, given.max_length) == (None, None)


def test_what_lm_eval_cannot_ask_the_prober_judges_by_its_own_scorer_and_floor():
    world = steady(LM_EVAL)
    asked = world.plan().wanted.prober.probe_input
    assert (asked.source.path, asked.scorer, asked.scoring) == ("/claims/data/production.jsonl", "F1", None)
    assert floor_of(world.status, QuantizedModelSpec.model_validate(LM_EVAL)) == 0.8


def test_a_scorer_without_an_image_is_told_and_mended_by_the_admin():
    class NoHarness(World):
        offered = frozenset(ScorerName) - {ScorerName.LM_EVAL}

        def snapshot(self):
            return replace(super().snapshot(), scorers=self.offered)

    world = NoHarness(LM_EVAL)
    world.tick()
    assert world.running() == []
    status, reason, message = world.condition("Stalled")
    assert (status, reason) == ("True", Reason.SCORER_UNKNOWN)
    assert "images.lmEval" in message
    world.offered = frozenset(ScorerName)
    world.settle()
    assert world.status.phase == "Steady"
