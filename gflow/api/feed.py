"""Events that listeners may still ask for: one bounded ring, and a cursor for each listener.

A listener owns nothing but a position, so a slow one costs no memory; when its position has left
the ring it is told so (``reset``) and starts again from the present. Ids are ``<start>-<n>``:
``start`` tells one run of the supervisor from the next, ``n`` counts from 1.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

Event = dict[str, Any]


class Feed:
    """The ring. ``publish`` costs one append and one call per waiting listener."""

    def __init__(self, start: str, capacity: int = 10_000) -> None:
        assert "-" not in start, start
        self._start = start
        self._ring: deque[Event] = deque(maxlen=capacity)
        self._count = 0
        self._listeners: set[Callable[[], None]] = set()

    @property
    def last_id(self) -> str:
        """Id of the newest event; ``<start>-0`` before the first."""
        return f"{self._start}-{self._count}"

    def publish(self, event: Event) -> None:
        """Add one event, a JSON object that is not changed afterwards; it must have a "type"."""
        assert "type" in event, event
        self._ring.append(event)
        self._count += 1
        for wake in tuple(self._listeners):
            wake()

    def listen(self, wake: Callable[[], None]) -> None:
        """Call ``wake`` after each event, until ``leave``; it must not raise and not block."""
        self._listeners.add(wake)

    def leave(self, wake: Callable[[], None]) -> None:
        """Undo ``listen``."""
        self._listeners.discard(wake)

    def after(self, last_id: str, limit: int) -> list[tuple[str, Event]] | None:
        """Up to ``limit`` events after ``last_id``, oldest first; None when some are gone.

        None also when the id is of another run or was never given out.
        """
        start, _, number = last_id.rpartition("-")
        if start != self._start or not (number.isascii() and number.isdigit()):
            return None
        position = int(number[:20])
        oldest = self._count - len(self._ring)
        if not oldest <= position <= self._count:
            return None
        first = position - oldest
        last = min(first + limit, len(self._ring))
        return [
            (f"{start}-{position + index + 1}", self._ring[first + index])
            for index in range(last - first)
        ]
