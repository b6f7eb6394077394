"""Spare space on the disk: a file that is given up so that ends and cancellations still fit."""

from __future__ import annotations

import os
from typing import NamedTuple

_PAGE_BYTES = 4096


class Scale(NamedTuple):
    """How much spare space and log a file system can bear."""

    ballast_bytes: int
    wal_pages: int


def scale(total_bytes: int, ballast_bytes: int) -> Scale:
    """Sizes for a file system: on a tiny one both shrink, or they would be what fills it."""
    share = total_bytes // 16
    return Scale(min(ballast_bytes, share), max(16, min(1000, share // _PAGE_BYTES)))


def total_bytes(path: str) -> int:
    """Size of the file system that holds ``path``."""
    found = os.statvfs(path)
    return found.f_blocks * found.f_frsize


class Ballast:
    """The spare file of a state folder. It stands, or it was given up and must be made again."""

    def __init__(self, state_dir: str, size_bytes: int) -> None:
        self._path = os.path.join(state_dir, "ballast")
        self._size_bytes = size_bytes

    @property
    def stands(self) -> bool:
        """Whether the space is set aside now."""
        try:
            return os.lstat(self._path).st_size >= self._size_bytes
        except OSError:
            return False

    def make(self) -> bool:
        """Set the space aside. False when the disk has not enough for it and as much again.

        The second half keeps a nearly full disk from swinging between trouble and recovery.
        """
        if self.stands:
            return True
        try:
            found = os.statvfs(os.path.dirname(self._path))
            if found.f_bavail * found.f_frsize < 2 * self._size_bytes:
                return False
            flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            fd = os.open(self._path, flags, 0o600)
            try:
                os.posix_fallocate(fd, 0, self._size_bytes)
            finally:
                os.close(fd)
        except OSError:
            self.give_up()
            return False
        return True

    def give_up(self) -> bool:
        """Free the space. False when there was none."""
        try:
            os.unlink(self._path)
        except OSError:
            return False
        return True
