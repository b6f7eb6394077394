"""Processes that keep no card back although they are on one: an admin said so at run time.

Each is one process on one card, not a name: who gets its pid later is a stranger again. It is
forgotten once the driver does not list it there any more.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

Facts = Mapping[str, Any]


class Exemptions:
    """Processes by card index and pid."""

    def __init__(self) -> None:
        #: (card index, pid) → its start ticks; None: it could not be seen, in another pid
        #: namespace say, and its pid is all that is known of it.
        self._known: dict[tuple[int, int], int | None] = {}

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self._known)

    def add(self, index: int, process: Facts) -> bool:
        """Exempt a process that the driver lists on a card; False: it was already."""
        if self.covers(index, process):
            return False
        self._known[index, process["pid"]] = process["start_ticks"]
        return True

    def remove(self, index: int, pid: int) -> bool:
        """False: it was not exempt."""
        known = (index, pid) in self._known
        self._known.pop((index, pid), None)
        return known

    def covers(self, index: int, process: Facts) -> bool:
        """Whether a process keeps this card back no more."""
        key = (index, process["pid"])
        return key in self._known and self._known[key] == process["start_ticks"]

    def keep(self, index: int, processes: Iterable[Facts]) -> bool:
        """Forget those of a card that are not among its processes; True: there were some."""
        there = {p["pid"] for p in processes if self.covers(index, p)}
        gone = [key for key in self._known if key[0] == index and key[1] not in there]
        for key in gone:
            del self._known[key]
        return bool(gone)

    def pids(self, index: int) -> list[int]:
        """Exempt processes on a card."""
        return sorted(pid for card, pid in self._known if card == index)

    def record(self) -> dict[str, Any]:
        """What is to be saved."""
        return {"processes": [[*key, ticks] for key, ticks in self._known.items()]}

    def restore(self, record: Facts) -> None:
        """Take in what was saved."""
        self._known = {(index, pid): ticks for index, pid, ticks in record["processes"]}
