"""What active jobs hold, from their start until their trees are empty."""

from __future__ import annotations

from bisect import bisect_left, insort
from math import inf
from typing import Any

from gflow.model.job import Job
from gflow.model.state import Instant
from gflow.scheduling import calendar, fair_share, warning
from gflow.scheduling.core import Core


def occupy(core: Core, job: Job, now: Instant) -> None:
    """Book what an active job holds, its ``cpu_ids`` apart, and arm its time limit."""
    request = job.spec.resources
    core.pool.book(request, job.gpu_ids)
    for account in core.accounts_of(job):
        fair_share.accrue(core, account, now)
        account.count(request, 1)
    end = core.expected_end(job)
    insort(core.ends, (end, job.id))
    core.timers.at_boot(end, job.id)
    warning.arm(core, job)


def vacate(core: Core, job: Job, now: Instant) -> None:
    """Give back everything an active job holds."""
    request = job.spec.resources
    core.pool.free(request, job.gpu_ids)
    core.cpuset.release(job.cpu_ids)
    for account in core.accounts_of(job):
        fair_share.accrue(core, account, now)
        fair_share.changed(core, account)
        fair_share.refresh(core, account)
        account.count(request, -1)
        if account.parked:
            core.queue.unpark(account)
    _forget_end(core, job)
    core.pass_wanted = True


def _forget_end(core: Core, job: Job) -> None:
    entry = (core.expected_end(job), job.id)
    at = bisect_left(core.ends, entry)
    assert core.ends[at] == entry, (core.ends[at : at + 1], entry)
    del core.ends[at]


def change_end(core: Core, job: Job, **facts: Any) -> None:
    """Change facts that the expected end of an active job follows from."""
    before = core.expected_end(job)
    _forget_end(core, job)
    for name, value in facts.items():
        setattr(job, name, value)
    end = core.expected_end(job)
    if _may_make_room(core, before, end):
        core.pass_wanted = True
    insort(core.ends, (end, job.id))
    core.timers.at_boot(end, job.id)
    warning.arm(core, job)
    core.live.change(job)


def _may_make_room(core: Core, before: float, end: float) -> bool:
    """Whether an end that moved lets something start that could not.

    One that comes later, as every confirmed start brings it about, does so only where something
    counted on it: what is kept for the highest blocked job, or a reservation whose owner's job
    lasts into it now and shares its cards.
    """
    if before < end < inf:
        known = calendar.spans(core, frozenset(), core.now)
        moments = (*core.reserved_moments, *(start for _, (start, _) in known))
        return any(before <= moment < end for moment in moments)
    return end != before and (core.reserved_id is not None or bool(core.calendar))
