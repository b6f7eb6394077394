"""The reference's job objects as our specs, and back into what an update needs."""

from __future__ import annotations

import os.path
import re
import time
from collections.abc import Callable, Mapping
from typing import Any

from gflow.api import dialect, field
from gflow.api.field import Invalid
from gflow.api.quantity import GrammarError, quoted
from gflow.compat import encoding
from gflow.compat.command import command_line
from gflow.compat.problem import Problem

_U32 = (1 << 32) - 1
_U64 = (1 << 64) - 1
#: What is larger is refused as too large for any machine, not as wrong.
_MAX_MB = 1 << 33
_MAX_BEGIN_AT = float(1 << 36)
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)

Check = Callable[[Any], Any]
Fields = dict[str, Any]


def is_uuid(text: str) -> bool:
    """Whether it can be the id of a group."""
    return _UUID.fullmatch(text.lower()) is not None


def _uuid(value: Any) -> str:
    text = field.line(value).lower()
    if not is_uuid(text):
        raise Invalid(f"must be a UUID, not {quoted(text, 40)}")
    return text


def _ids(value: Any) -> tuple[int, ...]:
    if not isinstance(value, list) or len(value) > 100_000:
        raise Invalid("must be a list of at most 100000 job ids")
    return tuple(dict.fromkeys(map(field.integer(0, _U32), value)))


def _parameters(value: Any) -> dict[str, str]:
    return dict(field.strings(value))


def _notifications(value: Any) -> dict[str, list[str]]:
    given = field.mapping(value)
    return {key: list(field.words(given.get(key) or [])) for key in ("emails", "events")}


_TEXT = field.text(1 << 20)
_NUMBER = field.integer(0, _U64)

#: Key of a job → (check, what it is when absent). Null is as good as absent.
FIELDS: dict[str, tuple[Check, Any]] = {
    "script": (field.path, None),
    "command": (_TEXT, None),
    "gpus": (field.integer(0, _U32), 0),
    "conda_env": (field.text(1024), None),
    "run_dir": (field.path, "."),
    "priority": (field.integer(0, 255), 10),
    "depends_on": (field.integer(0, _U32), None),
    "depends_on_ids": (_ids, ()),
    "dependency_mode": (field.choice("All", "Any"), None),
    "auto_cancel_on_dependency_failure": (field.boolean, False),
    "task_id": (field.integer(0, _U32), None),
    "gpu_sharing_mode": (field.choice("Exclusive", "Shared"), "Exclusive"),
    "gpu_memory_limit_mb": (_NUMBER, None),
    "time_limit": (encoding.parse_duration, None),
    "memory_limit_mb": (_NUMBER, None),
    "submitted_by": (field.text(256), None),
    "redone_from": (field.integer(0, _U32), None),
    "max_retries": (field.integer(0, _U32), 0),
    "auto_close_tmux": (field.boolean, False),
    "parameters": (_parameters, {}),
    "group_id": (_uuid, None),
    "max_concurrent": (_NUMBER, None),
    "run_name": (field.text(1024), None),
    "project": (field.text(1024), None),
    "notifications": (_notifications, None),
    "scheduled_at": (encoding.parse_time_point, None),
    # Ours to say; only looked at for what they may be.
    "state": (field.choice(*dialect.NAMES), None),
}


def read_job(raw: object) -> Fields:
    """Every field of a job that a client sent, checked. Raises Problem."""
    return {**_defaults(), **_checked(raw, FIELDS)}


def read_patch(raw: object) -> Fields:
    """The fields that a PATCH names, in the reference's order; null clears. Raises Problem."""
    given = _checked(raw, {name: FIELDS[name] for name in dialect.CHANGEABLE}, keep_null=True)
    return {name: given[name] for name in dialect.CHANGEABLE if name in given}


def _defaults() -> Fields:
    return {name: default for name, (_, default) in FIELDS.items()}


def _checked(
    raw: object, fields: Mapping[str, tuple[Check, Any]], *, keep_null: bool = False
) -> Fields:
    if not isinstance(raw, dict):
        raise Problem(422, f"Invalid body: expected an object, not {field.kind(raw)}")
    found: Fields = {}
    for name, (check, default) in fields.items():
        value = raw.get(name)
        if value is None:
            if keep_null and name in raw:
                found[name] = default
            continue
        try:
            found[name] = check(value)
        except Invalid as error:
            raise Problem(422, f"Invalid body: {name} {error}") from None
    return found


