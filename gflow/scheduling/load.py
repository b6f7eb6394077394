"""Rebuild everything from records: facts are read, the rest is derived."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any

from gflow.model.job import Array, Job
from gflow.model.record import Key
from gflow.model.state import ACTIVE, TERMINAL, Instant, State
from gflow.scheduling import lifecycle, numbering
from gflow.scheduling.codec import Decoder
from gflow.scheduling.core import Core
from gflow.scheduling.interval import Intervals, total, union, without
from gflow.scheduling.state import Item

#: array id -> (first task id, last task id, state) of its ended tasks in history.
EndedTasks = Mapping[int, Iterable[tuple[int, int, str]]]


def load(
    core: Core, records: Iterable[tuple[Key, Mapping[str, Any]]], ended: EndedTasks, now: Instant
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
            elif key == ("meta", "id_floor"):
                core.id_floor = core.id_floor_committed = int(record["value"])
        except (ValueError, TypeError, KeyError, AttributeError):
            damaged.append(key)
    jobs.sort(key=lambda job: job.id)
    for job in jobs:
        if job.array_id is not None and job.array_id not in core.live.arrays:
            core.live.add(_stand_in(job, job.array_id))
        core.live.add(job)
    for array in core.live.arrays.values():
        count_tasks(core, array, ended.get(array.id, ()))
    _next_id(core)
    for job in jobs:
        if job.state in ACTIVE:
            core.cpuset.hold(job.cpu_ids)
            lifecycle.occupy(core, job)
    items: list[Item] = [*core.live.arrays.values(), *jobs]
    for item in items:
        if item.state is State.PENDING:
            lifecycle.watch(core, item)
            lifecycle.enter(core, item, now)
    core.live.finished = deque(sorted(core.live.finished))
    return damaged


def _stand_in(job: Job, array_id: int) -> Array:
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


def count_tasks(core: Core, array: Array, ended: Iterable[tuple[int, int, str]]) -> None:
    """Derive how the tasks of an array stand from its Jobs, history and its own record."""
    tally, first = core.live.tallies[array.id], array.id + 1
    own: Intervals = []
    if tally.jobs:
        positions = (p for p in range(array.size) if first + p in core.live.jobs)
        own = union((position, position + 1) for position in positions)
    for start, stop in own:
        for position in range(start, stop):
            job = core.live.jobs[first + position]
            if job.state in TERMINAL:
                _count(tally.ended, job.state, 1)
                tally.done.append((position, position + 1))
                if job.state is State.COMPLETED:
                    tally.completed.append((position, position + 1))
            else:
                tally.own[position] = None
                tally.active += job.state in ACTIVE
    for first_id, last_id, state in ended:
        for piece in without([(first_id - first, last_id - first + 1)], own):
            _count(tally.ended, State(state), piece[1] - piece[0])
            tally.done.append(piece)
            if state == State.COMPLETED:
                tally.completed.append(piece)
    tally.done, tally.completed = union(tally.done), union(tally.completed)
    array.cancelled = without(array.cancelled, union([*own, *tally.done]))
    cancelled = total(array.cancelled)
    if cancelled:
        _count(tally.ended, State.CANCELLED, cancelled)
    if array.state in TERMINAL:
        return
    tally.done = union([*tally.done, *array.cancelled])
    array.pending = without([(0, array.size)], union([*own, *tally.done]))
    core.live.counts[State.PENDING] += total(array.pending)


def _count(ended: dict[State, int], state: State, count: int) -> None:
    ended[state] = ended.get(state, 0) + count


def _next_id(core: Core) -> None:
    highest = 0
    for job_id in core.live.jobs:
        highest = max(highest, job_id)
    for array in core.live.arrays.values():
        highest = max(highest, array.id + array.size)
    core.next_id = max(core.next_id, core.id_floor, highest + 1)
