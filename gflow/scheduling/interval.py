"""Ascending, disjoint half-open ranges of integers, as lists of (start, stop)."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable

Intervals = list[tuple[int, int]]
_FAR = 1 << 62


def locate(intervals: Intervals, value: int) -> int | None:
    """Index of the range that holds ``value``."""
    index = bisect_right(intervals, (value, _FAR)) - 1
    if index >= 0 and intervals[index][0] <= value < intervals[index][1]:
        return index
    return None


def discard(intervals: Intervals, value: int) -> bool:
    """Take ``value`` out in place; False when it was not there."""
    index = locate(intervals, value)
    if index is None:
        return False
    start, stop = intervals[index]
    intervals[index : index + 1] = [
        piece for piece in ((start, value), (value + 1, stop)) if piece[0] < piece[1]
    ]
    return True


def insert(intervals: Intervals, value: int) -> None:
    """Put ``value`` in, in place, joined with its neighbours."""
    if locate(intervals, value) is not None:
        return
    index = bisect_right(intervals, (value, _FAR))
    start, stop = value, value + 1
    if index < len(intervals) and intervals[index][0] == stop:
        stop = intervals.pop(index)[1]
    if index > 0 and intervals[index - 1][1] == start:
        index -= 1
        start = intervals.pop(index)[0]
    intervals.insert(index, (start, stop))


def union(pieces: Iterable[tuple[int, int]]) -> Intervals:
    """Any ranges, put in order and joined."""
    joined: Intervals = []
    for start, stop in sorted(pieces):
        if start >= stop:
            continue
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(stop, joined[-1][1]))
        else:
            joined.append((start, stop))
    return joined


def without(intervals: Intervals, taken: Intervals) -> Intervals:
    """``intervals`` less everything in ``taken``; both ascending."""
    left: Intervals = []
    index = 0
    for start, stop in intervals:
        while index < len(taken) and taken[index][1] <= start:
            index += 1
        at = index
        while at < len(taken) and taken[at][0] < stop:
            if taken[at][0] > start:
                left.append((start, taken[at][0]))
            start = max(start, taken[at][1])
            at += 1
        if start < stop:
            left.append((start, stop))
    return left


def total(intervals: Intervals) -> int:
    """How many integers the ranges hold."""
    return sum(stop - start for start, stop in intervals)
