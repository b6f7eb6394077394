"""One giver per card and machine: claims of supervisors that know nothing of each other.

A claim is a file in /tmp, locked by the gpu process and naming its supervisor. It counts while the
lock is held or while that supervisor lives, so that it outlasts the death of the gpu process. The
file stays: removing it would open a gap between two claimants.
"""

from __future__ import annotations

import fcntl
import os
import re
import stat
from collections.abc import Collection

from gflow.process import identity

_FOLDER = "/tmp"


class Claimed(Exception):
    """Somebody else gives the card out; the sentence says who."""


class Claim:
    """The right to give a card out, as long as this lives. Raises Claimed.

    ``owner``: (pid, start ticks) of the supervisor.
    """

    def __init__(self, uuid: str, owner: tuple[int, int], folder: str = _FOLDER) -> None:
        name = re.sub(r"[^0-9A-Za-z-]", "_", uuid)
        self._path = os.path.join(folder, f".gflow-gpu-{name}")
        try:
            self._fd = _open(self._path)
        except OSError as error:
            raise Claimed(f"cannot claim it: {self._path}: {error.strerror}") from None
        try:
            self._take(owner)
        except BaseException:
            os.close(self._fd)
            raise

    def _take(self, owner: tuple[int, int]) -> None:
        if not stat.S_ISREG(os.fstat(self._fd).st_mode):
            raise Claimed(f"cannot claim it: {self._path} is no regular file")
        locked = True
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            locked = False
        known = _read(self._fd)
        if known is not None and known[:2] == owner and locked:
            return
        if not locked or (known is not None and identity.is_alive(*known[:2])):
            raise Claimed(_sentence(known))
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, f"{owner[0]} {owner[1]} {os.getuid()}\n".encode(), 0)

    def release(self) -> None:
        """Let others have it."""
        os.ftruncate(self._fd, 0)
        os.close(self._fd)


class Claims:
    """All claims of one supervisor; ``owner`` as in :class:`Claim`, None: our parent process."""

    def __init__(self, owner: tuple[int, int] | None = None, folder: str = _FOLDER) -> None:
        parent = os.getppid()
        self._owner = owner or (parent, identity.start_ticks(parent) or 0)
        self._folder = folder
        self._held: dict[str, Claim] = {}

    def take(self, name: str) -> str | None:
        """Who else gives the card out; None: we may, from now on."""
        if name in self._held:
            return None
        try:
            self._held[name] = Claim(name, self._owner, self._folder)
        except Claimed as error:
            return str(error)
        return None

    def keep(self, names: Collection[str]) -> None:
        """Let others have the rest."""
        for name in [name for name in self._held if name not in names]:
            self._held.pop(name).release()


def _open(path: str) -> int:
    """Open the file, whoever made it; make it for everyone if it is not there.

    Never O_CREAT on a file of somebody else's in a sticky folder: Linux refuses it to root too
    (proc_sys_fs(5), protected_regular).
    """
    flags = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    while True:
        try:
            return os.open(path, flags)
        except FileNotFoundError:
            pass
        try:
            fd = os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o666)
        except FileExistsError:
            continue
        os.fchmod(fd, 0o666)
        return fd


def _read(fd: int) -> tuple[int, int, int] | None:
    """(pid, start ticks, uid) of the claimant; None when nobody has written there."""
    words = os.pread(fd, 100, 0).split()
    if len(words) != 3 or not all(word.isdigit() for word in words):
        return None
    pid, ticks, uid = map(int, words)
    return pid, ticks, uid


def _sentence(known: tuple[int, int, int] | None) -> str:
    if known is None:
        return "another supervisor gives it out"
    return f"another supervisor (pid {known[0]}, uid {known[2]}) gives it out"
