"""Moments at which something must be looked at again, on either clock."""

from __future__ import annotations

from heapq import heappop, heappush
from math import inf

from gflow.model.state import Instant

# Ids that stand for no job.
CALENDAR = 0
WEEK = -1
PASS = -2


class Timers:
    """Two heaps of (moment, id). What is due is looked at afresh, so stale entries do no harm."""

    __slots__ = ("_boot", "_wall")

    def __init__(self) -> None:
        self._boot: list[tuple[float, int]] = []
        self._wall: list[tuple[float, int]] = []

    def at_boot(self, moment_s: float, item_id: int) -> None:
        """Look at ``item_id`` when the boot clock reaches ``moment_s``; infinity never comes."""
        if moment_s != inf:
            heappush(self._boot, (moment_s, item_id))

    def at_wall(self, moment_s: float, item_id: int) -> None:
        """Look at ``item_id`` when the wall clock reaches ``moment_s``."""
        heappush(self._wall, (moment_s, item_id))

    def due(self, now: Instant, count: int) -> list[int]:
        """At most ``count`` ids whose moment has come, taken out."""
        found: list[int] = []
        for heap, moment_s in ((self._boot, now.boot_s), (self._wall, now.wall_s)):
            while heap and heap[0][0] <= moment_s and len(found) < count:
                found.append(heappop(heap)[1])
        return found

    def next(self) -> Instant | None:
        """The earliest moment on each clock (infinity where there is none); None: none at all."""
        if not self._boot and not self._wall:
            return None
        return Instant(
            self._boot[0][0] if self._boot else inf, self._wall[0][0] if self._wall else inf
        )
