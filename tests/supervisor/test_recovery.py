"""Run files against the store: who is right."""

from __future__ import annotations

from typing import Any

import pytest

from gflow.launching.adoption import Verdict
from gflow.model import event
from gflow.model.job import Job, Spec
from gflow.model.state import State
from gflow.supervisor.recovery import judge


def job(state: State, attempt: int) -> Job:
    """A job as the store knows it."""
    spec = Spec(name="j", user="u", uid=1, gid=1, command=("true",), cwd="/")
    return Job(7, spec, 0.0, state=state, attempt=attempt)


def report(verdict: Verdict, attempt: int = 1) -> dict[str, Any]:
    """What the launcher found."""
    return {
        "t": "found",
        "verdict": verdict.value,
        "job_id": 7,
        "attempt": attempt,
        "boot_id": "b",
        "shim": [10, 1],
        "process": [11, 2],
        "started_at": 1.0,
        "started_boot_s": 1.0,
        "end_unknown": verdict is Verdict.FOLLOW,
        "exit_code": 3,
        "signal": None,
        "finished_at": 2.0,
        "message": "said the system",
        "transient": False,
    }


@pytest.mark.parametrize("state", [State.PENDING, State.RUNNING, State.COMPLETING])
@pytest.mark.parametrize(
    ("verdict", "kinds"),
    [
        (Verdict.RUNNING, [event.Adopted]),
        (Verdict.COMPLETING, [event.Adopted, event.Exited]),
        (Verdict.ENDED, [event.Adopted, event.Exited]),
        (Verdict.SWEEP, [event.Adopted, event.Exited]),
        (Verdict.FOLLOW, [event.Adopted]),
        (Verdict.LOST, [event.Adopted, event.Lost]),
        (Verdict.FAILED, [event.Adopted, event.StartFailed]),
        (Verdict.NEVER_STARTED, [event.NeverStarted]),
        (Verdict.FOREIGN, [event.Adopted, event.Lost]),
    ],
)
def test_unsettled_attempt_is_told_to_the_core(
    state: State, verdict: Verdict, kinds: list[type]
) -> None:
    """Whatever the store says of a live job, the run file of its attempt is right."""
    attempt = 0 if state is State.PENDING else 1
    found = judge(report(verdict), job(state, attempt))
    assert [type(one) for one in found.events] == kinds
    assert found.kill is None


@pytest.mark.parametrize("verdict", [Verdict.ENDED, Verdict.LOST, Verdict.FAILED])
def test_settled_attempt_needs_no_event(verdict: Verdict) -> None:
    """The store has the end already: only the run file was left over."""
    found = judge(report(verdict), job(State.COMPLETED, 1))
    assert found == ([], None)


def test_living_tree_of_an_ended_job_is_ended_again() -> None:
    """The store says ended, the lock is held: the core resumes the kill."""
    found = judge(report(Verdict.RUNNING), job(State.CANCELLED, 1))
    assert [type(one) for one in found.events] == [event.Adopted]


def test_remains_of_an_earlier_attempt_are_killed() -> None:
    """A later attempt is the current one: what lives of the earlier one is ended apart."""
    found = judge(report(Verdict.RUNNING), job(State.RUNNING, 2))
    assert found.events == []
    assert found.kill is not None and found.kill.attempt == 1


def test_earlier_attempt_that_is_over_is_left_alone() -> None:
    """Nothing of it lives: nothing is to be done."""
    assert judge(report(Verdict.ENDED), job(State.PENDING, 1)) == ([], None)
