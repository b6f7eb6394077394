"""Many measurements of one thing, and what is said about them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence


def percentile(values: Sequence[float], share: float) -> float:
    """The value that ``share`` of them do not exceed (nearest rank)."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def p50(values: Sequence[float]) -> float:
    """The median."""
    return statistics.median(values)


def p99(values: Sequence[float]) -> float:
    """The value that one in a hundred exceeds."""
    return percentile(values, 0.99)


def timed(work: Callable[[], object]) -> float:
    """Seconds that one call takes."""
    began_s = time.perf_counter()
    work()
    return time.perf_counter() - began_s


def repeat(count: int, work: Callable[[], object]) -> list[float]:
    """Seconds of each of several calls."""
    return [timed(work) for _ in range(count)]


def alternate(rounds: int, *works: Callable[[], float]) -> tuple[list[float], ...]:
    """Figures of several works, measured in turns, so that a noisy moment hits them alike."""
    found: tuple[list[float], ...] = tuple([] for _ in works)
    for _ in range(rounds):
        for work, figures in zip(works, found):
            figures.append(work())
    return found
