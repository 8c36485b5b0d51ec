"""A status that was lost, in a restored backup say, is begun anew from the children: what serves stays stable.

Everything else comes back by itself, since finished Jobs report again.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from quantroll.api.status import QuantizedModelStatus, RevisionSpec, RevisionStatus, RolloutStatus
from quantroll.builders import names
from quantroll.constants import ANNOTATION_REVISION_SPEC, LABEL_REVISION, LABEL_VARIANT, Reason
from quantroll.controller import views
from quantroll.controller.children import Children

Body = Mapping[str, Any]


def recovered(owner: str, children: Children, now: datetime) -> QuantizedModelStatus:
    """A status with the stable that the stable Service selects; empty where nothing serves.

    Another revision that the route still names becomes a candidate that is being taken back: it loses its weight and is
    drained before it goes, as always.
    """
    revisions = {found.revision: found for body in children.of("Deployment") if (found := _revision(body))}
    service = children.get("Service", names.stable_service(owner))
    selected = service["spec"].get("selector", {}).get(LABEL_REVISION, "") if service else ""
    stable = revisions.get(selected)
    if stable is None:
        return QuantizedModelStatus()
    route = children.get("HTTPRoute", names.route(owner))
    shares = views.route_view(route, owner).shares if route else ()
    routed = (revisions[share.revision] for share in shares if share.revision in revisions)
    other = next((found for found in routed if found.revision != selected), None)
    if other is None:
        return QuantizedModelStatus(stable=stable)
    rollout = RolloutStatus(
        id=f"recovered-{other.revision}",
        step=0,
        weight=0,
        started_at=now,
        reason=Reason.SUPERSEDED,
        message="its status was lost",
    )
    return QuantizedModelStatus(stable=stable, candidate=other, rollout=rollout)


def _revision(deployment: Body) -> RevisionStatus | None:
    meta = deployment["metadata"]
    labels, text = meta.get("labels", {}), meta.get("annotations", {}).get(ANNOTATION_REVISION_SPEC)
    if text is None or LABEL_REVISION not in labels or LABEL_VARIANT not in labels:
        return None
    try:
        spec = RevisionSpec.model_validate_json(text)
    except ValidationError:
        return None
    return RevisionStatus(revision=labels[LABEL_REVISION], variant=labels[LABEL_VARIANT], spec=spec)
