"""SQLite as a set of whole records."""

from __future__ import annotations

import os
import sqlite3
import tempfile
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gflow.model.record import Key, Record
from gflow.persistence import codec, store
from gflow.persistence.store import Store
from tests.persistence.harness import job

Batch = dict[Key, Record]

jobs = st.builds(
    job,
    st.integers(1, 4),
    st.sampled_from(["PENDING", "RUNNING", "COMPLETED", "FAILED"]),
    user=st.sampled_from(["ada", "bob"]),
    finished_at=st.floats(0, 1e6),
    started_at=st.floats(0, 1e6) | st.none(),
    usage=st.none() | st.fixed_dictionaries({"cpu_s": st.floats(0, 1e4)}),
)
others = st.tuples(
    st.sampled_from(
        [("use", "ada"), ("meta", "m"), ("transition", 1, 0), ("transition", 1, 1), ("quota", 7)]
    ),
    st.none() | st.fixed_dictionaries({"v": st.integers(0, 9)}),
)


def _batch(made: list[dict[str, Any]], gone: list[int], more: list[tuple[Key, Record]]) -> Batch:
    batch: Batch = {("job", record["id"]): record for record in made}
    batch.update({("job", id): None for id in gone})
    batch.update(more)
    return batch


batches = st.builds(
    _batch,
    st.lists(jobs, max_size=4),
    st.lists(st.integers(1, 4), max_size=1),
    st.lists(others, max_size=3),
)


def fresh(path: str) -> Store:
    """A new store that does not bother to sync."""
    store.create(path)
    return Store(path, relaxed=True)


def write(store: Store, batch: Batch) -> None:
    """Apply one batch in a transaction."""
    store.begin()
    store.apply([codec.encode(key, record) for key, record in batch.items()])
    store.commit()


def dump(store: Store) -> dict[str, list[Any]]:
    """All that is in it."""
    tables = ("live", "history", "fact", "meta", "transition", "blob", "summary")
    return {
        table: sorted(store.connection.execute(f"SELECT * FROM {table}").fetchall(), key=repr)
        for table in tables
    }


def after(batches: Iterable[Batch]) -> dict[str, list[Any]]:
    """What a store holds after batches, one transaction each."""
    with tempfile.TemporaryDirectory() as folder:
        store = fresh(os.path.join(folder, "state.db"))
        for batch in batches:
            write(store, batch)
        found = dump(store)
        store.abandon()
    return found


@settings(max_examples=40, deadline=None)
@given(st.lists(batches, max_size=2), batches, batches)
def test_batches_merge(before: list[Batch], a: Batch, b: Batch) -> None:
    """apply(apply(s, a), b) == apply(s, merge(a, b)): skipping a version changes nothing."""
    assert after([*before, a, b]) == after([*before, {**a, **b}])


@settings(max_examples=20, deadline=None)
@given(st.lists(batches, max_size=2), batches)
def test_sending_twice_is_harmless(before: list[Batch], a: Batch) -> None:
    """A batch that was applied already changes nothing when it comes again."""
    assert after([*before, a, a]) == after([*before, a])


@pytest.fixture
def opened(tmp_path: os.PathLike[str]) -> Store:
    """A fresh store."""
    return fresh(os.path.join(tmp_path, "state.db"))


def test_a_requeued_job_leaves_history(opened: Store) -> None:
    """A job that ended and is pending again is live, and counted nowhere."""
    write(opened, {("job", 1): job(1, "FAILED")})
    write(opened, {("job", 1): job(1, "PENDING")})
    found = dump(opened)
    assert len(found["live"]) == 1
    assert found["history"] == [] and found["summary"] == []


def test_a_failed_transaction_leaves_nothing(opened: Store) -> None:
    """After a rollback the store is as it was."""
    before = dump(opened)
    opened.begin()
    opened.apply([codec.encode(("job", 1), job(1))])
    opened.rollback()
    assert dump(opened) == before


def test_nobody_else_gets_in(opened: Store) -> None:
    """While it is open, a second connection cannot even read."""
    opened.begin_session(1)
    other = sqlite3.connect(opened.path, timeout=0)
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        other.execute("SELECT * FROM live").fetchall()
    other.close()


def test_files_are_for_their_owner_alone(tmp_path: os.PathLike[str]) -> None:
    """The store is 0600 whatever the umask."""
    before = os.umask(0)
    try:
        store = fresh(os.path.join(tmp_path, "state.db"))
        write(store, {("job", 1): job(1)})
        modes = {
            name: os.stat(os.path.join(tmp_path, name)).st_mode & 0o777
            for name in os.listdir(tmp_path)
        }
    finally:
        os.umask(before)
    assert modes == {"state.db": 0o600, "state.db-wal": 0o600}


def test_an_interrupted_creation_is_begun_again(tmp_path: os.PathLike[str]) -> None:
    """What an earlier attempt left under the working name does not hinder."""
    path = os.path.join(tmp_path, "state.db")
    with open(f"{path}.new", "wb") as file:
        file.write(b"half")
    assert fresh(path).version == 1


def test_network_stores_do_without_wal(tmp_path: os.PathLike[str]) -> None:
    """Insisted on a network file system, the store uses a rollback journal and EXTRA syncs."""
    path = os.path.join(tmp_path, "state.db")
    store.create(path)
    opened = Store(path, network=True)
    assert opened.connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)
    assert opened.connection.execute("PRAGMA synchronous").fetchone() == (3,)


def test_full_durability_syncs_every_commit(opened: Store, tmp_path: os.PathLike[str]) -> None:
    """Full means synchronous=FULL on a WAL, relaxed means NORMAL."""
    path = os.path.join(tmp_path, "full.db")
    store.create(path)
    full = Store(path)
    assert full.connection.execute("PRAGMA synchronous").fetchone() == (2,)
    assert opened.connection.execute("PRAGMA synchronous").fetchone() == (1,)
    assert full.connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_a_long_statement_tells_that_it_goes_on(tmp_path: os.PathLike[str]) -> None:
    """Nobody takes a store for dead that counts for long."""
    path = os.path.join(tmp_path, "state.db")
    store.create(path)
    signs: list[None] = []
    opened = Store(path, going_on=lambda: signs.append(None))
    opened.connection.execute(
        "WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM n WHERE i < 200000)"
        " SELECT max(i) FROM n"
    ).fetchone()
    assert signs
