"""What ended jobs add up to, per day, user, project and state: all that reports over time read.

Sums are whole numbers, so that what is added when a job ends can be taken off exactly when it is
requeued. Rows stay when the history behind them is purged.
"""

from __future__ import annotations

import sqlite3
from typing import Any, NamedTuple

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
        round(1000 * elapsed_s * (asked.get("cpus") or 0)),
        round(1000 * (usage.get("gpu_s") or 0.0)),
        round(1000 * elapsed_s * (asked.get("gpus") or 0)),
        round(elapsed_s * (usage.get("max_rss_bytes") or 0) / _MIB),
        round(elapsed_s * (asked.get("memory_bytes") or 0) / _MIB),
    )


def rows(
    connection: sqlite3.Connection,
    *,
    since_day: int | None = None,
    until_day: int | None = None,
    user: str | None = None,
    project: str | None = None,
) -> list[dict[str, Any]]:
    """Rows of the table, oldest day first; days are whole days since the epoch (UTC), inclusive."""
    conditions = ["1"]
    values: list[Any] = []
    for condition, value in (
        ("day >= ?", since_day),
        ("day <= ?", until_day),
        ("user = ?", user),
        ("project = ?", project),
    ):
        if value is not None:
            conditions.append(condition)
            values.append(value)
    names = ("day", "user", "project", "state", *_COLUMNS)
    found = connection.execute(
        f"SELECT {', '.join(names)} FROM summary WHERE {' AND '.join(conditions)}"
        " ORDER BY day, user, project, state",
        values,
    )
    return [dict(zip(names, row)) for row in found]
