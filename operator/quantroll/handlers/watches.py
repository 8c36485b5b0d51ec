"""kopf's watch of the models: an index of them, and events that put their key on the queue."""

from typing import Any

import kopf

from quantroll.constants import GROUP, PLURAL, VERSION
from quantroll.controller.packed import Packed, slim
from quantroll.controller.queue import WorkQueue
from quantroll.controller.urgency import goes_back

MODELS = "models"


def register(registry: kopf.OperatorRegistry) -> None:
    """Add the index and the event handler of the model."""
    kopf.index(GROUP, VERSION, PLURAL, id=MODELS, registry=registry)(by_itself)
    kopf.on.event(GROUP, VERSION, PLURAL, id="model", registry=registry)(model_seen)


def by_itself(namespace: str | None, name: str | None, body: kopf.Body, memo: kopf.Memo, **_: Any) -> dict[Any, Packed]:
    """Models under their own key; and whether one comes before others, which is read here, for then it is emptied.

    kopf keeps every body until all are listed, and nobody reads it there.
    """
    found: Packed = memo.packer.pack(PLURAL, "", slim(body))
    memo.queue.prefer((namespace or "", name or ""), preferred=goes_back(body.meta.annotations, body.status))
    for part in ("spec", "status"):
        if part in body:
            body[part].clear()
    body["metadata"].pop("managedFields", None)
    return {(namespace, name): found}


async def model_seen(*, type: str | None, namespace: str | None, name: str, memo: kopf.Memo, **given: Any) -> None:  # noqa: A002 - kopf's name
    """A model came, changed or went; of one that was made again, the end of the former may be told later."""
    queue: WorkQueue = memo.queue
    key = (namespace or "", name)
    if type == "DELETED" and (namespace, name) not in given[MODELS]:
        queue.forget(key)
    else:
        queue.add(key)
