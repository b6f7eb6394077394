"""Telling processes apart: (boot id, pid, start ticks), never a bare pid."""

from __future__ import annotations

import os

_BOOT_ID = "/proc/sys/kernel/random/boot_id"


def boot_id() -> str:
    """Id of this boot of this machine (proc(5), /proc/sys/kernel/random/boot_id)."""
    with open(_BOOT_ID, encoding="ascii") as file:
        return file.read().strip()


def machine_id() -> str:
    """Id of this installation (machine-id(5)); the host name where there is none."""
    for path in ("/etc/machine-id", "/var/lib/dbus/machine-id"):
        try:
            with open(path, encoding="ascii") as file:
                text = file.read().strip()
        except (OSError, UnicodeDecodeError):
            continue
        if text:
            return text
    return os.uname().nodename


def stat_fields(pid: int) -> list[bytes] | None:
    """Fields of /proc/PID/stat from the third (state) on; None when there is no such process."""
    try:
        fd = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        data = os.read(fd, 4096)
    except OSError:
        return None
    finally:
        os.close(fd)
    # The second field is in parentheses and may hold blanks and parentheses itself.
    return data[data.rfind(b")") + 2 :].split()


def start_ticks(pid: int) -> int | None:
    """When the process began, in clock ticks since boot; None when there is no such process."""
    fields = stat_fields(pid)
    return int(fields[19]) if fields and len(fields) > 19 else None


def process_state(pid: int) -> str | None:
    """One letter of /proc/PID/stat (R, S, D, T, Z, …); None when there is no such process."""
    fields = stat_fields(pid)
    return fields[0].decode("ascii") if fields else None


def is_alive(pid: int, ticks: int) -> bool:
    """Whether exactly this process is there and not a zombie."""
    fields = stat_fields(pid)
    return fields is not None and int(fields[19]) == ticks and fields[0] not in (b"Z", b"X")


def is_stopped(pid: int, ticks: int) -> bool:
    """Whether exactly this process is there and stopped by a signal."""
    fields = stat_fields(pid)
    return fields is not None and int(fields[19]) == ticks and fields[0] == b"T"


def open_pidfd(pid: int, ticks: int | None = None) -> int | None:
    """A pidfd for the process, or None when it is gone or the pid belongs to another one by now.

    With ``ticks`` the identity is checked after opening, so the descriptor cannot mean a successor.
    The descriptor is close-on-exec (pidfd_open(2)).
    """
    try:
        fd = os.pidfd_open(pid)
    except OSError:
        return None
    if ticks is not None and start_ticks(pid) != ticks:
        os.close(fd)
        return None
    return fd
