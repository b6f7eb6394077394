"""The adoption table, row by row."""

from __future__ import annotations

import itertools

import pytest

from gflow.launching.adoption import Verdict, judge
from gflow.launching.runfile import Contents

STARTING = ("starting",)
SPAWNING = (*STARTING, "spawning")
STARTED = (*SPAWNING, "started")
EXIT = (*STARTED, "exit")
GONE = (*EXIT, "gone")

#: phases, locked, alive → verdict, on this machine, in this folder, in this boot.
ROWS = [
    ((), True, False, Verdict.RUNNING),
    (STARTING, True, False, Verdict.RUNNING),
    (STARTED, True, False, Verdict.RUNNING),
    (EXIT, True, False, Verdict.COMPLETING),
    (GONE, True, False, Verdict.ENDED),
    (GONE, False, False, Verdict.ENDED),
    (EXIT, False, False, Verdict.ENDED),
    (EXIT, False, True, Verdict.SWEEP),
    (STARTED, False, True, Verdict.FOLLOW),
    (STARTED, False, False, Verdict.LOST),
    (SPAWNING, False, True, Verdict.FOLLOW),
    (SPAWNING, False, False, Verdict.LOST),
    (STARTING, False, False, Verdict.NEVER_STARTED),
    ((), False, False, Verdict.LOST),
    ((), False, True, Verdict.FOLLOW),
    ((*STARTING, "failed"), False, False, Verdict.FAILED),
    ((*STARTED, "following"), True, True, Verdict.RUNNING),
    ((*STARTED, "following", "lost"), False, False, Verdict.LOST),
    ((*EXIT, "following", "gone"), False, False, Verdict.ENDED),
]


def contents(phases: tuple[str, ...]) -> Contents:
    return Contents({phase: {"phase": phase} for phase in phases}, damaged=not phases)


@pytest.mark.parametrize(("phases", "locked", "alive", "verdict"), ROWS)
def test_rows(phases: tuple[str, ...], locked: bool, alive: bool, verdict: Verdict) -> None:
    """Each row of the table."""
    judged = judge(contents(phases), locked=locked, native=True, same_boot=True, alive=alive)
    assert judged is verdict


@pytest.mark.parametrize("phases", [STARTING, SPAWNING, STARTED])
def test_after_another_boot_nothing_is_left(phases: tuple[str, ...]) -> None:
    """What may have run is lost: nothing is proved by lines that the disk may have forgotten."""
    judged = judge(contents(phases), locked=False, native=True, same_boot=False, alive=True)
    assert judged is Verdict.LOST


@pytest.mark.parametrize("phases", [STARTING, SPAWNING, STARTED])
def test_foreign_attempts_are_foreign(phases: tuple[str, ...]) -> None:
    """Nothing of another machine or folder is believed to be ours, alive or not."""
    judged = judge(contents(phases), locked=False, native=False, same_boot=True, alive=True)
    assert judged is Verdict.FOREIGN


def test_a_known_exit_counts_wherever_it_comes_from() -> None:
    """A restored folder keeps its results."""
    judged = judge(contents(EXIT), locked=False, native=False, same_boot=False, alive=False)
    assert judged is Verdict.ENDED


def test_no_exit_is_never_an_end() -> None:
    """Whatever else is true: without an exit line nothing counts as ended."""
    for phases, flags in itertools.product(
        [(), STARTING, SPAWNING, STARTED], itertools.product([False, True], repeat=4)
    ):
        locked, native, same_boot, alive = flags
        judged = judge(
            contents(phases), locked=locked, native=native, same_boot=same_boot, alive=alive
        )
        assert judged not in (Verdict.ENDED, Verdict.COMPLETING, Verdict.SWEEP)


def test_a_damaged_file_is_never_taken_for_a_start_that_never_was() -> None:
    """What a line said that cannot be read is unknown: the attempt is not made again."""
    damaged = Contents({"starting": {"phase": "starting"}}, damaged=True)
    judged = judge(damaged, locked=False, native=True, same_boot=True, alive=False)
    assert judged is Verdict.LOST
