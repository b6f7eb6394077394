"""Versions of the store and the way from an older one."""

from __future__ import annotations

import os
import shutil
import sqlite3
from pathlib import Path

import pytest

from gflow.model.record import Key, Record
from gflow.persistence import codec, schema
from gflow.persistence.load import Loading
from gflow.persistence.opening import open_store
from gflow.persistence.setting import Settings
from gflow.persistence.store import Store
from tests.persistence.golden import content

GOLDEN = sorted(name for name in os.listdir(content.FOLDER) if name.endswith(".db"))


@pytest.fixture(params=GOLDEN)
def golden(request: pytest.FixtureRequest, state_dir: str) -> str:
    """A state folder with the store of one released version."""
    shutil.copy(os.path.join(content.FOLDER, request.param), f"{state_dir}/state.db")
    return state_dir


def loaded(store: Store) -> dict[Key, Record]:
    """Everything a supervisor would get."""
    loading = Loading(store, finished_since_at=0.0, finished_limit=100)
    return {item.key: codec.decode(item) for piece in loading.pieces() for item in piece}


def test_every_released_version_loads(golden: str) -> None:
    """A store of any released version gives every record it holds."""
    expected = {key: value for key, value in content.RECORDS.items() if key[0] != "transition"}
    assert loaded(open_store(Settings(golden)).store) == expected


def test_the_present_version_has_a_golden_store() -> None:
    """Who raises the version leaves a golden store of it."""
    assert f"v{schema.VERSION}.db" in GOLDEN


@pytest.fixture
def present(state_dir: str) -> str:
    """A folder with a store of the present version."""
    content.make(f"{state_dir}/state.db")
    return state_dir


@pytest.fixture
def older(present: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The same once there is a next version, which adds a table."""
    monkeypatch.setattr(schema, "VERSION", schema.VERSION + 1)
    monkeypatch.setitem(
        schema.MIGRATIONS,
        schema.VERSION - 1,
        lambda connection: connection.execute("CREATE TABLE novelty(a)"),
    )
    return present


def test_an_older_store_is_migrated(older: str) -> None:
    """Its records are there, in tables of the present version."""
    opened = open_store(Settings(older))
    assert opened.migrated_from == schema.VERSION - 1
    assert opened.store.connection.execute("SELECT * FROM novelty").fetchall() == []
    assert ("job", 1) in loaded(opened.store)


def test_a_migration_leaves_a_backup(older: str) -> None:
    """The store as it was stays beside the migrated one, and can be opened by the older version."""
    backup = open_store(Settings(older)).backup
    assert backup is not None
    with sqlite3.connect(backup) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (schema.VERSION - 1,)
        assert connection.execute("SELECT count(*) FROM live").fetchone() == (3,)


def test_the_header_tells_the_new_version_at_once(older: str) -> None:
    """An older program sees from the file alone that it must not touch it."""
    open_store(Settings(older))
    header = Path(f"{older}/state.db").read_bytes()[60:64]
    assert int.from_bytes(header, "big") == schema.VERSION


def test_a_failed_migration_changes_nothing(older: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step that fails half-way leaves the version and the tables of before."""

    def half(connection: sqlite3.Connection) -> None:
        connection.execute("CREATE TABLE novelty(a)")
        raise sqlite3.OperationalError("out of patience")

    monkeypatch.setitem(schema.MIGRATIONS, schema.VERSION - 1, half)
    with pytest.raises(Exception, match="out of patience"):
        open_store(Settings(older))
    store = Store(f"{older}/state.db")
    assert store.version == schema.VERSION - 1
    names = store.connection.execute("SELECT name FROM sqlite_schema WHERE name = 'novelty'")
    assert names.fetchall() == []


def test_the_file_says_what_it_is(present: str) -> None:
    """file(1) and others find the application id in the header."""
    assert Path(f"{present}/state.db").read_bytes()[68:72] == b"gflw"
