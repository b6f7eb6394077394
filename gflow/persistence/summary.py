"""What ended jobs add up to, per day, user, project and state: all that reports over time read.

Sums are whole numbers, so that what is added when a job ends can be taken off exactly when it is
requeued. Rows stay when the history behind them is purged.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

#: What rows can be told apart by.
GROUPS = ("day", "user", "project", "state")
_DAY_S = 86400
_MIB = 1 << 20
_COLUMNS = (
    "jobs",
    "wait_ms",
    "elapsed_ms",
    "cpu_ms",
    "cpu_asked_ms",
    "gpu_ms",
    "gpu_asked_ms",
    "memory_mib_s",
    "memory_asked_mib_s",
)
_ADD = (
    f"INSERT INTO summary(day, user, project, state, {', '.join(_COLUMNS)})"
    f" VALUES ({', '.join('?' * (4 + len(_COLUMNS)))})"
    " ON CONFLICT(day, user, project, state) DO UPDATE SET "
    + ", ".join(f"{name} = {name} + excluded.{name}" for name in _COLUMNS)
)


class Outline(NamedTuple):
    """What history filters by, taken from a job's or array's record."""

    user: str
    state: str
    name: str
    project: str
    #: The array that a task belongs to, or None.
    array_id: int | None
    finished_at: float


def outline(record: dict[str, Any]) -> Outline:
    """The columns of an ended job or array. Missing fields become empty: a row is never refused."""
    spec = record.get("spec") or {}
    finished_at = record.get("finished_at")
    return Outline(
        str(spec.get("user") or ""),
        str(record.get("state") or ""),
        str(spec.get("name") or ""),
        str(spec.get("project") or ""),
        record.get("array_id"),
        float(finished_at if finished_at is not None else record.get("submitted_at") or 0.0),
    )


def add(connection: sqlite3.Connection, record: dict[str, Any], sign: int = 1) -> None:
    """Count an ended job (``sign`` 1) or take it off again (-1)."""
    found = outline(record)
    day = int(found.finished_at // _DAY_S)
    sums = [sign * value for value in _sums(record)]
    connection.execute(_ADD, (day, found.user, found.project, found.state, *sums))
    if sign < 0:
        connection.execute(
            "DELETE FROM summary WHERE day = ? AND user = ? AND project = ? AND state = ?"
            " AND jobs = 0",
            (day, found.user, found.project, found.state),
        )


def _sums(record: dict[str, Any]) -> tuple[int, ...]:
    """Values of the columns. Records leave out what has its default, as one cpu has."""
    usage = record.get("usage") or {}
    asked = (record.get("spec") or {}).get("resources") or {}
    finished_at = outline(record).finished_at
    started_at = record.get("started_at")
    elapsed_s = max(0.0, finished_at - started_at) if started_at is not None else 0.0
    eligible_at = record.get("eligible_at")
    waits_from = eligible_at if eligible_at is not None else record.get("submitted_at") or 0.0
    wait_s = max(0.0, (started_at if started_at is not None else finished_at) - waits_from)
    return (
        1,
        round(1000 * wait_s),
        round(1000 * elapsed_s),
        round(1000 * (usage.get("cpu_s") or 0.0)),
        round(1000 * elapsed_s * asked.get("cpus", 1)),
        round(1000 * (usage.get("gpu_s") or 0.0)),
        round(1000 * elapsed_s * (asked.get("gpus") or 0)),
        round(elapsed_s * (usage.get("max_pss_bytes") or usage.get("max_rss_bytes") or 0) / _MIB),
        round(elapsed_s * (asked.get("memory_bytes") or 0) / _MIB),
    )


class Report:
    """Sums over a span of days: iterate ``slices`` to its end, then read ``rows``.

    Days are whole days since the epoch (UTC), both ends inclusive; None means open. ``by`` names
    the columns that rows are told apart by, of ``day, user, project, state``.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        *,
        since_day: int | None = None,
        until_day: int | None = None,
        user: str | None = None,
        project: str | None = None,
        by: Sequence[str] = GROUPS,
    ) -> None:
        assert set(by) <= set(GROUPS), by
        self._connection = connection
        self._since_day = since_day
        self._until_day = until_day
        self._filters = [
            (name, value) for name, value in (("user", user), ("project", project)) if value
        ]
        self._by = tuple(by)
        self._sums: dict[tuple[Any, ...], list[int]] = {}

    def slices(self) -> Iterator[None]:
        """Add up one day after the other; yields between days."""
        first, last = self._connection.execute("SELECT min(day), max(day) FROM summary").fetchone()
        if first is None:
            return
        day = first if self._since_day is None else max(first, self._since_day)
        end = last if self._until_day is None else min(last, self._until_day)
        while day is not None and day <= end:
            self._add_day(day)
            yield
            (day,) = self._connection.execute(
                "SELECT min(day) FROM summary WHERE day > ?", (day,)
            ).fetchone()

    def _add_day(self, day: int) -> None:
        condition = "".join(f" AND {name} = ?" for name, _ in self._filters)
        found = self._connection.execute(
            f"SELECT {', '.join((*GROUPS, *_COLUMNS))} FROM summary WHERE day = ?{condition}",
            (day, *(value for _, value in self._filters)),
        )
        places = [GROUPS.index(name) for name in self._by]
        for row in found:
            group = tuple(row[place] for place in places)
            sums = self._sums.setdefault(group, [0] * len(_COLUMNS))
            for place, value in enumerate(row[len(GROUPS) :]):
                sums[place] += value

    @property
    def rows(self) -> list[dict[str, Any]]:
        """One row per group, in order of the groups."""
        names = (*self._by, *_COLUMNS)
        return [dict(zip(names, (*group, *self._sums[group]))) for group in sorted(self._sums)]
