"""Quotas and group limits."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gflow.errors import Refused
from gflow.model.event import Hold, Ready, SetGroup, SetQuota
from gflow.model.resources import Resources
from gflow.model.state import Instant, State
from gflow.scheduling import explanation
from gflow.scheduling.account import Account
from tests.scheduling.stage import Stage, capacity, spec, starts, tasks


def _quota(stage: Stage, scope: str, name: str, **limits: float | None) -> list[int]:
    return starts(stage.handle(SetQuota(scope, name, 0, dict(limits))))


@pytest.mark.parametrize(
    ("field", "asked"),
    [
        ("running_jobs", {}),
        ("running_cpus", {}),
        ("running_gpus", {"gpus": 1}),
    ],
)
def test_what_runs_is_limited_and_others_are_not_held_up(field: str, asked: dict[str, Any]) -> None:
    """The user's third job waits with Quota, another user's starts."""
    stage = Stage(capacity(cpus=8, gpus=8))
    _quota(stage, "user", "ann", **{field: 2})
    jobs = [stage.submit(spec(**asked)) for _ in range(3)]
    assert [stage.state(job) for job in jobs] == [State.RUNNING, State.RUNNING, State.PENDING]
    assert stage.reasons(jobs[2]) == ["Quota"]
    stage.run(user="bob", **asked)
    assert starts(stage.end(jobs[0])) == [jobs[2]]


def test_a_quota_blocked_job_reserves_nothing() -> None:
    """Lower jobs of others may take what it would need."""
    stage = Stage()
    _quota(stage, "user", "ann", running_jobs=0)
    stage.submit(spec(cpus=4, priority=99))
    stage.run(user="bob", cpus=4)


def test_raising_a_quota_starts_jobs_at_once() -> None:
    """Changed at run time."""
    stage = Stage()
    _quota(stage, "user", "ann", running_jobs=1)
    stage.run()
    waiting = stage.submit(spec())
    assert _quota(stage, "user", "ann", running_jobs=2) == [waiting]


def test_a_named_entry_overrides_the_default_field_by_field() -> None:
    """What it does not say falls back."""
    stage = Stage(capacity(cpus=8))
    _quota(stage, "default_user", "", running_jobs=1, running_cpus=2)
    _quota(stage, "user", "ann", running_jobs=3)
    stage.run(cpus=1)
    stage.run(cpus=1)
    third = stage.submit(spec())
    assert stage.reasons(third) == ["Quota"]
    stage.run(user="bob")
    assert stage.reasons(stage.submit(spec(user="bob"))) == ["Quota"]


def test_the_configuration_gives_defaults() -> None:
    """Entries set at run time come before it."""
    stage = Stage(quotas=(("default_user", "", (("running_jobs", 1.0),)),))
    stage.run()
    waiting = stage.submit(spec())
    assert stage.reasons(waiting) == ["Quota"]
    assert _quota(stage, "default_user", "", running_jobs=5) == [waiting]


def test_pending_jobs_are_limited_at_submission() -> None:
    """With the numbers; an array counts all its tasks."""
    stage = Stage()
    _quota(stage, "user", "ann", pending_jobs=4)
    stage.submit(spec(), spec(), hold="user")
    with pytest.raises(Refused, match="allows 4 pending jobs, there are 2 and this would be 3"):
        stage.submit(spec(array=tasks(3)), hold="user")
    stage.submit(spec(), spec(), hold="user")


def test_started_jobs_are_not_pending() -> None:
    """The count follows them."""
    stage = Stage()
    _quota(stage, "user", "ann", pending_jobs=1)
    for _ in range(3):
        stage.run()


def test_gpu_hours_of_a_week() -> None:
    """Spent ones keep gpu jobs waiting until Monday; others run."""
    stage = Stage(capacity(gpus=2))
    _quota(stage, "user", "ann", gpu_hours_per_week=1)
    job = stage.run(gpus=2)
    stage.pass_s(1801)
    stage.end(job)
    waiting = stage.submit(spec(gpus=1))
    assert stage.reasons(waiting) == ["Quota"]
    stage.run()
    assert starts(stage.pass_s(8 * 86400)) == [waiting]


def test_a_limit_is_named_only_where_it_is_reached() -> None:
    """With what is used of it, however little that is; a week's hours come back on Monday."""
    stage = Stage(capacity(gpus=2))
    _quota(stage, "user", "ann", running_jobs=2, gpu_hours_per_week=0.001)
    job = stage.run(gpus=2)
    stage.pass_s(9)
    stage.end(job)
    waiting = stage.submit(spec(gpus=1))
    (blocker,) = stage.scheduler.explain(waiting, stage.now).blockers
    assert blocker.message == "user ann is at its limit: 0.005 of 0.001 gpu-hours this week"
    assert blocker.until_at is not None
    assert starts(stage.pass_s(blocker.until_at - stage.now.wall_s)) == [waiting]


