"""One job of the reference as ``POST /v1/import/jobs`` takes it.

What ran when the reference's daemon stopped is not a job of ours and cannot become one: nobody here
is the parent of its processes. When its runner left a result, that is its end; else it ends as
NODE_FAIL, for nobody can say how it ended.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from gflow.api import dialect
from gflow.compat import encoding, submission
from gflow.compat.problem import Problem

Record = dict[str, Any]

_ENDED = {
    "Finished": "COMPLETED",
    "Failed": "FAILED",
    "Cancelled": "CANCELLED",
    "Timeout": "TIMEOUT",
}
_LOST = "Lost: it ran under the earlier daemon, which cannot say any more how it ended"
#: What a job without a command is: the reference takes such, and lets them fail at their start.
_NO_COMMAND = "false"


class Unusable(ValueError):
    """The job cannot be taken over; the text says why."""


@dataclass(slots=True, frozen=True)
class Result:
    """What a runner wrote when its command had ended."""

    exit_code: int
    finished_at: float


@dataclass(slots=True, frozen=True)
class Surroundings:
    """What an arrival depends on beside the job itself."""

    #: Ids of all jobs of the state.
    ids: frozenset[int]
    #: User name → (uid, gid).
    account: Callable[[str], tuple[int, int]]
    #: When the daemon last wrote its state (epoch seconds): what ran was there until then.
    stopped_at: float
    #: Results of runners, by job.
    results: Mapping[int, Result]
    #: The log of a job that has ended; None: there is none.
    log_of: Callable[[int], str | None]


def arrival(raw: Record, around: Surroundings) -> Record:
    """The job as a request. Raises Unusable."""
    job_id = raw["id"]
    try:
        job = submission.read_job(raw)
        times = {name: _moment(raw, name) for name in ("submitted_at", "started_at", "finished_at")}
        _make_runnable(job)
        lost = [one for one in submission.parents(job) if one not in around.ids]
        spec = _spec(raw, job, frozenset(lost))
        fate = _fate(raw, around)
    except (Problem, ValueError) as error:
        raise Unusable(f"job {job_id}: {error}") from None
    user = job["submitted_by"] or "unknown"
    uid, gid = around.account(user)
    found: Record = {"id": job_id, "user": user, "uid": uid, "gid": gid, "spec": spec, **times}
    found["submitted_at"] = times["submitted_at"] or times["started_at"] or 0.0
    found["gpu_ids"] = raw.get("gpu_ids") or []
    found.update(fate)
    if found["state"] != "PENDING":
        log = around.log_of(job_id)
        if log is not None:
            spec.update(output_path=log.replace("%", "%%"), open_mode="append")
    elif lost:
        known = ", ".join(map(str, lost))
        found.update(hold=True, reason=f"it depended on job {known}, which is not known")
    return found


def _moment(raw: Record, name: str) -> float | None:
    value = raw.get(name)
    return None if value is None else encoding.parse_time_point(value)


def _make_runnable(job: submission.Fields) -> None:
    """What the reference accepts and cannot run becomes something that fails, or waits, as well."""
    if job["script"] is None and not (job["command"] or "").strip():
        job["command"] = _NO_COMMAND
    if job["gpu_sharing_mode"] == "Shared" and not job["gpu_memory_limit_mb"]:
        job["gpu_sharing_mode"] = "Exclusive"
    job["gpus"] = min(job["gpus"], 1024)


def _spec(raw: Record, job: submission.Fields, lost: frozenset[int]) -> Record:
    prefix = f"gjob-{raw['id']}"
    asked = job["run_name"] or ""
    job["run_name"] = asked.removeprefix(prefix).removeprefix("-")
    spec = submission.spec(job)
    spec["dependencies"] = [one for one in spec["dependencies"] if one["jobs"][0] not in lost]
    if raw.get("retried_from"):
        spec["labels"]["retried_from"] = str(raw["retried_from"])
    if raw.get("state") in _ENDED:
        spec.pop("group_limit", None)
    return spec


def _fate(raw: Record, around: Surroundings) -> Record:
    state, reason = raw.get("state"), raw.get("reason")
    result = around.results.get(raw["id"])
    if state in ("Queued", "Hold"):
        return {"state": "PENDING", "hold": state == "Hold"}
    if state == "Running":
        if result is None:
            return {"state": "NODE_FAIL", "reason": _LOST, "finished_at": around.stopped_at}
        ended = "FAILED" if result.exit_code else "COMPLETED"
        return {
            "state": ended,
            "exit_code": result.exit_code,
            "finished_at": result.finished_at,
        }
    if state not in _ENDED:
        raise ValueError(f"its state {state!r} is not one of {', '.join(dialect.NAMES)}")
    fate: Record = {"state": _ENDED[state]}
    if state == "Finished":
        fate["exit_code"] = 0  # nothing else is called Finished
    if isinstance(reason, dict) and "DependencyFailed" in reason:
        fate["reason"] = "DependencyNeverSatisfied"
    return fate


def in_order(arrivals: list[Record]) -> list[Record]:
    """Ended jobs first, then those that wait, each after what it depends on."""
    waiting = {one["id"]: one for one in arrivals if one["state"] == "PENDING"}
    ordered = [one for one in arrivals if one["state"] != "PENDING"]
    seen: set[int] = set()
    for first in waiting:
        path = [(first, _parents(waiting[first]))] if first not in seen else []
        seen.add(first)
        while path:
            job_id, parents = path[-1]
            parent = next((one for one in parents if one in waiting and one not in seen), None)
            if parent is None:
                path.pop()
                ordered.append(waiting[job_id])
            else:
                seen.add(parent)
                path.append((parent, _parents(waiting[parent])))
    return ordered


def _parents(one: Record) -> Iterator[int]:
    return (parent for condition in one["spec"]["dependencies"] for parent in condition["jobs"])
