"""What the admin's settings and the spec add to manifests, beyond what was decided."""

from quantroll.api.spec import Backend, QuantizedModelSpec
from quantroll.builders.meta import Owner
from quantroll.controller.render import render
from quantroll.domain.wanted import Wanted
from quantroll.settings import HuggingFace, Images, Settings
from unit.domain.world import ENGINES, World, spec_with

SETTINGS = Settings(
    images=Images(client="client:1", quantize="quantize:1", quantize_auto_awq="autoawq:1"),
    hugging_face=HuggingFace(endpoint="https://hub.example.com"),
    engines=ENGINES,
)
HUB = {"source": "hf://team/llama", "revision": "a" * 40, "tokenSecretRef": {"name": "hub", "key": "read"}}
OWNER = Owner(name="tiny", namespace="team-a", uid="u")


def container(world, kind):
    """Of the one Job that is wanted."""
    spec = QuantizedModelSpec.model_validate(world.spec)
    jobs = [m for m in render(OWNER, spec, Wanted(jobs=[world.job(kind).wanted]), SETTINGS) if m["kind"] == "Job"]
    (found,) = jobs[0]["spec"]["template"]["spec"]["containers"]
    return found


def test_the_job_that_fetches_gets_the_users_secret_and_the_admins_mirror():
    world = World(spec_with(model=HUB))
    world.tick()
    env = {variable["name"]: variable for variable in container(world, "prepare")["env"]}
    assert env["HF_TOKEN"]["valueFrom"] == {"secretKeyRef": {"name": "hub", "key": "read"}}
    assert env["HF_ENDPOINT"]["value"] == "https://hub.example.com"
    world.until("Quantizing")
    world.tick()
    assert not {v["name"] for v in container(world, "quantize")["env"]} & {"HF_TOKEN", "HF_ENDPOINT"}


def test_each_backend_runs_in_its_own_image():
    awq = {"name": "int8", "scheme": "W4A16", "algorithm": "AWQ"}
    for backend, image in ((Backend.LLM_COMPRESSOR, "quantize:1"), (Backend.AUTO_AWQ, "autoawq:1")):
        world = World(spec_with(variants=[awq | {"backend": backend}]))
        world.until("Quantizing")
        world.tick()
        assert container(world, "quantize")["image"] == image


def test_a_benchmark_runs_beside_the_engine_and_loads_it_with_its_own_image():
    sweep = {"concurrency": [1, 8], "promptTokens": 64, "outputTokens": 16}
    world = World(spec_with(benchmark=sweep))
    for _ in range(60):
        world.tick()
        if world.job("benchmark"):
            break
        world.works()
    spec = QuantizedModelSpec.model_validate(world.spec)
    wanted = Wanted(jobs=[world.job("benchmark").wanted])
    (job,) = (m for m in render(OWNER, spec, wanted, SETTINGS) if m["kind"] == "Job")
    pod = job["spec"]["template"]["spec"]
    engine, load = pod["initContainers"]
    assert (engine["name"], engine["restartPolicy"], load["name"]) == ("engine", "Always", "load")
    assert engine["image"] == load["image"] == "example.com/vllm-cpu:1"
    assert "restartPolicy" not in load
    assert pod["containers"][0]["image"] == "client:1"
    assert job["metadata"]["labels"]["quantroll.io/component"] == "benchmark"
    script = load["command"][2]
    assert "--random-input-len=64 --random-output-len=16" in script
    assert "deadline=$$(($$(date +%s) + 1800))" in script, "deadlines.modelLoad"
    assert "--max-concurrency=8" in script
