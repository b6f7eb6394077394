"""Which keys are changed and not yet committed, in the order in which they must be.

``add`` puts a key at the end of the line, ``take`` moves the first one into flight, ``commit``
forgets the flight, ``revert`` puts it back to the front. Every addition gets a position, and
positions in line never fall; so what is durable is known from the first one alone. Adding costs
O(1) per key, whatever waits.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

from gflow.model.record import Key


class Backlog:
    """Changed keys as a line with places; a key that changes again keeps its place."""

    def __init__(self) -> None:
        #: Position of the latest addition; 0 before the first.
        self.position = 0
        self._flight: dict[Key, int] = {}
        # Ordered, not a plain dict: taking the first of those costs what was taken before it.
        self._line: OrderedDict[Key, int] = OrderedDict()
        #: Positions whose keys must be committed together.
        self._atomic: set[int] = set()

    def __len__(self) -> int:
        return len(self._flight) + len(self._line)

    def __contains__(self, key: Key) -> bool:
        return key in self._line or key in self._flight

    @property
    def waiting(self) -> int:
        """How many keys are not in flight."""
        return len(self._line)

    @property
    def durable(self) -> int:
        """Every addition up to this position is committed."""
        for first in (self._flight or self._line).values():
            return first - 1
        return self.position

    def add(self, keys: Iterable[Key], *, atomic: bool = False) -> int:
        """Put changed keys in line. Returns a position: once it is durable, these changes are.

        With ``atomic`` the keys that were not in line before are committed in one transaction.
        """
        self.position += 1
        before = len(self._line)
        for key in keys:
            self._line.setdefault(key, self.position)
        if atomic and len(self._line) > before:
            self._atomic.add(self.position)
        return self.position

    def head(self) -> tuple[Key, int] | None:
        """The key whose turn it is, and its position."""
        for entry in self._line.items():
            return entry
        return None

    def take(self) -> None:
        """Move the head into flight."""
        key, position = self._line.popitem(last=False)
        # A key that changed after it was taken may come round again in the same transaction: its
        # first place counts.
        self._flight.setdefault(key, position)

    def take_along(self, key: Key, position: int) -> None:
        """Move a key that waits further back into flight, in the place of the one before it."""
        del self._line[key]
        self._flight.setdefault(key, position)

    def waits(self, key: Key) -> bool:
        """Whether a key is in line and not in flight."""
        return key in self._line

    def torn(self, position: int) -> bool:
        """Whether more of the atomic addition at ``position`` is still waiting."""
        head = self.head()
        return position in self._atomic and head is not None and head[1] == position

    def commit(self) -> None:
        """What was in flight is durable now."""
        if self._atomic:
            self._atomic.difference_update(self._flight.values())
        self._flight = {}

    def revert(self) -> None:
        """What was in flight is uncertain: it takes its old places and keeps no second one."""
        for key, position in reversed(self._flight.items()):
            self._line[key] = position
            self._line.move_to_end(key, last=False)
        self._flight = {}
