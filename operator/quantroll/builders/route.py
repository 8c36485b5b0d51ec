"""The HTTPRoute that splits the traffic between revisions."""

from collections.abc import Sequence

from quantroll.api.spec import ParentRef, Routing
from quantroll.api.status import Share
from quantroll.builders import names, service
from quantroll.builders.meta import Manifest, Owner, labels, object_meta
from quantroll.constants import Component


def route(owner: Owner, routing: Routing, shares: Sequence[Share]) -> Manifest:
    """Route with these shares, in per cent. Raises ValueError unless they are positive or zero and sum to 100.

    A share of 0 is written out, for the gateway to know the backend before it gets requests, and after. So are fields
    that the API server would fill in: the route as read equals the route as written.
    """
    if sum(share.weight for share in shares) != 100 or any(share.weight < 0 for share in shares):
        raise ValueError(f"shares must be 0 or more and sum to 100: {[share.weight for share in shares]}")
    spec: Manifest = {
        "parentRefs": [_parent(parent) for parent in routing.parent_refs or ()],
        "rules": [
            {
                "matches": [{"path": {"type": "PathPrefix", "value": routing.path_prefix}}],
                "backendRefs": [_backend(owner, share) for share in shares],
                # No limit. Left out, the gateway's default holds, and Envoy's cuts long answers after 15 s.
                "timeouts": {"request": "0s"},
            }
        ],
    }
    spec["hostnames"] = list(routing.hostnames or ())  # none is written, too: what is left out stays as somebody set it
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": object_meta(owner, names.route(owner.name), labels(owner, Component.ROUTE)),
        "spec": spec,
    }


def _parent(parent: ParentRef) -> Manifest:
    return {"group": "gateway.networking.k8s.io", "kind": "Gateway"} | parent.to_wire()


def _backend(owner: Owner, share: Share) -> Manifest:
    return {
        "group": "",
        "kind": "Service",
        "name": names.revision(owner.name, share.revision),
        "port": service.PORT,
        "weight": share.weight,
    }
