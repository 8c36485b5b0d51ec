"""One pass: gather, plan, one status write with compare-and-swap, then carry the plan out.

What is decided is written before it is done, and doing it is idempotent: killed at any point, the next pass goes on.
"""

import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from quantroll.api.status import QuantizedModelStatus
from quantroll.builders import names
from quantroll.builders.meta import Manifest, Owner
from quantroll.constants import (
    ANNOTATION_DESIRED,
    ANNOTATION_KEY,
    KIND,
    LABEL_COMPONENT,
    LABEL_MANAGED_BY,
    LABEL_OWNER,
    Component,
    Reason,
)
from quantroll.controller import views
from quantroll.controller.children import Children
from quantroll.controller.departed import Departed
from quantroll.controller.difference import differs, has_more, job_differs, same_stamp, stamped
from quantroll.controller.gather import Outside, gather
from quantroll.controller.render import render
from quantroll.controller.routes import is_edited
from quantroll.controller.written import Written
from quantroll.domain.plan import Plan, plan
from quantroll.domain.snapshot import JobState, Problem, Snapshot
from quantroll.errors import Conflict, NotFound, Refused, Unreachable
from quantroll.ports import Clock, ObjectRef
from quantroll.settings import Settings

log = logging.getLogger(__name__)

_OURS = (LABEL_MANAGED_BY, LABEL_OWNER)
REFUSED_PAUSE = 15.0  # seconds until what was refused is tried again

Body = Mapping[str, Any]
Look = Callable[[tuple[str, str]], tuple[Body, Children] | None]


