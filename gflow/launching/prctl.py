"""Calls that the standard library lacks: parents of orphans, signals to poll for, exact renames."""

from __future__ import annotations

import ctypes
import errno
import os
import signal
from collections.abc import Iterable

_PR_SET_CHILD_SUBREAPER = 36
libc = ctypes.CDLL(None, use_errno=True)
_prctl = libc.prctl
_renameat2 = getattr(libc, "renameat2", None)
_AT_FDCWD, _RENAME_NOREPLACE = -100, 1  # <fcntl.h>, <stdio.h>


def become_subreaper() -> None:
    """From now on orphaned descendants become children of this process."""
    if _prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


_SignalSet = ctypes.c_ulong * (128 // ctypes.sizeof(ctypes.c_ulong))


def signal_fd(signals: Iterable[signal.Signals]) -> int:
    """A descriptor that is readable while one of these blocked signals waits (signalfd(2))."""
    waited_for = _SignalSet(sum(1 << (number - 1) for number in signals))
    fd: int = libc.signalfd(-1, waited_for, os.O_CLOEXEC | os.O_NONBLOCK)
    if fd < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return fd


def rename_exclusively(source: str, target: str) -> None:
    """Rename a file unless there is one of the new name (FileExistsError). Raises OSError.

    Not every file system can (renameat2(2), RENAME_NOREPLACE); it says EINVAL then.
    """
    if _renameat2 is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    names = os.fsencode(source), os.fsencode(target)
    if _renameat2(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _RENAME_NOREPLACE) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), source)
