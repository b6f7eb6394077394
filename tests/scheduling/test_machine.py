"""The transition table, every pair of it."""

from __future__ import annotations

import pytest

from gflow.model.state import TERMINAL, State
from gflow.scheduling.machine import ENDED, TABLE, Happened, IllegalTransition, next_state

_BACK = {Happened.REQUEUED: State.PENDING, Happened.ADOPTED: State.COMPLETING}
_ENDS = {
    Happened.COMPLETED: State.COMPLETED,
    Happened.FAILED: State.FAILED,
    Happened.CANCELLED: State.CANCELLED,
    Happened.TIMED_OUT: State.TIMEOUT,
    Happened.OUT_OF_MEMORY: State.OUT_OF_MEMORY,
    Happened.LOST: State.NODE_FAIL,
}
_ENDS_AT_ONCE = {
    Happened.COMPLETED: State.COMPLETED,
    Happened.FAILED: State.FAILED,
    Happened.OUT_OF_MEMORY: State.OUT_OF_MEMORY,
    Happened.LOST: State.NODE_FAIL,
}
#: Written out a second time on purpose: a change to the table must be made twice.
_EXPECTED: dict[State, dict[Happened, State]] = {
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
        Happened.REFUSED: State.FAILED,
        Happened.UNSTARTED: State.PENDING,
        Happened.RESUMED: State.RUNNING,
        Happened.EXITED: State.COMPLETING,
        Happened.KILLED: State.COMPLETING,
        **_ENDS_AT_ONCE,
        Happened.RETURNED: State.PENDING,
    },
    State.COMPLETING: {**_ENDS, Happened.RETURNED: State.PENDING},
    **dict.fromkeys(TERMINAL, _BACK),
}


@pytest.mark.parametrize("happened", Happened)
@pytest.mark.parametrize("state", State)
def test_every_pair(state: State, happened: Happened) -> None:
    """Each pair of state and happening leads where it must, or is refused."""
    expected = _EXPECTED[state].get(happened)
    if expected is None:
        with pytest.raises(IllegalTransition):
            next_state(state, happened)
    else:
        assert next_state(state, happened) is expected


def test_every_state_is_in_the_table() -> None:
    """No state is forgotten."""
    assert set(TABLE) == set(State)


def test_every_terminal_state_has_its_end() -> None:
    """However a job ends, there is a happening for it."""
    assert set(ENDED) == TERMINAL
