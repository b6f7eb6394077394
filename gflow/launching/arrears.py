"""Exits that are to be made last on the disk, unless the supervisor's store has them before.

Syncing (fdatasync(2)) costs a short job more than all else that its shim does, and a moment later
its run file is deleted: its final record is durable. So an exit may wait for that moment, but not
for long. Neither the start nor the end of another attempt ever waits for the disk: a thread does.
"""

from __future__ import annotations

import _thread
import math
import time
from collections import deque

from gflow.launching.journal import Journal

#: How long an exit may wait for the store.
_PATIENCE_S = 0.1


class Arrears:
    """The run files of one shim's ended attempts whose exits are not synced yet, oldest first."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[float, Journal]] = deque()
        #: Held by who settles.
        self._settling = _thread.allocate_lock()

    def add(self, journal: Journal) -> None:
        """Take over a run file: it is synced, if need be, and closed."""
        self._waiting.append((time.monotonic() + _PATIENCE_S, journal))

    def due_in_s(self) -> float:
        """Seconds until something is to be done (not negative); infinite: nothing is."""
        if not self._waiting or self._settling.locked():
            return math.inf
        return max(0.0, self._waiting[0][0] - time.monotonic())

    def release(self) -> None:
        """Let go of what the store has by now, without waiting for anything."""
        if self._settling.acquire(blocking=False):
            try:
                while self._waiting and self._waiting[0][1].is_forgotten():
                    self._waiting.popleft()[1].close()
            finally:
                self._settling.release()

    def settle(self) -> None:
        """Settle everything now, which may wait for the disk."""
        with self._settling:
            self._work_off()

    def settle_aside(self) -> None:
        """Settle everything, in a thread of its own if the disk is needed and none is about it."""
        self.release()
        if self._waiting and self._settling.acquire(blocking=False):
            _thread.start_new_thread(self._work_off_and_release, ())

    def _work_off_and_release(self) -> None:
        try:
            self._work_off()
        finally:
            self._settling.release()

    def _work_off(self) -> None:
        while self._waiting:
            _, journal = self._waiting.popleft()
            journal.sync()
            journal.close()
