"""The event loop, with a measure of itself: how long its turns took."""

from __future__ import annotations

import asyncio
import math
import selectors
import time
from itertools import pairwise
from typing import Any

from gflow.supervisor.metric import Histogram

#: Steps per doubling; the relative error of a percentile is below 2 ** (1 / 8) - 1 = 9 %.
_STEPS = 8
_SMALLEST_S = 1e-6
_BUCKETS = 32 * _STEPS
#: Doublings that the histogram is told in: 16 µs to 4.2 s.
_SHOWN = range(4, 23, 2)


class GapMeter:
    """Distribution of turn lengths, of constant size."""

    def __init__(self) -> None:
        self._counts = [0] * _BUCKETS
        self._max_s = 0.0
        #: What ``take`` has forgotten.
        self._before = [0] * _BUCKETS
        self._sum_s = 0.0

    def add(self, gap_s: float) -> None:
        """Count one turn."""
        index = int(math.log2(gap_s / _SMALLEST_S) * _STEPS) if gap_s > _SMALLEST_S else 0
        self._counts[min(index, _BUCKETS - 1)] += 1
        self._sum_s += gap_s
        if gap_s > self._max_s:
            self._max_s = gap_s

    def take(self) -> dict[str, float]:
        """{p50, p99, max} in milliseconds since the last call, which starts anew."""
        total = sum(self._counts)
        answer = {
            "p50": self._percentile_ms(total, 0.5),
            "p99": self._percentile_ms(total, 0.99),
            "max": round(self._max_s * 1e3, 3),
        }
        self._before = self._all()
        self._counts = [0] * _BUCKETS
        self._max_s = 0.0
        return answer

    def histogram(self) -> Histogram:
        """All turns since the beginning, by doublings of a length."""
        found = Histogram(tuple(_SMALLEST_S * 2**doubling for doubling in _SHOWN))
        counts = self._all()
        edges = [0, *(doubling * _STEPS for doubling in _SHOWN), _BUCKETS]
        found.counts = [sum(counts[low:high]) for low, high in pairwise(edges)]
        found.sum = self._sum_s
        return found

    def _all(self) -> list[int]:
        return [before + now for before, now in zip(self._before, self._counts)]

    def _percentile_ms(self, total: int, share: float) -> float:
        left = total * share
        for index, count in enumerate(self._counts):
            left -= count
            if count and left <= 0:
                upper_ms: float = _SMALLEST_S * 2 ** ((index + 1) / _STEPS) * 1e3
                return round(min(upper_ms, self._max_s * 1e3), 3)
        return 0.0


class _MeasuredSelector(selectors.EpollSelector):
    """Counts the time between two waits: that is what a decision may have to wait for."""

    def __init__(self, meter: GapMeter) -> None:
        super().__init__()
        self._meter = meter
        self._turn_began_s = time.perf_counter()

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, Any]]:
        self._meter.add(time.perf_counter() - self._turn_began_s)
        events = super().select(timeout)
        self._turn_began_s = time.perf_counter()
        return events


def new_loop() -> tuple[asyncio.SelectorEventLoop, GapMeter]:
    """A loop that measures itself, made current."""
    meter = GapMeter()
    loop = asyncio.SelectorEventLoop(_MeasuredSelector(meter))
    asyncio.set_event_loop(loop)
    return loop, meter
