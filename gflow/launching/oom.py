"""Was it the kernel that killed for memory? SIGKILL alone does not say.

A killed process does not learn by whom. The kernel counts its victims and names them in its log;
where the log may not be read, a count that has moved during the job's life must do.
"""

from __future__ import annotations

import os

_COUNTERS = "/proc/vmstat"
_LOG = "/dev/kmsg"


def kills() -> int | None:
    """How many processes the kernel has killed for memory since boot; None: it does not say."""
    try:
        with open(_COUNTERS, "rb", buffering=0) as file:
            lines = file.read().splitlines()
    except OSError:
        return None
    name, separator = b"oom_kill", b" "
    counts = [line.split(separator)[1] for line in lines if line.startswith(name + separator)]
    return int(counts[0]) if counts else None


def was_victim(pid: int, kills_before: int | None) -> bool:
    """Whether the process, which died by SIGKILL, was chosen by the kernel.

    ``kills_before``: the count at some moment before it was started.
    """
    if kills_before is None or kills() == kills_before:
        return False
    log = _read_log()
    return log is None or b"Killed process %d " % pid in log


def _read_log() -> bytes | None:
    """What the kernel's log holds; None: it may not be read (dmesg_restrict)."""
    try:
        fd = os.open(_LOG, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    log = b""
    try:
        while True:
            try:
                log += os.read(fd, 8192)
            except BrokenPipeError:
                continue  # a record was overwritten while it was read
    except OSError:
        return log  # EAGAIN: the end
    finally:
        os.close(fd)
