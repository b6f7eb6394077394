"""When jobs will start: the queue played forward on a copy, in steps that never take long.

The copy is decided by the same code as the machine itself. Jobs are taken to run for their whole
time limit; where limits are missing nobody can tell, and the answer becomes a range: at the
earliest, jobs without a limit end at once; at the latest, never.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from math import inf

from gflow.model.action import Start
from gflow.model.job import Job, Spec
from gflow.model.state import ACTIVE, Instant, State
from gflow.scheduling import (
    admission,
    allocation,
    drain,
    lifecycle,
    selection,
    settling,
    waiting,
)
from gflow.scheduling.core import Core
from gflow.scheduling.dispatch import dispatch
from gflow.scheduling.machine import Happened
from gflow.scheduling.state import BACKOFF, BEGIN, Item

#: Items of the queue that are played at most; what stands behind them is not known.
HORIZON = 2000
#: Ends and starts taken together in one step.
_AT_ONCE = 4
#: Steps of one play at most (each well below a millisecond).
_MOST_STEPS = 10_000
#: Jobs let go of in one step: to free thousands of them at once takes longer than a turn may.
_LET_GO = 50
#: Buckets of the queue counted in one step.
_COUNTED = 64


class Play:
    """One play of the queue. Call :meth:`step` until it is done."""

    __slots__ = (
        "_awaited",
        "_core",
        "_instead",
        "_items",
        "_optimistic",
        "_room",
        "_source",
        "_specs",
        "_steps",
        "_target_id",
        "arrays",
        "cut",
        "done",
        "moved",
        "now",
        "starts",
        "submitted",
    )

    def __init__(
        self,
        source: Core,
        now: Instant,
        *,
        target_id: int | None = None,
        instead: Spec | None = None,
        specs: tuple[Spec, ...] = (),
        optimistic: bool = False,
        horizon: int = HORIZON,
    ) -> None:
        """``target_id``: stop when it has started. ``instead``: what that one asks for on the copy.
        ``specs``: submitted on the copy as well, without what they depend on.
        """
        self._source = source
        #: How far it has come.
        self.now = now
        #: Whether it has left the present.
        self.moved = False
        self._target_id = target_id
        self._instead = instead
        self._optimistic = optimistic
        self._core = _empty_copy(source, now)
        self._items: Iterator[Item | None] | None = _in_order(source, target_id, horizon)
        for job_id in list(source.live.active):
            _copy_active(self._core, source, job_id, now)
        #: Id -> start in epoch seconds, of jobs and of arrays (their next task).
        self.starts: dict[int, float] = {}
        #: Arrays of the tasks among them.
        self.arrays: dict[int, int] = {}
        self.done = False
        #: Whether some of the queue was left out, or the end was not reached within the bounds.
        self.cut = False
        #: Ids of the specs on the copy, in order.
        self.submitted: list[int] = []
        self._specs = iter(specs)
        #: Items that have not started yet; without a target it is over when all have.
        self._awaited: set[int] = set()
        self._room = horizon
        self._steps = 0

    def step(self, count: int) -> bool:
        """Go on by ``count`` small steps (each well below a millisecond); whether it is done."""
        while count > 0 and not self.done:
            count -= 1
            self._steps += 1
            if self._steps > _MOST_STEPS:
                self.done = self.cut = True
            elif self._items is None:
                if self._core.pass_wanted or self._core.again:
                    self._play()
                else:
                    self._advance()
            else:
                self._take_in(self._items)
        return self.done

    def let_go(self) -> bool:
        """Free one more part of the copy, which is not needed any more; whether all is free."""
        jobs = self._core.live.jobs
        for _ in range(min(_LET_GO, len(jobs))):
            jobs.popitem()
        return not jobs

    def _take_in(self, items: Iterator[Item | None]) -> None:
        """One more of the queue, then one more of the specs."""
        try:
            item = next(items)
        except StopIteration:
            self.cut = self._room <= 0
            spec = next(self._specs, None)
            if spec is None:
                self._items = None
                return
            alone = replace(spec, dependencies=())
            self.submitted.append(admission.admit(self._core, alone, None, {}, self.now).id)
            self._awaited.add(self.submitted[-1])
            return
        self._room -= item is not None
        if item is not None and item.state is State.PENDING:
            instead = self._instead if item.id == self._target_id else None
            _copy_pending(self._core, self._source, item, instead or item.spec, self.now)
            self._awaited.add(item.id)

    def _advance(self) -> None:
        core, now = self._core, self.now
        self.moved = True
        if self._optimistic and core.ends and core.ends[-1][0] == inf:
            self._end(core.ends[-1][1])
            core.pass_wanted = True
            return
        due = core.timers.next()
        moments = [] if due is None else [due.boot_s, now.boot_s + due.wall_s - now.wall_s]
        if core.ends:
            moments.append(core.ends[0][0])
        moment = min(moments, default=inf)
        if moment == inf or _closed(core, now):
            self.done = True
            return
        passed_s = max(0.0, moment - now.boot_s)
        self.now = core.now = Instant(now.boot_s + passed_s, now.wall_s + passed_s)
        for _ in range(_AT_ONCE):
            if not core.ends or core.ends[0][0] > self.now.boot_s:
                self._play()
                return
            self._end(core.ends[0][1])

    def _end(self, job_id: int) -> None:
        job = self._core.live.jobs[job_id]
        if job.state is not State.COMPLETING:
            lifecycle.move(self._core, job, Happened.EXITED, self.now, "expected")
        lifecycle.end(self._core, job, State.COMPLETED, self.now, "expected")

    def _play(self) -> None:
        core = self._core
        core.again = False
        actions = settling.wake(core, self.now) + settling.settle(core, self.now)
        actions += dispatch(core, self.now)
        for action in actions:
            if isinstance(action, Start):
                for started in (action.job_id, action.array_id or action.job_id):
                    self.starts.setdefault(started, self.now.wall_s)
                    self._awaited.discard(started)
                if action.array_id is not None:
                    self.arrays[action.job_id] = action.array_id
        core.live.changes.clear()
        core.live.transitions.clear()
        settling.forget(core, self.now)
        self.done = self._target_id in self.starts or not (self._awaited or self._target_id)


class Forecast:
    """When one job will start: (earliest, latest) in epoch seconds once it is done."""

    __slots__ = ("_before", "_buckets", "_earliest", "_latest", "_queued", "_source", "job_id")

    def __init__(self, source: Core, job_id: int, item: Item, now: Instant) -> None:
        self.job_id = job_id
        self._source = source
        #: Items of the queue that come before it, as far as buckets have been counted.
        self._before = 0
        self._buckets = None
        self._queued = source.live.item(item.id) is item and source.live.queued(item)
        if self._queued:
            self._buckets = source.queue.counting(item)
        self._latest = Play(source, now, target_id=item.id)
        self._earliest = Play(source, now, target_id=item.id, optimistic=True)

    def step(self, count: int) -> bool:
        """Go on by ``count`` small steps; whether it is done."""
        for _ in range(count):
            if self._buckets is not None and not self._counted(self._buckets):
                continue
            known = self._latest.step(1) and self._target(self._latest) is not None
            played = known or (self._latest.done and self._earliest.step(1))
            if played and self._latest.let_go() and self._earliest.let_go():
                return True
        return False

    def _counted(self, buckets: Iterator[int]) -> bool:
        for _ in range(_COUNTED):
            before = next(buckets, None)
            if before is None:
                self._buckets = None
                return True
            self._before += before
        return False

    @property
    def position(self) -> int | None:
        """Its place in the order when it is done; 1 is next. None: it waits for something else."""
        return self._before + 1 if self._queued else None

    @property
    def expected_start(self) -> tuple[float | None, float | None] | None:
        """Earliest and latest start; the latest is None where limits are missing, all is None
        where it stands too far behind or waits for something else than its turn."""
        latest = self._target(self._latest)
        if latest is not None:
            return latest, latest
        earliest = self._target(self._earliest)
        return None if earliest is None else (earliest, None)

    def _target(self, play: Play) -> float | None:
        assert play._target_id is not None
        return play.starts.get(play._target_id)


# --- copies -----------------------------------------------------------------------------------


def _closed(core: Core, now: Instant) -> bool:
    """Whether nothing starts any more, however long one waits: the machine is drained."""
    found = drain.barrier(core, now)
    return found is not None and found.at_boot_s == -inf


def _empty_copy(source: Core, now: Instant) -> Core:
    settings = replace(
        source.settings, starts_per_turn=_AT_ONCE, keep_finished=0, keep_finished_s=0.0
    )
    core = Core(settings, source.capacity, source.boot_id)
    core.now, core.ready, core.pass_wanted = now, True, True
    core.next_id = source.next_id
    core.drain = source.drain
    core.calendar = dict(source.calendar)
    core.calendar_due_at = source.calendar_due_at
    if source.calendar_due_at != inf:
        core.timers.at_wall(source.calendar_due_at, 0)
    core.accounts.quotas = source.accounts.quotas
    core.queue.bonuses = dict(source.queue.bonuses)
    for key, account in source.accounts.known.items():
        if key[0] == "array":
            continue  # made from the array when it is needed
        twin = core.accounts.get(key)
        twin.max_running = account.max_running
        twin.use_s, twin.use_at_boot_s = account.use_s, account.use_at_boot_s
        twin.week, twin.week_gpu_s = account.week, account.week_gpu_s
    return core


def _copy_active(core: Core, source: Core, job_id: int, now: Instant) -> None:
    job = replace(source.live.jobs[job_id])
    if job.array_id is not None:
        _copy_array(core, source, job.array_id)
    core.live.add(job)
    if job.array_id is not None:
        tally = core.live.tallies[job.array_id]
        tally.own[job.id - job.array_id - 1] = None
        tally.active += job.state in ACTIVE
    if job.state in ACTIVE:
        core.cpuset.hold(job.cpu_ids)
        allocation.occupy(core, job, now)


def _copy_array(core: Core, source: Core, array_id: int) -> None:
    """The array of a task, without those that wait in it: they come in their own place."""
    if array_id not in core.live.arrays:
        core.live.add(replace(source.live.arrays[array_id], pending=[], cancelled=[]))


def _copy_pending(core: Core, source: Core, item: Item, asked: Spec, now: Instant) -> None:
    spec = replace(asked, dependencies=())
    if isinstance(item, Job):
        if core.live.item(item.id) is not None:
            return
        twin: Item = replace(item, spec=spec)
        if item.array_id is not None:
            _copy_array(core, source, item.array_id)
    else:
        known = core.live.arrays.get(item.id)
        if known is not None and known.pending:
            return
        if known is not None:
            known.pending, known.spec = list(item.pending), spec
            waiting.enter(core, known, now)
            return
        twin = replace(item, spec=spec, pending=list(item.pending), cancelled=[])
    core.live.add(twin)
    if isinstance(twin, Job) and twin.array_id is not None:
        core.live.tallies[twin.array_id].own[twin.id - twin.array_id - 1] = None
    waiting.enter(core, twin, now)


def _in_order(source: Core, target_id: int | None, horizon: int) -> Iterator[Item | None]:
    """Items of the queue in scheduling order up to the target; the target even if it waits."""
    left = horizon
    for item in selection.in_order(source):
        yield item
        if item is None:
            continue
        left -= 1
        if item.id == target_id or not left:
            return
    target = None if target_id is None else source.live.item(target_id)
    if target is not None:
        waits = source.live.waits.get(target.id, 0)
        # Only time is waited for; what others have to do first cannot be played.
        if waits and not waits & ~(BEGIN | BACKOFF):
            yield target
