"""A PATCH of the reference as changes for ``Operations.update``."""

from __future__ import annotations

from typing import Any

from gflow.api import conda
from gflow.api.quantity import GrammarError
from gflow.api.specification import parse_changes
from gflow.compat import shape, submission
from gflow.compat.problem import Problem

Record = dict[str, Any]
#: Whose group, its name, and how many of it may run at once.
GroupLimit = tuple[str, str, int | None]

_COMMAND = frozenset({"command", "script", "conda_env", "parameters"})
_RESOURCES = frozenset({"gpus", "memory_limit_mb", "gpu_memory_limit_mb"})
_CHANGING = frozenset({"command", "script", "conda_env", "notify_emails", "notify_events"})
_DEPENDENCIES = frozenset({"depends_on_ids", "dependency_mode"})


def _labels(before: dict[str, str], after: dict[str, str]) -> dict[str, str]:
    """Labels with what a PATCH can change taken from ``after``."""
    kept = {name: text for name, text in before.items() if name not in _CHANGING}
    return {**kept, **{name: text for name, text in after.items() if name in _CHANGING}}


def _script(record: Record, patch: submission.Fields, text: str) -> Record:
    """What becomes of a captured script: it is in its arguments and variables, not in a file."""
    if patch.get("parameters", record["params"]) != record["params"]:
        raise Problem(
            400, "its script was captured with its parameters: name a command or a script"
        )
    if "conda_env" not in patch:
        return {}
    try:
        moved = conda.moved(record, text, patch["conda_env"])
    except GrammarError as error:
        raise Problem(400, str(error)) from None
    del moved["labels"]  # they are changed with the others
    return moved


def keeps_script(record: Record, patch: submission.Fields) -> bool:
    """Whether it takes the captured script to make the changes."""
    named = {name for name in ("command", "script") if patch.get(name) is not None}
    return record["script"] is not None and bool(patch.keys() & _COMMAND) and not named


def changes(
    record: Record, patch: submission.Fields, script: str | None = None
) -> tuple[Record, GroupLimit | None]:
    """Changes of a job, and of its group; ``script``: the captured one, if it is kept.

    A new script is its text, as ``parse_changes`` says. Raises Problem and Refused.
    """
    before = submission.read_job(shape.job(record))
    job = {**before, **patch}
    if "command" in patch and patch["command"] is not None and "script" not in patch:
        job["script"] = None  # the newest word counts, not the script behind its back
    if patch.get("script") is not None and "command" not in patch:
        job["command"] = None
    if "depends_on_ids" in patch:
        job["depends_on"] = None
    raw: Record = {}
    if patch.keys() & {*_COMMAND, "notifications"}:
        raw["labels"] = _labels(record["labels"], submission.labels(job))
    if "priority" in patch:
        raw["priority"] = job["priority"]
    if "time_limit" in patch:
        raw["time_limit_s"] = submission.time_limit_s(job)
    if "auto_cancel_on_dependency_failure" in patch:
        raw["kill_on_invalid_dependency"] = job["auto_cancel_on_dependency_failure"]
    if "max_retries" in patch:
        raw["retries"] = min(job["max_retries"], 1_000_000)
    if _DEPENDENCIES & patch.keys():
        raw["dependencies"] = submission.dependencies(job)
        raw["dependency_mode"] = submission.dependency_mode(job)
    if _RESOURCES & patch.keys():
        wanted = submission.resources(job)
        if not job["gpus"]:
            wanted.update(gpu_memory_bytes=None, gpu_shared=None)
        raw["resources"] = wanted
    if script is not None:
        raw.update(_script(record, patch, script))
    found = parse_changes(raw, {}) if raw else {}
    if script is None and _COMMAND & patch.keys():
        found.update(command=tuple(submission.command(job)), script=None, args=None)
        found["params"] = tuple(job["parameters"].items())
    limit = None
    if "max_concurrent" in patch and record["group"] is not None:
        found["group_limit"] = submission.group_limit(job)
        limit = (record["user"], record["group"], found["group_limit"])
    return found, limit
