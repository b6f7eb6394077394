"""The reference's state file: ``state.msgpack`` of versions 0 to 4, ``state.json``, its journal.

Version 4 keeps two lists, ``job_specs`` and ``job_runtimes``, whose entries belong together by
position; before there was one of whole jobs, as a list or by id, and version 2 could stand in the
file as a bare list of values without their names.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgpack

Record = dict[str, Any]

VERSION = 4
#: What the reference sets its counter to when it could not read its own file.
_LOST_COUNT = 2_000_000_000

#: Values of a state where their names are left out.
_STATE_NAMES = ("version", "jobs", "state_path", "next_job_id", "allowed_gpu_indices")
#: Those of a job, in the order in which the reference declares (and its API writes) them.
JOB_NAMES = (
    "id",
    "script",
    "command",
    "gpus",
    "conda_env",
    "run_dir",
    "priority",
    "depends_on",
    "depends_on_ids",
    "dependency_mode",
    "auto_cancel_on_dependency_failure",
    "task_id",
    "gpu_sharing_mode",
    "gpu_memory_limit_mb",
    "time_limit",
    "memory_limit_mb",
    "submitted_by",
    "redone_from",
    "retried_from",
    "max_retries",
    "auto_close_tmux",
    "parameters",
    "group_id",
    "max_concurrent",
    "run_name",
    "project",
    "state",
    "gpu_ids",
    "submitted_at",
    "started_at",
    "finished_at",
    "reason",
)


class Unreadable(ValueError):
    """The bytes are no state that can be read; the text says why."""


@dataclass(slots=True, frozen=True)
class State:
    """What the reference knew. Jobs ascend by id; the rest is as it stands in the file."""

    version: int
    jobs: list[Record]
    #: Above every id that was given out.
    next_job_id: int
    allowed_gpus: list[int] | None = None
    #: {users, projects, default_user, default_project}.
    quotas: Record = field(default_factory=dict)
    reservations: list[Record] = field(default_factory=list)
    #: user → {usage, last_update}.
    use: Record = field(default_factory=dict)


def read(data: bytes, name: str) -> State:
    """The state in the bytes of a file, whose ``name`` says how they are written.

    ``….json`` is JSON, ``….jsonl`` the journal, of which the last line counts, all else is
    MessagePack. Raises Unreadable.
    """
    try:
        if name.endswith(".jsonl"):
            return of(json.loads(data.strip().rpartition(b"\n")[2])["scheduler"])
        if name.endswith(".json"):
            return of(json.loads(data))
        return of(msgpack.unpackb(data, strict_map_key=False))
    except Unreadable:
        raise
    except (ValueError, TypeError, KeyError, RecursionError, msgpack.UnpackException) as error:
        raise Unreadable(
            f"it is damaged or no state file: {error or type(error).__name__}"
        ) from None


def of(raw: object) -> State:
    """The state in a decoded file. Raises Unreadable."""
    if isinstance(raw, list):
        raw = dict(zip(_STATE_NAMES, raw))
    if not isinstance(raw, dict):
        raise Unreadable("it holds no state")
    version = raw.get("version", 0)
    if not isinstance(version, int) or version < 0:
        raise Unreadable("its version is no number")
    if version > VERSION:
        raise Unreadable(f"its version is {version}, and {VERSION} is the latest that is known")
    jobs = sorted(_jobs(raw), key=lambda job: job["id"])
    highest = jobs[-1]["id"] if jobs else 0
    if len({job["id"] for job in jobs}) < len(jobs):
        raise Unreadable("two of its jobs have one id")
    counted = raw.get("next_job_id")
    trusted = isinstance(counted, int) and highest < counted < _LOST_COUNT
    return State(
        version=version,
        jobs=jobs,
        next_job_id=counted if trusted and isinstance(counted, int) else highest + 1,
        allowed_gpus=_part(raw, "allowed_gpu_indices", list),
        quotas=_part(raw, "quota_overrides", dict) or {},
        reservations=_part(raw, "reservations", list) or [],
        use=_part(raw, "fair_share_usage", dict) or {},
    )


def _part(raw: Mapping[str, Any], name: str, kind: type) -> Any:
    value = raw.get(name)
    if value is not None and not isinstance(value, kind):
        raise Unreadable(f"{name} is no {kind.__name__}")
    return value


def _jobs(raw: Mapping[str, Any]) -> list[Record]:
    specs, runtimes = raw.get("job_specs"), raw.get("job_runtimes")
    if specs is not None or runtimes is not None:
        if not isinstance(specs, list) or not isinstance(runtimes, list):
            raise Unreadable("it has half of its jobs only")
        if len(specs) != len(runtimes):
            raise Unreadable(f"it describes {len(specs)} jobs and says how {len(runtimes)} stand")
        return [_job({**_named(spec), **_named(run)}) for spec, run in zip(specs, runtimes)]
    jobs = raw.get("jobs", [])
    if isinstance(jobs, dict):
        jobs = list(jobs.values())
    if not isinstance(jobs, list):
        raise Unreadable("its jobs are no list")
    return [_job(_named(job)) for job in jobs]


def _named(raw: object) -> Record:
    if isinstance(raw, list):
        return dict(zip(JOB_NAMES, raw))
    if not isinstance(raw, dict):
        raise Unreadable("one of its jobs is no job")
    return raw


def _job(job: Record) -> Record:
    """A job with times and durations by name, as the reference's API gives them."""
    if not isinstance(job.get("id"), int) or job["id"] < 1:
        raise Unreadable("one of its jobs has no id")
    for name, parts in (
        ("time_limit", ("secs", "nanos")),
        *((name, ("secs_since_epoch", "nanos_since_epoch")) for name in _MOMENTS),
    ):
        if isinstance(job.get(name), list):
            job[name] = dict(zip(parts, job[name]))
    return job


_MOMENTS = ("submitted_at", "started_at", "finished_at", "scheduled_at")
