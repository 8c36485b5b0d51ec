"""Pods that find no node: a while is given to autoscalers, then it is said, and a candidate's pods are taken away."""

from datetime import datetime, timedelta

from quantroll.api.base import parse_duration
from quantroll.api.spec import QuantizedModelSpec
from quantroll.api.status import RolloutStatus
from quantroll.constants import Reason
from quantroll.domain.draft import Draft
from quantroll.domain.snapshot import Problem, ServerView

A_MOMENT = timedelta(seconds=10)  # in which the scheduler often finds a place after all


def is_unplaced(problem: Problem | None) -> bool:
    """Whether a pod finds no node."""
    return problem is not None and problem.reason is Reason.UNSCHEDULABLE


def is_momentary(draft: Draft, problem: Problem) -> bool:
    """Whether it is too early to write about a pod that finds no node: one that is just going may hold the room."""
    if not is_unplaced(problem) or problem.since is None or not draft.is_patient(problem):
        return False
    told = problem.since + A_MOMENT
    if draft.now < told:
        draft.wake(told)
    return draft.now < told


def patience(spec: QuantizedModelSpec) -> timedelta:
    """How long an autoscaler is given."""
    return parse_duration(spec.rollout.deadlines.scheduling)


def given_up(draft: Draft, spec: QuantizedModelSpec, rollout: RolloutStatus, server: ServerView) -> str:
    """Why a candidate's pods are taken away for want of a node, in the scheduler's words; empty while they may come.

    Counted from when they began to be waited for: a pod that found no node during an approval has not been missed yet.
    """
    problem = server.problem
    if problem is None or not is_unplaced(problem) or rollout.deadline is None:
        return ""
    missed: datetime = rollout.deadline - parse_duration(spec.rollout.deadlines.model_load)
    late = max(missed, problem.since or missed) + patience(spec)
    if draft.now < late:
        draft.wake(late)
        return ""
    return f"a pod found no node within deadlines.scheduling ({spec.rollout.deadlines.scheduling}): {problem.message}"
