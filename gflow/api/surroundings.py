"""What a process hands on to those that it starts: umask, niceness and limits.

A job gets its submitter's. Limits that are the supervisor's own anyway are not kept: the job
inherits them, at no cost in memory and without a fork of its own.
"""

from __future__ import annotations

import os
import resource
from typing import Any

from gflow.api.quantity import RLIMITS

#: Name without ``RLIMIT_``, soft, hard.
Limit = tuple[str, int, int]


def here() -> dict[str, Any]:
    """``umask``, ``nice`` and ``rlimits`` of this process, as a spec has them."""
    return {"umask": umask(), "nice": niceness(), "rlimits": rlimits()}


def umask() -> int:
    """This process's umask (proc(5), /proc/PID/status), without setting it."""
    # Every submission reads it: a file object and its lines would take twice as long.
    fd = os.open("/proc/self/status", os.O_RDONLY | os.O_CLOEXEC)
    try:
        _, found, rest = os.read(fd, 4096).partition(b"\nUmask:")
    finally:
        os.close(fd)
    return int(rest.split(maxsplit=1)[0], 8) if found else 0o022


def niceness() -> int:
    """-20 to 19."""
    return os.getpriority(os.PRIO_PROCESS, 0)


def rlimits() -> dict[str, list[int]]:
    """Name without ``RLIMIT_`` → [soft, hard]; -1 is unlimited."""
    return {name: [*resource.getrlimit(getattr(resource, f"RLIMIT_{name}"))] for name in RLIMITS}


def limits() -> frozenset[Limit]:
    """The same as a spec holds them, so that what a job inherits anyway can be told apart."""
    return frozenset((name, soft, hard) for name, (soft, hard) in rlimits().items())
