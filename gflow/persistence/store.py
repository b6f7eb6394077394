"""SQLite: one file, one connection, whole records.

The persister alone opens it. A second connection, even one that only reads, would bring the
WAL-reset bug (SQLite up to 3.51.2) and a WAL that never shrinks, so the locking mode is
EXCLUSIVE. What is applied twice is there once: every item is the newest whole record of its key,
or its deletion.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any

from gflow.errors import StoreError
from gflow.model.record import Key
from gflow.persistence import codec, floor, folder, schema
from gflow.persistence.apply import apply
from gflow.persistence.codec import DamagedRecord, Item

_SESSION: Key = ("meta", "store.session")
#: Name of the value that says in which folder the store is used.
FOLDER = "store.folder"
#: Of SQLite's machine, from one call of ``going_on`` to the next: some ten milliseconds.
_PROGRESS_STEPS = 1_000_000


class Store:
    """An open store. Methods raise sqlite3.Error when the disk does not do its part."""

    def __init__(
        self,
        path: str,
        *,
        network: bool = False,
        relaxed: bool = False,
        wal_pages: int = 1000,
        going_on: Callable[[], None] = lambda: None,
    ) -> None:
        """Open an existing store; the file was looked at already (``storefile``).

        ``network``: a file system where shared memory and locks are unsafe: rollback journal and
        EXTRA syncs. ``relaxed``: commits survive the death of processes, not a power cut.
        ``going_on`` is called now and then within long statements; it must not raise.
        """
        self.path = path
        self.connection = sqlite3.connect(path, isolation_level=None, timeout=0)
        self.connection.set_progress_handler(going_on, _PROGRESS_STEPS)
        try:
            self._configure(network, relaxed, wal_pages)
            #: Device and inode.
            self.file = _file_at(path)
            #: The same of its log, once the session has begun; None: it has none.
            self.log: tuple[int, int] | None = None
        except BaseException:
            self.connection.close()
            raise

    def _configure(self, network: bool, relaxed: bool, wal_pages: int) -> None:
        # A damaged text is for its checksum to find, not a reason to stop reading.
        self.connection.text_factory = lambda text: text.decode("utf-8", "surrogateescape")
        execute = self.connection.execute
        execute("PRAGMA locking_mode=EXCLUSIVE")
        wanted = "delete" if network else "wal"
        (mode,) = execute(f"PRAGMA journal_mode={wanted}").fetchone()
        if mode != wanted:
            raise StoreError(f"cannot open {self.path}: its journal mode stays {mode}")
        execute(f"PRAGMA synchronous={'EXTRA' if network else 'NORMAL' if relaxed else 'FULL'}")
        execute(f"PRAGMA wal_autocheckpoint={wal_pages}")
        execute("PRAGMA journal_size_limit=67108864")
        execute("PRAGMA mmap_size=0")
        execute("PRAGMA cell_size_check=ON")
        execute("PRAGMA trusted_schema=OFF")
        execute("PRAGMA temp_store=MEMORY")
        execute("PRAGMA cache_size=-16384")

    # --- life -------------------------------------------------------------------------------------

    @property
    def version(self) -> int:
        """Schema version of the file."""
        (found,) = self.connection.execute("PRAGMA user_version").fetchone()
        return int(found)

    def session(self) -> dict[str, Any]:
        """``{number, clean}``: how often it was opened and whether the last time ended orderly."""
        row = self.connection.execute(
            "SELECT crc, record FROM meta WHERE name = ?", _SESSION[1:]
        ).fetchone()
        if row is None:
            return {"number": 0, "clean": True}
        item = Item(_SESSION, *row)
        codec.verify(item)
        record = codec.decode(item)
        assert isinstance(record, dict)
        return record

    @property
    def is_in_place(self) -> bool:
        """Whether the files in use are still those at their path: not deleted, moved or replaced.

        In a log that was deleted nobody would find what was committed.
        """
        if self.log is not None and self.log != _file_at(f"{self.path}-wal"):
            return False
        return self.file == _file_at(self.path)

    @property
    def is_missing(self) -> bool:
        """Whether there is nothing at its path."""
        return _file_at(self.path) is None

    @property
    def is_copy(self) -> bool:
        """Whether it was used in another folder last."""
        try:
            where = self.meta(FOLDER)
        except DamagedRecord:
            return False
        return where is not None and where != folder.identity(os.path.dirname(self.path))

    def begin_session(self, number: int) -> None:
        """Take the write lock and note that the store is in use, and where. Commits."""
        where = folder.identity(os.path.dirname(self.path))
        self.begin()
        self.apply(
            [
                codec.encode(_SESSION, {"number": number, "clean": False}),
                codec.encode(("meta", FOLDER), where),
            ]
        )
        self.commit()
        self.log = _file_at(f"{self.path}-wal")

    def close(self, session: int) -> None:
        """End orderly: note it, bring everything into the main file, close."""
        self.begin()
        self.apply([codec.encode(_SESSION, {"number": session, "clean": True})])
        self.commit()
        self.checkpoint()
        self.connection.close()

    def checkpoint(self) -> None:
        """Bring everything from the log into the main file."""
        self.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def abandon(self) -> None:
        """Close the connection as it is, after an error."""
        try:
            self.connection.close()
        except sqlite3.Error:
            pass

    def quick_check(self, tables: Sequence[str] = ("",)) -> list[str]:
        """What SQLite finds wrong with the structure of the file, or of some tables alone."""
        findings = []
        for table in tables:
            of = f"({table})" if table else ""
            findings += [row[0] for row in self.connection.execute(f"PRAGMA quick_check{of}")]
        return [finding for finding in findings if finding != "ok"]

    def figures(self) -> dict[str, Any]:
        """Sizes for people: rows of the small tables, pages of the file."""
        execute = self.connection.execute
        (pages,) = execute("PRAGMA page_count").fetchone()
        (page_bytes,) = execute("PRAGMA page_size").fetchone()
        (live,) = execute("SELECT count(*) FROM live").fetchone()
        (quarantined,) = execute("SELECT count(*) FROM quarantine").fetchone()
        return {"bytes": pages * page_bytes, "live": live, "quarantined": quarantined}

    def vacuum_into(self, path: str) -> None:
        """Write a compact copy to a new file."""
        try:
            self.connection.execute("VACUUM INTO ?", (path,))
        except BaseException:
            with suppress(FileNotFoundError):
                os.unlink(path)
            raise

    # --- transactions -----------------------------------------------------------------------------

    def begin(self) -> None:
        """Open a transaction."""
        self.connection.execute("BEGIN IMMEDIATE")

    def commit(self) -> None:
        """Make the open transaction durable."""
        self.connection.execute("COMMIT")

    def rollback(self) -> None:
        """Undo the open transaction, if there is one."""
        if self.connection.in_transaction:
            self.connection.execute("ROLLBACK")

    def apply(self, items: Iterable[Item]) -> None:
        """Write items in the open transaction."""
        for item in items:
            apply(self.connection, item)

    # --- single records ---------------------------------------------------------------------------

    def meta(self, name: str) -> Any:
        """The value of a ``("meta", name)`` record, or None."""
        row = self.connection.execute(
            "SELECT crc, record FROM meta WHERE name = ?", (name,)
        ).fetchone()
        if row is None:
            return None
        codec.verify(item := Item(("meta", name), *row))
        return codec.decode(item)

    def id_floor(self) -> int:
        """Above every id that the store knows of."""
        try:
            value = self.meta("id_floor")
        except DamagedRecord:
            value = None
        floors = [floor.parse(value) if value is not None else 1]
        for table in ("live", "history"):
            (last,) = self.connection.execute(f"SELECT max(id) FROM {table}").fetchone()
            floors.append((last or 0) + 1)
        return max(floors)

    def quarantine(
        self, table: str, key: Key, column: str, row: Any, reason: str
    ) -> dict[str, Any]:
        """Set a damaged row aside: out of its table, into quarantine. Commits.

        ``column`` and ``row`` name it in its table by primary key. Returns what people are told.
        """
        # What is told travels as JSON, which knows no damaged text.
        readable = [
            part if isinstance(part, int) else str(part).encode("utf-8", "replace").decode()
            for part in key
        ]
        self.begin()
        try:
            self._set_aside(table, readable, column, row, reason)
            self.commit()
        except BaseException:
            self.rollback()
            raise
        return {"table": table, "key": readable, "reason": reason}

    def _set_aside(
        self, table: str, key: list[str | int], column: str, row: Any, reason: str
    ) -> None:
        if isinstance(row, str):
            row = row.encode("utf-8", "surrogateescape")
            column = f"CAST({column} AS BLOB)"
        data = "data" if table == "blob" else "record"
        self.connection.execute(
            "INSERT INTO quarantine(origin, key, found_at, reason, crc, record)"
            f" SELECT ?, ?, ?, ?, crc, {data} FROM {table} WHERE {column} = ?",
            (table, codec.encode_json(key).decode(), time.time(), reason, row),
        )
        self.connection.execute(f"DELETE FROM {table} WHERE {column} = ?", (row,))


def _file_at(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def create(path: str) -> None:
    """Make a new, empty store: under another name first, so that it is never seen half made."""
    making = f"{path}.new"
    for suffix in ("", "-wal", "-journal"):
        with suppress(FileNotFoundError):
            os.unlink(making + suffix)
    for suffix in ("-wal", "-journal"):
        # The log of a store that is gone would be played into the new one.
        with suppress(FileNotFoundError):
            os.rename(path + suffix, f"{path}{suffix}.orphan")
    os.close(os.open(making, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    connection = sqlite3.connect(making, isolation_level=None)
    try:
        schema.create(connection)
    finally:
        connection.close()
    os.rename(making, path)
    folder.sync(os.path.dirname(path))
