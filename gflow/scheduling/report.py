"""Reports from the launcher: what became of the attempts.

A report names its attempt. One that comes twice, late, or for another attempt changes nothing.
"""

from __future__ import annotations

from typing import Any

from gflow.model.action import Action
from gflow.model.event import (
    Adopted,
    Exited,
    Gone,
    Lost,
    NeverStarted,
    Sampled,
    Started,
    StartFailed,
)
from gflow.model.job import Job
from gflow.model.state import ACTIVE, TERMINAL, Instant, Reason, State
from gflow.scheduling import allocation, lifecycle, retry, waiting
from gflow.scheduling.core import Core
from gflow.scheduling.machine import Happened

#: Points of a curve: what has just begun would be lost without much harm, and there is much of it.
_WORTH_SAVING = 8


def _current(core: Core, job_id: int, attempt: int) -> Job | None:
    job = core.live.jobs.get(job_id)
    return job if job is not None and job.attempt == attempt and job.state in ACTIVE else None


def started(core: Core, event: Started, now: Instant) -> list[Action]:
    """The command runs: its limit counts from here."""
    job = _current(core, event.job_id, event.attempt)
    if job is None or job.process is not None:
        return []
    job.shim, job.process = event.shim, event.process
    job.started_at = event.started_at
    began_s, boot_id = event.started_boot_s, event.process.boot_id
    allocation.change_end(core, job, started_boot_s=began_s, boot_id=boot_id)
    return []


def start_failed(core: Core, event: StartFailed, now: Instant) -> list[Action]:
    """The attempt did not come to exec: try again soon, or FAILED with the system's words."""
    job = _current(core, event.job_id, event.attempt)
    if job is None or job.process is not None:
        return []
    if job.state is State.COMPLETING:
        return _settled(core, job, now)
    if event.transient:
        return _put_off(core, job, event.message, now)
    job.reason = event.message
    job.exit_code = _exit_code(event.message)
    return lifecycle.refuse(core, job, now, "start failed")


def _exit_code(message: str) -> int | None:
    # As shells report it (POSIX sh, 2.8.2): not found 127, found but not executable 126.
    if "No such file" in message or "not found" in message:
        return 127
    if "Permission denied" in message or "Exec format error" in message:
        return 126
    return None


def _put_off(core: Core, job: Job, message: str, now: Instant) -> list[Action]:
    settings = core.settings
    failures = 0
    for past in reversed(job.attempts or []):
        if past.get("cause") != "start put off":
            break
        failures += 1
    delay_s = min(
        settings.launch_backoff_s * float(2 ** min(failures, 30)), settings.launch_backoff_max_s
    )
    lifecycle.note_attempt(job, State.PENDING, "start put off")
    del (job.attempts or [])[:-32]
    actions = lifecycle.back(
        core, job, Happened.UNSTARTED, now, "start put off", not_before_at=now.wall_s + delay_s
    )
    job.reason = message
    return actions


def exited(core: Core, event: Exited, now: Instant) -> list[Action]:
    """The command ended: what it ended with is fixed, its tree may take longer."""
    job = _current(core, event.job_id, event.attempt)
    if job is None:
        return []
    if job.exit_code is None and job.signal is None:
        if event.start is not None and not event.gone:
            started(core, event.start, now)
        _note_exit(core, job, event)
        if not event.gone and job.state is not State.COMPLETING:
            return [lifecycle.move(core, job, Happened.EXITED, now, "exited")]
    return _settled(core, job, now) if event.gone else []


def _note_exit(core: Core, job: Job, event: Exited) -> None:
    start = event.start
    if start is not None and job.process is None:
        # Nothing is left that would end some time: its expected end need not move.
        job.shim, job.process, job.started_at = start.shim, start.process, start.started_at
    job.exit_code, job.signal = event.exit_code, event.signal
    job.finished_at = event.finished_at
    if event.usage:
        job.usage = _with_end(job.usage or {}, event.usage)
    core.live.change(job)
    if job.ending is None:
        job.ending = _ending(job, event)
        if job.ending is State.OUT_OF_MEMORY:
            job.reason = _killed_by_the_kernel(event.usage or {})


