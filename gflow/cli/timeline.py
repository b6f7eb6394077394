"""A picture of reservations over time, for a terminal."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

from gflow.cli import rendering

Record = dict[str, Any]

_DAY_S = 86400.0
#: Cells of one label on the axis.
_TICK = 12
_NARROWEST = 24


def occurrences(found: Record, since: float, until: float) -> Iterator[tuple[float, float]]:
    """Start and end of every time a reservation lasts within [since, until), in order."""
    start, duration_s = float(found["start_at"]), float(found["duration_s"])
    every_s = found.get("every_s")
    resumes_at = float(found.get("resumes_at") or 0.0)
    if every_s:
        behind = max(since - duration_s, resumes_at - every_s) - start
        if behind > 0:
            start += every_s * int(behind // every_s)
    while start < until:
        if start + duration_s > since and start >= resumes_at:
            yield start, start + duration_s
        if not every_s:
            return
        start += every_s


def horizon(reservations: Sequence[Record], now: float) -> float:
    """How far the picture reaches by itself: to the end of what comes next, a day to a month."""
    ends = [now + _DAY_S]
    for found in reservations:
        ends += [end for _, end in _first(found, now)]
    return min(max(ends), now + 31 * _DAY_S)


def _first(found: Record, now: float) -> Iterator[tuple[float, float]]:
    for occurrence in occurrences(found, now, now + 31 * _DAY_S):
        yield occurrence
        return


def picture(reservations: Sequence[Record], now: float, until: float, width: int) -> list[str]:
    """Lines of a picture of [now, until): an axis, and a bar for each reservation."""
    names = [rendering.escape(f"{one['id']} {holder(one)}") for one in reservations]
    margin = min(max(map(rendering.text_width, names), default=0), max(8, width // 3))
    cells = max(width - margin - 2, _NARROWEST)
    step_s = (until - now) / cells
    lines = [" " * (margin + 2) + _axis(now, step_s, cells)]
    for name, found in zip(names, reservations):
        shown = rendering.cut(name, margin)
        gap = " " * (margin - rendering.text_width(shown))
        lines.append(f"{shown}{gap}  {_bar(found, now, step_s, cells)}")
    return lines


def holder(found: Record) -> str:
    """For whom it is kept."""
    return str(found["user"]) if found.get("user") is not None else f"project {found['project']}"


def _axis(now: float, step_s: float, cells: int) -> str:
    labels = "now".ljust(_TICK)
    within_a_day = step_s * cells <= 2 * _DAY_S
    for at in range(_TICK, cells - _TICK // 2, _TICK):
        moment = time.localtime(now + at * step_s)
        labels += time.strftime("%H:%M" if within_a_day else "%a %d %H:%M", moment).ljust(_TICK)
    return labels[:cells].rstrip()


def _bar(found: Record, now: float, step_s: float, cells: int) -> str:
    bar = ["·"] * cells
    for start, end in occurrences(found, now, now + cells * step_s):
        first = max(0, int((start - now) / step_s))
        last = min(cells, max(first + 1, round((end - now) / step_s)))
        bar[first:last] = "█" * (last - first)
    return "".join(bar)
