"""A status that was lost, in a restored backup say, is begun anew from the children: what serves stays stable.

Everything else comes back by itself, since finished Jobs report again.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from pydantic import TypeAdapter, ValidationError

from quantroll.api.status import QuantizedModelStatus, RejectedRevision, RevisionSpec, RevisionStatus, RolloutStatus
from quantroll.builders import names
from quantroll.constants import ANNOTATION_REJECTED, ANNOTATION_REVISION_SPEC, LABEL_REVISION, LABEL_VARIANT
from quantroll.controller import views
from quantroll.controller.children import Children
from quantroll.domain.memory import REJECTED

Body = Mapping[str, Any]


def recovered(owner: str, children: Children, now: datetime) -> QuantizedModelStatus | None:
    """A status with the stable that the stable Service names; an empty one where nothing serves.

    Without that Service it is the revision with the largest share of the route, or the only one there is. Another
    revision that the route or the Service leads to becomes a candidate, which the next pass takes back: it loses its
    weight and is drained before it goes, as always. None where it cannot be told what serves: nothing may be touched
    then.
    """
    serving = [body for body in children.of("Deployment") if views.revision_of(body)]
    if not serving:
        return QuantizedModelStatus()
    revisions = {found.revision: found for body in serving if (found := _revision(body))}
    route = children.get("HTTPRoute", names.route(owner))
    shares = {s.revision: s.weight for s in views.route_view(route, owner).shares} if route else {}
    stable = _stable(owner, children, revisions, shares)
    if stable is None:
        return None
    stable = stable.model_copy(update={"served_at": now})  # it may have served: it is not to be replaced lightly
    weights = {**_by_service(owner, children, revisions), **shares}
    other = next((found for name, found in revisions.items() if name != stable.revision and weights.get(name)), None)
    rejected = _rejected(children.get("Service", names.stable_service(owner)))
    if other is None:
        return QuantizedModelStatus(stable=stable, rejected=rejected)
    rollout = RolloutStatus(id=f"recovered-{other.revision}", step=0, weight=weights[other.revision], started_at=now)
    return QuantizedModelStatus(stable=stable, candidate=other, rollout=rollout, rejected=rejected)


def _rejected(service: Body | None) -> list[RejectedRevision]:
    """What was taken back: it is not tried again only because the status is gone. What cannot be read is forgotten."""
    text = service["metadata"].get("annotations", {}).get(ANNOTATION_REJECTED, "[]") if service else "[]"
    try:
        return TypeAdapter(list[RejectedRevision]).validate_json(text, extra="ignore")[:REJECTED]
    except ValidationError:
        return []


def _stable(
    owner: str, children: Children, revisions: Mapping[str, RevisionStatus], shares: Mapping[str, int]
) -> RevisionStatus | None:
    service = children.get("Service", names.stable_service(owner))
    named = views.revision_of(service) or views.selected_revision(service) if service else ""
    if named in revisions:
        return revisions[named]
    routed = [name for name in sorted(shares, key=lambda name: -shares[name]) if name in revisions]
    only = list(revisions) if len(revisions) == 1 else []
    return next((revisions[name] for name in (*routed, *only)), None)


def _by_service(owner: str, children: Children, revisions: Mapping[str, RevisionStatus]) -> dict[str, int]:
    """Weights of the revisions that the stable Service leads to: of one, or in equal parts of all."""
    service = children.get("Service", names.stable_service(owner))
    if service is None:
        return {}
    selected = views.selected_revision(service)
    led_to = [selected] if selected else list(revisions)
    return dict.fromkeys(led_to, 100 // max(1, len(led_to)))


def _revision(deployment: Body) -> RevisionStatus | None:
    meta = deployment["metadata"]
    labels, text = meta.get("labels", {}), meta.get("annotations", {}).get(ANNOTATION_REVISION_SPEC)
    if text is None or LABEL_REVISION not in labels or LABEL_VARIANT not in labels:
        return None
    try:
        spec = RevisionSpec.model_validate_json(text, extra="ignore")
    except ValidationError:
        return None
    return RevisionStatus(revision=labels[LABEL_REVISION], variant=labels[LABEL_VARIANT], spec=spec)
