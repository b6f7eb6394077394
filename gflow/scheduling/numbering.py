"""Task numbers of an array and their positions: ``1-9:2`` has numbers 1, 3 … at positions 0, 1 …"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator

from gflow.model.job import ArraySpec


def size(array: ArraySpec) -> int:
    """How many tasks there are."""
    return sum((last - first) // step + 1 for first, last, step in array.ranges)


def number_at(array: ArraySpec, position: int) -> int:
    """The task number at ``position``, counted from 0."""
    for first, last, step in array.ranges:
        count = (last - first) // step + 1
        if position < count:
            return first + position * step
        position -= count
    raise IndexError(position)


def position_of(array: ArraySpec, number: int) -> int | None:
    """Where a task number stands; None when the array has no such task."""
    index = bisect_right(array.ranges, (number, 1 << 62, 0)) - 1
    if index < 0:
        return None
    first, last, step = array.ranges[index]
    if number > last or (number - first) % step:
        return None
    before = sum((r[1] - r[0]) // r[2] + 1 for r in array.ranges[:index])
    return before + (number - first) // step


def bounds(array: ArraySpec) -> tuple[int, int]:
    """Smallest and largest task number."""
    first, last, step = array.ranges[-1]
    return array.ranges[0][0], first + (last - first) // step * step


def slices(array: ArraySpec, start: int, stop: int) -> Iterator[tuple[int, int, int]]:
    """Task numbers of the positions from ``start`` to ``stop`` as (first, last, step)."""
    before = 0
    for first, last, step in array.ranges:
        count = (last - first) // step + 1
        low, high = max(start, before), min(stop, before + count)
        if low < high:
            yield first + (low - before) * step, first + (high - 1 - before) * step, step
        before += count
