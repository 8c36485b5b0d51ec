"""What the tab key offers: names from the cluster. Whatever goes wrong offers nothing, and says nothing."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import typer

from quantroll.errors import QuantrollError
from quantroll.report.subject import clean, read

if TYPE_CHECKING:
    from quantroll.adapters.onlooker import Onlooker


def names(ctx: typer.Context, incomplete: str) -> list[str]:
    """QuantizedModels of the namespace."""
    return _offered(lambda: _onlooker(ctx).models(), incomplete)


def revisions(ctx: typer.Context, incomplete: str) -> list[str]:
    """What there is to go back to."""

    def known() -> list[str]:
        status = _status(ctx)
        base = ["baseline"] if status.baseline else []
        return [*base, *(word for past in status.last_good for word in (past.variant, past.revision))]

    return _offered(known, incomplete)


def rejected(ctx: typer.Context, incomplete: str) -> list[str]:
    """Variants that were taken back."""
    return _offered(lambda: [entry.variant for entry in _status(ctx).rejected], incomplete)


def _status(ctx: typer.Context) -> Any:
    return read(_onlooker(ctx).model(ctx.params.get("name") or "")).status


def _onlooker(ctx: typer.Context) -> "Onlooker":
    from quantroll.adapters.onlooker import Onlooker  # noqa: PLC0415 - takes a second to load; a file needs none

    return Onlooker(**{flag: ctx.params.get(flag) for flag in ("namespace", "context", "kubeconfig")})


def _offered(known: Callable[[], list[str]], incomplete: str) -> list[str]:
    try:
        found = known()
    except QuantrollError:
        return []
    return sorted({clean(name) for name in found if name.startswith(incomplete)})
