"""Records as users see them (the shape of ``queue --json``): every key is always there."""

from __future__ import annotations

import os.path
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from gflow.launching import output
from gflow.model.job import Array, Job, Spec
from gflow.model.resources import Resources
from gflow.model.state import State
from gflow.scheduling import numbering
from gflow.scheduling.explanation import Explanation
from gflow.scheduling.sweep import task_spec

#: Ranges of task numbers that one row shows.
_SHOWN_RANGES = 20

Record = dict[str, Any]


def job_record(
    job: Job, reason: str | None, logs_dir: str, terminal_path: str | None = None
) -> Record:
    """One job, or one task that has a job of its own. ``reason``: why it waits, or how it ended.

    ``terminal_path`` is where viewers join, if it runs on a terminal.
    """
    record = _spec_record(job.spec)
    record.update(
        id=job.id,
        state=job.state.value,
        reason=reason,
        hold=job.hold,
        submitted_at=job.submitted_at,
        eligible_at=job.eligible_at,
        predicted_start_at=job.predicted_start_at,
        started_at=job.started_at,
        finished_at=job.finished_at,
        priority=job.priority,
        cpu_ids=list(job.cpu_ids),
        gpu_ids=list(job.gpu_ids),
        attempt=job.attempt,
        attempts=job.attempts or [],
        pid=job.process.pid if job.process is not None else None,
        exit_code=job.exit_code,
        signal=job.signal,
        array=None if job.array_id is None else {"id": job.array_id, "task": job.task},
        output_path=log_path(job, "output", logs_dir),
        error_path=log_path(job, "error", logs_dir),
        terminal_path=terminal_path,
        usage=job.usage,
    )
    return record


def waiting_task_record(array: Array, position: int, reason: str | None, logs_dir: str) -> Record:
    """A task that waits and has no job of its own."""
    assert array.spec.array is not None
    task = Job(
        id=array.id + 1 + position,
        spec=task_spec(array.spec, position),
        submitted_at=array.submitted_at,
        hold=array.hold,
        priority=array.priority,
        eligible_at=array.eligible_at,
        array_id=array.id,
        task=numbering.number_at(array.spec.array, position),
    )
    return job_record(task, reason, logs_dir)


def array_record(array: Array, reason: str | None) -> Record:
    """An array as a whole: its state is PENDING until all tasks ended, then that of the worst."""
    record = _spec_record(array.spec)
    record.update(_NOT_STARTED)
    record.update(
        id=array.id,
        state=array.state.value,
        reason=reason,
        hold=array.hold,
        submitted_at=array.submitted_at,
        eligible_at=array.eligible_at,
        finished_at=array.finished_at,
        priority=array.priority,
        array={
            "id": array.id,
            "task": None,
            "tasks": task_numbers(array, array.pending or array.cancelled),
            "pending": sum(stop - start for start, stop in array.pending),
            "size": array.size,
            "limit": array.limit,
        },
    )
    return record


def has_row(item: Job | Array) -> bool:
    """Whether listings show it: an array only for tasks that have no job of their own."""
    return not isinstance(item, Array) or bool(item.pending or item.cancelled)


def array_row(array: Array, reason: str | None) -> Record:
    """In listings: the tasks that wait, or those that were cancelled before they started."""
    record = array_record(array, reason)
    record["state"] = (State.PENDING if array.pending else State.CANCELLED).value
    return record


#: What only an attempt can have.
_NOT_STARTED: Record = {
    "predicted_start_at": None,
    "started_at": None,
    "cpu_ids": [],
    "gpu_ids": [],
    "attempt": 0,
    "attempts": [],
    "pid": None,
    "exit_code": None,
    "signal": None,
    "output_path": None,
    "error_path": None,
    "terminal_path": None,
    "usage": None,
}


def task_numbers(array: Array, positions: Iterable[tuple[int, int]]) -> str:
    """Half-open position ranges as task numbers: ``3-9,12``; a step shows as ``1-9:2``."""
    assert array.spec.array is not None
    parts = []
    for start, stop in positions:
        for first, last, step in numbering.slices(array.spec.array, start, stop):
            if first == last:
                parts.append(str(first))
            else:
                parts.append(f"{first}-{last}" + (f":{step}" if step > 1 else ""))
            if len(parts) == _SHOWN_RANGES:
                return ",".join(parts) + ",…"
    return ",".join(parts)


def _spec_record(spec: Spec) -> Record:
    return {
        "id": None,
        "name": spec.name,
        "user": spec.user,
        "uid": spec.uid,
        "gid": spec.gid,
        "state": None,
        "reason": None,
        "command": list(spec.command),
        "script": spec.script,
        "args": list(spec.args),
        "cwd": spec.cwd,
        "time_limit_s": spec.time_limit_s,
        "begin_at": spec.begin_at,
        "resources": resources_record(spec.resources),
        "dependencies": [
            {"type": one.type, "jobs": list(one.jobs), "delay_s": one.delay_s}
            for one in spec.dependencies
        ],
        "dependency_mode": spec.dependency_mode,
        "retries": [
            {"cause": rule.cause, "times": rule.times, "scale": dict(rule.scale)}
            for rule in spec.retries
        ],
        "retry_delay_s": spec.retry_delay_s,
        "requeue": spec.requeue,
        "max_output_bytes": spec.max_output_bytes,
        "warning": None if spec.warning is None else asdict(spec.warning),
        "project": spec.project,
        "group": spec.group,
        "group_limit": spec.group_limit,
        "kill_on_invalid_dependency": spec.kill_on_invalid_dependency,
        "on_end": spec.on_end,
        "pty": spec.pty,
        "comment": spec.comment,
        "params": dict(spec.params),
        "sweep": {name: len(rows) for names, rows in spec.sweep for name in names},
        "labels": dict(spec.labels),
    }


def resources_record(resources: Resources) -> Record:
    """What was asked for; null claims nothing."""
    return {
        "cpus": resources.cpus,
        "memory_bytes": resources.memory_bytes or None,
        "gpus": resources.gpus,
        "gpu_memory_bytes": resources.gpu_memory_bytes or None,
        "gpu_shared": resources.gpu_shared,
        "gres": dict(resources.gres),
        "exclusive": resources.exclusive,
        "gpus_allowed": list(resources.gpus_allowed),
    }


def explanation_record(explanation: Explanation) -> Record:
    """What ``explain --json`` shows."""
    expected = explanation.expected_start
    return {
        "job_id": explanation.job_id,
        "state": explanation.state.value,
        "position": explanation.position,
        "blockers": [
            {
                "reason": blocker.reason.value,
                "message": blocker.message,
                "remedy": blocker.remedy,
                "until_at": blocker.until_at,
            }
            for blocker in explanation.blockers
        ],
        "remedies": [],
        "expected_start_at": {
            "earliest": None if expected is None else expected[0],
            "latest": None if expected is None else expected[1],
        },
    }


def log_path(job: Job, stream: str, logs_dir: str) -> str | None:
    """Where a stream ("output" or "error") of a job goes; None: "error" goes with "output"."""
    pattern = job.spec.output_path if stream == "output" else job.spec.error_path
    if pattern is not None:
        values = output.values(
            job.id, job.array_id, job.task, name=job.spec.name, user=job.spec.user
        )
        return os.path.join(job.spec.cwd, output.expand(pattern, values))
    if stream == "error":
        return None
    return output.log_path(logs_dir, job.id, job.array_id, job.task)
