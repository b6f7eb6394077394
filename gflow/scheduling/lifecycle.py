"""The steps of a job's life, each of which keeps every index and count true.

Handlers decide which step is due; nothing outside this module moves a job between states, the queue
and the allocation.
"""

from __future__ import annotations

from gflow.model.action import Action, Changed, Kill, Start
from gflow.model.job import Array, Job, Spec
from gflow.model.state import ACTIVE, TERMINAL, Instant, State
from gflow.scheduling import allocation, interval, numbering, waiting
from gflow.scheduling.core import Core
from gflow.scheduling.machine import ENDED, Happened, next_state
from gflow.scheduling.state import Item

#: From best to worst: an array ends like its worst task.
_WORSE = (
    State.COMPLETED,
    State.CANCELLED,
    State.NODE_FAIL,
    State.TIMEOUT,
    State.OUT_OF_MEMORY,
    State.FAILED,
)

#: What a kill for this cause makes of a job whose command did not end before.
KILL_ENDING: dict[str, State] = {
    "cancel": State.CANCELLED,
    "timeout": State.TIMEOUT,
    "memory": State.OUT_OF_MEMORY,
}


def move(
    core: Core, job: Job, happened: Happened, now: Instant, cause: str, uid: int | None = None
) -> Changed:
    """Make a transition; an illegal one raises and has changed nothing."""
    before = job.state
    core.live.set_state(job, next_state(before, happened))
    if (before is State.PENDING) != (job.state is State.PENDING):
        waiting.count_pending(core, job, 1 if job.state is State.PENDING else -1)
    core.live.note_transition(job, before, now, cause, uid)
    if job.array_id is not None:
        _tally(core, job, before)
    return Changed(job.id, before, job.state, cause)


# --- running ----------------------------------------------------------------------------------


def start(core: Core, item: Item, gpu_ids: tuple[int, ...], now: Instant) -> list[Action]:
    """Allocate and ask for the launch of a queued job, or of the next task of a queued array."""
    if isinstance(item, Array):
        job = waiting.split(core, item, item.pending[0][0])
        core.live.tallies[item.id].started_at = now.wall_s
    else:
        core.queue.remove(item)
        job = item
    job.attempt += 1
    job.started_at = now.wall_s
    job.started_boot_s = now.boot_s
    job.boot_id = core.boot_id
    job.cpu_ids = core.cpuset.take(job.spec.resources.cpus)
    job.gpu_ids = gpu_ids
    job.reason = None
    job.not_before_at = None
    changed = move(core, job, Happened.STARTED, now, "scheduled")
    allocation.occupy(core, job, now)
    core.dependencies.touch((job.id,) if job.array_id is None else (job.id, job.array_id))
    return [start_action(core, job), changed]


def start_action(core: Core, job: Job) -> Start:
    """The order to launch the job's current attempt."""
    task_min = task_max = task_count = None
    if job.array_id is not None and job.spec.array is not None:
        task_min, task_max = numbering.bounds(job.spec.array)
        task_count = numbering.size(job.spec.array)
    return Start(
        job_id=job.id,
        attempt=job.attempt,
        spec=job.spec,
        array_id=job.array_id,
        task=job.task,
        task_min=task_min,
        task_max=task_max,
        task_count=task_count,
        cpu_ids=job.cpu_ids,
        gpu_ids=job.gpu_ids,
    )


def kill(core: Core, job: Job, cause: str, now: Instant, uid: int | None = None) -> list[Action]:
    """Have the tree of a job ended; the first cause stays, the resources stay held."""
    grace = job.spec.grace_period_s
    grace_s = core.settings.grace_period_s if grace is None else grace
    order = Kill(job.id, job.attempt, grace_s, cause)
    if job.state is State.COMPLETING:
        if job.kill_cause is None:
            # Its command had ended by itself; what is left of it is asked to end even after a
            # restart.
            job.kill_cause = cause
            core.live.change(job)
        return [order]
    job.kill_cause = cause
    # NODE_FAIL stands for an end that cannot be observed: a kill says more.
    if job.ending in (None, State.NODE_FAIL):
        job.ending = KILL_ENDING.get(cause, State.CANCELLED)
    if job.suspended_boot_s is not None:
        suspended = job.suspended_s + now.boot_s - job.suspended_boot_s
        allocation.change_end(core, job, suspended_s=suspended, suspended_boot_s=None)
    return [order, move(core, job, Happened.KILLED, now, cause, uid)]


# --- ends -------------------------------------------------------------------------------------


def end(core: Core, job: Job, state: State, now: Instant, cause: str) -> list[Action]:
    """Let an active job end for good; its resources are free, its dependants looked at."""
    allocation.vacate(core, job, now)
    changed = move(core, job, ENDED[state], now, cause)
    return [changed, *_ended(core, job, now)]


def refuse(core: Core, job: Job, now: Instant, cause: str) -> list[Action]:
    """Let a job whose launch failed for good end as FAILED."""
    allocation.vacate(core, job, now)
    changed = move(core, job, Happened.REFUSED, now, cause)
    return [changed, *_ended(core, job, now)]


def drop(core: Core, job: Job, now: Instant, cause: str, uid: int | None) -> list[Action]:
    """Let a pending job end as CANCELLED."""
    waiting.leave(core, job)
    changed = move(core, job, Happened.DROPPED, now, cause, uid)
    return [changed, *_ended(core, job, now)]


