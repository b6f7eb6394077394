"""The machine as a whole: its capacity, the end of recovery, restored records, plain answers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from gflow.model.action import Action
from gflow.model.event import CapacityChanged, Ready, Wake
from gflow.model.job import Array
from gflow.model.record import Key
from gflow.model.state import ACTIVE, TERMINAL, Instant, State
from gflow.scheduling import lifecycle, numbering
from gflow.scheduling.codec import Decoder
from gflow.scheduling.core import Core
from gflow.scheduling.cpuset import CpuSet
from gflow.scheduling.interval import total
from gflow.scheduling.load import count_tasks
from gflow.scheduling.pool import Pool


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


def ready(core: Core, event: Ready, now: Instant) -> list[Action]:
    """Recovery is over; arrays whose last task ended in the crash end now."""
    core.ready = core.pass_wanted = True
    actions: list[Action] = []
    for array in list(core.live.arrays.values()):
        if array.state not in TERMINAL and core.live.tallies[array.id].ended:
            actions += lifecycle.close_array(core, array, now)
    return actions


def woken(core: Core, event: Wake, now: Instant) -> list[Action]:
    """Nothing by itself: what is due follows every event."""
    return []


def restore(core: Core, records: Iterable[tuple[Key, Mapping[str, Any]]], now: Instant) -> None:
    """Take records in again, arrays first; what is in memory already stays as it is."""
    decoder = Decoder()
    for key, record in sorted(records, key=lambda pair: pair[0][0] != "array"):
        if core.live.item(int(key[1])) is not None:
            continue
        if key[0] == "array":
            array = decoder.array(record)
            core.live.add(array)
            count_tasks(core, array, ())
            continue
        job = decoder.job(record)
        core.live.add(job)
        if job.array_id is not None:
            tally = core.live.tallies[job.array_id]
            position = job.id - job.array_id - 1
            if job.state in TERMINAL:
                _count_restored(core, job.array_id, position, job.state)
            else:
                tally.own[position] = None
                tally.active += job.state in ACTIVE
        if job.state is State.PENDING:
            lifecycle.watch(core, job)
            lifecycle.enter(core, job, now)
        elif job.state in ACTIVE:
            core.cpuset.hold(job.cpu_ids)
            lifecycle.occupy(core, job)
        core.live.change(job)


def _count_restored(core: Core, array_id: int, position: int, state: State) -> None:
    tally = core.live.tallies[array_id]
    if any(start <= position < stop for start, stop in tally.done):
        return
    tally.ended[state] = tally.ended.get(state, 0) + 1
    tally.done = sorted([*tally.done, (position, position + 1)])
    if state is State.COMPLETED:
        tally.completed = sorted([*tally.completed, (position, position + 1)])


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
    waiting = total(array.pending)
    if waiting:
        found[State.PENDING] = found.get(State.PENDING, 0) + waiting
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