class Reconciler:
    """Passes over QuantizedModels; `look` shows one with its children as last watched."""

    def __init__(
        self, look: Look, settings: Settings, outside: Outside, clock: Clock, departed: Departed | None = None
    ) -> None:
        self._look, self._settings, self._clock = look, settings, clock
        self._departed = departed or Departed()
        self._outside, self._cluster = outside, outside.cluster
        self._trouble: dict[tuple[str, str], Problem] = {}  # what was refused last time, for the next status
        self._written = Written()
        self._edits: dict[tuple[str, str], int] = {}  # generation of the route that was last found edited
        self._gone: dict[tuple[str, str], str] = {}  # uids of what was deleted while its watch was away

    async def run_pass(self, key: tuple[str, str]) -> float | None:
        """One pass; returns after how many seconds the next one is due, or None when the object is gone."""
        found = self._look(key)
        uid = found[0]["metadata"]["uid"] if found else None
        if self._gone.get(key) != uid:
            self._gone.pop(key, None)
        if found is None or found[0]["metadata"].get("deletionTimestamp") or key in self._gone:
            self._forget(key)
            return None
        model, children = found
        # what is to be seen may be older than what was decided: then the watch calls again
        return self._written.pending(model) or await self._pass(key, model, children)

    def _forget(self, key: tuple[str, str]) -> None:
        self._trouble.pop(key, None)
        self._edits.pop(key, None)
        self._outside.telemetry.gone(key)

    async def _missed(self, key: tuple[str, str], model: Body) -> float | None:
        """Something to write to is not there: whether it is the model, whose end a broken watch never tells of."""
        found = await self._cluster.read(ObjectRef.of(model))
        if found is not None and found["metadata"]["uid"] == model["metadata"]["uid"]:
            return 1.0
        self._gone[key] = model["metadata"]["uid"]
        self._forget(key)
        return None

    async def _pass(self, key: tuple[str, str], model: Body, children: Children) -> float | None:
        now = self._clock.now()
        seen = await gather(model, children, self._settings, self._outside, now)
        seen = replace(seen, trouble=self._trouble.get(key))
        seen = self._with_edits(key, model, children, seen)
        decided = plan(seen, now)
        try:
            recorded = await self._record(model, seen, decided)
            self._outside.telemetry.stands(key, decided.status)
            try:
                trouble = await self._carry_out(model, children, seen, decided)
            finally:
                if recorded:  # after the children: nobody waits for an event
                    await self._tell(model, decided)
        except Conflict:
            return 0.1  # somebody wrote in between: the watch will show what
        except NotFound:
            return await self._missed(key, model)
        if trouble:
            told = self._trouble.get(key) == trouble
            self._trouble[key] = trouble
            return REFUSED_PAUSE if told else 0.1
        if self._trouble.pop(key, None):
            return 0.1  # it works now: the status has to say so
        due = max((decided.wake_at - now).total_seconds(), 0.05) if decided.wake_at else math.inf
        return min(due, self._departed.pause(key) or math.inf)

    def _with_edits(self, key: tuple[str, str], model: Body, children: Children, seen: Snapshot) -> Snapshot:
        """With whether somebody else has changed the route.

        A generation counts once, and for as long as our answer is on its way: one that stays, for a webhook say that
        changes whatever we write, would stop all rollouts.
        """
        observed = children.get("HTTPRoute", names.route(seen.name))
        if observed is None or seen.spec is None or seen.route is None:
            return seen
        if not is_edited(_owner(model), seen.spec.rollout.routing, observed):
            return seen
        generation = int(observed["metadata"].get("generation", 0))
        before, self._edits[key] = self._edits.get(key), generation
        stamp = observed["metadata"].get("annotations", {}).get(ANNOTATION_DESIRED, "")
        news = before != generation or bool(self._written.pending(observed, stamp))
        return replace(seen, route=replace(seen.route, edited=True)) if news else seen

    async def _record(self, model: Body, seen: Snapshot, decided: Plan) -> bool:
        """Write the status if it has changed."""
        status = decided.status.to_wire()
        if status == (model.get("status") or {}) or (model.get("status") and decided.status == seen.status):
            return False
        await self._cluster.write_status(ObjectRef.of(model), model["metadata"]["resourceVersion"], status)
        self._written.note(model)
        self._outside.telemetry.changed(seen.status, decided.status)
        return True

    async def _tell(self, model: Body, decided: Plan) -> None:
        """Post the events of what has been recorded."""
        ref = ObjectRef.of(model)
        for event in decided.events:
            try:
                await self._cluster.emit(ref, event)
            except Refused as error:  # a namespace that is going away takes no events
                log.warning("%s/%s: event %s not posted: %s", ref.namespace, ref.name, event.reason, error)

    async def _carry_out(self, model: Body, children: Children, seen: Snapshot, decided: Plan) -> Problem | None:
        """Make the children as they are wanted; what the API server refuses is returned, and the rest is done."""
        if seen.spec is None or not decided.wanted.settled:
            return None
        manifests = [stamped(m) for m in render(_owner(model), seen.spec, decided.wanted, self._settings)]
        refused = [problem for m in manifests if (problem := await self._ensure(m, children))]
        for gone in obsolete(manifests, children, seen, decided):
            try:
                await self._cluster.delete(gone)
            except Refused as error:
                refused.append(Problem(Reason.REFUSED, f"the API server keeps {gone.kind} {gone.name}: {error}"))
        return refused[0] if refused else None

    async def _ensure(self, manifest: Manifest, children: Children) -> Problem | None:
        kind, name = manifest["kind"], manifest["metadata"]["name"]
        observed = children.get(kind, name)
        try:
            if observed is None:
                owner = (manifest["metadata"]["namespace"], manifest["metadata"]["labels"][LABEL_OWNER])
                held = kind == "Job" and self._departed.pause(owner, name)
                return None if held else await self._create(manifest)
            if kind == "Job":
                await self._keep_job(manifest, observed, children)
            elif kind != "PersistentVolumeClaim" and differs(manifest, observed):
                stamp = manifest["metadata"]["annotations"][ANNOTATION_DESIRED]
                if not self._written.pending(observed, stamp):
                    await self._write_again(manifest, observed)
                    self._written.note(observed, stamp)
        except (Refused, Unreachable) as error:  # one child's trouble, with a webhook say, is not the others'
            return Problem(Reason.REFUSED, f"the API server does not take {kind} {name}: {error}")
        return None

    async def _keep_job(self, manifest: Manifest, observed: Body, children: Children) -> None:
        """Asked for otherwise by now, it is made anew if it has not begun; what somebody changed is put back."""
        stamp = manifest["metadata"]["annotations"][ANNOTATION_DESIRED]
        if not same_stamp(manifest, observed):
            if not views.has_started(observed, children.of("Pod")):
                await self._cluster.delete(_ref(observed, "batch/v1", "Job"))
        elif job_differs(manifest, observed) and not self._written.pending(observed, stamp):
            await self._cluster.apply(manifest, force=True)
            self._written.note(observed, stamp)

    async def _write_again(self, manifest: Manifest, observed: Body) -> None:
        """As it should be; what somebody has added would stay theirs, were it only applied."""
        added = same_stamp(manifest, observed) and has_more(manifest, observed)
        if added and manifest["kind"] != "HTTPRoute":  # whose lists are replaced whole
            await self._cluster.put_back(manifest, observed["metadata"]["resourceVersion"])
        else:
            await self._cluster.apply(manifest, force=True)

    async def _create(self, manifest: Manifest) -> Problem | None:
        """Make what the watches do not show, unless somebody else has something of that name."""
        ref, owner = ObjectRef.of(manifest), owner_of(manifest)
        found = await self._cluster.read(ref)
        if found is None:
            await self._cluster.apply(manifest, force=False)
        elif owner_of(found) != owner or (owner is None and not _is_marked(manifest, found)):
            return Problem(
                Reason.NAME_TAKEN,
                f"there is a {ref.kind} {ref.name} that is not ours, and it is not touched: rename or delete it, or"
                " give the QuantizedModel another name; one that a deleted QuantizedModel left goes by itself",
            )
        elif not _is_marked(manifest, found):
            await self._cluster.apply(manifest, force=True)  # ours, but for labels that somebody took off
        return None


