"""Requests that change jobs: cancel, signal, hold, release, requeue, suspend, resume."""

from __future__ import annotations

import signal as signals

from gflow.errors import Refused
from gflow.model.action import Action, Signal
from gflow.model.event import Cancel, Hold, Release, Requeue, Resume, SendSignal, Suspend
from gflow.model.job import Array, Job
from gflow.model.state import ACTIVE, TERMINAL, Instant, State
from gflow.scheduling import allocation, lifecycle, waiting
from gflow.scheduling.core import Core
from gflow.scheduling.machine import Happened
from gflow.scheduling.state import Item


def target(core: Core, job_id: int, verb: str) -> Item:
    """The job or array of an id, and for a waiting task its array. Refused when unknown."""
    item = core.live.item(job_id)
    if item is not None:
        return item
    task = core.live.waiting_task(job_id)
    if task is None:
        if core.live.array_of(job_id) is not None:
            raise Refused(Refused.CONFLICT, f"cannot {verb} job {job_id}: it has already ended")
        raise Refused(Refused.NOT_FOUND, f"cannot {verb} job {job_id}: there is no such job")
    return task[0]


def _conflict(verb: str, job_id: int, cause: str) -> Refused:
    return Refused(Refused.CONFLICT, f"cannot {verb} job {job_id}: {cause}")


def _own_job(core: Core, item: Item, job_id: int, now: Instant) -> Item:
    """What ``target`` found, with a Job of its own in case the id is a waiting task's."""
    if item.id == job_id:
        return item
    assert isinstance(item, Array)
    job = waiting.split(core, item, job_id - item.id - 1)
    waiting.enter(core, job, now)
    return job


def own_tasks(core: Core, array: Array) -> list[Job]:
    """Tasks of an array that have a Job and have not ended, by position."""
    own = core.live.tallies[array.id].own
    return [core.live.jobs[array.id + 1 + position] for position in sorted(own)]


# --- ends -------------------------------------------------------------------------------------


def cancel(core: Core, event: Cancel, now: Instant) -> list[Action]:
    """End a job, a task, or everything of an array."""
    item = target(core, event.job_id, "cancel")
    if item.state in TERMINAL:
        raise _conflict("cancel", item.id, f"it has already ended ({item.state})")
    item = _own_job(core, item, event.job_id, now)
    if isinstance(item, Job):
        return _cancel_job(core, item, event, now)
    reason = _reason(event)
    actions: list[Action] = []
    tasks = own_tasks(core, item)
    actions += lifecycle.drop_waiting_tasks(core, item, now, reason)
    for job in tasks:
        actions += _cancel_job(core, job, event, now)
    return actions


def _reason(event: Cancel) -> str:
    return event.reason or f"cancelled by uid {event.uid}"


def _cancel_job(core: Core, job: Job, event: Cancel, now: Instant) -> list[Action]:
    if job.state is State.PENDING:
        job.reason = _reason(event)
        return lifecycle.drop(core, job, now, event.cause, event.uid)
    if job.state is not State.COMPLETING or job.kill_cause == "requeue":
        job.reason = _reason(event)
    if job.kill_cause == "requeue":
        # It is being ended in order to run again: now it is only being ended.
        job.kill_cause, job.ending = event.cause, State.CANCELLED
        core.live.change(job)
    elif job.kill_cause is not None and event.cause == "cancel":
        # It is being ended for another cause, which may be tried again: not after this.
        job.kill_cause = "cancel"
        core.live.change(job)
    return lifecycle.kill(core, job, event.cause, now, event.uid)


def send_signal(core: Core, event: SendSignal, now: Instant) -> list[Action]:
    """Pass a signal on to a job, or to every active task of an array."""
    item = target(core, event.job_id, "signal")
    jobs = own_tasks(core, item) if isinstance(item, Array) and item.id == event.job_id else [item]
    active = [job for job in jobs if isinstance(job, Job) and job.state in ACTIVE]
    if not active:
        raise _conflict("signal", event.job_id, "it is not running")
    return [Signal(job.id, job.attempt, event.signal, event.tree) for job in active]


def requeue(core: Core, event: Requeue, now: Instant) -> list[Action]:
    """Run again: an active job when it has ended, an ended one at once."""
    item = target(core, event.job_id, "requeue")
    if isinstance(item, Job):
        return _requeue_job(core, item, event, now)
    if item.id != event.job_id:
        raise _conflict("requeue", event.job_id, "it has not started yet")
    started = [job for job in core.live.task_jobs(item) if job.state is not State.PENDING]
    if not started:
        raise _conflict("requeue", item.id, "none of its tasks has started or is remembered")
    return [action for job in started for action in _requeue_job(core, job, event, now)]


