"""What has to hold after every pass, whatever was seen: design rules that no single test could cover."""

import json
from dataclasses import replace
from datetime import datetime
from math import ceil
from typing import Any

from quantroll.api.base import parse_duration
from quantroll.api.status import QuantizedModelStatus
from quantroll.builders.meta import Owner
from quantroll.constants import BASELINE, Condition, Reason
from quantroll.controller.render import render
from quantroll.domain.plan import Plan, plan
from quantroll.domain.snapshot import Snapshot
from quantroll.domain.wanted import WantedConfirm, WantedQuantize
from quantroll.settings import Images, Settings

STATUS_LIMIT = 64 * 1024
OWNER = Owner(name="tiny", namespace="ml", uid="u")
IMAGES = Images(client="client:1", quantize="quantize:1")
PASSES = 8  # within which a plan on its own output comes to rest


def check(seen: Snapshot, decided: Plan, now: datetime) -> QuantizedModelStatus:
    """Everything below; returns the status as it is read again."""
    stored = stored_status(decided)
    _one_writer(seen, decided)
    _shares(seen, decided)
    _stable_stays(seen, decided)
    _last_requests_end(seen, decided, now)
    _no_weight_without_a_proof(seen, decided)
    _promoted_by_proof(seen, decided)
    _left_behind_a_pass(seen, decided)
    _no_eval_no_quantization(decided)
    _made_once(decided)
    _bad_spec_is_told(seen, decided)
    _missing_data_decides_nothing(seen, decided)
    _comes_to_rest(seen, decided, now)
    return stored


def _missing_data_decides_nothing(seen: Snapshot, decided: Plan) -> None:
    """I9, of the drift check: what goes back has been confirmed, and nothing begins on what nobody knows."""
    before, after = seen.status, decided.status
    begun = after.rollout if before.rollout is None else None
    if any(isinstance(job, WantedConfirm) for job in decided.wanted.jobs):
        assert after.rollout is None, "its requests would be counted among the users'"
    if begun and begun.kind == "Rollout":
        assert not (after.drift and after.drift.unverified_since), "quality is unverified"
    if begun and begun.kind == "Rollback" and begun.reason == Reason.FLOOR_BREACHED:
        confirming = before.drift.confirming if before.drift else None
        assert confirming
        report = seen.jobs[confirming.key].report
        assert report
        assert report.confirm
        found = report.confirm
        assert found.items
        assert found.errors <= 0.05 * (found.items + found.errors)
        assert after.drift
        assert after.drift.floor
        assert (found.both + found.serving_only) / found.items < after.drift.floor + 1e-6
        assert found.target_only > found.serving_only


def stored_status(decided: Plan) -> QuantizedModelStatus:
    """The status as the API server takes it and as it is read again."""
    text = json.dumps(decided.status.to_wire())
    assert len(text) < STATUS_LIMIT
    stored = QuantizedModelStatus.model_validate(json.loads(text))
    assert stored == decided.status
    assert decided.status.phase
    return stored


def _last_requests_end(seen: Snapshot, decided: Plan, now: datetime) -> None:
    """What has lost its traffic a moment ago and is kept warm may have requests yet: it keeps its pods."""
    if seen.spec is None or not decided.wanted.settled:
        return
    drain = parse_duration(seen.spec.rollout.deadlines.drain)
    stays = {server.revision for server in decided.wanted.servers} | decided.wanted.kept
    warm = {past.revision for past in seen.status.last_good if past.warm_until}
    for past in decided.status.last_good:
        assert past.revision not in warm or past.revision in stays or now >= past.until + drain


def _one_writer(seen: Snapshot, decided: Plan) -> None:
    wanted, status = decided.wanted, decided.status
    if not wanted.settled:
        assert not any((wanted.jobs, wanted.servers, wanted.drop_jobs, wanted.shares))
        for part in ("stable", "candidate", "rollout", "variants", "baseline"):
            assert getattr(status, part) == getattr(seen.status, part), part
    assert len([job for job in wanted.jobs if not isinstance(job, WantedConfirm)]) <= 1, "one Job at a time"
    assert len(wanted.jobs) <= 2
    roles = {r.revision for r in (status.stable, status.candidate) if r}
    served = [server.revision for server in wanted.servers]
    assert len(served) == len(set(served))
    warm = {past.revision for past in status.last_good if past.warm_until}
    confirming = {status.drift.confirming.target} if status.drift and status.drift.confirming else set()
    assert set(served) <= roles | warm | confirming, "at most one candidate beside stable"
    assert len(wanted.kept) <= 1
    assert not wanted.kept & set(served), "kept means left alone"
    assert (status.candidate is None) or status.rollout is not None


