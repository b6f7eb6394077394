"""Everything about a job, as ``gjob show`` prints it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from gflow.api import dialect
from gflow.cli.classic import sheet
from gflow.cli.rendering import escape

Record = dict[str, Any]
Pairs = Iterator[tuple[str, Any]]

_ENDS = "job_completed,job_failed,job_timeout,job_cancelled"


def details(record: Record) -> str:
    """The sections that have something to say, with a blank line between them."""
    sections = (
        ("Job Details", _job(record)),
        ("Parameters", iter(sorted(record["params"].items()))),
        ("Resources", _resources(record)),
        ("Execution", _execution(record)),
        ("Dependencies", _dependencies(record)),
        ("Timing", _timing(record)),
    )
    parts = []
    for title, pairs in sections:
        lines = [f"  {name}={escape(str(value))}" for name, value in pairs if value is not None]
        if lines:
            parts.append("\n".join([f"{title}:", *lines, ""]))
    return "\n".join(parts)


def _job(record: Record) -> Pairs:
    state = dialect.state(record)
    yield "ID", record["id"]
    yield "State", f"{state} ({dialect.short(state)})"
    yield "Priority", record["priority"]
    yield "SubmittedBy", record["user"]
    yield "MaxRetries", max((rule["times"] for rule in record["retries"]), default=0) or None
    yield "GroupID", record["group"]
    yield "Script", record["labels"].get("script")
    command = dialect.command(record)
    if command is not None and record["params"]:
        yield "Command(template)", command
        yield "Command(actual)", dialect.substituted(command, record["params"])
    else:
        yield "Command", command
    yield "Project", record["project"]
    yield "Reason", record["reason"]
    yield "ExitCode", record["exit_code"]
    yield "Signal", record["signal"]


def _resources(record: Record) -> Pairs:
    wanted = record["resources"]
    yield "CPUs", wanted["cpus"]
    yield "GPUs", wanted["gpus"]
    yield "GPUSharing", "shared" if wanted["gpu_shared"] else "exclusive"
    if wanted["gpu_memory_bytes"]:
        yield "GPUMemoryLimit", sheet.size(wanted["gpu_memory_bytes"])
    if record["started_at"] is not None:
        yield "GPUIDs", ",".join(map(str, record["gpu_ids"]))
    if wanted["memory_bytes"]:
        yield "MemoryLimit", sheet.size(wanted["memory_bytes"])
    yield "CondaEnv", record["labels"].get("conda_env")


def _execution(record: Record) -> Pairs:
    labels = record["labels"]
    yield "WorkingDir", record["cwd"]
    yield "RunName", dialect.run_name(record)
    yield "Log", record["output_path"]
    yield "NotifyEmail", labels.get("notify_emails")
    if "notify_emails" in labels:
        yield "NotifyOn", labels.get("notify_events", _ENDS)


def _dependencies(record: Record) -> Pairs:
    parents = dialect.parent_ids(record)
    if parents:
        yield "DependsOn", ",".join(map(str, parents))
        yield "Mode", record["dependency_mode"].capitalize()
        if record["kill_on_invalid_dependency"]:
            yield "AutoCancel", "enabled"
    yield "TaskID", dialect.task(record)


def _timing(record: Record) -> Pairs:
    if record["time_limit_s"] is not None:
        yield "TimeLimit", sheet.clock(record["time_limit_s"])
    if record["begin_at"] is not None:
        yield "Begin", _moment(record["begin_at"])
    submitted, started = record["submitted_at"], record["started_at"]
    if started is None:
        yield "Submitted", _moment(submitted)
        return
    yield "Submitted", f"{_moment(submitted)} (waited {sheet.clock(started - submitted)})"
    if record["finished_at"] is None:
        yield "Started", f"{_moment(started)} (running {sheet.elapsed(record)} so far)"
        return
    yield "Started", _moment(started)
    yield "Finished", f"{_moment(record['finished_at'])} (runtime {sheet.elapsed(record)})"


def _moment(epoch_s: float) -> str:
    return time.strftime("%m/%d-%H:%M:%S", time.localtime(epoch_s))
