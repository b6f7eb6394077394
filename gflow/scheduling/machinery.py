"""The machine as a whole: its capacity, the end of recovery, restored records, plain answers."""

from __future__ import annotations

from bisect import insort
from collections.abc import Mapping
from typing import Any

from gflow.model.action import Action
from gflow.model.event import CapacityChanged, Ready, Wake
from gflow.model.job import Array, Job
from gflow.model.state import ACTIVE, TERMINAL, Instant, State
from gflow.scheduling import allocation, calendar, interval, lifecycle, numbering, quota, waiting
from gflow.scheduling.codec import Decoder
from gflow.scheduling.core import Core
from gflow.scheduling.cpuset import CpuSet
from gflow.scheduling.interval import locate, total
from gflow.scheduling.load import History, count_tasks, stand_in
from gflow.scheduling.pool import Pool
from gflow.scheduling.settings import Settings


def capacity_changed(core: Core, event: CapacityChanged, now: Instant) -> list[Action]:
    """Count afresh what is free; what runs keeps what it holds, even where that is too much now."""
    core.set_capacity(event.capacity)
    core.cpuset = CpuSet(event.capacity.cpus)
    core.pool = Pool(event.capacity)
    for job_id in core.live.active:
        job = core.live.jobs[job_id]
        core.pool.book(job.spec.resources, job.gpu_ids)
        core.cpuset.hold(job.cpu_ids)
    core.pass_wanted = True
    return []


def configure(core: Core, settings: Settings) -> None:
    """Decide by other settings; limits may have changed for what runs."""
    core.settings = settings
    core.accounts.configured = {(s, n): dict(limits) for s, n, limits in settings.quotas}
    core.ends = []
    for job_id in core.live.active:
        end = core.expected_end(core.live.jobs[job_id])
        insort(core.ends, (end, job_id))
        core.timers.at_boot(end, job_id)
    quota.apply_all(core)
    core.pass_wanted = True


def ready(core: Core, event: Ready, now: Instant) -> list[Action]:
    """Recovery is over; arrays whose last task ended in the crash end now."""
    core.ready = core.pass_wanted = True
    calendar.advance(core, now)
    quota.begin_week(core, now)
    actions: list[Action] = []
    for array in list(core.live.arrays.values()):
        if array.state not in TERMINAL and core.live.tallies[array.id].ended:
            actions += lifecycle.close_array(core, array, now)
    return actions


def woken(core: Core, event: Wake, now: Instant) -> list[Action]:
    """Nothing by itself: what is due follows every event."""
    return []


def restore(
    core: Core, record: Mapping[str, Any], now: Instant, ended: Mapping[str, int] | None
) -> None:
    """Take the record of a job or array in; what is in memory already stays as it is."""
    decoder = Decoder()
    if core.live.item(int(record["id"])) is not None:
        return
    if "size" in record:
        array = decoder.array(record)
        core.live.add(array)
        count_tasks(core, array, History({} if ended is None else {array.id: ended}))
        core.next_id = max(core.next_id, array.id + array.size + 1)
        if array.state not in TERMINAL:
            core.live.change(array)
        return
    job = decoder.job(record)
    if job.array_id is not None:
        _make_room(core, job, job.array_id)
    core.live.add(job)
    if job.array_id is not None and job.state not in TERMINAL:
        tally = core.live.tallies[job.array_id]
        tally.own[job.id - job.array_id - 1] = None
        tally.active += job.state in ACTIVE
        # Another task may have come back before, and ended.
        lifecycle.reopen_array(core, core.live.arrays[job.array_id], now, "adopted")
    if job.state is State.PENDING:
        waiting.count_pending(core, job, 1)
        waiting.watch(core, job)
        waiting.enter(core, job, now)
    elif job.state in ACTIVE:
        core.cpuset.hold(job.cpu_ids)
        allocation.occupy(core, job, now)
    core.next_id = max(core.next_id, job.id + 1)
    if job.state not in TERMINAL:  # else it comes from history and may be forgotten again at once
        core.live.change(job)


def _make_room(core: Core, job: Job, array_id: int) -> None:
    """Have the array of a restored task know that the task has a Job."""
    if array_id not in core.live.arrays:
        core.live.add(stand_in(job, array_id))
        count_tasks(core, core.live.arrays[array_id], History())
    array, position = core.live.arrays[array_id], job.id - array_id - 1
    if locate(array.pending, position) is not None:
        waiting.leave(core, array)
        interval.discard(array.pending, position)
        core.live.counts[State.PENDING] -= 1
        waiting.count_pending(core, array, -1)
        waiting.enter(core, array, core.now)
    if job.state in TERMINAL or locate(array.cancelled, position) is None:
        return
    interval.discard(array.cancelled, position)
    tally = core.live.tallies[array_id]
    tally.ended[State.CANCELLED] -= 1
    if not tally.ended[State.CANCELLED]:
        del tally.ended[State.CANCELLED]
    interval.discard(tally.done, position)
    core.live.change(array)


def task_id(core: Core, array_id: int, number: int) -> int | None:
    """The id of a task by its number."""
    array = core.live.arrays.get(array_id)
    if array is None or array.spec.array is None:
        return None
    position = numbering.position_of(array.spec.array, number)
    return None if position is None else array.id + 1 + position


def tally(core: Core, array_id: int) -> dict[State, int]:
    """Tasks of an array by state."""
    array: Array = core.live.arrays[array_id]
    known = core.live.tallies[array_id]
    found = dict(known.ended)
    for position in known.own:
        state = core.live.jobs[array_id + 1 + position].state
        found[state] = found.get(state, 0) + 1
    left = total(array.pending)
    if left:
        found[State.PENDING] = found.get(State.PENDING, 0) + left
    return found


def free(core: Core) -> dict[str, Any]:
    """What may still be given out."""
    cards = core.pool.cards
    return {
        "cpus": max(0, core.pool.cpus),
        "memory_bytes": max(0, core.pool.memory_bytes),
        "gpus": None
        if cards is None
        else sum(card.usable and not card.whole and not card.shared for card in cards.values()),
        "gres": {name: max(0, count) for name, count in core.pool.gres.items()},
    }
