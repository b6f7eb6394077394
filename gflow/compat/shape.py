"""Our records as the reference's job objects, key for key."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from gflow.compat import encoding
from gflow.compat.submission import is_uuid, normalised
from gflow.model.state import Reason, State

Record = dict[str, Any]


def job(record: Record, culprit: int | None = None) -> Record:
    """One job. ``culprit``: the job whose end made this one's dependencies impossible.

    The keys after ``scheduled_at`` are ours: the reference's clients pass over them.
    """
    labels: Mapping[str, str] = record["labels"]
    resources = record["resources"]
    parents = parent_ids(record)
    state = encoding.state(record)
    shape: Record = {
        "id": record["id"],
        "script": labels.get("script"),
        "command": _command(record),
        "gpus": resources["gpus"],
        "conda_env": labels.get("conda_env"),
        "run_dir": record["cwd"],
        "priority": max(0, min(record["priority"], 255)),
        "depends_on": parents[0] if len(parents) == 1 else None,
        "depends_on_ids": parents,
        "dependency_mode": record["dependency_mode"].capitalize() if parents else None,
        "auto_cancel_on_dependency_failure": record["kill_on_invalid_dependency"],
        "task_id": _task(record),
        "gpu_sharing_mode": "Shared" if resources["gpu_shared"] else "Exclusive",
        "gpu_memory_limit_mb": megabytes(resources["gpu_memory_bytes"]),
        "time_limit": encoding.duration(record["time_limit_s"]),
        "memory_limit_mb": megabytes(resources["memory_bytes"]),
        "submitted_by": record["user"],
        "redone_from": _number(labels.get("redone_from")),
        "retried_from": None,
        "max_retries": max((rule["times"] for rule in record["retries"]), default=0),
        "auto_close_tmux": labels.get("auto_close_tmux") == "True",
        "parameters": record["params"],
        "group_id": record["group"] if is_uuid(record["group"] or "") else None,
        "max_concurrent": record["group_limit"],
        "run_name": run_name(record),
        "project": record["project"],
        "state": state,
        "gpu_ids": None if record["started_at"] is None else record["gpu_ids"],
        "submitted_at": encoding.time_point(record["submitted_at"]),
        "started_at": encoding.time_point(record["started_at"]),
        "finished_at": encoding.time_point(record["finished_at"]),
        "reason": encoding.reason(record, culprit),
    }
    if state == "Running":
        shape["alive"] = record["pid"] is not None
    if "notify_emails" in labels:
        shape["notifications"] = {
            kind: labels[key].split(",")
            for kind in ("emails", "events")
            if (key := f"notify_{kind}") in labels
        }
    shape["scheduled_at"] = encoding.time_point(record["begin_at"])
    for key in ("uid", "exit_code", "signal", "attempt", "array"):
        shape[key] = record[key]
    shape["gflow_state"], shape["gflow_reason"] = record["state"], record["reason"]
    return shape


def run_name(record: Record) -> str:
    """``gjob-7``, or ``gjob-7-name`` when somebody named it. Unique, for ids are."""
    name = record["labels"].get("run_name", normalised(record["name"]))
    return f"gjob-{record['id']}-{name}" if name else f"gjob-{record['id']}"


def parent_ids(record: Record) -> list[int]:
    """Everything the job depends on."""
    return list(dict.fromkeys(i for one in record["dependencies"] for i in one["jobs"]))


def lost_parents(record: Record) -> list[int]:
    """Parents of a job that was cancelled because they did not end as they should; else empty."""
    cancelled = record["state"] == State.CANCELLED
    if cancelled and record["reason"] == Reason.DEPENDENCY_NEVER_SATISFIED:
        return parent_ids(record)
    return []


def megabytes(size: int | None) -> int | None:
    """Bytes in the reference's unit, rounded up; None claims nothing."""
    return -(-size // (1 << 20)) if size else None


def _command(record: Record) -> str | None:
    labels = record["labels"]
    if "command" in labels or "script" in labels:
        return labels.get("command")  # type: ignore[no-any-return]
    if record["command"]:
        words = record["command"]
        return words[2] if words[:2] == ["bash", "-c"] and len(words) == 3 else shlex.join(words)
    return shlex.join([record["name"], *record["args"]])


def _task(record: Record) -> int | None:
    if record["array"] is not None:
        return record["array"]["task"]  # type: ignore[no-any-return]
    return _number(record["labels"].get("task_id"))


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isascii() and text.isdigit() else None
