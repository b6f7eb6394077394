"""SQLite's own check of a store's structure while the store is in use: of a copy, and apart.

It is one long statement, and the connection to the store can do nothing else meanwhile. So a copy
is made in stretches and read by a thread with a connection of its own, which holds nothing that
the persister needs: Python's lock is free while SQLite works. The copy has no name by then and
goes with its last descriptor.
"""

from __future__ import annotations

import _thread
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import suppress
from urllib.parse import quote

from gflow.persistence import backup
from gflow.persistence.store import Store

#: How long one slice waits for the thread.
_SLICE_S = 0.002
#: Space that stays free beside the copy, at least; and as a share of the copy.
_SPARE_BYTES, _SPARE_SHARE = 64 << 20, 4
_NICE = 19
_FINDINGS = 100


class StructureCheck:
    """One check: iterate ``slices``, then read ``problems`` and ``refusal``."""

    def __init__(self, store: Store, between: Callable[[], None]) -> None:
        """``between`` is called after every stretch of the copying, as by ``backup``."""
        self._store = store
        self._between = between
        #: What SQLite found, in its words.
        self.problems: list[str] = []
        #: Why nothing was checked; None: all of it was.
        self.refusal: str | None = None

    def slices(self) -> Iterator[None]:
        """Copy, then wait for the answer; yields between slices. Raises sqlite3.Error."""
        path = f"{self._store.path}.check"
        try:
            copy = self._copy(path)
        except OSError as error:
            self.refusal = f"{path}: {error.strerror}"
            return
        finally:
            with suppress(FileNotFoundError):
                os.unlink(path)
        if copy is None:
            return
        reading = _thread.allocate_lock()
        reading.acquire()
        try:
            _thread.start_new_thread(self._read, (copy, reading))
        except RuntimeError as error:
            self.refusal = str(error)
            return
        while not reading.acquire(timeout=_SLICE_S):
            yield

    def _copy(self, path: str) -> sqlite3.Connection | None:
        """A connection to a copy that nobody else knows of; None: there is no room for it."""
        size = os.path.getsize(self._store.path)
        found = os.statvfs(os.path.dirname(path))
        wanted = size + max(_SPARE_BYTES, size // _SPARE_SHARE)
        if found.f_bavail * found.f_frsize < wanted:
            self.refusal = f"no room for a copy of {size >> 20} MB beside {self._store.path}"
            return None
        with suppress(FileNotFoundError):
            os.unlink(path)
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(path, flags, 0o600)
        try:
            backup.copy_pages(self._store, path, fd, self._between)
        finally:
            os.close(fd)
        uri = f"file:{quote(path)}?mode=ro&immutable=1"
        copy = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)
        copy.execute("PRAGMA cell_size_check=ON")
        with suppress(sqlite3.DatabaseError):
            copy.execute("PRAGMA schema_version")  # so that the file is open before its name goes
        return copy

    def _read(self, copy: sqlite3.Connection, reading: _thread.LockType) -> None:
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, _thread.get_native_id(), _NICE)
        try:
            rows = copy.execute(f"PRAGMA integrity_check({_FINDINGS})").fetchall()
            self.problems = [finding for (finding,) in rows if finding != "ok"]
        except sqlite3.Error as error:
            self.problems = [str(error)]
        finally:
            copy.close()
            reading.release()
