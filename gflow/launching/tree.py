"""The processes of an attempt: finding all of them, and ending them.

A shim is a subreaper: its descendants are complete. Without it (it was killed) what belongs
together is told by session, by descent and by the mark in the environment.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterable

from gflow.process import identity, table
from gflow.process.table import Entry, Identity, Table

#: What every process of an attempt carries in its environment.
MARK = "GFLOW_ATTEMPT_ID"
#: init, and the parent of the kernel's threads: never part of a job.
_SYSTEM = 2
#: Rounds of stopping before what is known is killed all the same.
_STOP_ROUNDS = 20


def descendants(root: int) -> list[Entry]:
    """Everything below ``root`` that lives now."""
    return [entry for entry in table.read().below(root) if not entry.ended]


def marks(processes: Table) -> dict[str, list[Entry]]:
    """Processes that carry an attempt's mark, by mark; those that cannot be read are left out."""
    found: dict[str, list[Entry]] = {}
    wanted = b"\0" + MARK.encode() + b"="
    for entry in processes.entries.values():
        try:
            with open(f"/proc/{entry.pid}/environ", "rb", buffering=0) as file:
                environment = b"\0" + file.read()
        except OSError:
            continue
        _, separator, rest = environment.partition(wanted)
        if separator:
            mark = rest.partition(b"\0")[0].decode("utf-8", "replace")
            found.setdefault(mark, []).append(entry)
    return found


def named(processes: Table, pids: Iterable[int]) -> list[Entry]:
    """The processes with these pids."""
    return [processes.entries[pid] for pid in pids if pid in processes.entries]


def members(
    processes: Table, command: Identity | None, known: Iterable[Entry], exclude: int
) -> list[Entry]:
    """What lives of an attempt whose shim is dead: the command's session, the ``known``, all below.

    ``exclude`` is a process that may carry the mark without being part: the one that asks.
    """
    roots = list(known)
    # Without its leader a session's number says nothing: it may be another's by now.
    if command is not None and is_possible(command) and processes.get(*command) is not None:
        roots += [one for one in processes.entries.values() if one.session == command[0]]
    # Whatever a run file says, nothing above us is part of a job: below init is everything.
    above = {0, 1, *processes.above(exclude)}
    found: dict[int, Entry] = {}
    for root in roots:
        if root.pid in above or root.session == 0:
            continue
        for entry in (root, *processes.below(root.pid)):
            if not entry.ended and entry.pid != exclude:
                found[entry.pid] = entry
    return list(found.values())


def is_possible(process: Identity) -> bool:
    """Whether this can be a process of a job at all.

    Records may hold zeros for what is not known, and session 0 is everybody's who has none.
    """
    pid, ticks = process
    return pid > _SYSTEM and ticks > 0


def send(entry: Entry, number: int) -> bool:
    """Signal exactly this process. False: it is gone, or not ours to signal."""
    assert entry.pid > _SYSTEM, "a signal for init or for a thread of the kernel"
    fd = identity.open_pidfd(*entry.identity)
    if fd is None:
        return False
    try:
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
