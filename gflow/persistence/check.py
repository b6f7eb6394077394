"""Whether a store is whole: its structure, every checksum, every column beside a record, and
whether a run file lies beside it that nobody will let go.

SQLite's own check does not look into records: of 400 single flipped bits it missed 387, and 252
of those had changed a value. The checksums find them. Online the rows are read in slices, and the
structure is checked apart (``structure``).
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from gflow.errors import StoreError
from gflow.model.record import Key
from gflow.persistence import codec, load, storefile, summary
from gflow.persistence.codec import DamagedRecord, Item
from gflow.persistence.leftover import leftovers
from gflow.persistence.store import Store

_RECORDS = 200
_MAX_PROBLEMS = 1000

#: Table → the columns that make its key, its data column, how a row is found again.
_TABLES = {
    "meta": ("name", "record"),
    "fact": ("key", "record"),
    "live": ("id, kind", "record"),
    "history": ("id, kind", "record"),
    "transition": ("job, n", "record"),
    "blob": ("hash", "data"),
}


@dataclass(slots=True)
class Findings:
    """The result of a check."""

    #: Rows looked at, by table.
    rows: dict[str, int] = field(default_factory=dict)
    #: Whether SQLite has looked at the structure of the whole file too.
    structure: bool = False
    #: Why it has not; None: it has, or nobody asked.
    structure_refusal: str | None = None
    #: Sentences; at most 1000.
    problems: list[str] = field(default_factory=list)
    #: Rows set aside earlier: {table, key, reason, found_at}.
    quarantined: list[dict[str, Any]] = field(default_factory=list)

    def add(self, problem: str) -> None:
        """Note a problem, unless there are too many."""
        if len(self.problems) < _MAX_PROBLEMS:
            self.problems.append(problem)


class Check:
    """One pass: iterate ``slices``, then read ``findings``."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._blobs: set[str] = set()
        self.findings = Findings()

    def slices(self) -> Iterator[None]:
        """Read every row, and the names of run files; yields between slices."""
        for table, (columns, data) in _TABLES.items():
            self.findings.rows[table] = 0
            yield from self._table(table, columns, data)
        yield from self._named_blobs()
        for problem in leftovers(self._store, time.time()):
            if problem is None:
                yield
            else:
                self.findings.add(problem)
        for origin, key, reason, found_at in self._store.connection.execute(
            "SELECT origin, key, reason, found_at FROM quarantine"
        ):
            self.findings.quarantined.append(
                {"table": origin, "key": key, "reason": reason, "found_at": found_at}
            )

    def _table(self, table: str, columns: str, data: str) -> Iterator[None]:
        first = columns.split(", ")
        order = first[0] if len(first) == 1 or first[1] == "kind" else columns
        count = order.count(",") + 1
        marks = f"({', '.join('?' * count)})"
        last: tuple[Any, ...] | None = None
        while True:
            condition = "" if last is None else f"WHERE ({order}) > {marks}"
            rows = self._store.connection.execute(
                f"SELECT {columns}, crc, {data} FROM {table} {condition} ORDER BY {order} LIMIT ?",
                (*(last or ()), _RECORDS),
            ).fetchall()
            if not rows:
                return
            last = rows[-1][:count]
            self.findings.rows[table] += len(rows)
            for *key, crc, payload in rows:
                self._row(table, key, Item(_key(table, key), crc, payload))
            yield

    def _row(self, table: str, row: list[Any], item: Item) -> None:
        try:
            codec.verify(item)
            record = codec.decode(item)
        except DamagedRecord as error:
            self.findings.add(f"{table} {row}: {error}")
            return
        if table in ("live", "history") and isinstance(record, dict):
            self._blobs.update(load.blobs(record))
            if table == "history":
                self._columns(row[0], record)

    def _columns(self, id: int, record: dict[str, Any]) -> None:
        found = self._store.connection.execute(
            "SELECT user, state, name, project, array_id, finished_at FROM history WHERE id = ?",
            (id,),
        ).fetchone()
        if found is not None and found != tuple(summary.outline(record)):
            self.findings.add(f"history {id}: its columns are not those of its record")

    def _named_blobs(self) -> Iterator[None]:
        for hash in sorted(self._blobs):
            found = self._store.connection.execute("SELECT 1 FROM blob WHERE hash = ?", (hash,))
            if found.fetchone() is None:
                self.findings.add(f"blob {hash}: jobs name it, it is not there")
        yield


def _key(table: str, row: list[Any]) -> Key:
    if table == "fact":
        return load.fact_key(row[0])
    if table in ("live", "history"):
        return (row[1], row[0])
    return (table, *row)


def check_file(path: str) -> Findings:
    """Check a store that nobody uses, structure included. Raises StoreError if it cannot be read.

    A log that an unclean stop left behind is taken into account.
    """
    if storefile.inspect(path).presence is not storefile.Presence.PRESENT:
        raise StoreError(f"cannot check {path}: there is no store")
    try:
        store = Store(path)
    except sqlite3.Error as error:
        raise StoreError(f"cannot check {path}: {error}") from error
    check = Check(store)
    try:
        check.findings.structure = True
        for (finding,) in store.connection.execute("PRAGMA integrity_check(100)"):
            if finding != "ok":
                check.findings.add(f"structure: {finding}")
        for _ in check.slices():
            pass
    except sqlite3.DatabaseError as error:
        check.findings.add(f"structure: {error}")
    finally:
        store.abandon()
    return check.findings
