"""Memory that processes have, counted fairly where they share it."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

#: Lines of /proc/PID/smaps_rollup that count (proc_pid_smaps(5)).
_PROPORTIONAL = (b"Pss:", b"SwapPss:")
_PRIVATE = (b"Private_Clean:", b"Private_Dirty:")
#: So often processes are looked at in a row before nothing is said of them.
_READINGS = 4


class Share(NamedTuple):
    """What one process has of the memory that it sees."""

    #: Shared pages are divided among those that share them; swap is counted too.
    proportional_bytes: int
    #: Nobody else has these pages.
    private_bytes: int


def share(pid: int, rss_bytes: int) -> Share | None:
    """A process's share; what is resident where nothing else may be read. None: it is gone.

    Costs 0.13 ms and more for large ones.
    """
    try:
        with open(f"/proc/{pid}/smaps_rollup", "rb", buffering=0) as file:
            lines = file.read().splitlines()
    except PermissionError:
        return Share(rss_bytes, 0)
    except OSError:
        return None
    return Share(_total(lines, _PROPORTIONAL), _total(lines, _PRIVATE)) if lines else None


def _total(lines: list[bytes], names: tuple[bytes, ...]) -> int:
    return 1024 * sum(int(line.split()[1]) for line in lines if line.startswith(names))


def together(resident: dict[int, int]) -> int | None:
    """What processes use together, in bytes; None when one of them ended meanwhile."""
    shares = [share(pid, rss_bytes) for pid, rss_bytes in resident.items()]
    there = [one.proportional_bytes for one in shares if one is not None]
    return sum(there) if len(there) == len(shares) else None


def above(
    limit_bytes: int,
    resident: dict[int, int],
    look: Callable[[int, int], Share | None] = share,
) -> int | None:
    """What processes use together, in bytes, if that is certainly above the limit.

    ``resident``: what each pid has resident. They are looked at one after the other: when some of
    those that share memory end meanwhile, the shares of the others grow, and the sum is of no
    moment. So it counts when two looks in a row agree and nobody was gone in them, or when private
    pages alone are too much: those belong to one process at a time.
    """
    left, agreed = resident, 0
    for _ in range(_READINGS):
        shares = {pid: look(pid, rss_bytes) for pid, rss_bytes in left.items()}
        there = {pid: one for pid, one in shares.items() if one is not None}
        used_bytes = sum(one.proportional_bytes for one in there.values())
        if used_bytes <= limit_bytes:
            return None
        agreed = agreed + 1 if len(there) == len(left) else 0
        if agreed == 2 or sum(one.private_bytes for one in there.values()) > limit_bytes:
            return used_bytes
        left = {pid: left[pid] for pid in there}
    return None