def _ended(core: Core, job: Job, now: Instant) -> list[Action]:
    if job.finished_at is None:
        job.finished_at = now.wall_s
    core.dependencies.unwatch(core.live, job)
    core.live.finished.append((job.finished_at, job.id))
    core.dependencies.touch((job.id, (job.spec.user, job.spec.name)))
    if job.array_id is None:
        return []
    core.dependencies.task_ended(job.array_id, job.id - job.array_id - 1)
    return close_array(core, core.live.arrays[job.array_id], now)


def close_array(core: Core, array: Array, now: Instant) -> list[Action]:
    """Let an array end with its last task."""
    tally = core.live.tallies[array.id]
    core.dependencies.touch((array.id,))
    if array.pending or tally.own or array.state in TERMINAL:
        return []
    array.finished_at = now.wall_s
    return [turn_array(core, array, max(tally.ended, key=_WORSE.index), now, "ended")]


def turn_array(core: Core, array: Array, state: State, now: Instant, cause: str) -> Changed:
    """Change the state of a whole array, which is PENDING until its last task ended."""
    before, array.state = array.state, state
    core.live.index_array(array)
    if state in TERMINAL:
        core.live.finished.append((array.finished_at or now.wall_s, array.id))
        core.live.unname(array)
        core.dependencies.unwatch(core.live, array)
        core.dependencies.touch((array.id, (array.spec.user, array.spec.name)))
    else:
        array.finished_at = None
        core.live.name(array)
        core.dependencies.touch((array.id,))
    core.live.note_transition(array, before, now, cause, None)
    return Changed(array.id, before, state, cause)


def drop_waiting_tasks(core: Core, array: Array, now: Instant, reason: str | None) -> list[Action]:
    """Cancel all tasks that have no Job of their own, without giving them any."""
    if not array.pending:
        return []
    waiting.leave(core, array)
    core.dependencies.unwatch(core.live, array)
    tally, count = core.live.tallies[array.id], interval.total(array.pending)
    tally.ended[State.CANCELLED] = tally.ended.get(State.CANCELLED, 0) + count
    tally.done = interval.union([*tally.done, *array.pending])
    array.cancelled = interval.union([*array.cancelled, *array.pending])
    first = array.id + 1
    for start, stop in array.pending:
        core.dependencies.touch_tasks(array.id, first + start, first + stop)
    array.pending = []
    array.reason = reason
    core.live.counts[State.PENDING] -= count
    waiting.count_pending(core, array, -count)
    core.live.change(array)
    return close_array(core, array, now)


def back(
    core: Core,
    job: Job,
    happened: Happened,
    now: Instant,
    cause: str,
    *,
    not_before_at: float | None = None,
    spec: Spec | None = None,
) -> list[Action]:
    """Make an active or ended job pending again, perhaps with another spec.

    Its next attempt gets a new number.
    """
    actions: list[Action] = []
    if job.state in ACTIVE:
        allocation.vacate(core, job, now)
    changed = move(core, job, happened, now, cause)
    for name in ("started_at", "started_boot_s", "boot_id", "finished_at", "shim", "process"):
        setattr(job, name, None)
    for name in ("exit_code", "signal", "reason", "ending", "kill_cause", "eligible_at", "usage"):
        setattr(job, name, None)
    job.cpu_ids = job.gpu_ids = ()
    job.suspended_s, job.suspended_boot_s = 0.0, None
    job.warned = False
    job.not_before_at = not_before_at
    actions.append(changed)
    job.spec = spec or job.spec
    if job.array_id is not None:
        actions += reopen_array(core, core.live.arrays[job.array_id], now, cause)
    core.dependencies.touch((job.id,) if job.array_id is None else (job.id, job.array_id))
    waiting.watch(core, job)
    waiting.enter(core, job, now)
    return actions


def reopen_array(core: Core, array: Array, now: Instant, cause: str) -> list[Action]:
    """An ended array has a task that is to run again."""
    if array.state not in TERMINAL:
        return []
    return [turn_array(core, array, State.PENDING, now, cause)]


def note_attempt(job: Job, state: State, cause: str) -> None:
    """Remember how an attempt ended, before the next one."""
    attempt = {
        "attempt": job.attempt,
        "state": str(state),
        "cause": cause,
        "exit_code": job.exit_code,
        "signal": job.signal,
        "started_at": job.started_at,
        "finished_at": job.finished_at,
    }
    job.attempts = [*(job.attempts or []), attempt]


def _tally(core: Core, job: Job, before: State) -> None:
    """Keep the counts of a task's array."""
    assert job.array_id is not None
    tally = core.live.tallies[job.array_id]
    position = job.id - job.array_id - 1
    after = job.state
    tally.active += (after in ACTIVE) - (before in ACTIVE)
    if after in TERMINAL and before not in TERMINAL:
        del tally.own[position]
        tally.ended[after] = tally.ended.get(after, 0) + 1
        interval.insert(tally.done, position)
        if after is State.COMPLETED:
            interval.insert(tally.completed, position)
    elif before in TERMINAL and after not in TERMINAL:
        tally.own[position] = None
        counted = before if before in tally.ended else max(tally.ended, key=_WORSE.index)
        tally.ended[counted] -= 1
        if not tally.ended[counted]:
            del tally.ended[counted]
        interval.discard(tally.done, position)
        interval.discard(tally.completed, position)
