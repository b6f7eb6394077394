"""``gctl reserve list --timeline``: reservations as bars below an axis of 80 columns."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from gflow.cli import rendering, timeline

Record = dict[str, Any]

_WIDTH, _MARGIN = 80, 20
_CELLS = _WIDTH - _MARGIN
_TICK = 12
#: As the older gflow shows by itself: half a day back, half a day ahead.
AROUND_S = 43200.0


def render(reservations: Sequence[Record], since: float, until: float, now: float) -> str:
    """The picture of [since, until), all times in UTC. ``reservations`` are in their order."""
    cell_s = (until - since) / _CELLS
    active = sum(1 for one in reservations if _is_active(one, now))
    cards = sum(len(one["gpu_ids"]) or one["gpus"] for one in reservations if _is_active(one, now))
    lines = ["", f"GPU Reservations Timeline ({_clock(now, '%Y-%m-%d %H:%M:%S')} UTC)"]
    lines += ["═" * _WIDTH, *_axis(since, cell_s, now), ""]
    for one in reservations:
        for start, end in list(timeline.occurrences(one, since, until))[:1] or [_own_span(one)]:
            lines += [_bar(one, since, until, cell_s, now)]
            word = "Active" if start <= now < end else "Pending"
            lines.append(f"  └─ {word} ({_clock(start, '%H:%M')}→{_clock(end, '%H:%M')})")
    lines += ["", "─" * _WIDTH]
    pending = len(reservations) - active
    lines.append(f"Summary: {active} active, {pending} pending | {cards} GPUs currently reserved")
    return "\n".join([*lines, "", "Legend: █ Active  ░ Pending"])


def _is_active(one: Record, now: float) -> bool:
    return any(start <= now for start, _ in timeline.occurrences(one, now, now + 1))


def _own_span(one: Record) -> tuple[float, float]:
    return one["start_at"], one["start_at"] + one["duration_s"]


def _axis(since: float, cell_s: float, now: float) -> list[str]:
    """The rule with its ticks, and their labels; the first of a day has its date."""
    rule, labels = ["─"] * _CELLS, [" "] * (_CELLS + _TICK)
    day = ""
    for at in range(0, _CELLS, _TICK):
        moment = since + at * cell_s
        today = _clock(moment, "%m/%d ")
        text = _clock(moment, "%H:%M") if today == day else today + _clock(moment, "%H:%M")
        day = today
        rule[at] = "┬"
        labels[at : at + len(text)] = text
    here = int((now - since) / cell_s)
    if 0 <= here < _CELLS:
        rule[here] = "┃"
        if labels[here : here + 3] == [" "] * 3:
            labels[here : here + 3] = "Now"
    gap = " " * _MARGIN
    return [gap + "".join(rule), (gap + "".join(labels)[:_CELLS]).rstrip()]


def _bar(one: Record, since: float, until: float, cell_s: float, now: float) -> str:
    bar = [" "] * _CELLS
    for start, end in timeline.occurrences(one, since, until):
        first = max(0, int((start - since) / cell_s))
        last = min(_CELLS, max(first + 1, round((end - since) / cell_s)))
        bar[first:last] = ("█" if start <= now < end else "░") * (last - first)
    owner = rendering.escape(str(one["user"] or one["project"]))
    ids = ",".join(map(str, one["gpu_ids"]))
    name = f"{owner} (GPU: " + (f"GPU[{ids}])" if ids else f"{one['gpus']} GPUs)")
    return f"{rendering.cut(name, _MARGIN - 1):<{_MARGIN}}{''.join(bar)}".rstrip()


def _clock(moment: float, form: str) -> str:
    return time.strftime(form, time.gmtime(moment))
