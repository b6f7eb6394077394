"""Where pending items stand: in the queue, or among those that wait for something first."""

from __future__ import annotations

from gflow.model.job import Array, Job
from gflow.model.state import Instant, State
from gflow.scheduling import interval, numbering
from gflow.scheduling.core import Core
from gflow.scheduling.dependency import satisfied
from gflow.scheduling.state import BACKOFF, BEGIN, DEPENDENCY, HELD, NEVER, Item
from gflow.scheduling.sweep import task_spec


def count_pending(core: Core, item: Item, count: int) -> None:
    """So many more (or less) jobs of the item's accounts are pending."""
    for account in core.accounts_of(item):
        account.pending += count


def enter(core: Core, item: Item, now: Instant) -> None:
    """Give a pending item its place: in the queue, or among those that wait for something."""
    if isinstance(item, Array) and not item.pending:
        return
    waits = 0
    if item.hold is not None:
        waits |= HELD
    begin_at = item.spec.begin_at
    if begin_at is not None and begin_at > now.wall_s:
        waits |= BEGIN
        core.timers.at_wall(begin_at, item.id)
    not_before_at = item.not_before_at if isinstance(item, Job) else None
    if not_before_at is not None and not_before_at > now.wall_s:
        waits |= BACKOFF
        core.timers.at_wall(not_before_at, item.id)
    if not satisfied(item, item.met):
        waits |= DEPENDENCY
        if core.dependencies.impossible(item):
            waits |= NEVER
    if waits:
        core.live.waits[item.id] = waits
        return
    if item.eligible_at is None:
        item.eligible_at = now.wall_s
        core.live.change(item)
    core.queue.add(item, core.accounts_of(item))
    if not core.pass_wanted and (core.pool.fits(item.spec.resources) or _outranks(core, item)):
        core.pass_wanted = True


def _outranks(core: Core, item: Item) -> bool:
    """Whether a queued item comes before the one that lower jobs must not delay."""
    reserved = None if core.reserved_id is None else core.live.item(core.reserved_id)
    return reserved is None or core.queue.rank_of(item) < core.queue.rank_of(reserved)


def leave(core: Core, item: Item) -> None:
    """Take a pending item out of wherever it waits, before its facts change."""
    if core.live.waits.pop(item.id, 0) or (isinstance(item, Array) and not item.pending):
        return
    _unqueue(core, item)


def _unqueue(core: Core, item: Item) -> None:
    core.queue.remove(item)
    if item.id == core.reserved_id:
        # What was kept for it is anybody's.
        core.reserved_id = None
        core.pass_wanted = True


def watch(core: Core, item: Item) -> None:
    """Watch what a new or changed item depends on; settled by the next settling."""
    if not item.spec.dependencies or satisfied(item, item.met):
        return
    core.dependencies.unsettled.extend(core.dependencies.watch(core.live, item))
    if not isinstance(item, Array):
        return
    for dependency in item.spec.dependencies:
        for parent in dependency.jobs if dependency.type == "aftercorr" else ():
            tally = core.live.tallies.get(parent)
            for start, stop in tally.done if tally is not None else ():
                core.dependencies.counterparts.append((parent, item.id, range(start, stop)))


def split(core: Core, array: Array, position: int) -> Job:
    """Give a waiting task its own Job, in no place yet: :func:`enter` must follow."""
    job = _task_job(core, array, position)
    queued = array.id not in core.live.waits
    if queued and array.pending == [(position, position + 1)]:
        _unqueue(core, array)
    taken = interval.discard(array.pending, position)
    assert taken, (array.id, position)
    if not array.pending:
        core.live.waits.pop(array.id, None)
    core.live.counts[State.PENDING] -= 1  # counted again with its Job
    core.live.add(job)
    core.live.change(job)
    core.live.tallies[array.id].own[position] = None
    watch(core, job)
    return job


def _task_job(core: Core, array: Array, position: int) -> Job:
    assert array.spec.array is not None
    return Job(
        id=array.id + 1 + position,
        spec=task_spec(array.spec, position),
        submitted_at=array.submitted_at,
        hold=array.hold,
        priority=array.priority,
        top=array.top,
        eligible_at=array.eligible_at,
        array_id=array.id,
        task=numbering.number_at(array.spec.array, position),
        met=array.met,
    )
