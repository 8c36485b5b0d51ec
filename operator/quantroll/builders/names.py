"""Names of all children: deterministic, so that a repeated attempt finds what an earlier one made.

The API limits a QuantizedModel's name to 40 characters; every name below then fits the 63 of a DNS label.
"""

from quantroll.api.spec import Storage
from quantroll.domain.locate import revision_name

_KEY_DIGITS = 10  # 40 bits: keys of one QuantizedModel do not meet by chance


def prepare_job(owner: str, key: str) -> str:
    """Job that checks and digests what the user gave."""
    return _job(owner, "prepare", key)


def quantize_job(owner: str, key: str) -> str:
    """Job that makes the artifact of this key."""
    return _job(owner, "quantize", key)


def evaluate_job(owner: str, key: str) -> str:
    """Job that measures one revision on one eval set."""
    return _job(owner, "evaluate", key)


def confirm_job(owner: str, key: str) -> str:
    """Job that compares what serves with what would be gone back to."""
    return _job(owner, "confirm", key)


def benchmark_job(owner: str, key: str) -> str:
    """Job that measures the speed of one revision."""
    return _job(owner, "benchmark", key)


def prober(owner: str) -> str:
    """Deployment that asks the revisions that serve."""
    return f"{owner}-prober"


def revision(owner: str, revision: str) -> str:
    """Deployment and Service of one revision."""
    return revision_name(owner, revision)


def stable_service(owner: str) -> str:
    """Service of the stable revision: what clients inside the cluster may use."""
    return owner


def route(owner: str) -> str:
    """HTTPRoute that splits the traffic."""
    return owner


def artifacts_claim(owner: str, storage: Storage) -> str:
    """Claim that artifacts and results are written to: the user's own where one is named."""
    return storage.claim_name or f"{owner}-artifacts"


def _job(owner: str, stage: str, key: str) -> str:
    return f"{owner}-{stage}-{key[:_KEY_DIGITS]}"
