"""The older gflow's words for our records: what its commands and its API call things.

Used by the commands ``gbatch``, ``gqueue``, … and by the API for its unmodified clients, so only
cheap parts of the standard library.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from typing import Any

from gflow.api.quantity import GrammarError, quoted
from gflow.model.parameter import filled_line

Record = dict[str, Any]

#: Bytes of a project's name.
_MAX_PROJECT = 64
#: State → the names that filters take beside its own, in the order of states.
NAMES: dict[str, tuple[str, ...]] = {
    "Queued": ("PD", "pd"),
    "Hold": ("H", "h"),
    "Running": ("R", "r"),
    "Finished": ("CD", "cd"),
    "Failed": ("F", "f"),
    "Cancelled": ("CA", "ca"),
    "Timeout": ("TO", "to"),
}
_NAME_OF = {word: name for name, words in NAMES.items() for word in (name.lower(), *words)}

#: Our states behind each of them; PENDING is Queued or Hold.
STATES: dict[str, tuple[str, ...]] = {
    "Queued": ("PENDING",),
    "Hold": ("PENDING",),
    "Running": ("RUNNING", "SUSPENDED", "COMPLETING"),
    "Finished": ("COMPLETED",),
    "Failed": ("FAILED", "OUT_OF_MEMORY", "NODE_FAIL"),
    "Cancelled": ("CANCELLED",),
    "Timeout": ("TIMEOUT",),
}
_STATE_OF = {ours: theirs for theirs, states in STATES.items() for ours in states}

#: Limits of a quota → ours.
LIMITS = {
    "max_running_jobs": "running_jobs",
    "max_running_gpus": "running_gpus",
    "max_queued_jobs": "pending_jobs",
}

#: What may be changed of a job that waits, in the order in which answers name it.
CHANGEABLE = (
    "command",
    "script",
    "gpus",
    "conda_env",
    "priority",
    "parameters",
    "time_limit",
    "memory_limit_mb",
    "gpu_memory_limit_mb",
    "depends_on_ids",
    "dependency_mode",
    "auto_cancel_on_dependency_failure",
    "max_concurrent",
    "max_retries",
    "notifications",
)

_NOT_NAME = re.compile(r"[^\w-]+")
_PLACEHOLDER = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")


def state_names(text: str) -> frozenset[str]:
    """The states in a list such as ``Queued,R``, in capitals or not.

    Raises GrammarError for unknown ones.
    """
    found = set()
    for word in filter(None, (part.strip() for part in text.split(","))):
        name = _NAME_OF.get(word.lower())
        if name is None:
            raise GrammarError(f"{quoted(word)} is no state: {', '.join(NAMES)}")
        found.add(name)
    return frozenset(found)


def state(record: Record) -> str:
    """The word for the state of one of our records."""
    if record["state"] == "PENDING":
        return "Hold" if record["hold"] is not None else "Queued"
    return _STATE_OF[record["state"]]


def state_word(ours: str) -> str:
    """The word for one of our states that is not PENDING."""
    return _STATE_OF[ours]


def short(state_name: str) -> str:
    """``PD`` for Queued, and so on."""
    return NAMES[state_name][0]


def project(text: str | None) -> str | None:
    """A project's name as it is kept, None without one. Raises GrammarError."""
    name = (text or "").strip()
    if len(name.encode(errors="replace")) > _MAX_PROJECT:
        raise GrammarError(f"Project name too long (max {_MAX_PROJECT} characters): {quoted(name)}")
    return name or None


def normalised(name: str) -> str:
    """A run name as it is kept: letters, digits, ``-`` and ``_``."""
    return _NOT_NAME.sub("_", name.strip()).strip("_")


def run_name(record: Record) -> str:
    """``gjob-7``, or ``gjob-7-name`` when somebody named it. Unique, for ids are."""
    name = record["labels"].get("run_name")
    return named(record["id"], normalised(record["name"]) if name is None else name)


def named(job_id: int, name: str) -> str:
    """The run name of a job that was asked to be called so; "" asks for nothing."""
    return f"gjob-{job_id}-{name}" if name else f"gjob-{job_id}"


def parent_ids(record: Record) -> list[int]:
    """Everything the job depends on."""
    return list(dict.fromkeys(i for one in record["dependencies"] for i in one["jobs"]))


def lost_parents(record: Record) -> list[int]:
    """Parents of a job that was cancelled because they did not end as they should; else empty."""
    if record["state"] == "CANCELLED" and record["reason"] == "DependencyNeverSatisfied":
        return parent_ids(record)
    return []


def command(record: Record) -> str | None:
    """The command line as its submitter wrote it; None: there is a script alone."""
    labels = record["labels"]
    if "command" in labels or "script" in labels:
        return labels.get("command")  # type: ignore[no-any-return]
    words = record["command"]
    if not words:
        return shlex.join([record["name"], *record["args"]])
    return words[2] if words[:2] == ["bash", "-c"] and len(words) == 3 else shlex.join(words)


def task(record: Record) -> int | None:
    """Its index in an array, or among jobs that were submitted as one."""
    if record["array"] is not None:
        return record["array"]["task"]  # type: ignore[no-any-return]
    return label_number(record, "task_id")


def label_number(record: Record, name: str) -> int | None:
    """A whole number that a label holds."""
    text = record["labels"].get(name)
    return int(text) if text is not None and text.isascii() and text.isdigit() else None


def megabytes(size: int | None) -> int | None:
    """Bytes in the older gflow's unit, rounded up; None claims nothing."""
    return -(-size // (1 << 20)) if size else None


# --- parameters -----------------------------------------------------------------------------------


def filled(word: str, parameters: Mapping[str, str]) -> str:
    """An argument with each ``{name}`` of a known parameter replaced by its value."""
    return _PLACEHOLDER.sub(lambda match: parameters.get(match[1], match[0]), word)


def substituted(line: str, parameters: Mapping[str, str]) -> str:
    """The same in a shell line: whatever quotes it stands in, a value is text, never syntax."""
    return filled_line(line, parameters, _PLACEHOLDER)
