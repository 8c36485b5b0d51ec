"""`quantroll approve`, `promote`, `abort`, `retry`, `rollback`, `suspend`, `resume`: written, and waited for."""

import json
import secrets
import time
from collections.abc import Callable
from datetime import timedelta
from enum import IntEnum
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from quantroll.api.status import CommandStatus
from quantroll.cli.access import Context, Kubeconfig, Name, Namespace, Place, Revision, duration, place
from quantroll.cli.completing import rejected
from quantroll.cli.exits import fail_with
from quantroll.cli.status import Form, Output
from quantroll.errors import QuantrollError, Unreachable
from quantroll.standing import orders
from quantroll.standing.orders import NothingToOrder, Order
from quantroll.standing.view import View
from quantroll.standing.why import why

PAUSE = 0.5  # seconds between two looks for the answer


class Exit(IntEnum):
    """How a command ends."""

    ACCEPTED = 0
    REFUSED = 1
    NO_ANSWER = 2


Wait = Annotated[bool, typer.Option("--wait/--no-wait", help="Wait for the operator's answer.")]
Timeout = Annotated[str, typer.Option(metavar="DURATION", help="How long to wait for the answer.")]
ANSWER_IN = "30s"


def approve(
    name: Name,
    *,
    wait: Wait = True,
    timeout: Timeout = ANSWER_IN,
    output: Form = Output.TEXT,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Let the rollout leave its present step, which waits for approval or will.

    Exit status: 0 accepted; 1 refused, or nothing to approve; 2 no answer in time; 64 and above as for status.
    """
    _give(orders.approve, name, (namespace, context, kubeconfig), wait, timeout, output)


def promote(
    name: Name,
    *,
    step: Annotated[bool, typer.Option("--step", help="Of the step under way alone.")] = False,
    wait: Wait = True,
    timeout: Timeout = ANSWER_IN,
    output: Form = Output.TEXT,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Leave out the waits of all steps that are left; pods are waited for all the same.

    Exit status: 0 accepted; 1 refused, or no rollout; 2 no answer in time; 64 and above as for status.
    """

    def made(view: View) -> Order:
        return orders.promote(view, one_step=step)

    _give(made, name, (namespace, context, kubeconfig), wait, timeout, output)


def abort(
    name: Name,
    *,
    wait: Wait = True,
    timeout: Timeout = ANSWER_IN,
    output: Form = Output.TEXT,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Take the candidate back; what serves gets all the traffic again.

    Exit status: 0 accepted; 1 refused, or no rollout; 2 no answer in time; 64 and above as for status.
    """
    _give(orders.abort, name, (namespace, context, kubeconfig), wait, timeout, output)


def retry(  # noqa: PLR0913 - one for each option
    name: Name,
    variant: Annotated[
        str | None,
        typer.Argument(help="A variant or revision of status.rejected. Default: the one that is in the way.",
                       autocompletion=rejected),
    ] = None,
    *,
    jobs: Annotated[bool, typer.Option("--jobs", help="Have failed Jobs tried again, whatever is rejected.")] = False,
    wait: Wait = True,
    timeout: Timeout = ANSWER_IN,
    output: Form = Output.TEXT,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:  # fmt: skip
    """Have what was taken back tried again; where nothing was, have failed Jobs tried again.

    Exit status: 0 accepted; 1 refused, or nothing to retry; 2 no answer in time; 64 and above as for status.
    """

    def made(view: View) -> Order:
        return orders.retry(view, variant, jobs=jobs)

    _give(made, name, (namespace, context, kubeconfig), wait, timeout, output)


def rollback(
    name: Name,
    *,
    to: Revision = None,
    wait: Wait = True,
    timeout: Timeout = ANSWER_IN,
    output: Form = Output.TEXT,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Leave what serves for an earlier revision. Default: the one that spec.rollout.rollback.target means.

    Exit status: 0 accepted; 1 refused, or no such revision; 2 no answer in time; 64 and above as for status.
    """

    def made(view: View) -> Order:
        return orders.rollback(view, to)

    _give(made, name, (namespace, context, kubeconfig), wait, timeout, output)


def suspend(
    name: Name,
    *,
    wait: Wait = True,
    timeout: Timeout = ANSWER_IN,
    output: Form = Output.TEXT,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Hold everything where it is (spec.suspend: true); what serves keeps serving.

    Exit status: 0 held; 2 not seen to be in time; 64 and above as for status.
    """
    _hold("suspend", name, (namespace, context, kubeconfig), wait, timeout, output)


def resume(
    name: Name,
    *,
    wait: Wait = True,
    timeout: Timeout = ANSWER_IN,
    output: Form = Output.TEXT,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Go on (spec.suspend: false).

    Exit status: 0 going on; 2 not seen to be in time; 64 and above as for status.
    """
    _hold("resume", name, (namespace, context, kubeconfig), wait, timeout, output)


Where = tuple[str | None, str | None, Path | None]


def _give(make: Callable[[View], Order], name: str, where: Where, wait: bool, limit: str, output: Output) -> NoReturn:
    """Write the annotation, and tell what the operator answers."""
    timeout = duration(limit)
    try:
        target = place(name, *where)
        order = make(target.look(pods=False))
        value = order.value(secrets.token_hex(4))
        target.cluster.change(name, {"metadata": {"annotations": {order.annotation: value}}})
        told = {"verb": order.verb, "value": value}
        if not wait:
            _end(Exit.ACCEPTED, {**told, "answer": None}, "written; the operator's answer is not waited for", output)
        seen, view = _until(target, timeout, lambda view: _answer(view, order.verb, value))
    except NothingToOrder as error:
        _end(Exit.REFUSED, {"verb": error.verb, "answer": "not sent"}, str(error), output)
    except QuantrollError as error:
        fail_with(error)
    if seen is None:
        _end(Exit.NO_ANSWER, {**told, "answer": None}, _no_answer(view, timeout), output)
    answer = "accepted" if seen.accepted else "refused"
    _end(Exit.ACCEPTED if seen.accepted else Exit.REFUSED, {**told, "answer": answer}, seen.message, output)


def _hold(verb: str, name: str, where: Where, wait: bool, limit: str, output: Output) -> NoReturn:
    """Set spec.suspend, and tell when it is so."""
    timeout = duration(limit)
    held = verb == "suspend"
    told = {"verb": verb, "value": held}
    try:
        target = place(name, *where)
        generation = target.cluster.change(name, {"spec": {"suspend": held}})["metadata"]["generation"]
        if not wait:
            _end(Exit.ACCEPTED, {**told, "answer": None}, "written; it is not waited for", output)
        seen, view = _until(target, timeout, lambda view: _is_so(view, held, generation))
    except QuantrollError as error:
        fail_with(error)
    if not seen:
        _end(Exit.NO_ANSWER, {**told, "answer": None}, _no_answer(view, timeout), output)
    message = "everything is held where it is" if held else f"it goes on: {view.status.message}"
    _end(Exit.ACCEPTED, {**told, "answer": "accepted"}, message, output)


def _until(target: Place, timeout: timedelta, found: Callable[[View], Any]) -> tuple[Any, View]:
    """Look until that is found or the time is over; the last look. A server that does not answer is asked again."""
    end = time.monotonic() + timeout.total_seconds()
    view: View | None = None
    while True:
        try:
            view = target.look(pods=False)
        except Unreachable:
            if view is None and time.monotonic() >= end:
                raise
        seen = found(view) if view else None
        if view and (seen or time.monotonic() >= end):
            return seen, view
        time.sleep(PAUSE)


def _answer(view: View, verb: str, value: str) -> CommandStatus | None:
    return next((one for one in view.status.commands if (one.verb, one.value) == (verb, value)), None)


def _is_so(view: View, held: bool, generation: int) -> bool:
    return bool(view.status.suspended_at) == held and (view.status.observed_generation or 0) >= generation


def _no_answer(view: View, timeout: timedelta) -> str:
    """What is known of why the operator has not answered."""
    waits = [wait.what for wait in why(view)]
    known = f"; waited for: {waits[0]}" if waits else ""
    return f"written, and no answer after {timeout.total_seconds():g} s{known}"


def _end(status: Exit, told: dict[str, Any], message: str, output: Output) -> NoReturn:
    """Say it on stdout where it went well, else on stderr; as JSON always on stdout."""
    if output is Output.JSON:
        typer.echo(json.dumps({**told, "message": message}))
    else:
        said = {Exit.ACCEPTED: "", Exit.REFUSED: "refused: ", Exit.NO_ANSWER: "no answer: "}[status]
        sent = "not sent: " if told.get("answer") == "not sent" else said
        typer.echo(f"{sent}{message}", err=status is not Exit.ACCEPTED)
    raise typer.Exit(int(status))
