"""The tables of the store, their version, and the way from an older one.

``live`` holds jobs and arrays that have not ended, ``history`` those that have, with the columns
that queries filter by beside the record itself. ``fact`` holds every other small record by its
key, ``meta`` named values (those that begin with ``store.`` are the store's own). ``summary``
counts ended jobs per day and is changed in the same transaction as ``history``. Every record
stands beside its CRC32.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

#: Marks the file as ours (file(1) and the header's application id): "gflw".
APPLICATION_ID = 0x67666C77
VERSION = 1

_TABLES = """
CREATE TABLE live(
    id INTEGER PRIMARY KEY, kind TEXT NOT NULL, crc INTEGER NOT NULL, record BLOB NOT NULL);
CREATE TABLE fact(
    key TEXT PRIMARY KEY, crc INTEGER NOT NULL, record BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE meta(
    name TEXT PRIMARY KEY, crc INTEGER NOT NULL, record BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE history(
    id INTEGER PRIMARY KEY, kind TEXT NOT NULL, user TEXT NOT NULL, state TEXT NOT NULL,
    name TEXT NOT NULL, project TEXT NOT NULL, array_id INTEGER, finished_at REAL NOT NULL,
    crc INTEGER NOT NULL, record BLOB NOT NULL);
CREATE INDEX history_by_time ON history(finished_at, id, user, state, project, name);
CREATE INDEX history_by_array ON history(array_id, id, state) WHERE array_id IS NOT NULL;
CREATE TABLE transition(
    job INTEGER NOT NULL, n INTEGER NOT NULL, crc INTEGER NOT NULL, record BLOB NOT NULL,
    PRIMARY KEY (job, n)) WITHOUT ROWID;
CREATE TABLE blob(
    hash TEXT PRIMARY KEY, crc INTEGER NOT NULL, data BLOB NOT NULL);
CREATE TABLE summary(
    day INTEGER NOT NULL, user TEXT NOT NULL, project TEXT NOT NULL, state TEXT NOT NULL,
    jobs INTEGER NOT NULL, wait_ms INTEGER NOT NULL, elapsed_ms INTEGER NOT NULL,
    cpu_ms INTEGER NOT NULL, cpu_asked_ms INTEGER NOT NULL,
    gpu_ms INTEGER NOT NULL, gpu_asked_ms INTEGER NOT NULL,
    memory_mib_s INTEGER NOT NULL, memory_asked_mib_s INTEGER NOT NULL,
    PRIMARY KEY (day, user, project, state)) WITHOUT ROWID;
CREATE TABLE quarantine(
    origin TEXT NOT NULL, key TEXT NOT NULL, found_at REAL NOT NULL, reason TEXT NOT NULL,
    crc INTEGER NOT NULL, record BLOB NOT NULL);
"""

#: Version → what brings a store of that version to the next one. Runs inside a transaction.
MIGRATIONS: dict[int, Callable[[sqlite3.Connection], None]] = {}


def create(connection: sqlite3.Connection) -> None:
    """Make the tables in an empty database, in one transaction."""
    connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
    connection.execute("BEGIN IMMEDIATE")
    for statement in _TABLES.split(";"):
        if statement.strip():
            connection.execute(statement)
    connection.execute(f"PRAGMA user_version={VERSION}")
    connection.execute("COMMIT")


def migrate(connection: sqlite3.Connection, found: int) -> None:
    """Bring a store from version ``found`` to the present one in one transaction, or not at all.

    The caller has made a backup. Raises KeyError when a step is missing.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        for step in range(found, VERSION):
            MIGRATIONS[step](connection)
        connection.execute(f"PRAGMA user_version={VERSION}")
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")