# --- to our specs -------------------------------------------------------------------------------


def spec(job: Fields) -> dict[str, Any]:
    """The raw spec, as ``api.specification`` takes it. Raises Problem."""
    name = dialect.normalised(job["run_name"] or "")
    raw = {
        "command": command(job),
        "name": name or _name_of(job),
        "cwd": os.path.normpath(os.path.join("/", job["run_dir"])),
        "umask": 0o022,
        "priority": job["priority"],
        "resources": resources(job),
        "time_limit_s": time_limit_s(job),
        "dependencies": dependencies(job),
        "dependency_mode": dependency_mode(job),
        "kill_on_invalid_dependency": job["auto_cancel_on_dependency_failure"],
        "retries": min(job["max_retries"], 1_000_000),
        "project": _project(job["project"]),
        "params": job["parameters"],
        "labels": labels(job),
    }
    if job["group_id"] is not None:
        raw["group"] = job["group_id"]
        raw["group_limit"] = group_limit(job)
    if job["scheduled_at"] is not None and job["scheduled_at"] > time.time():
        raw["begin_at"] = min(job["scheduled_at"], _MAX_BEGIN_AT)
    return raw


def _project(name: str | None) -> str | None:
    try:
        return dialect.project(name)
    except GrammarError as error:
        raise Problem(400, str(error)) from None


def command(job: Fields) -> list[str]:
    """What runs. Raises Problem when the job has neither command nor script."""
    if job["script"] is None and not (job["command"] or "").strip():
        raise Problem(400, "Job must have a command or a script")
    return command_line(
        script=job["script"],
        command=job["command"],
        conda_env=job["conda_env"],
        task=job["task_id"],
        parameters=job["parameters"],
    )


def _name_of(job: Fields) -> str:
    if job["script"] is not None:
        return os.path.basename(job["script"])[:1024] or "script"
    return str(job["command"]).split(None, 1)[0].rpartition("/")[2][:1024] or "job"


def resources(job: Fields) -> dict[str, Any]:
    """What is asked for."""
    shared = job["gpu_sharing_mode"] == "Shared"
    if shared and not job["gpu_memory_limit_mb"]:
        raise Problem(
            400,
            "Shared jobs must include a GPU memory limit (--gpu-memory / --max-gpu-mem).",
        )
    found: dict[str, Any] = {"memory_bytes": _bytes(job["memory_limit_mb"]), "gpus": job["gpus"]}
    if job["gpus"]:
        found["gpu_shared"] = shared
        found["gpu_memory_bytes"] = _bytes(job["gpu_memory_limit_mb"])
    return found


def _bytes(megabytes: int | None) -> int:
    return min(megabytes or 0, _MAX_MB) << 20


def time_limit_s(job: Fields) -> float | None:
    """Seconds; None: no limit. Zero ends a job as soon as it can be ended."""
    limit = job["time_limit"]
    return None if limit is None else min(max(limit, 0.001), field.MAX_SECONDS)


def group_limit(job: Fields) -> int | None:
    """How many of the group may run at once."""
    limit = job["max_concurrent"]
    return None if limit is None else min(max(limit, 1), 1 << 20)


def parents(job: Fields) -> list[int]:
    """Ids of everything the job depends on, in the order given, the legacy one first."""
    first = () if job["depends_on"] is None else (job["depends_on"],)
    return list(dict.fromkeys((*first, *job["depends_on_ids"])))


def dependencies(job: Fields) -> list[dict[str, Any]]:
    """One condition per parent."""
    return [{"type": "afterok", "jobs": [parent]} for parent in parents(job)]


def dependency_mode(job: Fields) -> str:
    """Whether all parents must succeed, or any."""
    return "any" if job["dependency_mode"] == "Any" else "all"


#: Fields that our specs have no place for, kept as labels under their own names.
_LABELS = ("script", "conda_env", "task_id", "submitted_by", "redone_from", "auto_close_tmux")


def labels(job: Fields) -> dict[str, str]:
    """What must be shown again and means nothing to us. ``run_name`` tells jobs of these clients
    from others; "" when no name was asked for."""
    found = {name: str(job[name]) for name in _LABELS if job[name]}
    if job["task_id"] == 0:
        found["task_id"] = "0"
    found["run_name"] = dialect.normalised(job["run_name"] or "")
    if job["command"] is not None:
        found["command"] = job["command"]
    for kind, words in (job["notifications"] or {}).items():
        if words:
            found[f"notify_{kind}"] = ",".join(words)
    return found