def _requeue_job(core: Core, job: Job, event: Requeue, now: Instant) -> list[Action]:
    if job.state is State.PENDING:
        raise _conflict("requeue", job.id, "it has not started yet")
    if job.state in TERMINAL:
        if job.attempt:
            lifecycle.note_attempt(job, job.state, "requeue")
        return lifecycle.back(core, job, Happened.REQUEUED, now, "requeue")
    if job.state is State.COMPLETING:
        job.kill_cause = "requeue"
        core.live.change(job)
    return lifecycle.kill(core, job, "requeue", now, event.uid)


# --- holds ------------------------------------------------------------------------------------


def hold(core: Core, event: Hold, now: Instant) -> list[Action]:
    """Keep what is pending of a job, task or array from starting."""
    items = pending_of(core, event.job_id, "hold", now)
    for item in items:
        if item.hold == "admin" and not event.admin:
            continue
        _set_hold(core, item, "admin" if event.admin else "user", now)
    return []


def release(core: Core, event: Release, now: Instant) -> list[Action]:
    """Undo a hold; an admin's only by an admin."""
    item = target(core, event.job_id, "release")
    held = [item] if item.hold is not None else []
    if isinstance(item, Array) and item.id == event.job_id:
        held += [job for job in own_tasks(core, item) if job.hold is not None]
    if any(item.hold == "admin" for item in held) and not event.admin:
        raise Refused(Refused.FORBIDDEN, f"cannot release job {event.job_id}: an admin holds it")
    if not held or item.state in TERMINAL:
        raise _conflict("release", event.job_id, "it is not held")
    if item.id != event.job_id:
        held = [_own_job(core, item, event.job_id, now)]
    for one in held:
        _set_hold(core, one, None, now)
    return []


def _set_hold(core: Core, item: Item, hold: str | None, now: Instant) -> None:
    waiting.leave(core, item)
    item.hold = hold
    core.live.change(item)
    waiting.enter(core, item, now)


def pending_of(core: Core, job_id: int, verb: str, now: Instant) -> list[Item]:
    """What is pending of a job, task or array; refused when nothing is."""
    item = target(core, job_id, verb)
    if item.state is not State.PENDING:
        raise _conflict(verb, job_id, f"it is not pending ({item.state})")
    if isinstance(item, Job):
        return [item]
    if item.id != job_id:
        return [_own_job(core, item, job_id, now)]
    found: list[Item] = [item] if item.pending else []
    found += [job for job in own_tasks(core, item) if job.state is State.PENDING]
    if not found:
        raise _conflict(verb, job_id, "none of its tasks is pending")
    return found


# --- pauses -----------------------------------------------------------------------------------


def suspend(core: Core, event: Suspend, now: Instant) -> list[Action]:
    """Stop the tree of a running job; its time limit stands still, its resources stay held."""
    actions: list[Action] = []
    for job in _in_state(core, event.job_id, "suspend", State.RUNNING):
        allocation.change_end(core, job, suspended_boot_s=now.boot_s)
        moved = lifecycle.move(core, job, Happened.SUSPENDED, now, "suspend", event.uid)
        actions += [Signal(job.id, job.attempt, signals.SIGSTOP, True), moved]
    return actions


def resume(core: Core, event: Resume, now: Instant) -> list[Action]:
    """Continue a suspended job."""
    actions: list[Action] = []
    for job in _in_state(core, event.job_id, "resume", State.SUSPENDED):
        since = now.boot_s if job.suspended_boot_s is None else job.suspended_boot_s
        suspended_s = job.suspended_s + max(0.0, now.boot_s - since)
        allocation.change_end(core, job, suspended_s=suspended_s, suspended_boot_s=None)
        moved = lifecycle.move(core, job, Happened.RESUMED, now, "resume", event.uid)
        actions += [Signal(job.id, job.attempt, signals.SIGCONT, True), moved]
    return actions


def _in_state(core: Core, job_id: int, verb: str, state: State) -> list[Job]:
    item = target(core, job_id, verb)
    jobs = own_tasks(core, item) if isinstance(item, Array) and item.id == job_id else [item]
    found = [job for job in jobs if isinstance(job, Job) and job.state is state]
    if not found:
        raise _conflict(verb, job_id, f"it is not {state.value.lower()}")
    return found