def _shares(seen: Snapshot, decided: Plan) -> None:
    shares, stable = decided.wanted.shares, decided.status.stable
    if shares is None:
        return
    assert seen.gateway_api
    assert seen.spec
    assert stable
    assert sum(share.weight for share in shares) == 100
    assert all(0 <= share.weight <= 100 for share in shares)
    there = {server.revision for server in decided.wanted.servers} | decided.wanted.kept
    assert {share.revision for share in shares} <= there, "a backend that is not there"
    served = {server.revision for server in decided.wanted.servers} | (decided.wanted.kept & seen.services)
    left = {share.revision for share in seen.route.shares} & served if seen.route else set()
    assert left <= {share.revision for share in shares}, (
        "the gateway forgets a backend that it has just sent requests to"
    )
    asked_before = {s.revision: s.weight for s in seen.status.traffic.desired}
    carried = {s.revision: s.weight for s in seen.route.shares} if seen.route else {}
    replicas = seen.spec.serving.replicas
    for share in shares:
        if share.weight <= max(asked_before.get(share.revision, 0), carried.get(share.revision, 0)):
            continue
        ready = seen.server(share.revision).ready
        if share.revision == stable.revision:  # it has all its pods, but nobody can keep pods from failing
            others = [seen.server(r).ready for r in carried if r != share.revision]
            assert ready or not any(others) or _may_be_down(seen), "all traffic to a revision without a ready pod"
        else:
            known = seen.route is None or share.revision in seen.route.named
            assert known, "requests to what the gateway may not know"
            needed = ceil(share.weight * replicas / 100)
            rollout = decided.status.rollout
            if rollout and rollout.kind == "Rollback" and not seen.server(stable.revision).ready:
                needed = 1  # of what served before; nothing else could answer
            assert ready >= min(needed, _full_size(seen)), "weight before capacity"


def _replaces(seen: Snapshot) -> bool:
    """Whether pods of the candidate stand in the places of stable's."""
    assert seen.spec
    room = seen.spec.rollout.capacity
    return room.mode == "Replace" and (seen.spec.serving.replicas > 1 or room.allow_downtime)


def _may_be_down(seen: Snapshot) -> bool:
    """What the user has allowed: one replica, and no room beside it."""
    assert seen.spec
    return _replaces(seen) and seen.spec.serving.replicas == 1


def _full_size(seen: Snapshot) -> int:
    """Pods that carry all the traffic: all, or all but the one that the last of stable stands in the place of."""
    assert seen.spec
    replicas = seen.spec.serving.replicas
    return max(1, replicas - 1) if _replaces(seen) else replicas


def _stable_stays(seen: Snapshot, decided: Plan) -> None:
    before, after = seen.status.stable, decided.status.stable
    if before is None:
        return
    assert after is not None
    if decided.wanted.settled:
        server = next(s for s in decided.wanted.servers if s.revision == after.revision)
        assert seen.spec
        pods = {s.revision: s.replicas for s in decided.wanted.servers}
        if _replaces(seen):
            drift = decided.status.drift
            second = (
                1 if _may_be_down(seen) and drift and drift.confirming else 0
            )  # which asks both at once, if there is
            room = seen.spec.serving.replicas + second
            assert sum(pods.values()) == room, "no more than there is room for, and no less"
            assert server.replicas or _may_be_down(seen)
        else:
            assert server.replicas == seen.spec.serving.replicas
        assert decided.wanted.stable == after.revision
    if before.revision == after.revision:
        return
    rollout, candidate = seen.status.rollout, seen.status.candidate
    if rollout is None:
        assert before.variant == after.variant == BASELINE
        assert seen.server(before.revision).ready == 0, "what serves keeps serving"
        return
    assert candidate
    assert candidate.revision == after.revision
    assert rollout.weight == 100
    assert seen.spec
    if seen.spec.rollout.routing.mode == "GatewayAPI":
        assert seen.route
        assert seen.route.accepted
        shares = [(share.revision, share.weight) for share in seen.route.shares]
        assert shares == [(after.revision, 100)], "all the traffic, verified at the gateway"
    else:
        assert seen.selected == after.revision
    assert seen.server(after.revision).ready >= _full_size(seen), "full size before promotion"
    drain = parse_duration(seen.spec.rollout.deadlines.drain)
    past = [one for one in decided.status.last_good if one.warm_until and one.warm_until >= one.until + drain]
    warm = {one.revision for one in past}
    served = {server.revision for server in decided.wanted.servers if server.replicas}
    assert before.revision in decided.wanted.kept | (warm & served), "the old one is drained before it goes"


def _no_weight_without_a_proof(seen: Snapshot, decided: Plan) -> None:
    candidate, rollout = decided.status.candidate, decided.status.rollout
    if candidate is None or rollout is None or rollout.weight == 0 or not decided.wanted.settled:
        return
    if rollout.kind == "Rollback":
        return  # it served before; what a rollback chooses has tests of its own
    assert rollout.reason is None, "what is taken back has no weight"
    stable = decided.status.stable
    if stable and seen.status.candidate == candidate and not seen.server(stable.revision).ready:
        return  # it was proven when it got its weight, and there is nothing to give that to
    if candidate.variant != BASELINE:
        assert _proof(decided.status, candidate.variant, candidate.revision)


