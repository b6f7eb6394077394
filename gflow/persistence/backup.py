"""A copy of the store while it is in use.

SQLite's online backup copies a stretch of pages at a time; what is committed between two
stretches through the same connection goes into the copy as well (sqlite.org, "SQLite Backup
API"), so the copy is the store as it was at the end. The copy has no journal: until it is
renamed, nobody calls it a backup.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable
from typing import Any

from gflow.persistence import folder
from gflow.persistence.store import Store

_PAGES = 64
#: Dirty pages are written back in portions, so that the last sync is a short one.
_SYNC_BYTES = 4 << 20


class BackupRefused(Exception):
    """The copy cannot be made; the message names the file and the cause."""


def backup(store: Store, path: str, between: Callable[[], None]) -> dict[str, Any]:
    """Copy the store to a new file, calling ``between`` after every stretch of pages.

    Whatever ``between`` raises ends the copying and leaves no file. Raises BackupRefused.
    """
    if not os.path.isabs(path):
        raise BackupRefused(f"cannot back up to {path!r}: the path is not absolute")
    if os.path.lexists(path):
        raise BackupRefused(f"cannot back up to {path}: there is such a file already")
    part = f"{path}.part"
    began_s = time.monotonic()
    fd = -1
    try:
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(part, flags, 0o600)
        copy_pages(store, part, fd, between)
        os.fsync(fd)
        size = os.fstat(fd).st_size
        os.rename(part, path)
        folder.sync(os.path.dirname(path))
    except FileExistsError as error:
        raise BackupRefused(f"cannot back up to {path}: {part} is there already") from error
    except BaseException as error:
        if fd >= 0:
            os.unlink(part)
        if isinstance(error, OSError):
            raise BackupRefused(f"cannot back up to {path}: {error.strerror}") from error
        if isinstance(error, sqlite3.Error):
            raise BackupRefused(f"cannot back up to {path}: {error}") from error
        raise
    finally:
        if fd >= 0:
            os.close(fd)
    return {"path": path, "bytes": size, "seconds": time.monotonic() - began_s}


def copy_pages(store: Store, part: str, fd: int, between: Callable[[], None]) -> None:
    """Copy every page to a file that is there and empty; ``fd`` is open on it too.

    Raises sqlite3.Error, OSError, and whatever ``between`` raises.
    """
    (page_bytes,) = store.connection.execute("PRAGMA page_size").fetchone()
    synced_bytes = 0

    def stretch(status: int, remaining: int, total: int) -> None:
        nonlocal synced_bytes
        done_bytes = (total - remaining) * page_bytes
        if done_bytes - synced_bytes >= _SYNC_BYTES:
            os.fdatasync(fd)
            synced_bytes = done_bytes
        between()

    target = sqlite3.connect(part, isolation_level=None)
    try:
        target.execute("PRAGMA journal_mode=OFF")
        target.execute("PRAGMA synchronous=OFF")
        # A small cache writes pages out as they come, not all of them at the end.
        target.execute("PRAGMA cache_size=128")
        store.connection.backup(target, pages=_PAGES, progress=stretch)
    finally:
        target.close()
