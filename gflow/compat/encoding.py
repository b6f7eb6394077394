"""How the reference writes times, durations, states and reasons."""

from __future__ import annotations

from typing import Any

from gflow.api.field import Invalid, integer, mapping
from gflow.api.quantity import quoted
from gflow.model.state import ACTIVE, Reason, State

_U64 = (1 << 64) - 1
_SECONDS = integer(0, _U64)
_NANOS = integer(0, (1 << 32) - 1)

#: The reference's states, in its order, with the names that its filters take.
NAMES: dict[str, tuple[str, ...]] = {
    "Queued": ("PD", "pd"),
    "Hold": ("H", "h"),
    "Running": ("R", "r"),
    "Finished": ("CD", "cd"),
    "Failed": ("F", "f"),
    "Cancelled": ("CA", "ca"),
    "Timeout": ("TO", "to"),
}
_NAME_OF = {word: name for name, words in NAMES.items() for word in (name, *words)}

#: Our states behind each of the reference's; PENDING is Queued or Hold.
STATES: dict[str, tuple[State, ...]] = {
    "Queued": (State.PENDING,),
    "Hold": (State.PENDING,),
    "Running": (State.RUNNING, State.SUSPENDED, State.COMPLETING),
    "Finished": (State.COMPLETED,),
    "Failed": (State.FAILED, State.OUT_OF_MEMORY, State.NODE_FAIL),
    "Cancelled": (State.CANCELLED,),
    "Timeout": (State.TIMEOUT,),
}
_STATE_OF = {ours: theirs for theirs, states in STATES.items() for ours in states}

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


def state_names(text: str) -> frozenset[str]:
    """The reference's states in a list such as ``Queued,R``; raises Invalid for unknown ones."""
    found = set()
    for word in filter(None, (part.strip() for part in text.split(","))):
        name = _NAME_OF.get(word)
        if name is None:
            raise Invalid(f"{quoted(word)} is no state: {', '.join(NAMES)}")
        found.add(name)
    return frozenset(found)


def state(record: dict[str, Any]) -> str:
    """The reference's word for the state of one of our records."""
    if record["state"] == State.PENDING:
        return "Hold" if record["hold"] is not None else "Queued"
    return word(State(record["state"]))


def word(ours: State) -> str:
    """The reference's word for one of our states that is not PENDING."""
    return _STATE_OF[ours]


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
