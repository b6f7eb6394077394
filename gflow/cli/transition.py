"""What a job went through, in words."""

from __future__ import annotations

from typing import Any

from gflow.cli.rendering import escape, moment

#: Cause of a transition → why it happened.
_WORDS = {
    "submitted": "it was submitted",
    "scheduled": "its turn came",
    "exited": "its command ended",
    "ended": "its last task ended",
    "cancel": "it was cancelled",
    "timeout": "its time limit was over",
    "memory": "it had more memory than it asked for",
    "requeue": "it is to run again",
    "retry": "it failed and is tried again",
    "lost": "its end could not be seen",
    "suspend": "it was suspended",
    "resume": "it was resumed",
    "dependency": "what it waited for can never come true",
    "start failed": "it could not be started",
    "start put off": "the machine was short of something at its start",
    "never started": "a restart found that it had not begun",
    "adopted": "a restart found it",
}


def sentence(event: dict[str, Any]) -> str:
    """``2026-01-20 12:00:00  RUNNING -> COMPLETING: it was cancelled, by ann``."""
    cause = str(event.get("cause") or "")
    words = _WORDS.get(cause, cause)
    who = event.get("user") if event.get("user") is not None else event.get("uid")
    by = "" if who is None else f", by {who}"
    before = event.get("from") or "new"
    return escape(f"{moment(event.get('at'))}  {before} -> {event.get('to')}: {words}{by}")
