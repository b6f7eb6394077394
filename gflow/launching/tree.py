"""The processes of an attempt: finding all of them, and ending them.

``/proc/PID/task/*/children`` is not there on every kernel, so one pass over ``/proc/*/stat`` gives
the whole table. A shim is a subreaper: its descendants are complete. Without it (it was killed)
what belongs together is told by session, by descent and by the mark in the environment.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

from gflow.process import identity

_PROC = "/proc"
#: What every process of an attempt carries in its environment.
MARK = "GFLOW_ATTEMPT_ID"

#: Rounds of stopping before what is known is killed all the same.
_STOP_ROUNDS = 20

#: (pid, start ticks): one process and no other.
Identity = tuple[int, int]


class Entry:
    """One process of the table."""

    __slots__ = ("parent", "pid", "session", "state", "ticks")

    def __init__(self, pid: int, state: bytes, parent: int, session: int, ticks: int) -> None:
        self.pid = pid
        self.state = state
        self.parent = parent
        self.session = session
        self.ticks = ticks

    @property
    def identity(self) -> Identity:
        return self.pid, self.ticks


Table = dict[int, Entry]


def processes() -> Table:
    """Every process of the machine that is not a zombie, by pid (proc_pid_stat(5))."""
    table: Table = {}
    for name in os.listdir(_PROC):
        if not name.isdigit():
            continue
        try:
            fd = os.open(f"{_PROC}/{name}/stat", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            continue
        try:
            data = os.read(fd, 1024)
        except OSError:
            continue
        finally:
            os.close(fd)
        fields = data[data.rfind(b")") + 2 :].split(None, 20)
        if len(fields) > 19:
            pid = int(name)
            table[pid] = Entry(pid, fields[0], int(fields[1]), int(fields[3]), int(fields[19]))
    return table


def descendants(table: Table, root: int) -> list[Entry]:
    """Everything below ``root`` that is no zombie, parents first."""
    children: dict[int, list[Entry]] = {}
    for entry in table.values():
        children.setdefault(entry.parent, []).append(entry)
    found: list[Entry] = []
    waiting = [root]
    while waiting:
        below = children.pop(waiting.pop(), [])
        found += below
        waiting += [entry.pid for entry in below]
    return [entry for entry in found if entry.state not in (b"Z", b"X")]


def marks(table: Table) -> dict[str, list[Entry]]:
    """Processes that carry an attempt's mark, by mark; those that cannot be read are left out."""
    found: dict[str, list[Entry]] = {}
    wanted = MARK.encode() + b"="
    for entry in table.values():
        try:
            with open(f"{_PROC}/{entry.pid}/environ", "rb", buffering=0) as file:
                environment = file.read()
        except OSError:
            continue
        start = environment.find(b"\0" + wanted)
        if start < 0 and not environment.startswith(wanted):
            continue
        start = start + 1 + len(wanted) if start >= 0 else len(wanted)
        end = environment.find(b"\0", start)
        mark = environment[start : end if end >= 0 else None].decode("utf-8", "replace")
        found.setdefault(mark, []).append(entry)
    return found


def members(
    table: Table, command: Identity | None, marked: list[Entry], exclude: int
) -> list[Entry]:
    """What is left of an attempt whose shim is dead: its session, its marked, and all below them.

    ``exclude`` is a process that carries the mark without being part (the follower itself).
    """
    roots = [entry for entry in marked if entry.pid in table]
    if command is not None:
        leader = table.get(command[0])
        # Another process with the leader's pid means that the session had ended before.
        if leader is None or leader.ticks == command[1]:
            roots += [entry for entry in table.values() if entry.session == command[0]]
    found: dict[int, Entry] = {}
    for root in roots:
        for entry in (root, *descendants(table, root.pid)):
            if entry.state not in (b"Z", b"X") and entry.pid != exclude:
                found[entry.pid] = entry
    return list(found.values())


def send(entry: Entry, number: int) -> bool:
    """Signal exactly this process. False: it is gone, or not ours to signal."""
    try:
        fd = os.pidfd_open(entry.pid)
    except OSError:
        return False
    try:
        if identity.start_ticks(entry.pid) != entry.ticks:
            return False
        signal.pidfd_send_signal(fd, number)
    except OSError:
        return False
    finally:
        os.close(fd)
    return True


def terminate(entries: list[Entry]) -> None:
    """Ask all of them to end; stopped ones are continued, so that they can."""
    for entry in entries:
        if send(entry, signal.SIGTERM):
            send(entry, signal.SIGCONT)


def kill(find: Callable[[], list[Entry]], *, storm: bool) -> None:
    """One attempt at SIGKILL for everything that ``find`` finds.

    ``storm``: a first attempt was not enough. All are stopped then, until no new one turns up:
    forks that are killed one by one are replaced in the places that the dead leave.
    """
    stopped: set[Identity] = set()
    for _ in range(_STOP_ROUNDS if storm else 0):
        new = [entry for entry in find() if entry.identity not in stopped]
        if not new:
            break
        for entry in new:
            send(entry, signal.SIGSTOP)
            stopped.add(entry.identity)
    for entry in find():
        send(entry, signal.SIGKILL)
