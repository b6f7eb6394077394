"""How the reference writes times, durations and reasons."""

from __future__ import annotations

from typing import Any

from gflow.api.field import integer, mapping
from gflow.model.state import ACTIVE, Reason, State

_U64 = (1 << 64) - 1
_SECONDS = integer(0, _U64)
_NANOS = integer(0, (1 << 32) - 1)

_REASONS: dict[str, str] = {
    Reason.BEGIN_TIME: "WaitingForStartTime",
    Reason.DEPENDENCY: "WaitingForDependency",
    Reason.DEPENDENCY_NEVER_SATISFIED: "WaitingForDependency",
    Reason.QUOTA: "WaitingForQuota",
    Reason.HELD_USER: "JobHeldUser",
    Reason.HELD_ADMIN: "JobHeldUser",
    Reason.RESERVATION: "WaitingForGpu",
    Reason.GPUS_UNKNOWN: "WaitingForGpu",
}


def reason(record: dict[str, Any], culprit: int | None) -> Any:
    """Why a job waits, was cancelled or could not run; ``culprit``: whom it depended on in vain."""
    ours, text = record["state"], record["reason"]
    if ours == State.PENDING:
        if record["hold"] is not None:
            return "JobHeldUser"
        short_of_cards = record["resources"]["gpus"] and text in (Reason.RESOURCES, Reason.PRIORITY)
        return "WaitingForGpu" if short_of_cards else _REASONS.get(text, "WaitingForResources")
    if ours == State.CANCELLED:
        return "CancelledByUser" if culprit is None else {"DependencyFailed": culprit}
    if ours in (*ACTIVE, State.COMPLETED, State.TIMEOUT) or text is None:
        return None
    return {"SystemError": text}


def time_point(at: float | None) -> dict[str, int] | None:
    """Epoch seconds as the reference writes them."""
    if at is None:
        return None
    nanos = max(0, round(at * 1e6)) * 1000
    return {"secs_since_epoch": nanos // 10**9, "nanos_since_epoch": nanos % 10**9}


def duration(seconds: float | None) -> dict[str, int] | None:
    """Seconds as the reference writes them."""
    if seconds is None:
        return None
    nanos = round(seconds * 1e6) * 1000
    return {"secs": nanos // 10**9, "nanos": nanos % 10**9}


def parse_time_point(value: Any) -> float:
    """Epoch seconds of a time point; raises Invalid."""
    given = mapping(value)
    return _seconds(given.get("secs_since_epoch"), given.get("nanos_since_epoch", 0))


def parse_duration(value: Any) -> float:
    """Seconds of a duration; raises Invalid."""
    given = mapping(value)
    return _seconds(given.get("secs"), given.get("nanos", 0))


def _seconds(whole: Any, nanos: Any) -> float:
    return float(_SECONDS(whole)) + float(_NANOS(nanos)) / 1e9
