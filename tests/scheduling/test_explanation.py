"""Explanations name every blocker, and what they say is true."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gflow.errors import Refused
from gflow.model.event import CapacityChanged, Hold, Wake
from gflow.model.job import Array, Job
from gflow.model.state import Instant, Reason, State
from gflow.scheduling.dependency import satisfied
from tests.scheduling.history import History
from tests.scheduling.stage import GB, Stage, after, capacity, spec, tasks


def test_every_blocker_is_named_at_once() -> None:
    """Held, too early, waiting for another, and too big for what is free."""
    stage = Stage(capacity(cpus=4, gpus=2))
    parent = stage.run(cpus=3, gpus=1)
    begin_at = stage.now.wall_s + 60
    job = stage.submit(
        spec(cpus=4, gpus=2, begin_at=begin_at, dependencies=after("afterok", parent)),
        hold="user",
    )
    found = stage.scheduler.explain(job, stage.now)
    assert [one.reason for one in found.blockers] == [
        Reason.HELD_USER,
        Reason.BEGIN_TIME,
        Reason.DEPENDENCY,
        Reason.RESOURCES,
        Reason.RESOURCES,
    ]
    assert found.blockers[1].until_at == begin_at
    assert found.blockers[0].remedy == f"gflowctl release {job}"
    assert found.position is None


def test_what_has_just_come_true_is_still_told() -> None:
    """Between the end of a delay and the turn that takes note of it, a job waits for that turn."""
    stage = Stage(capacity(cpus=4))
    parent = stage.run()
    stage.started(parent)
    job = stage.submit(spec(dependencies=after("after", parent, delay_s=60.0)))
    later = Instant(stage.now.boot_s + 61, stage.now.wall_s + 61)
    found = stage.scheduler.explain(job, later)
    assert [one.reason for one in found.blockers] == [Reason.DEPENDENCY]


def test_resources_name_their_holders_and_when_they_end() -> None:
    """Who holds it, until when, and what would fit now."""
    stage = Stage(capacity(cpus=4))
    holder = stage.run(cpus=3, time_limit_s=600)
    job = stage.submit(spec(cpus=2))
    [blocker] = stage.scheduler.explain(job, stage.now).blockers
    assert blocker.message == f"2 cpus wanted, 1 free (job {holder} holds 3 for at most 10:00)"
    assert blocker.until_at == stage.now.wall_s + 600


def test_memory_is_told_in_readable_units() -> None:
    """Not in bytes."""
    stage = Stage()
    stage.run(memory_bytes=60 * GB)
    job = stage.submit(spec(memory_bytes=5 * GB // 2 + (2 * GB)))
    [blocker] = stage.scheduler.explain(job, stage.now).blockers
    assert blocker.message == "4.5G of memory wanted, 4G free (job 1 holds 60G)"


def test_the_first_in_line_has_an_expected_start() -> None:
    """From the limits of what runs."""
    stage = Stage()
    stage.run(cpus=4, time_limit_s=600)
    job = stage.submit(spec(cpus=4))
    found = stage.scheduler.explain(job, stage.now)
    assert found.position == 1
    assert found.expected_start is not None
    assert found.expected_start[1] == stage.now.wall_s + 600


def test_positions_count_in_scheduling_order() -> None:
    """Across requests and users."""
    stage = Stage()
    stage.run(cpus=4)
    jobs = [stage.submit(spec(cpus=1 + n % 3, user="ab"[n % 2], priority=10 + n)) for n in range(6)]
    positions = [stage.scheduler.explain(job, stage.now).position for job in jobs]
    assert positions == [6, 5, 4, 3, 2, 1]
    assert [item.id for item in stage.scheduler.queued(4)] == jobs[:1:-1]


@pytest.mark.parametrize("cpus", [1, 4])
def test_the_main_reason_is_cheap_and_agrees(cpus: int) -> None:
    """Resources for the first in line, Priority behind it, its own where it has one."""
    stage = Stage()
    stage.run(cpus=4)
    first, second = stage.submit(spec(cpus=cpus)), stage.submit(spec(cpus=cpus))
    scheduler = stage.scheduler
    reasons = [scheduler.reason(stage.job(one)) for one in (first, second)]
    assert reasons == [Reason.RESOURCES, Reason.PRIORITY]
    stage.handle(Hold(second, 1000))
    assert scheduler.reason(stage.job(second)) is Reason.HELD_USER


def test_a_running_job_has_no_blockers() -> None:
    """There is nothing to explain."""
    stage = Stage()
    job = stage.run()
    found = stage.scheduler.explain(job, stage.now)
    assert found.blockers == () and found.position is None


def test_a_waiting_task_is_explained_as_its_array() -> None:
    """Under its own id."""
    stage = Stage(capacity(cpus=1))
    array = stage.submit(spec(array=tasks(3)))
    found = stage.scheduler.explain(array + 3, stage.now)
    assert found.job_id == array + 3
    assert [one.reason for one in found.blockers] == [Reason.RESOURCES]


def test_unknown_jobs_cannot_be_explained() -> None:
    """Not found."""
    with pytest.raises(Refused) as refusal:
        Stage().scheduler.explain(5, Stage().now)
    assert refusal.value.kind == Refused.NOT_FOUND


_GATES = {
    "Dependency": {Reason.DEPENDENCY, Reason.DEPENDENCY_NEVER_SATISFIED},
    "hold": {Reason.HELD_USER, Reason.HELD_ADMIN},
    "time": {Reason.BEGIN_TIME, Reason.BACKOFF},
    "limit": {Reason.QUOTA, Reason.GROUP_LIMIT, Reason.ARRAY_TASK_LIMIT},
    "resources": {Reason.RESOURCES, Reason.GPUS_UNKNOWN},
    "others": {Reason.PRIORITY, Reason.RESERVATION, Reason.DRAINED},
}


def _closed_gates(stage: Stage, item: Job | Array) -> set[str]:
    """What really keeps an item from starting, worked out without the explanation."""
    core, now = stage.scheduler._core, stage.now
    closed = set()
    if not satisfied(item, item.met):
        closed.add("Dependency")
    if item.hold is not None:
        closed.add("hold")
    not_before = [item.spec.begin_at, getattr(item, "not_before_at", None)]
    if any(at is not None and at > now.wall_s for at in not_before):
        closed.add("time")
    if any(account.refuses(item.spec.resources) for account in core.accounts_of(item)):
        closed.add("limit")
    if not core.pool.fits(item.spec.resources):
        closed.add("resources")
    return closed


@pytest.mark.parametrize("seed", range(300, 315))
def test_explanations_are_true_and_complete(seed: int) -> None:
    """Each blocker is real, none is missing: without all of them the job would have started."""
    history = History(seed)
    for _ in range(12):
        history.run(10)
        stage = history.stage
        stage.scheduler._core.pass_wanted = True
        stage.handle(Wake())
        for item in list(stage.scheduler.in_states(frozenset({State.PENDING}))):
            if isinstance(item, Array) and not item.pending:
                continue
            found = {one.reason for one in stage.scheduler.explain(item.id, stage.now).blockers}
            named = {gate for gate, reasons in _GATES.items() if reasons & found}
            assert named - {"others"} == _closed_gates(stage, item), item.id
            assert named, item.id


def test_cards_that_are_kept_back_are_named() -> None:
    """Whoever waits for a gpu that a stranger uses learns who that is."""
    stage = Stage(capacity(gpus=2))
    first, other = stage.scheduler.capacity.cards or ()
    busy = replace(first, unusable="busy: process 9")
    stage.handle(CapacityChanged(replace(stage.scheduler.capacity, cards=(busy, other))))
    job = stage.submit(spec(gpus=2))
    messages = [one.message for one in stage.scheduler.explain(job, stage.now).blockers]
    assert messages == ["2 gpus wanted, 1 free", "gpu 0 is kept back: busy: process 9"]
