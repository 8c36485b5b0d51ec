"""QuantizedModels in every phase, as the planner itself makes them: what a command line would read from a cluster."""

from datetime import timedelta

from quantroll.domain.snapshot import QualityCounts
from quantroll.report.subject import read
from quantroll.standing.view import Pods, View
from unit.domain.world import World, spec_with, steady

STEPS = [{"weight": 10, "duration": "2m", "approval": True}, {"weight": 50, "duration": "3m"}]


def document(world):
    """What the API server would give."""
    notes = {f"quantroll.io/{verb}": value for verb, value in world.commands.items()}
    meta = {"name": world.name, "namespace": "ml", "generation": world.generation, "annotations": notes}
    common = {"apiVersion": "quantroll.io/v1alpha1", "kind": "QuantizedModel", "metadata": meta}
    return {**common, "spec": world.spec, "status": world.status.to_wire()}


def seen(world, *, after=30, flags=()):
    """A look at it, so many seconds later."""
    pods = {
        revision: Pods(world.servers[revision].ready if revision in world.servers else 0, wanted)
        for revision, wanted in world.replicas.items()
    }
    return View(read(document(world)), world.now + timedelta(seconds=after), pods, flags)


def until(phase, *, but="", **changes):
    """A world in this phase."""
    world = World(spec_with(**changes))
    world.until(phase, but=but)
    return world


def rejected():
    """None is proven."""
    world = World()
    world.cells["int8"] = world.cells["rtn4"]
    world.until("Rejected")
    return world


def going_back():
    """A person has just aborted it."""
    world = until("Analyzing")
    world.commands["abort"] = f"{world.status.rollout.id}/1"
    world.until("RollingBack")
    return world


def aborted():
    """Taken back by a person."""
    world = going_back()
    world.until("RolledBack")
    return world


def suspected():
    """The drift check's probe is below the floor, and a Job is to confirm it."""
    world = steady()
    world.quality = QualityCounts(right=800, wrong=200, distinct=1000)
    world.now = world.status.drift.next
    world.tick()
    return world
