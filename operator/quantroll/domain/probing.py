"""Whom the prober asks, and what."""

from quantroll.api.jobs import Arm, ProbeInput
from quantroll.api.spec import QuantizedModelSpec
from quantroll.domain.asking import probing
from quantroll.domain.draft import Draft
from quantroll.domain.locate import probe_source, revision_endpoint
from quantroll.domain.traffic import is_taken_back
from quantroll.domain.wanted import WantedProber


def probe(draft: Draft, spec: QuantizedModelSpec) -> None:
    """One prober from when something serves: of the stable revision, and of a candidate while it has traffic."""
    stable, candidate, rollout = draft.status.stable, draft.status.candidate, draft.status.rollout
    if stable is None or stable.served_at is None or draft.status.prepared is None:
        return
    asked, pace = [stable], spec.probe.items_per_hour
    if candidate and rollout and rollout.weight and not is_taken_back(rollout):
        asked.append(candidate)
        pace = pace if rollout.kind == "Rollback" else spec.probe.rollout_pace
    name = draft.seen.name
    draft.wanted.prober = WantedProber(
        ProbeInput(
            namespace=draft.seen.namespace,
            name=name,
            source=probe_source(spec, draft.status.prepared),
            items_per_hour=pace,
            targets=[Arm(revision=r.revision, endpoint=revision_endpoint(name, r.revision)) for r in asked],
            **probing(spec),
        )
    )