def _owner(model: Body) -> Owner:
    ref = ObjectRef.of(model)
    return Owner(name=ref.name, namespace=ref.namespace, uid=ref.uid)


def owner_of(body: Body) -> str | None:
    """The uid of the QuantizedModel that an object belongs to; None for one that belongs to none."""
    refs = body["metadata"].get("ownerReferences", [])
    return next((str(ref["uid"]) for ref in refs if ref["kind"] == KIND), None)


def _is_marked(manifest: Manifest, found: Body) -> bool:
    marks = found["metadata"].get("labels", {})
    return all(marks.get(label) == manifest["metadata"]["labels"][label] for label in _OURS)


def obsolete(manifests: list[Manifest], children: Children, seen: Snapshot, decided: Plan) -> list[ObjectRef]:
    """Children that nothing refers to any more, Deployments before the Services that lead to them."""
    wanted = decided.wanted
    asked = {(m["kind"], m["metadata"]["name"]) for m in manifests}
    referenced = _referenced_keys(decided.status)
    gone = []
    for job in children.of("Job"):
        view, name = seen.jobs.get(job["metadata"]["annotations"].get(ANNOTATION_KEY, "")), job["metadata"]["name"]
        superseded = ("Job", name) not in asked and (
            view is None or view.state is JobState.ACTIVE or view.key not in referenced
        )
        kept = view and (wanted.keep_jobs or view.key in wanted.kept_jobs)
        superseded = superseded and not kept
        if superseded or job["metadata"]["uid"] in wanted.drop_jobs:
            gone.append(_ref(job, "batch/v1", "Job"))
    for kind, version in (("Deployment", "apps/v1"), ("Service", "v1")):
        for body in children.of(kind):
            kept = (kind, body["metadata"]["name"]) in asked or views.revision_of(body) in wanted.kept
            component = body["metadata"].get("labels", {}).get(LABEL_COMPONENT)
            kept |= component == Component.PROBE and wanted.keep_prober
            if component in (Component.SERVE, Component.PROBE) and not kept:
                gone.append(_ref(body, version, kind))
    return gone


def _ref(body: Body, api_version: str, kind: str) -> ObjectRef:
    meta = body["metadata"]
    return ObjectRef(api_version, kind, meta["namespace"], meta["name"], meta["uid"])


def _referenced_keys(status: QuantizedModelStatus) -> set[str]:
    """Keys of Jobs whose logs somebody may still want to read."""
    base = status.baseline
    parts = [status.prepare_failure, *((base.evaluation, base.benchmark, base.failure) if base else ())]
    for row in status.variants:
        parts += [row.artifact, row.evaluation, row.benchmark, row.failure]
    confirmed = status.drift.confirmation if status.drift else None
    return {part.key for part in parts if part} | {status.prepared_key or "", confirmed or ""}
