"""What lies where the store should be, found out without touching it.

SQLite would follow a symbolic link, wait for the writer of a FIFO, and turn an empty file into a
new database. So the file is looked at first: what it is, and what the first 100 bytes say
(SQLite, "Database File Format", section 1.3).
"""

from __future__ import annotations

import errno
import os
import stat
import struct
from enum import StrEnum
from typing import NamedTuple

from gflow.errors import StoreError
from gflow.persistence import schema

_HEADER_BYTES = 100
_MAGIC = b"SQLite format 3\x00"
_KINDS = {
    stat.S_IFDIR: "a directory",
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


class Presence(StrEnum):
    """Whether there is something to open."""

    MISSING = "missing"
    EMPTY = "empty"
    PRESENT = "present"


class Found(NamedTuple):
    """An acceptable state of the file."""

    presence: Presence
    #: Schema version in the header; 0 unless present.
    version: int = 0


def inspect(path: str) -> Found:
    """Say whether a store of ours is at ``path``. Never writes, never waits, follows no link.

    Raises StoreError, naming what was found, for anything that must not be opened.
    """
    for companion in (f"{path}-wal", f"{path}-journal"):
        _refuse_foreign_kind(companion, _mode(companion))
    mode = _mode(path)
    if mode is None:
        return Found(Presence.MISSING)
    _refuse_foreign_kind(path, mode)
    header = _read_header(path)
    if not header:
        return Found(Presence.EMPTY)
    if not header.startswith(_MAGIC) or len(header) < _HEADER_BYTES:
        raise StoreError(
            f"cannot open {path}: not a store of gflow (it begins with {header[:16]!r});"
            " move it away, or put a backup in its place with 'gflowctl restore FILE'"
        )
    (found,) = struct.unpack_from("!i", header, 60)
    (application,) = struct.unpack_from("!I", header, 68)
    if application != schema.APPLICATION_ID:
        raise StoreError(
            f"cannot open {path}: an SQLite database of another program"
            f" (application id {application:#x}); move it away, or put a backup in its place"
            " with 'gflowctl restore FILE'"
        )
    refuse_newer(path, found)
    return Found(Presence.PRESENT, found)


def refuse_newer(path: str, found: int) -> None:
    """Raise StoreError for a store that a later version of gflow wrote."""
    if found > schema.VERSION:
        raise StoreError(
            f"cannot open {path}: it has schema version {found}, this gflow knows versions up"
            f" to {schema.VERSION}; start the gflow that wrote it (nothing was changed)"
        )


def _mode(path: str) -> int | None:
    try:
        return os.lstat(path).st_mode
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StoreError(f"cannot open {path}: {error.strerror}") from error


def _refuse_foreign_kind(path: str, mode: int | None) -> None:
    if mode is not None and not stat.S_ISREG(mode):
        kind = _KINDS.get(stat.S_IFMT(mode), "no regular file")
        raise StoreError(f"cannot open {path}: it is {kind}; move it away (it was not touched)")


def _read_header(path: str) -> bytes:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        found = "a symbolic link" if error.errno == errno.ELOOP else error.strerror
        raise StoreError(f"cannot open {path}: {found}") from error
    try:
        return os.read(fd, _HEADER_BYTES)
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error.strerror}") from error
    finally:
        os.close(fd)
