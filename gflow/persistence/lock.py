"""Who may use a folder: two locks, and who holds them.

``take_file`` is a record lock (fcntl(2)): it belongs to one process, is never inherited, and the
kernel names its holder. ``take_folder`` is an flock on the folder itself: it is inherited by the
persister, the launcher and newborn shims, so that a new supervisor waits until a killed one's
last commit and last start are finished, and it works although the lock file was deleted.
"""

from __future__ import annotations

import fcntl
import os
import signal
import struct
import time
from collections.abc import Callable
from typing import NamedTuple

from gflow.process import identity

#: How long a new supervisor waits for the rests of an old one (DESIGN, section 3).
WAIT_S = 15.0
_POLL_S = 0.02
#: Stopped rests are told and continued after this long.
_PATIENCE_S = 1.0
#: Titles of processes that only finish something and may be ended when they do not.
_ORPHANS = ("gflow: persister", "gflow: launcher")
#: struct flock: l_type, l_whence, l_start, l_len, l_pid (64-bit Linux).
_FLOCK = struct.Struct("hhqqi4x")


class Holder(NamedTuple):
    """A process that keeps a lock."""

    pid: int
    #: None when it vanished while it was looked at.
    start_ticks: int | None
    #: Its command line, as ps shows it.
    title: str

    @property
    def stopped(self) -> bool:
        """Whether it was stopped by a signal."""
        return identity.process_state(self.pid) in ("T", "t")

    def __str__(self) -> str:
        return f"pid {self.pid} ({self.title or 'unknown'}{', stopped' if self.stopped else ''})"


class LockHeld(Exception):
    """Somebody else uses the folder; the message names the lock and its holders."""

    def __init__(self, path: str, holders: list[Holder]) -> None:
        names = ", ".join(map(str, holders)) or "a process that cannot be seen from here"
        super().__init__(f"cannot use {path}: it is in use by {names}")
        self.holders = holders


def take_file(path: str) -> int:
    """Lock a file, creating it, without waiting. Returns the descriptor to keep open.

    Closing any other descriptor of the same file would drop the lock (fcntl(2)); so nobody else
    opens it. Raises LockHeld, OSError.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    fd = os.open(path, flags, 0o600)
    try:
        fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        holders = _file_holders(fd)
        os.close(fd)
        if isinstance(error, (BlockingIOError, PermissionError)):
            raise LockHeld(path, holders) from None
        raise
    os.ftruncate(fd, 0)
    os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
    return fd


def take_folder(
    path: str, *, wait_s: float = WAIT_S, say: Callable[[str], None] = lambda _: None
) -> int:
    """Lock a folder, waiting for what an earlier supervisor left behind. Returns the descriptor.

    The descriptor is close-on-exec, but forked children share it. A living supervisor is refused at
    once. Stopped rests are named through ``say``, continued, and ended when the wait is over.
    Raises LockHeld, OSError.
    """
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _wait_for(fd, path, wait_s, say)
    except BaseException:
        os.close(fd)
        raise
    return fd


def _wait_for(fd: int, path: str, wait_s: float, say: Callable[[str], None]) -> None:
    began_s = time.monotonic()
    named = ended = False
    while not _try(fd):
        waited_s = time.monotonic() - began_s
        found = folder_holders(path)
        if any(_may_not_be_ended(holder) for holder in found):
            raise LockHeld(path, found)
        if waited_s >= _PATIENCE_S and not named:
            named = True
            for holder in found:
                say(f"waiting for {holder}, left by an earlier supervisor, to finish")
                _signal(holder, signal.SIGCONT)
        if waited_s >= wait_s:
            if ended and waited_s >= wait_s + 2.0:
                raise LockHeld(path, found)
            for holder in [] if ended else found:
                say(f"ending {holder}, left by an earlier supervisor: it did not finish")
                _signal(holder, signal.SIGKILL)
            ended = True
        time.sleep(_POLL_S)


def _try(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _may_not_be_ended(holder: Holder) -> bool:
    """Whether it is no rest of an earlier supervisor.

    A newborn shim keeps the lock for a moment; a holder that vanished is none. One without any
    title is just ending: its memory goes before its descriptors do.
    """
    if holder.start_ticks is None or not holder.title or holder.title.startswith("gflow: job"):
        return False
    if not holder.title.startswith(_ORPHANS):
        return True
    parent = _parent(holder.pid)
    return parent is not None and _title(parent).startswith("gflow: supervisor")


def _signal(holder: Holder, number: int) -> None:
    if holder.start_ticks is None or not holder.title.startswith(_ORPHANS):
        return
    pidfd = identity.open_pidfd(holder.pid, holder.start_ticks)
    if pidfd is None:
        return
    try:
        signal.pidfd_send_signal(pidfd, number)
    except OSError:
        pass  # gone by now, or not ours
    finally:
        os.close(pidfd)


def _file_holders(fd: int) -> list[Holder]:
    asked = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
    kind, _, _, _, pid = _FLOCK.unpack(fcntl.fcntl(fd, fcntl.F_GETLK, asked))
    if kind == fcntl.F_UNLCK:
        return []
    if pid <= 0:
        text = os.pread(fd, 32, 0).strip()  # another pid namespace: what the holder wrote
        pid = int(text) if text.isdigit() else 0
    return [_holder(pid)] if pid else []


def folder_holders(path: str) -> list[Holder]:
    """Processes that keep an flock on a folder, as far as this user may look.

    /proc/locks names the process that took the lock, which may be dead; who shares its open file
    shows it in fdinfo (proc_pid_fdinfo(5)).
    """
    wanted = os.stat(path)
    holders = []
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) != os.getpid() and _shares_lock(name, wanted):
            holders.append(_holder(int(name)))
    return holders


def _shares_lock(pid: str, wanted: os.stat_result) -> bool:
    try:
        fds = os.listdir(f"/proc/{pid}/fd")
    except OSError:
        return False
    for fd in fds:
        try:
            found = os.stat(f"/proc/{pid}/fd/{fd}")
            if (found.st_dev, found.st_ino) != (wanted.st_dev, wanted.st_ino):
                continue
            with open(f"/proc/{pid}/fdinfo/{fd}", encoding="ascii") as file:
                if any(line.startswith("lock:") and "FLOCK" in line for line in file):
                    return True
        except OSError:
            continue
    return False


def _holder(pid: int) -> Holder:
    return Holder(pid, identity.start_ticks(pid), _title(pid))


def _title(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            text = file.read(4096)
    except OSError:
        return ""
    return text.replace(b"\0", b" ").decode("utf-8", "replace").strip()


def _parent(pid: int) -> int | None:
    fields = identity.stat_fields(pid)
    return int(fields[1]) if fields else None
