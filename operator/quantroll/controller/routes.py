"""Whether a route still is as it was written."""

from collections.abc import Mapping
from typing import Any

from quantroll.api.spec import Routing
from quantroll.api.status import Share
from quantroll.builders import names, route
from quantroll.builders.meta import Owner
from quantroll.constants import ANNOTATION_DESIRED
from quantroll.controller.difference import differs, same_stamp, stamped
from quantroll.controller.views import NAME_LIMIT


def is_edited(owner: Owner, routing: Routing, observed: Mapping[str, Any]) -> bool:
    """Whether somebody else has changed it, in whatever but its weights, which tell of themselves.

    It is written anew with the weights that it has. If that gives the stamp that it bears, it was written so, and has
    to be so yet; without a stamp it is nothing of ours. Another stamp tells nothing: the spec may ask for another
    route by now.
    """
    if ANNOTATION_DESIRED not in observed["metadata"].get("annotations", {}):
        return True
    refs = [ref for rule in observed["spec"].get("rules", []) for ref in rule.get("backendRefs", [])]
    prefix = names.revision(owner.name, "")
    shares = [
        Share(revision=str(ref["name"]).removeprefix(prefix)[:NAME_LIMIT], weight=ref.get("weight", 1)) for ref in refs
    ]
    if sum(share.weight for share in shares) != 100:
        return False
    written = stamped(route.route(owner, routing, shares))
    return same_stamp(written, observed) and differs(written, observed)