def _with_end(sampled: dict[str, Any], end: dict[str, Any]) -> dict[str, Any]:
    """Usage at the end: exact figures replace sampled ones, but the peak of a tree stays.

    wait4 counts the largest single process, and never less than a shim's own memory (then
    ``max_rss_floor`` says so); the samples summed the whole tree.
    """
    usage = {**sampled, **end}
    peak = sampled.get("max_rss_bytes")
    if peak and (end.get("max_rss_floor") or peak > (end.get("max_rss_bytes") or 0)):
        usage["max_rss_bytes"] = peak
        usage.pop("max_rss_floor", None)
    if "max_pss_bytes" in sampled and not end.get("max_rss_floor"):
        # All have together what one of them had, at least; samples may have missed it.
        usage["max_pss_bytes"] = max(sampled["max_pss_bytes"], end.get("max_rss_bytes") or 0)
    return usage


def _killed_by_the_kernel(usage: dict[str, Any]) -> str:
    limit = usage.get("memory_limit_bytes")
    if limit is None:
        return "the kernel ended it: the machine, or a control group around it, was out of memory"
    return f"memory limit exceeded: the kernel ended it, {limit} bytes allowed"


def _ending(job: Job, event: Exited) -> State:
    if event.exit_code == 0:
        return State.COMPLETED
    if (event.usage or {}).get("oom_killed"):
        return State.OUT_OF_MEMORY
    return State.FAILED


def gone(core: Core, event: Gone, now: Instant) -> list[Action]:
    """Nothing of the attempt is left: it has ended, or runs again."""
    job = _current(core, event.job_id, event.attempt)
    if job is None:
        return []
    if job.state is not State.COMPLETING:
        return _lost(core, job, "its end could not be observed", now)
    return _settled(core, job, now)


def lost(core: Core, event: Lost, now: Instant) -> list[Action]:
    """Nothing of the attempt is left and nobody saw it end; never a success."""
    job = _current(core, event.job_id, event.attempt)
    if job is None:
        return []
    if job.state is not State.COMPLETING:
        return _lost(core, job, event.message, now)
    return _settled(core, job, now)


def _lost(core: Core, job: Job, message: str, now: Instant) -> list[Action]:
    job.finished_at = now.wall_s
    if job.spec.requeue:
        lifecycle.note_attempt(job, State.NODE_FAIL, "lost")
        return lifecycle.back(core, job, Happened.RETURNED, now, "lost")
    return _finish(core, job, State.NODE_FAIL, now, "lost", f"{Reason.LOST}: {message}")


def _settled(core: Core, job: Job, now: Instant) -> list[Action]:
    """The command of a job has ended, or was to be, and nothing of its attempt is left."""
    if job.kill_cause == "requeue":
        lifecycle.note_attempt(job, job.ending or State.CANCELLED, "requeue")
        return lifecycle.back(core, job, Happened.RETURNED, now, "requeue")
    state = job.ending or State.NODE_FAIL
    return _finish(core, job, state, now, job.kill_cause or "exited", job.reason)


def _finish(
    core: Core, job: Job, state: State, now: Instant, cause: str, reason: str | None
) -> list[Action]:
    rule = None if job.kill_cause == "cancel" else retry.rule_for(job, state)
    if rule is None:
        job.reason = reason
        job.ending = state
        return lifecycle.end(core, job, state, now, cause)
    retry.spend(job, rule)
    lifecycle.note_attempt(job, state, retry.cause_of(job, state))
    spec = retry.scaled(job.spec, rule, core.capacity)
    delay_s = retry.delay_s(job)
    not_before_at = now.wall_s + delay_s if delay_s else None
    return lifecycle.back(
        core, job, Happened.RETURNED, now, "retry", not_before_at=not_before_at, spec=spec
    )


# --- recovery ---------------------------------------------------------------------------------


