"""What an item does to the tables: the newest whole record takes the place of whatever was there.

A job or array whose record is final moves from ``live`` to ``history``, and back when it runs
again; the sums of its day change with it, in the same transaction.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from gflow.persistence import codec, summary
from gflow.persistence.codec import DamagedRecord, Item


def apply(connection: sqlite3.Connection, item: Item) -> None:
    """Write one item in the open transaction. Raises DamagedRecord for one that is not whole."""
    codec.verify(item)
    kind = item.key[0]
    if kind in ("job", "array"):
        _job(connection, item)
    elif kind == "transition":
        _put(connection, "transition", ("job", "n"), item.key[1:], item)
    elif kind == "blob":
        _blob(connection, item)
    elif kind == "meta":
        _put(connection, "meta", ("name",), item.key[1:], item)
    else:
        _put(connection, "fact", ("key",), (codec.encode_json(item.key).decode(),), item)


def _put(
    connection: sqlite3.Connection,
    table: str,
    columns: Sequence[str],
    values: Sequence[str | int],
    item: Item,
) -> None:
    if item.payload is None:
        where = " AND ".join(f"{column} = ?" for column in columns)
        connection.execute(f"DELETE FROM {table} WHERE {where}", values)
        return
    marks = "?, " * len(columns)
    connection.execute(
        f"REPLACE INTO {table}({', '.join(columns)}, crc, record) VALUES ({marks}?, ?)",
        (*values, item.crc, item.payload),
    )


def _blob(connection: sqlite3.Connection, item: Item) -> None:
    if item.payload is None:
        connection.execute("DELETE FROM blob WHERE hash = ?", item.key[1:])
        return
    # The hash names the content: what is there already need not be written again.
    connection.execute(
        "INSERT OR IGNORE INTO blob(hash, crc, data) VALUES (?, ?, ?)",
        (item.key[1], item.crc, item.payload),
    )


def _job(connection: sqlite3.Connection, item: Item) -> None:
    kind, id = item.key
    _leave_history(connection, id)
    if item.payload is None:
        connection.execute("DELETE FROM live WHERE id = ?", (id,))
        return
    record = codec.decode(item)
    assert isinstance(record, dict)
    if not record.get("final"):
        connection.execute(
            "REPLACE INTO live(id, kind, crc, record) VALUES (?, ?, ?, ?)",
            (id, kind, item.crc, item.payload),
        )
        return
    connection.execute("DELETE FROM live WHERE id = ?", (id,))
    columns = summary.outline(record)
    connection.execute(
        "INSERT INTO history(id, kind, user, state, name, project, array_id, finished_at,"
        " crc, record) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (id, kind, *columns, item.crc, item.payload),
    )
    if kind == "job":
        summary.add(connection, record)


def _leave_history(connection: sqlite3.Connection, id: str | int) -> None:
    """Remove a job from history, and from the sums it was counted in."""
    row = connection.execute("SELECT kind, crc, record FROM history WHERE id = ?", (id,)).fetchone()
    if row is None:
        return
    kind, crc, payload = row
    connection.execute("DELETE FROM history WHERE id = ?", (id,))
    item = Item((kind, id), crc, payload)
    try:
        codec.verify(item)
        record = codec.decode(item)
    except DamagedRecord:
        return  # nobody knows what it was counted as
    if kind == "job" and isinstance(record, dict):
        summary.add(connection, record, -1)
