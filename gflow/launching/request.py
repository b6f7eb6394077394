"""The supervisor's side of the launcher: frames to send, and events that reports amount to.

Pure. The launcher itself does not import this: it stays free of the model.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from gflow.launching import protocol
from gflow.launching.adoption import Verdict
from gflow.launching.protocol import Message
from gflow.model import action, event
from gflow.model.job import Job, Process, Spec

#: Cause of a kill or a warning → what the job is told.
_REASONS = {
    "timeout": "time limit",
    "memory": "memory limit",
    "idle": "idle gpu",
    "cancel": "cancelled",
    "requeue": "requeued",
}

FOREIGN_MESSAGE = "it was started by another machine or in another state folder"

_OVER = frozenset(
    (Verdict.ENDED, Verdict.LOST, Verdict.FAILED, Verdict.NEVER_STARTED, Verdict.FOREIGN)
)

#: Answers to nothing that the core reacts to.
_NO_EVENTS = frozenset(("heartbeat", "scanned", "read_result", "trouble"))


def start(
    order: action.Start,
    *,
    env: bytes | None,
    script: bytes | None,
    record: bytes,
    grace_period_s: float,
    max_output_bytes: int = 0,
    variables: dict[str, str] | None = None,
    prolog: str | None = None,
    epilog: str | None = None,
    hook_timeout_s: float = 60.0,
    watchers: Sequence[str] = (),
) -> bytes:
    """Start an attempt. Sending it again is harmless: the launcher tells how the first one went.

    ``env`` and ``script`` are the blobs that the spec names (zlib-compressed); ``record`` is the
    job's record as JSON, given back by ``found``; ``grace_period_s`` and ``max_output_bytes`` (0:
    any amount) count unless the spec has its own.
    ``prolog`` and ``epilog`` are programs of the administrator, run around the command;
    ``watchers`` are users who may look at its terminal, if it has one.
    """
    spec = order.spec
    chosen: Message = {
        "args": spec.args,
        "array_id": order.array_id,
        "task": order.task,
        "task_min": order.task_min,
        "task_max": order.task_max,
        "task_count": order.task_count,
        "cpu_ids": order.cpu_ids,
        "gpu_ids": order.gpu_ids,
        "output_path": spec.output_path,
        "error_path": spec.error_path,
        "max_output_bytes": max_output_bytes
        if spec.max_output_bytes is None
        else spec.max_output_bytes,
        "linger": spec.linger,
        "pty": spec.pty,
        "watchers": list(watchers) if spec.pty else [],
        "variables": variables or {},
        "prolog": prolog,
        "epilog": epilog,
    }
    message: Message = {
        "t": "start",
        "job_id": order.job_id,
        "attempt": order.attempt,
        **_as_submitted(spec),
        "command": spec.command,
        "open_mode": spec.open_mode,
        "grace_period_s": grace_period_s if spec.grace_period_s is None else spec.grace_period_s,
        "hook_timeout_s": hook_timeout_s,
        # Most jobs have little of the rest, and it is encoded or decoded four times for a start.
        **{name: value for name, value in chosen.items() if value or type(value) is int},
    }
    return protocol.pack(message, (env, script, record))


def _as_submitted(spec: Spec) -> Message:
    """Who a command of the job runs as, where, with what, and what it was given."""
    return {
        "name": spec.name,
        "user": spec.user,
        "uid": spec.uid,
        "gid": spec.gid,
        "cwd": spec.cwd,
        "umask": spec.umask,
        "nice": spec.nice,
        "rlimits": spec.rlimits,
        "cpus": spec.resources.cpus,
        "memory_bytes": spec.resources.memory_bytes,
    }


def kill(order: action.Kill) -> bytes:
    """End the tree of an attempt; answered by ``gone`` (or ``lost``) in every case."""
    return protocol.pack(
        {
            "t": "kill",
            "job_id": order.job_id,
            "attempt": order.attempt,
            "grace_period_s": order.grace_period_s,
            "reason": _REASONS.get(order.cause, order.cause),
        }
    )


def warn(order: action.Warn) -> bytes:
    """Tell an attempt why it will end, and signal it; not answered."""
    return protocol.pack(
        {
            "t": "warn",
            "job_id": order.job_id,
            "attempt": order.attempt,
            "signal": order.signal,
            "tree": order.tree,
            "reason": _REASONS.get(order.cause, order.cause),
            "left_s": order.left_s,
        }
    )


def signal(order: action.Signal) -> bytes:
    """Send a signal to the command or to every process of the attempt; not answered."""
    return protocol.pack(
        {
            "t": "signal",
            "job_id": order.job_id,
            "attempt": order.attempt,
            "signal": order.signal,
            "tree": order.tree,
        }
    )


def forget(attempts: Iterable[tuple[int, int]]) -> bytes:
    """Delete what these attempts (job id, attempt) left: their final records are durable."""
    return protocol.pack({"t": "forget", "attempts": list(attempts)})


def conclude(
    job: Job, *, env: bytes | None, timeout_s: float, variables: Mapping[str, str]
) -> bytes:
    """Run the line for the job's end, which is final and durable, and forget its attempt.

    At most once, however often it is asked for: a run file is the right to it, unless the job ended
    while it waited for another attempt. ``variables`` are those of a start. A failure is reported
    as ``trouble``.
    """
    spec = job.spec
    ended = {
        "GFLOW_JOB_STATE": job.state.value,
        "GFLOW_JOB_REASON": (job.reason or "")[:1000],
        "GFLOW_EXIT_CODE": "" if job.exit_code is None else str(job.exit_code),
        "GFLOW_SIGNAL": "" if job.signal is None else str(job.signal),
    }
    message: Message = {
        "t": "conclude",
        "job_id": job.id,
        "attempt": job.attempt,
        **_as_submitted(spec),
        "command": ["bash", "-c", spec.on_end],
        "array_id": job.array_id,
        "task": job.task,
        "grace_period_s": 0.0,
        "variables": {**variables, **ended},
        "hook_timeout_s": timeout_s,
        "unguarded": job.started_at is None,
    }
    return protocol.pack(message, (env, None, None))


def expire(jobs: Iterable[Mapping[str, Any]]) -> bytes:
    """Delete the logs of jobs that history has forgotten: each {id, array_id, task}."""
    rows = [[job["id"], job.get("array_id"), job.get("task")] for job in jobs]
    return protocol.pack({"t": "expire", "jobs": rows})


def scan(active: Iterable[Job] = ()) -> bytes:
    """Report every run file (``found``), then ``scanned``.

    ``active``: jobs that the store says are running. Those without a run file are looked for, and
    found as well (running, follow, lost or never_started), and so are attempts that began although
    the store does not know it. Not for jobs whose start this supervisor
    has sent and got no answer to: send that again instead.
    """
    return protocol.pack({"t": "scan", "known": [_known(job) for job in active]})


def read_file(
    request_id: int,
    path: str,
    *,
    offset: int = 0,
    limit: int = 1 << 20,
    reader: tuple[str, int, int] | None = None,
) -> bytes:
    """A slice of a regular file, at most 1 MB; a negative ``offset`` counts from its end.

    ``reader``: (user, uid, gid) to read as, where the launcher is root. Answered by ``read_result
    {id, offset, size, mtime}`` with the bytes, or ``{id, error, kind}``.
    """
    message = {"t": "read", "id": request_id, "what": "file", "path": path}
    return protocol.pack({**message, "offset": offset, "limit": limit, **_reader(reader)})


def read_status(request_id: int, path: str, reader: tuple[str, int, int] | None = None) -> bytes:
    """stat(2). Answered by ``read_result {id, size, mtime, mode, uid, folder}``."""
    message = {"t": "read", "id": request_id, "what": "stat", "path": path}
    return protocol.pack({**message, **_reader(reader)})


def read_user(request_id: int, uid: int) -> bytes:
    """Who has this uid. Answered by ``read_result {id, name, uid, gid, home, shell}``."""
    return protocol.pack({"t": "read", "id": request_id, "what": "user", "uid_asked": uid})


def stop() -> bytes:
    """End the launcher; shims and jobs live on."""
    return protocol.pack({"t": "stop"})


def _reader(reader: tuple[str, int, int] | None) -> Message:
    return dict(zip(("user", "uid", "gid"), reader)) if reader else {}


def _known(job: Job) -> list[object]:
    seen = [_parts(job.shim), _parts(job.process)]
    return [job.id, job.attempt, *seen, job.boot_id, job.started_boot_s]


def _parts(process: Process | None) -> list[object] | None:
    return [process.boot_id, process.pid, process.start_ticks] if process else None


# --- reports -------------------------------------------------------------------------------------


def events(report: Message) -> list[event.Event]:
    """What a report means to the core, in order; empty for reports that are not about attempts."""
    what = report["t"]
    if what in _NO_EVENTS:
        return []
    if what == "found":
        return _FOUND[Verdict(report["verdict"])](report)
    return _REPORTED[what](report)


def events_apart(report: Message) -> list[event.Event]:
    """As :func:`events`, the end of the attempt by itself and last, for a report that it is over.

    What comes before leaves the attempt with all that it holds.
    """
    if not report.get("gone"):
        return events(report)
    return [*events({**report, "gone": False}), event.Gone(*_key(report))]


def is_over(report: Message) -> bool:
    """Whether nothing of the attempt is left, as this report says."""
    if report["t"] == "found":
        return Verdict(report["verdict"]) in _OVER
    return report["t"] in ("gone", "lost", "start_failed") or bool(report.get("gone"))


def _key(report: Message) -> tuple[int, int]:
    return report["job_id"], report["attempt"]


def _process(report: Message, name: str) -> Process | None:
    pair = report.get(name)
    return Process(report["boot_id"], pair[0], pair[1]) if pair else None


def _started(report: Message) -> list[event.Event]:
    return [_start_of(report, report)]


def _start_of(report: Message, facts: Message) -> event.Started:
    shim, process = _process(facts, "shim"), _process(facts, "process")
    assert shim is not None and process is not None
    return event.Started(
        *_key(report),
        shim=shim,
        process=process,
        started_at=facts["started_at"],
        started_boot_s=facts["started_boot_s"],
    )


def _start_failed(report: Message) -> list[event.Event]:
    failed = event.StartFailed(*_key(report), report["message"], report["transient"])
    if report.get("hold"):
        return [failed, event.Hold(report["job_id"], uid=0, admin=True)]
    return [failed]


def _exited(report: Message) -> list[event.Event]:
    exited = event.Exited(
        *_key(report),
        exit_code=report["exit_code"],
        signal=report["signal"],
        finished_at=report["finished_at"],
        usage=report.get("usage"),
        gone=bool(report.get("gone")),
        # It ended so soon that both are told together.
        start=_start_of(report, report["start"]) if "start" in report else None,
    )
    return [exited]


def _gone(report: Message) -> list[event.Event]:
    return [event.Gone(*_key(report))]


def _lost(report: Message) -> list[event.Event]:
    return [event.Lost(*_key(report), report["message"])]


def _adopted(report: Message) -> list[event.Event]:
    record = report.get("record") or {}
    return [
        event.Adopted(
            *_key(report),
            shim=_process(report, "shim"),
            process=_process(report, "process"),
            started_at=report["started_at"] or 0.0,
            started_boot_s=report["started_boot_s"] or 0.0,
            end_unknown=report["end_unknown"],
            cpu_ids=tuple(record.get("cpu_ids", ())),
            gpu_ids=tuple(record.get("gpu_ids", ())),
        )
    ]


def _found_ended(report: Message) -> list[event.Event]:
    return [*_adopted(report), *_exited({**report, "gone": True})]


def _found_completing(report: Message) -> list[event.Event]:
    return [*_adopted(report), *_exited(report)]


def _found_lost(report: Message) -> list[event.Event]:
    message = report.get("message", "nobody saw how it ended")
    return [*_adopted(report), event.Lost(*_key(report), message)]


def _found_foreign(report: Message) -> list[event.Event]:
    return [*_adopted(report), event.Lost(*_key(report), FOREIGN_MESSAGE)]


def _found_failed(report: Message) -> list[event.Event]:
    return [*_adopted(report), *_start_failed(report)]


def _found_never_started(report: Message) -> list[event.Event]:
    return [event.NeverStarted(*_key(report))]


_REPORTED = {
    "started": _started,
    "start_failed": _start_failed,
    "exited": _exited,
    "gone": _gone,
    "lost": _lost,
}
_FOUND = {
    Verdict.RUNNING: _adopted,
    Verdict.COMPLETING: _found_completing,
    Verdict.ENDED: _found_ended,
    Verdict.SWEEP: _found_completing,
    Verdict.FOLLOW: _adopted,
    Verdict.LOST: _found_lost,
    Verdict.FAILED: _found_failed,
    Verdict.NEVER_STARTED: _found_never_started,
    Verdict.FOREIGN: _found_foreign,
}