def adopted(core: Core, event: Adopted, now: Instant) -> list[Action]:
    """An attempt runs, whatever the store says."""
    job = core.live.jobs.get(event.job_id)
    if job is None:
        task = core.live.waiting_task(event.job_id)
        if task is None:
            return []
        job = waiting.split(core, *task)
        waiting.enter(core, job, now)
    if event.attempt < job.attempt:
        return []
    if job.state in ACTIVE and event.attempt == job.attempt:
        return _recognise(core, job, event, now)
    if job.state in TERMINAL and event.attempt == job.attempt:
        return _resume_kill(core, job, event, now)
    changed: list[Action] = []
    if job.state is not State.PENDING:
        # The decision to run it again was not saved; nothing of the last attempt is this one's.
        happened = Happened.REQUEUED if job.state in TERMINAL else Happened.RETURNED
        lifecycle.note_attempt(job, job.ending or job.state, "requeue")
        changed += lifecycle.back(core, job, happened, now, "adopted")
    waiting.leave(core, job)
    core.dependencies.unwatch(core.live, job)
    job.attempt = event.attempt
    _take_over(core, job, event)
    job.cpu_ids, job.gpu_ids = event.cpu_ids or job.cpu_ids, event.gpu_ids or job.gpu_ids
    if not job.cpu_ids:
        job.cpu_ids = core.cpuset.take(job.spec.resources.cpus)
    else:
        core.cpuset.hold(job.cpu_ids)
    if not job.gpu_ids and job.spec.resources.gpus:
        job.gpu_ids = _likely_cards(core, job)
    changed.append(lifecycle.move(core, job, Happened.ADOPTED, now, "adopted"))
    core.live.change(job)
    allocation.occupy(core, job, now)
    return changed


def _take_over(core: Core, job: Job, event: Adopted) -> None:
    for name, value in _beginning(core, job, event).items():
        setattr(job, name, value)
    _note_watchers(job, event)


def _recognise(core: Core, job: Job, event: Adopted, now: Instant) -> list[Action]:
    _note_watchers(job, event)
    allocation.change_end(core, job, **_beginning(core, job, event))
    if job.kill_cause is None:
        return []
    # Whoever was asked to end it may have died before it did.
    return lifecycle.kill(core, job, job.kill_cause, now)


def _beginning(core: Core, job: Job, event: Adopted) -> dict[str, Any]:
    """When an attempt began, and on which boot; without a run file it stays as it is known."""
    if not event.started_at and job.started_at is not None:
        return {}
    known = event.process or event.shim
    return {
        "boot_id": known.boot_id if known else core.boot_id,
        "started_at": event.started_at or core.now.wall_s,
        "started_boot_s": event.started_boot_s if event.started_at else core.now.boot_s,
    }


def _note_watchers(job: Job, event: Adopted) -> None:
    job.shim, job.process = event.shim or job.shim, event.process or job.process
    if event.end_unknown and job.ending is None:
        job.ending = State.NODE_FAIL
        job.reason = Reason.LOST


def _resume_kill(core: Core, job: Job, event: Adopted, now: Instant) -> list[Action]:
    """The store says ended and the tree lives: it is ended again, the end stays what it was."""
    ending = job.ending or job.state
    job.attempt = event.attempt
    changed = lifecycle.move(core, job, Happened.ADOPTED, now, "adopted")
    _take_over(core, job, event)
    job.ending, job.kill_cause = ending, job.kill_cause or "cancel"
    core.cpuset.hold(job.cpu_ids)
    allocation.occupy(core, job, now)
    actions: list[Action] = [changed]
    if job.array_id is not None:
        array = core.live.arrays[job.array_id]
        actions += lifecycle.reopen_array(core, array, now, "adopted")
    return actions + lifecycle.kill(core, job, job.kill_cause, now)


def _likely_cards(core: Core, job: Job) -> tuple[int, ...]:
    """Cards for an adopted job whose own are not known: free ones first, any others after."""
    want = job.spec.resources
    accepting = core.pool.accepting(want)
    others = [index for index in core.pool.cards or {} if index not in accepting]
    return tuple(sorted([*accepting, *others][: want.gpus]))


def never_started(core: Core, event: NeverStarted, now: Instant) -> list[Action]:
    """Recovery proved that the attempt never came to exec: nothing is counted."""
    job = _current(core, event.job_id, event.attempt)
    if job is None:
        return []
    if job.state is State.COMPLETING:
        return _settled(core, job, now)
    return lifecycle.back(core, job, Happened.UNSTARTED, now, "never started")


def sampled(core: Core, event: Sampled, now: Instant) -> list[Action]:
    """Usage so far; peaks never shrink. Saved with a longer curve, which comes ever more rarely."""
    for job_id, attempt, figures in event.samples:
        job = _current(core, job_id, attempt)
        if job is None:
            continue
        grown = len(figures.get("series", {}).get("cpus", ())) >= _WORTH_SAVING
        usage = dict(job.usage or {})
        for name, value in figures.items():
            known = usage.get(name)
            peak = name.startswith("max_") and known is not None and value is not None
            usage[name] = max(known, value) if peak else value
        job.usage = usage
        if grown:
            core.live.change(job)
    return []
