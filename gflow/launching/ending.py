"""Ending a tree: SIGTERM, grace period, SIGKILL, until whoever asked sees that it is empty."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable

from gflow.launching import tree
from gflow.launching.cgroup import Group
from gflow.process.table import Entry

#: How long to wait between two rounds of SIGKILL: first and longest.
_KILL_AGAIN_S = (0.02, 2.0)


class Ending:
    """The way down of one attempt. ``find`` names its processes at the moment of asking."""

    def __init__(self, find: Callable[[], list[Entry]]) -> None:
        self._find = find
        #: Whoever is in it is killed in one stroke, whatever ``find`` may miss.
        self.group: Group | None = None
        self._pause_s = 0.0
        #: Monotonic time of the next round of SIGKILL; None: it has not begun.
        self._kill_at_s: float | None = None

    @property
    def begun(self) -> bool:
        return self._kill_at_s is not None

    def begin(self, grace_period_s: float) -> None:
        """SIGTERM for everything now, unless asked before; SIGKILL when the grace period is over.

        Asking again can only shorten what is left of it.
        """
        kill_at_s = time.monotonic() + grace_period_s
        if self._kill_at_s is None:
            if grace_period_s > 0:
                tree.terminate(self._find())
            self._kill_at_s = kill_at_s
        elif self._pause_s == 0:
            self._kill_at_s = min(self._kill_at_s, kill_at_s)

    def timeout_s(self, longest_s: float) -> float:
        """Until ``act`` has something to do, at most ``longest_s``."""
        if self._kill_at_s is None:
            return longest_s
        return min(longest_s, max(0.0, self._kill_at_s - time.monotonic()))

    def act(self) -> None:
        """A round of SIGKILL if one is due."""
        if self._kill_at_s is None or time.monotonic() < self._kill_at_s:
            return
        if self.group is not None:
            self.group.kill()
        tree.kill(self._find, storm=self._pause_s > 0)
        shortest_s, longest_s = _KILL_AGAIN_S
        self._pause_s = min(longest_s, max(shortest_s, self._pause_s * 2))
        self._kill_at_s = time.monotonic() + self._pause_s


def end_rest() -> None:
    """SIGKILL for every descendant of this process, a subreaper with SIGCHLD blocked, until all
    are gone: what a hook left running."""
    rest = Ending(lambda: tree.descendants(os.getpid()))
    while _has_children():
        rest.begin(0.0)
        rest.act()
        signal.sigtimedwait((signal.SIGCHLD,), rest.timeout_s(_KILL_AGAIN_S[1]))


def _has_children() -> bool:
    """Reap what has ended; whether anything is left."""
    while True:
        try:
            if os.waitpid(-1, os.WNOHANG)[0] == 0:
                return True
        except ChildProcessError:
            return False
