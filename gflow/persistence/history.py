"""Questions about ended jobs, answered in slices of a few milliseconds.

A search walks one covering index from the newest end backwards. Each slice looks at a bounded
stretch of it, whether anything there fits or not; so a filter that matches nothing in a million
rows costs many short slices, not one long statement.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from gflow.persistence.codec import Item
from gflow.persistence.store import Store

MAX_PAGE = 500
_PAGE_BYTES = 1 << 20
#: How long one slice may take, about.
SLICE_S = 0.004

#: (finished_at, id) of the last row looked at; (array_id, id) within one array.
Cursor = tuple[float, int]


@dataclass(slots=True, frozen=True)
class Filter:
    """What is looked for; None means anything."""

    users: tuple[str, ...] | None = None
    states: tuple[str, ...] | None = None
    #: Shell patterns, case-sensitive (SQLite's GLOB); one must match.
    names: tuple[str, ...] | None = None
    projects: tuple[str, ...] | None = None
    ids: tuple[int, ...] | None = None
    #: Ended at or after, and before; epoch seconds.
    since: float | None = None
    until: float | None = None
    array_id: int | None = None
    #: "job" or "array".
    kind: str | None = None

    def condition(self) -> tuple[str, list[Any]]:
        """An SQL condition over the columns of history, and its values."""
        parts = ["1"]
        values: list[Any] = []
        for part, value in (
            ("array_id = ?", self.array_id),
            ("kind = ?", self.kind),
            ("finished_at >= ?", self.since),
            ("finished_at < ?", self.until),
        ):
            if value is not None:
                parts.append(part)
                values.append(value)
        for column, several in (
            ("user", self.users),
            ("state", self.states),
            ("project", self.projects),
        ):
            if several is not None:
                parts.append(f"{column} IN ({', '.join('?' * len(several))})")
                values.extend(several)
        if self.names is not None:
            parts.append(_any_of(["name GLOB ?"] * len(self.names)))
            values.extend(self.names)
        return " AND ".join(parts), values


def _any_of(conditions: list[str]) -> str:
    """One of them holds; as a balanced tree, for SQLite bounds the depth of an expression."""
    if len(conditions) < 2:
        return conditions[0] if conditions else "0"
    middle = len(conditions) // 2
    return f"({_any_of(conditions[:middle])} OR {_any_of(conditions[middle:])})"


class Search:
    """One page: iterate ``slices`` to its end, then read ``items`` and ``cursor``."""

    def __init__(
        self, store: Store, filter: Filter, limit: int = 100, cursor: Cursor | None = None
    ) -> None:
        self._store = store
        self._filter = filter
        self._limit = max(1, min(limit, MAX_PAGE))
        self._bytes = 0
        self._stretch = 1000
        #: What was found, newest first.
        self.items: list[Item] = []
        #: Where the next page goes on; None when there is nothing more.
        self.cursor = cursor

    def slices(self) -> Iterator[None]:
        """Look on; yields between slices."""
        if self._filter.ids is not None:
            yield from self._by_ids(self._filter.ids)
        else:
            yield from self._walk()

    def _full(self) -> bool:
        return len(self.items) >= self._limit or self._bytes >= _PAGE_BYTES

    def _fetch(self, found: list[tuple[float, int]]) -> None:
        """Read the records of found rows until the page is full."""
        for finished_at, id in found:
            row = self._store.connection.execute(
                "SELECT kind, crc, record FROM history WHERE id = ?", (id,)
            ).fetchone()
            self.cursor = (finished_at, id)
            if row is None:
                continue
            kind, crc, record = row
            self.items.append(Item((kind, id), crc, record))
            self._bytes += len(record)
            if self._full():
                return

    def _walk(self) -> Iterator[None]:
        """From the newest end backwards: by time, or by id within one array."""
        condition, values = self._filter.condition()
        array_id = self._filter.array_id
        lead, index = "finished_at", "history_by_time"
        top: Cursor = (float("inf"), 0)
        end: Cursor = (self._filter.since or float("-inf"), -1 << 63)
        if array_id is not None:
            lead, index = "array_id", "history_by_array"
            top, end = (array_id, (1 << 63) - 1), (array_id, -1 << 63)
        elif self._filter.until is not None:
            top = (self._filter.until, -1 << 63)
        top = min(top, self.cursor or top)
        while True:
            began_s = time.monotonic()
            bottom = self._bottom(lead, index, top, end)
            low = bottom or end
            found = self._store.connection.execute(
                f"SELECT {lead}, id FROM history INDEXED BY {index}"
                f" WHERE ({lead}, id) < (?, ?) AND ({lead}, id) >= (?, ?)"
                f" AND {lead} IS NOT NULL AND {condition} ORDER BY {lead} DESC, id DESC LIMIT ?",
                (*top, *low, *values, self._limit - len(self.items)),
            ).fetchall()
            self._fetch(found)
            if self._full():
                return
            self.cursor = bottom
            if bottom is None:
                return
            top = bottom
            spent_s = time.monotonic() - began_s
            self._stretch = max(50, min(20_000, int(self._stretch * SLICE_S / (spent_s + 1e-6))))
            yield

    def _bottom(self, lead: str, index: str, top: Cursor, end: Cursor) -> Cursor | None:
        """The row that ends this slice's stretch; None when what is left is shorter."""
        row: Cursor | None = self._store.connection.execute(
            f"SELECT {lead}, id FROM history INDEXED BY {index}"
            f" WHERE ({lead}, id) < (?, ?) AND ({lead}, id) >= (?, ?)"
            f" AND {lead} IS NOT NULL ORDER BY {lead} DESC, id DESC LIMIT 1 OFFSET ?",
            (*top, *end, self._stretch),
        ).fetchone()
        return row

    def _by_ids(self, ids: tuple[int, ...]) -> Iterator[None]:
        """Newest id first; the cursor is the last id looked at."""
        condition, values = self._filter.condition()
        last = None if self.cursor is None else self.cursor[1]
        remaining = [id for id in sorted(set(ids), reverse=True) if last is None or id < last]
        for start in range(0, len(remaining), 200):
            part = remaining[start : start + 200]
            found = self._store.connection.execute(
                f"SELECT finished_at, id FROM history WHERE id IN ({', '.join('?' * len(part))})"
                f" AND {condition} ORDER BY id DESC",
                (*part, *values),
            ).fetchall()
            self._fetch(found)
            if self._full():
                return
            yield
        self.cursor = None


def job(store: Store, id: int) -> Item | None:
    """A job's or array's record, wherever it is."""
    for table in ("live", "history"):
        row = store.connection.execute(
            f"SELECT kind, crc, record FROM {table} WHERE id = ?", (id,)
        ).fetchone()
        if row is not None:
            kind, crc, record = row
            return Item((kind, id), crc, record)
    return None


def transitions(store: Store, id: int, after: int = -1, limit: int = MAX_PAGE) -> list[Item]:
    """A job's transitions in order, those with a number above ``after``."""
    rows = store.connection.execute(
        "SELECT n, crc, record FROM transition WHERE job = ? AND n > ? ORDER BY n LIMIT ?",
        (id, after, limit),
    )
    return [Item(("transition", id, n), crc, record) for n, crc, record in rows]


def blob(store: Store, hash: str) -> Item | None:
    """A script or environment by its hash."""
    row = store.connection.execute("SELECT crc, data FROM blob WHERE hash = ?", (hash,)).fetchone()
    return None if row is None else Item(("blob", hash), *row)
