"""What this machine has to give."""

from __future__ import annotations

import os


def cpus() -> int:
    """Processors that this process may run on (sched_getaffinity(2))."""
    return len(os.sched_getaffinity(0))


def memory_bytes() -> int:
    """Physical memory, or the limit of a control group around us if that is smaller."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limits = (_limit(path) for path in _LIMIT_FILES)
    return min([total, *(limit for limit in limits if limit is not None)])


#: Limit of the group that a container sees as its root (cgroups(7), version 2 and 1).
_LIMIT_FILES = (
    "/sys/fs/cgroup/memory.max",
    "/sys/fs/cgroup/memory/memory.limit_in_bytes",
)


def _limit(path: str) -> int | None:
    try:
        with open(path, encoding="ascii") as file:
            text = file.read().strip()
    except OSError:
        return None
    return int(text) if text.isdecimal() else None
