"""One table of legal transitions: state x what happened -> state.

Whatever is not in the table is illegal: :func:`next_state` raises and the caller has changed
nothing. Guards (which attempt, who asked) belong to the handlers; this table only says which moves
exist at all.
"""

from __future__ import annotations

from enum import StrEnum

from gflow.model.state import State


class Happened(StrEnum):
    """What can happen to one job, seen from its state."""

    #: Resources were given to it and its launch was asked for.
    STARTED = "started"
    #: The launch did not come to exec and will not (no such program, no such folder).
    REFUSED = "refused"
    #: The attempt never ran and is not counted: the machine was short, or recovery proved it.
    UNSTARTED = "unstarted"
    #: Recovery found the attempt alive.
    ADOPTED = "adopted"
    SUSPENDED = "suspended"
    RESUMED = "resumed"
    #: The command ended; its tree is being ended.
    EXITED = "exited"
    #: The tree is being ended.
    KILLED = "killed"
    #: Cancelled before it started.
    DROPPED = "dropped"
    #: Nothing of the attempt is left, and it ended like this.
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    TIMED_OUT = "timed_out"
    OUT_OF_MEMORY = "out_of_memory"
    LOST = "lost"
    #: Nothing of the attempt is left, and it runs again.
    RETURNED = "returned"
    #: An ended job is to run again.
    REQUEUED = "requeued"


class IllegalTransition(Exception):
    """The table has no such move."""


#: How an attempt ended -> what happened.
ENDED: dict[State, Happened] = {
    State.COMPLETED: Happened.COMPLETED,
    State.FAILED: Happened.FAILED,
    State.CANCELLED: Happened.CANCELLED,
    State.TIMEOUT: Happened.TIMED_OUT,
    State.OUT_OF_MEMORY: Happened.OUT_OF_MEMORY,
    State.NODE_FAIL: Happened.LOST,
}

_ENDS: dict[Happened, State] = {happened: state for state, happened in ENDED.items()}
#: Of a command that ended by itself and left nothing behind.
_ENDS_AT_ONCE: dict[Happened, State] = {
    happened: _ENDS[happened]
    for happened in (Happened.COMPLETED, Happened.FAILED, Happened.OUT_OF_MEMORY, Happened.LOST)
}
_TERMINAL: dict[Happened, State] = {
    Happened.REQUEUED: State.PENDING,
    # The store says ended, the tree is alive: the kill is resumed.
    Happened.ADOPTED: State.COMPLETING,
}

TABLE: dict[State, dict[Happened, State]] = {
    State.PENDING: {
        Happened.STARTED: State.RUNNING,
        Happened.ADOPTED: State.RUNNING,
        Happened.DROPPED: State.CANCELLED,
    },
    State.RUNNING: {
        Happened.REFUSED: State.FAILED,
        Happened.UNSTARTED: State.PENDING,
        Happened.SUSPENDED: State.SUSPENDED,
        Happened.EXITED: State.COMPLETING,
        Happened.KILLED: State.COMPLETING,
        **_ENDS_AT_ONCE,
        Happened.RETURNED: State.PENDING,
    },
    State.SUSPENDED: {
        # A stop may be asked for before the launch has failed.
        Happened.REFUSED: State.FAILED,
        Happened.UNSTARTED: State.PENDING,
        Happened.RESUMED: State.RUNNING,
        Happened.EXITED: State.COMPLETING,
        Happened.KILLED: State.COMPLETING,
        **_ENDS_AT_ONCE,
        Happened.RETURNED: State.PENDING,
    },
    State.COMPLETING: {**_ENDS, Happened.RETURNED: State.PENDING},
    **dict.fromkeys(ENDED, _TERMINAL),
}


def next_state(state: State, happened: Happened) -> State:
    """The state that ``happened`` leads to; raises :class:`IllegalTransition`."""
    try:
        return TABLE[state][happened]
    except KeyError:
        raise IllegalTransition(f"{state} cannot become anything by {happened}") from None
