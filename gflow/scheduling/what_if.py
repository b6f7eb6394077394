"""What would be if these specs were submitted now: their starts, and whom they would delay.

The queue is played forward four times, with the specs and without, as if jobs without a limit ended
at once (the earliest that may be) and as if they never did (the latest).
"""

from __future__ import annotations

from collections.abc import Iterable
from math import inf
from typing import NamedTuple

from gflow.model.job import Spec
from gflow.model.state import Instant
from gflow.scheduling.core import Core
from gflow.scheduling.forecast import Play


class Delay(NamedTuple):
    """An item of the queue that would start later (an array by its most delayed task); epochs."""

    id: int
    before_at: float
    #: None: nobody can tell when.
    after_at: float | None


class WhatIf:
    """Call :meth:`step` until it is done. The specs are taken to be admissible."""

    __slots__ = ("_pairs", "_plays", "_specs")

    def __init__(self, source: Core, specs: tuple[Spec, ...], now: Instant) -> None:
        self._specs = specs
        #: (without, with) the specs: at the latest, and at the earliest.
        self._pairs = [
            (
                Play(source, now, optimistic=optimistic),
                Play(source, now, specs=specs, optimistic=optimistic),
            )
            for optimistic in (False, True)
        ]
        self._plays = [play for pair in self._pairs for play in pair]

    def step(self, count: int) -> bool:
        """Go on by ``count`` small steps; whether it is done."""
        while self._plays and count > 0:
            count -= 1
            if self._plays[-1].step(1) and self._plays[-1].let_go():
                self._plays.pop()
        return not self._plays

    @property
    def complete(self) -> bool:
        """False: the queue is longer than what was played, and starts are lower bounds."""
        return not any(play.cut for pair in self._pairs for play in pair)

    def starts(self) -> list[tuple[float | None, float | None]]:
        """(earliest, latest) for each spec, of an array's first task, in epoch seconds.

        No latest: limits are missing, the spec depends on others, or the queue is too long.
        """
        (_, late), (_, early) = self._pairs
        found: list[tuple[float | None, float | None]] = []
        for position, spec in enumerate(self._specs):
            earliest = _start(early, position)
            latest = None if spec.dependencies or not self.complete else _start(late, position)
            # What is known exactly is played the same way twice.
            found.append((latest if earliest is None else earliest, latest))
        return found

    def delayed(self) -> list[Delay]:
        """Who would start later, most delayed first."""
        found: dict[int, Delay] = {}
        for without, with_specs in reversed(self._pairs):  # what limits tell has the last word
            for item_id, before in without.starts.items():
                after = with_specs.starts.get(item_id)
                if after is None and with_specs.cut:
                    continue
                if after is None or after > before:
                    found[item_id] = Delay(item_id, before, after)
                else:
                    found.pop(item_id, None)
        arrays = {**self._pairs[0][0].arrays, **self._pairs[1][0].arrays}
        return sorted(_by_array(found, arrays), key=lambda one: (-_length(one), one.id))


def _by_array(found: dict[int, Delay], arrays: dict[int, int]) -> Iterable[Delay]:
    """An array in place of its tasks."""
    rows: dict[int, Delay] = {}
    for one in found.values():
        row = one._replace(id=arrays.get(one.id, one.id))
        rows[row.id] = max(rows.get(row.id, row), row, key=_length)
    return rows.values()


def _start(play: Play, position: int) -> float | None:
    submitted = play.submitted
    return play.starts.get(submitted[position]) if position < len(submitted) else None


def _length(delay: Delay) -> float:
    return (inf if delay.after_at is None else delay.after_at) - delay.before_at
