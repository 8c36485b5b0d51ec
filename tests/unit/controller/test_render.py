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
