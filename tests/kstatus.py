"""What tools that wait for a resource read in its status, by the published rules of kstatus.

From kubernetes-sigs/cli-utils, pkg/kstatus/status: `Compute` with its generic properties, and the Ready condition as
the last thing looked at (`checkReadyCondition`). Flux and cli-utils' own appliers go by them.
"""


def kstatus(body):
    """Terminating, InProgress, Failed or Current."""
    meta, status = body["metadata"], body.get("status") or {}
    if meta.get("deletionTimestamp"):
        return "Terminating"
    if "observedGeneration" in status and status["observedGeneration"] != meta["generation"]:
        return "InProgress"
    conditions = [(c["type"], c["status"]) for c in status.get("conditions", [])]
    for condition in conditions:  # the first of the two that is true, in the order of the list
        if condition == ("Reconciling", "True"):
            return "InProgress"
        if condition == ("Stalled", "True"):
            return "Failed"
    ready = next((value for kind, value in conditions if kind == "Ready"), None)
    return "Current" if ready in (None, "True") else "InProgress"


def waited_for(body, kind):
    """Whether `kubectl wait --for=condition=KIND` ends here: it takes no answer about an earlier generation."""
    for condition in (body.get("status") or {}).get("conditions", []):
        if condition["type"] == kind:
            newest = condition.get("observedGeneration", body["metadata"]["generation"])
            return condition["status"] == "True" and newest >= body["metadata"]["generation"]
    return False