@given(
    st.tuples(*[st.integers(0, 3)] * 4),
    st.tuples(*[st.none() | st.integers(0, 4)] * 4),
    st.integers(1, 3),
    st.integers(0, 3),
)
def test_what_is_refused_is_named(
    used: tuple[int, ...], limits: tuple[int | None, ...], cpus: int, gpus: int
) -> None:
    """The decision and its explanation agree about every limit."""
    account = Account(("user", "ann"))
    account.running, account.cpus, account.gpus, account.week_gpu_s = used
    account.max_running, account.max_cpus, account.max_gpus, account.max_gpu_s_per_week = limits
    request = Resources(cpus=cpus, gpus=gpus)
    parts, _ = explanation._reached(account, request, Instant(0.0, 0.0))
    assert bool(parts) == account.refuses(request)


def test_a_projects_quota_counts_all_its_users() -> None:
    """Whoever they are."""
    stage = Stage()
    _quota(stage, "project", "p", running_jobs=1)
    stage.run(user="ann", project="p")
    assert stage.reasons(stage.submit(spec(user="bob", project="p"))) == ["Quota"]


def test_groups_limit_themselves() -> None:
    """Named by their user, limited by the spec or later."""
    stage = Stage()
    stage.run(group="g", group_limit=1)
    second = stage.submit(spec(group="g"))
    assert stage.reasons(second) == ["GroupLimit"]
    stage.run(user="bob", group="g")
    assert starts(stage.handle(SetGroup("ann", "g", 0, 2))) == [second]


@pytest.mark.parametrize(
    ("event", "message"),
    [
        (SetQuota("user", "", 0, {"running_jobs": 1}), "needs its name"),
        (SetQuota("default_user", "ann", 0, {"running_jobs": 1}), "needs its name"),
        (SetQuota("team", "x", 0, {"running_jobs": 1}), "'team' is not one of"),
        (SetQuota("user", "ann", 0, {"jobs": 1}), "'jobs' is not one of"),
        (SetQuota("user", "ann", 0, {"running_jobs": -1}), "cannot be negative"),
        (SetQuota("user", "ann", 0), "name at least one"),
        (SetGroup("ann", "g", 0, 0), "at least 1"),
    ],
)
def test_nonsense_is_refused(event: SetQuota | SetGroup, message: str) -> None:
    """And changes nothing."""
    stage = Stage()
    with pytest.raises(Refused, match=message):
        stage.handle(event)
    assert stage.scheduler.take_changes() == []


def test_quotas_and_groups_survive_a_restart() -> None:
    """They are records."""
    stage = Stage()
    _quota(stage, "user", "ann", running_jobs=1)
    stage.run(group="g", group_limit=1)
    stage.submit(spec(group="g"))
    stage.handle(Hold(2, 0))
    twin = stage.reloaded()
    twin.handle(Ready())
    assert twin.reasons(2) == ["JobHeldUser", "Quota", "GroupLimit"]
    _quota(stage, "user", "ann", running_jobs=None)
    assert ("quota", "user", "ann") not in stage.saved