def _promoted_by_proof(seen: Snapshot, decided: Plan) -> None:
    before, after = seen.status.stable, decided.status.stable
    going_back = seen.status.rollout is not None and seen.status.rollout.kind == "Rollback"
    if after and after.variant != BASELINE and (before is None or before.revision != after.revision):
        assert going_back or _proof(decided.status, after.variant, after.revision)


def _left_behind_a_pass(seen: Snapshot, decided: Plan) -> None:
    """I5: a step is left by a look that passed, which is recorded, or because a person has had the wait left out."""
    before, after = seen.status.rollout, decided.status.rollout
    if before is None or after is None or before.id != after.id or not 0 <= before.step < after.step:
        return
    assert seen.spec
    if after.kind == "Rollback" or not seen.spec.rollout.analysis.metrics:
        return
    hurried = after.skip_to is not None and after.skip_to > before.step
    assert hurried or (after.passed and (after.passed.step, after.passed.verdict) == (before.step, "Pass"))


def _proof(status: QuantizedModelStatus, variant: str, revision: str) -> bool:
    """PASS for this very revision, from counts that are there."""
    row = next((r for r in status.variants if r.name == variant), None)
    return bool(row and row.verdict == "PASS" and row.revision == revision and row.evaluation and row.artifact)


def _no_eval_no_quantization(decided: Plan) -> None:
    if any(isinstance(job, WantedQuantize) for job in decided.wanted.jobs):
        base, prepared = decided.status.baseline, decided.status.prepared
        assert prepared
        assert base
        assert base.evaluation, "quantized without anything to compare with"


def _made_once(decided: Plan) -> None:
    """I6: one Job for a key, and none for an artifact that is there."""
    jobs = decided.wanted.jobs
    assert len({job.key for job in jobs}) == len(jobs)
    there = {row.artifact.key for row in decided.status.variants if row.artifact}
    assert not there & {job.key for job in jobs if isinstance(job, WantedQuantize)}


def _bad_spec_is_told(seen: Snapshot, decided: Plan) -> None:
    """I10: a spec that cannot be read or used begins nothing and raises no weight of a candidate."""
    if seen.spec and not seen.spec_error:
        return
    stalled = next(c for c in decided.status.conditions if c.type == Condition.STALLED)
    assert (stalled.status, stalled.reason) == ("True", Reason.SPEC_INVALID)
    assert stalled.message
    known = next((c for c in seen.status.conditions if c.type == Condition.STALLED), None)
    if known is None or known.reason != Reason.SPEC_INVALID:
        assert Reason.SPEC_INVALID in {event.reason for event in decided.events}
    assert all(isinstance(job, WantedConfirm) for job in decided.wanted.jobs)
    before, after = seen.status.rollout, decided.status.rollout
    if after and after.kind == "Rollout":
        assert before, "a rollout that nobody can have asked for"
        assert after.weight <= before.weight


def _comes_to_rest(seen: Snapshot, decided: Plan, now: datetime) -> None:
    """A plan on its own output, with the same observations, changes nothing after a few passes."""
    if decided.status == seen.status:  # what it was made from is its own output, and another one would be the same
        assert decided.events == ()
        return
    last = decided
    for _ in range(PASSES):
        following = plan(_with_status(seen, last.status), now)
        if following.status == last.status:
            assert following.events == ()
            return
        last = following
    raise AssertionError(f"no rest: {last.status.phase}: {last.status.message}")


def _with_status(seen: Snapshot, status: QuantizedModelStatus) -> Snapshot:
    return replace(seen, status=status)


def goes_with_the_model(seen: Snapshot, now: datetime) -> None:
    """I7: what a plan wants is deleted with the model, but for the claim that is retained; the user's are only read."""
    wanted = plan(seen, now).wanted
    if seen.spec is None or not wanted.settled:
        return
    for manifest in render(OWNER, seen.spec, wanted, Settings(images=IMAGES, engines=seen.engines)):
        owners = [reference["uid"] for reference in manifest["metadata"].get("ownerReferences", [])]
        retained = manifest["kind"] == "PersistentVolumeClaim" and seen.spec.storage.reclaim_policy != "Delete"
        assert owners == ([] if retained else [OWNER.uid]), manifest["metadata"]["name"]
        pod = manifest["spec"].get("template", {}).get("spec", {})
        given = {volume["name"] for volume in pod.get("volumes", []) if _claim(volume) == "tiny"}
        for container in [*pod.get("initContainers", []), *pod.get("containers", [])]:
            mounts = [mount for mount in container.get("volumeMounts", []) if mount["name"] in given]
            assert all(mount.get("readOnly") for mount in mounts), container["name"]


def _claim(volume: dict[str, Any]) -> str:
    return str(volume.get("persistentVolumeClaim", {}).get("claimName", ""))
