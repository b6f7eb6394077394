"""The process table: one pass over /proc/PID/stat (proc_pid_stat(5)).

``/proc/PID/task/*/children`` is not there on every kernel, and a pass over 2,000 processes takes
38 ms however many trees are asked for.
"""

from __future__ import annotations

import os

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
#: Fields after the name that are of interest here: up to ``rss``.
_FIELDS = 22

#: (pid, start ticks): one process and no other.
Identity = tuple[int, int]


class Entry:
    """One process at the moment of the pass."""

    __slots__ = ("_fields", "parent", "pid", "ticks")

    def __init__(self, pid: int, fields: list[bytes]) -> None:
        self._fields = fields
        self.pid = pid
        self.parent = int(fields[1])
        #: When it began, in clock ticks since boot.
        self.ticks = int(fields[19])

    @property
    def identity(self) -> Identity:
        return self.pid, self.ticks

    @property
    def ended(self) -> bool:
        """A zombie: only its status is left."""
        return self._fields[0] in (b"Z", b"X")

    @property
    def stopped(self) -> bool:
        """By a signal, until SIGCONT."""
        return self._fields[0] == b"T"

    @property
    def session(self) -> int:
        return int(self._fields[3])

    @property
    def cpu_s(self) -> float:
        return (int(self._fields[11]) + int(self._fields[12])) / _TICKS_PER_S

    @property
    def children_cpu_s(self) -> float:
        """Of children that ended and were waited for."""
        return (int(self._fields[13]) + int(self._fields[14])) / _TICKS_PER_S

    @property
    def threads(self) -> int:
        return int(self._fields[17])

    @property
    def rss_bytes(self) -> int:
        return int(self._fields[21]) * _PAGE_BYTES


class Table:
    """All processes at one moment; those that vanished during the pass are left out."""

    def __init__(self, entries: dict[int, Entry]) -> None:
        self.entries = entries
        self._children: dict[int, list[Entry]] = {}
        for entry in entries.values():
            self._children.setdefault(entry.parent, []).append(entry)

    def get(self, pid: int, ticks: int) -> Entry | None:
        """Exactly this process; None when it is gone."""
        entry = self.entries.get(pid)
        return entry if entry is not None and entry.ticks == ticks else None

    def below(self, root: int) -> list[Entry]:
        """Every descendant of ``root``, zombies included, in no certain order."""
        found: list[Entry] = []
        waiting = [root]
        while waiting:
            children = self._children.get(waiting.pop(), ())
            found += children
            waiting += [entry.pid for entry in children]
        return found

    def above(self, pid: int) -> list[int]:
        """Pids of the ancestors of ``pid``, nearest first, as far as they are known."""
        found: list[int] = []
        entry = self.entries.get(pid)
        while entry is not None and entry.parent not in found:
            found.append(entry.parent)
            entry = self.entries.get(entry.parent)
        return found


def read() -> Table:
    """One pass over all processes."""
    entries: dict[int, Entry] = {}
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            fd = os.open(f"/proc/{name}/stat", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            continue
        try:
            data = os.read(fd, 1024)
        except OSError:
            continue
        finally:
            os.close(fd)
        # The name is in parentheses and may hold blanks and parentheses itself.
        fields = data[data.rfind(b")") + 2 :].split(None, _FIELDS)
        if len(fields) >= _FIELDS:
            pid = int(name)
            entries[pid] = Entry(pid, fields)
    return Table(entries)
