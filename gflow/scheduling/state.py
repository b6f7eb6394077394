"""What lives in memory.

Facts (persisted, see :mod:`gflow.scheduling.codec`): jobs and arrays that are live or ended within
``keep_finished_s``, ended ones that live jobs depend on, and transition records until they are
durable. Everything else here is derived from them at load: indexes by user, name and state, what
each pending item waits for, and how the tasks of each array stand.

Nothing here refers back to its owner, so the collector never has a cycle to find.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from gflow.model.job import Array, Job
from gflow.model.record import Key
from gflow.model.state import ACTIVE, TERMINAL, Instant, State
from gflow.scheduling.interval import Intervals, locate
from gflow.scheduling.ordered import Compact, Ordered, first, grown, shrunk
from gflow.scheduling.sharing import Sharing

Item = Job | Array

# What keeps a pending item out of the queue, as bits. Limits and resources do not: items that only
# wait for those stand in the queue.
HELD = 1
BEGIN = 2
BACKOFF = 4
DEPENDENCY = 8
NEVER = 16


class Tally:
    """How the tasks of one array stand."""

    __slots__ = ("active", "completed", "done", "ended", "jobs", "own", "started_at")

    def __init__(self) -> None:
        #: Tasks with a Job of their own that has not ended, by position.
        self.own: dict[int, None] = {}
        self.active = 0
        #: When a task was last started, as far as it is in memory; 0 before that.
        self.started_at = 0.0
        #: Jobs of tasks that are in memory, ended ones too.
        self.jobs = 0
        #: Ended tasks by state, whether or not their Jobs are still in memory.
        self.ended: dict[State, int] = {}
        #: Positions that ended, and those that ended well.
        self.done: Intervals = []
        self.completed: Intervals = []


class Live:
    """Jobs, arrays, their indexes and what has changed."""

    __slots__ = (
        "active",
        "array_ids",
        "arrays",
        "by_user",
        "changes",
        "counts",
        "ended",
        "finished",
        "ids",
        "jobs",
        "kept",
        "namesakes",
        "needed",
        "sharing",
        "tallies",
        "transitions",
        "waits",
    )

    def __init__(self) -> None:
        self.jobs: dict[int, Job] = {}
        self.arrays: dict[int, Array] = {}
        self.tallies: dict[int, Tally] = {}
        #: Ids of all jobs and arrays; of arrays alone; of both by user.
        self.ids = Ordered()
        self.array_ids = Ordered()
        self.by_user: dict[str, Ordered] = {}
        #: Live single jobs and arrays by user and name: one id, or several.
        self.namesakes: dict[str, dict[str, Compact]] = {}
        self.sharing = Sharing()
        #: Jobs that hold resources.
        self.active: dict[int, None] = {}
        #: Jobs and arrays that ended and are still remembered.
        self.ended: dict[int, None] = {}
        #: (finished_at, id) to be forgotten, oldest first; may name what was requeued since.
        self.finished: deque[tuple[float, int]] = deque()
        #: Those that are kept for what depends on them, beyond their time.
        self.needed: set[int] = set()
        #: Jobs by state; tasks of arrays that have no Job count as PENDING.
        self.counts: dict[State, int] = dict.fromkeys(State, 0)
        #: Why pending items are not in the queue; no entry: they are in it.
        self.waits: dict[int, int] = {}
        self.changes: dict[Key, None] = {}
        self.transitions: dict[Key, dict[str, Any]] = {}
        #: Keys that are being saved again, and so must not be forgotten.
        self.kept: set[Key] = set()

    # --- lookup -------------------------------------------------------------------------------

    def item(self, item_id: int) -> Item | None:
        """The job or array of that very id."""
        return self.jobs.get(item_id) or self.arrays.get(item_id)

    def array_of(self, task_id: int) -> tuple[Array, int] | None:
        """The array that owns a task id, and the task's position in it."""
        below = self.array_ids.last_below(task_id)
        if below is None:
            return None
        array = self.arrays[below]
        position = task_id - below - 1
        return (array, position) if position < array.size else None

    def waiting_task(self, task_id: int) -> tuple[Array, int] | None:
        """As :meth:`array_of`, for a task that waits and has no Job of its own."""
        found = self.array_of(task_id)
        if found is None or locate(found[0].pending, found[1]) is None:
            return None
        return found

    def task_jobs(self, array: Array) -> list[Job]:
        """Tasks of an array that have a Job in memory, ended ones too, by position."""
        last = array.id + array.size
        count = self.ids.count_below(last + 1) - self.ids.count_below(array.id + 1)
        return [self.jobs[job_id] for job_id in self.ids.above(array.id, count)]

    def queued(self, item: Item) -> bool:
        """Whether an item stands in the queue: pending, and waiting for its turn alone."""
        if item.state is not State.PENDING or item.id in self.waits:
            return False
        return isinstance(item, Job) or bool(item.pending)

    # --- change -------------------------------------------------------------------------------

    def take_changes(self) -> list[Key]:
        """Keys of records that changed since the last call, in order of first change."""
        keys = list(self.changes)
        self.changes = {}
        return keys

    def change(self, item: Item) -> None:
        """Note that the facts of an item changed."""
        self.changes["job" if isinstance(item, Job) else "array", item.id] = None

    def note_transition(
        self, item: Item, before: State, now: Instant, cause: str, uid: int | None
    ) -> None:
        """Record that ``item`` left ``before``; kept until it is known to be durable."""
        self.change(item)
        item.transitions += 1
        key = ("transition", item.id, item.transitions)
        self.transitions[key] = {
            "at": now.wall_s,
            "from": str(before),
            "to": str(item.state),
            "cause": cause,
            "uid": uid,
        }
        self.changes[key] = None

    # --- indexes ------------------------------------------------------------------------------

    def add(self, item: Item) -> None:
        """Take an item in, whatever its state."""
        self.sharing.spec(item.spec)
        self.ids.add(item.id)
        user = item.spec.user
        if user not in self.by_user:
            self.by_user[user] = Ordered()
        self.by_user[user].add(item.id)
        if isinstance(item, Array):
            self.arrays[item.id] = item
            self.array_ids.add(item.id)
            self.tallies[item.id] = Tally()
        else:
            self.jobs[item.id] = item
            self.counts[item.state] += 1
            if item.state in ACTIVE:
                self.active[item.id] = None
            if item.array_id is not None:
                tally = self.tallies[item.array_id]
                tally.jobs += 1
                tally.started_at = max(tally.started_at, item.started_at or 0.0)
        if item.state in TERMINAL:
            self.ended[item.id] = None
            self.finished.append((item.finished_at or 0.0, item.id))
        else:
            self.name(item)

    def drop(self, item: Item) -> None:
        """Forget an ended item."""
        assert item.state in TERMINAL, item.id
        self.ids.remove(item.id)
        del self.ended[item.id]
        rows = self.by_user[item.spec.user]
        rows.remove(item.id)
        if not rows:
            del self.by_user[item.spec.user]
        if isinstance(item, Array):
            del self.arrays[item.id], self.tallies[item.id]
            self.array_ids.remove(item.id)
        else:
            del self.jobs[item.id]
            self.counts[item.state] -= 1
            if item.array_id is not None:
                self.tallies[item.array_id].jobs -= 1

    def name(self, item: Item) -> None:
        """Count a live single job or array among its user's namesakes."""
        if isinstance(item, Job) and item.array_id is not None:
            return
        names = self.namesakes.setdefault(item.spec.user, {})
        names[item.spec.name] = grown(names.get(item.spec.name), item.id)

    def unname(self, item: Item) -> None:
        """Undo :meth:`name`, when the item ends or before it is renamed."""
        if isinstance(item, Job) and item.array_id is not None:
            return
        names = self.namesakes[item.spec.user]
        left = shrunk(names[item.spec.name], item.id)
        if left is not None:
            names[item.spec.name] = left
            return
        del names[item.spec.name]
        if not names:
            del self.namesakes[item.spec.user]

    def oldest_namesake(self, user: str, name: str) -> int | None:
        """The smallest id of a live job of that user and name."""
        known = self.namesakes.get(user, {}).get(name)
        return None if known is None else first(known)

    def set_state(self, job: Job, state: State) -> None:
        """Move a job between the indexes by state."""
        before = job.state
        self.counts[before] -= 1
        self.counts[state] += 1
        job.state = state
        if state in ACTIVE:
            self.active[job.id] = None
        else:
            self.active.pop(job.id, None)
        if state in TERMINAL and before not in TERMINAL:
            self.ended[job.id] = None
            self.unname(job)
        elif before in TERMINAL and state not in TERMINAL:
            del self.ended[job.id]
            self.name(job)

    def index_array(self, array: Array) -> None:
        """Note whether an array has ended, after its state changed."""
        if array.state in TERMINAL:
            self.ended[array.id] = None
        else:
            self.ended.pop(array.id, None)
