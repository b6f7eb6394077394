"""Our records as the reference's job objects, key for key."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gflow.api import dialect
from gflow.compat import encoding
from gflow.compat.submission import is_uuid

Record = dict[str, Any]


def job(record: Record, culprit: int | None = None) -> Record:
    """One job. ``culprit``: the job whose end made this one's dependencies impossible.

    The keys after ``scheduled_at`` are ours: the reference's clients pass over them.
    """
    labels: Mapping[str, str] = record["labels"]
    resources = record["resources"]
    parents = dialect.parent_ids(record)
    state = dialect.state(record)
    shape: Record = {
        "id": record["id"],
        "script": labels.get("script"),
        "command": dialect.command(record),
        "gpus": resources["gpus"],
        "conda_env": labels.get("conda_env"),
        "run_dir": record["cwd"],
        "priority": max(0, min(record["priority"], 255)),
        "depends_on": parents[0] if len(parents) == 1 else None,
        "depends_on_ids": parents,
        "dependency_mode": record["dependency_mode"].capitalize() if parents else None,
        "auto_cancel_on_dependency_failure": record["kill_on_invalid_dependency"],
        "task_id": dialect.task(record),
        "gpu_sharing_mode": "Shared" if resources["gpu_shared"] else "Exclusive",
        "gpu_memory_limit_mb": dialect.megabytes(resources["gpu_memory_bytes"]),
        "time_limit": encoding.duration(record["time_limit_s"]),
        "memory_limit_mb": dialect.megabytes(resources["memory_bytes"]),
        "submitted_by": record["user"],
        "redone_from": dialect.label_number(record, "redone_from"),
        "retried_from": None,
        "max_retries": max((rule["times"] for rule in record["retries"]), default=0),
        "auto_close_tmux": labels.get("auto_close_tmux") == "True",
        "parameters": record["params"],
        "group_id": record["group"] if is_uuid(record["group"] or "") else None,
        "max_concurrent": record["group_limit"],
        "run_name": dialect.run_name(record),
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
