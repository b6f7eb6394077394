"""Rebuild everything from records: facts are read, the rest is derived."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from gflow.model.job import Array, Job
from gflow.model.record import Key
from gflow.model.state import ACTIVE, TERMINAL, Instant, State
from gflow.scheduling import allocation, fact, fair_share, numbering, quota, waiting
from gflow.scheduling.codec import Decoder
from gflow.scheduling.core import Core
from gflow.scheduling.interval import Intervals, total, union, without
from gflow.scheduling.state import Item


class History(NamedTuple):
    """What history knows about the tasks of live arrays, ended Jobs in memory included."""

    #: array id -> state -> how many of its tasks ended so.
    ended: Mapping[int, Mapping[str, int]] = {}
    #: array id -> half-open ranges of the positions of its ended tasks.
    positions: Mapping[int, Iterable[tuple[int, int]]] = {}


def load(
    core: Core, records: Iterable[tuple[Key, Mapping[str, Any]]], history: History, now: Instant
) -> list[Key]:
    """Take all records in; returns the keys of those that could not be read."""
    damaged: list[Key] = []
    decoder = Decoder()
    jobs: list[Job] = []
    for key, record in records:
        try:
            if key[0] == "job":
                jobs.append(decoder.job(record))
            elif key[0] == "array":
                core.live.add(decoder.array(record))
            elif fact.is_fact(key):
                fact.restore(core, key, record, now)
            elif key == ("meta", "id_floor"):
                floor = max(core.id_floor, int(record["value"]))
                core.id_floor = core.id_floor_committed = floor
        except (ValueError, TypeError, KeyError, AttributeError):
            damaged.append(key)
    jobs.sort(key=lambda job: job.id)
    for job in jobs:
        if job.array_id is not None and job.array_id not in core.live.arrays:
            core.live.add(stand_in(job, job.array_id))
        core.live.add(job)
    for array in core.live.arrays.values():
        count_tasks(core, array, history)
    _next_id(core)
    for job in jobs:
        if job.state in ACTIVE:
            core.cpuset.hold(job.cpu_ids)
            allocation.occupy(core, job, now)
    quota.apply_all(core)
    for account in core.accounts.known.values():
        fair_share.refresh(core, account)
    items: list[Item] = [*core.live.arrays.values(), *jobs]
    for item in items:
        if item.state is State.PENDING:
            count = total(item.pending) if isinstance(item, Array) else 1
            waiting.count_pending(core, item, count)
            waiting.watch(core, item)
            waiting.enter(core, item, now)
    core.live.finished = deque(sorted(core.live.finished))
    return damaged


def stand_in(job: Job, array_id: int) -> Array:
    """An array whose own record was lost: its other tasks are not started on a guess."""
    size = numbering.size(job.spec.array) if job.spec.array else job.id - array_id
    return Array(
        array_id,
        job.spec,
        job.submitted_at,
        pending=[],
        size=size,
        cancelled=[(0, size)],
        reason="its record was damaged",
    )


def count_tasks(core: Core, array: Array, history: History) -> None:
    """Derive how the tasks of an array stand from its Jobs, history and its own record."""
    tally, first = core.live.tallies[array.id], array.id + 1
    tally.done = [(start, stop) for start, stop in history.positions.get(array.id, ())]
    told = history.ended.get(array.id)
    if told is not None:
        tally.ended = {State(state): count for state, count in told.items() if count}
        if set(tally.ended) == {State.COMPLETED}:
            tally.completed = list(tally.done)
    own: Intervals = []
    for job in core.live.task_jobs(array):
        position = job.id - first
        own.append((position, position + 1))
        if job.state not in TERMINAL:
            tally.own[position] = None
            tally.active += job.state in ACTIVE
            continue
        tally.done.append((position, position + 1))
        if job.state is State.COMPLETED:
            tally.completed.append((position, position + 1))
        if told is None:
            tally.ended[job.state] = tally.ended.get(job.state, 0) + 1
    tally.done, tally.completed = union(tally.done), union(tally.completed)
    # A cancelled position that has a record after all was requeued: the record counts.
    array.cancelled = without(array.cancelled, union([*own, *tally.done]))
    cancelled = total(array.cancelled)
    if cancelled:
        tally.ended[State.CANCELLED] = tally.ended.get(State.CANCELLED, 0) + cancelled
    if array.state in TERMINAL:
        # Its other tasks are in history only: they ended, no worse than the array did.
        unknown = array.size - sum(tally.ended.values())
        if unknown:
            tally.ended[array.state] = tally.ended.get(array.state, 0) + unknown
        tally.done = [(0, array.size)]
        return
    tally.done = union([*tally.done, *array.cancelled])
    array.pending = without([(0, array.size)], union([*own, *tally.done]))
    core.live.counts[State.PENDING] += total(array.pending)


def _next_id(core: Core) -> None:
    highest = 0
    for job_id in core.live.jobs:
        highest = max(highest, job_id)
    for array in core.live.arrays.values():
        highest = max(highest, array.id + array.size)
    core.next_id = max(core.next_id, core.id_floor, highest + 1)
