"""Full disks, I/O errors and damage while the store is in use."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable
from typing import Any

import pytest

from gflow.model.record import Key
from gflow.persistence import codec, committer, opening, space
from gflow.persistence.committer import Committer
from gflow.persistence.opening import open_store
from gflow.persistence.setting import Settings
from gflow.persistence.store import Store, create
from tests.persistence.harness import job

KEY: Key = ("job", 1)


class Desk:
    """A committer in this process, and what it told."""

    def __init__(self, state_dir: str) -> None:
        settings = Settings(state_dir, ballast_bytes=1 << 20)
        self.told: list[tuple[str, dict[str, Any]]] = []
        self.committer = Committer(settings, open_store(settings), self._tell)
        self.ballast = space.Ballast(state_dir, 1 << 20)
        self.committer.ensure_ballast()

    def _tell(self, type: str, **fields: Any) -> None:
        self.told.append((type, fields))

    @property
    def types(self) -> list[str]:
        """Types of what was told, in order."""
        return [type for type, _ in self.told]

    @property
    def store(self) -> Store:
        """The open store."""
        assert self.committer.store is not None
        return self.committer.store

    def send(self) -> None:
        """A batch of one job."""
        self.committer.add(1, [codec.encode(KEY, job(1))], False)

    def tick(self) -> None:
        """As if the time for the next attempt had come."""
        self.committer._retry_at_s = time.monotonic() - 1.0
        self.committer.tick()

    def saved(self) -> bool:
        """Whether the job is in the store."""
        found = self.store.connection.execute("SELECT 1 FROM live WHERE id = 1")
        return found.fetchone() is not None


@pytest.fixture
def desk(state_dir: str) -> Desk:
    """A committer over a fresh store."""
    return Desk(state_dir)


def failing(name: str, text: str, times: int) -> Callable[[Store], None]:
    """A commit that fails a few times as SQLite would, then works."""
    left = times

    def commit(store: Store) -> None:
        nonlocal left
        if left:
            left -= 1
            error = sqlite3.OperationalError(text)
            error.sqlite_errorname = name
            raise error
        store.connection.execute("COMMIT")

    return commit


FULL = ("SQLITE_FULL", "database or disk is full")
EIO = ("SQLITE_IOERR_FSYNC", "disk I/O error")


def test_a_commit_is_acknowledged(desk: Desk) -> None:
    """The acknowledgement comes after the commit, with its number."""
    desk.send()
    assert desk.told == [("ack", {"seq": 1, "committed": True})]
    assert desk.saved()


def test_a_part_of_a_transaction_is_not_committed(desk: Desk) -> None:
    """A frame with more to come is taken, not saved."""
    desk.committer.add(1, [codec.encode(KEY, job(1))], True)
    assert desk.told == [("ack", {"seq": 1, "committed": False})]
    assert not desk.saved()


def test_a_full_disk_costs_the_ballast_first(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """The spare file is given up, the batch is saved in it, and the trouble is told."""
    monkeypatch.setattr(Store, "commit", failing(*FULL, times=1))
    desk.send()
    assert desk.types == ["trouble", "ack"]
    assert desk.told[0][1]["kind"] == "no_space"
    assert desk.saved() and not desk.ballast.stands


def test_recovery_is_told_when_the_ballast_stands_again(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until the spare space is set aside again the trouble is not over."""
    monkeypatch.setattr(Store, "commit", failing(*FULL, times=1))
    desk.send()
    with monkeypatch.context() as patch:
        patch.setattr(space.Ballast, "make", lambda ballast: False)
        desk.tick()
    assert "recovered" not in desk.types
    desk.tick()
    assert desk.types[-1] == "recovered"
    assert desk.ballast.stands


def test_a_batch_waits_for_space(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without spare space left the batch is kept and tried again until it is saved."""
    monkeypatch.setattr(Store, "commit", failing(*FULL, times=3))
    desk.send()
    desk.tick()
    assert "ack" not in desk.types
    desk.tick()
    assert desk.types[-2:] == ["ack", "recovered"]
    assert desk.saved()


def test_a_full_disk_for_real(desk: Desk) -> None:
    """SQLite's own "disk is full" leaves earlier rows readable and goes on when there is room."""
    desk.send()
    (pages,) = desk.store.connection.execute("PRAGMA page_count").fetchone()
    desk.store.connection.execute(f"PRAGMA max_page_count={pages}")
    blob = codec.encode(("blob", "h"), b"x" * 100_000)
    desk.committer.add(2, [blob], False)
    assert desk.types == ["ack", "trouble", "trouble"]
    assert desk.saved()
    desk.store.connection.execute("PRAGMA max_page_count=1000000")
    desk.tick()
    assert desk.types[-2:] == ["ack", "recovered"]


def test_an_io_error_is_never_acknowledged(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """The batch whose sync failed gets no acknowledgement."""
    monkeypatch.setattr(Store, "commit", failing(*EIO, times=1))
    desk.send()
    assert desk.types == ["trouble"]
    assert desk.told[0][1]["kind"] == "io"


def test_after_an_io_error_everything_is_asked_for_again(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store is opened anew and memory, the good copy, is wanted."""
    monkeypatch.setattr(Store, "commit", failing(*EIO, times=1))
    desk.send()
    before = desk.committer.store
    desk.tick()
    assert desk.types == ["trouble", "resync", "recovered"]
    assert desk.committer.store is not before
    desk.committer.add(2, [codec.encode(KEY, job(1))], False)
    assert desk.types[-1] == "ack"


def test_damage_is_told_and_not_written_to(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that does not pass its check stays closed; the trouble names it."""
    monkeypatch.setattr(Store, "commit", failing("SQLITE_CORRUPT", "malformed", times=1))
    monkeypatch.setattr(Store, "quick_check", lambda store, tables: ["page 5: bad"])
    desk.send()
    desk.tick()
    assert desk.committer.store is None
    assert desk.told[-1][1]["kind"] == "damaged"
    assert "state.db" in desk.told[-1][1]["message"]


def test_a_store_that_was_moved_away_acknowledges_nothing(desk: Desk, state_dir: str) -> None:
    """No start would find what is written there; when it is back, everything is saved again."""
    path = f"{state_dir}/state.db"
    for name in ("state.db", "state.db-wal"):
        os.rename(f"{state_dir}/{name}", f"{state_dir}/{name}.away")
    desk.send()
    desk.tick()
    assert "ack" not in desk.types and not os.path.exists(path)
    assert desk.told[-1] == (
        "trouble",
        {"seq": 1, "kind": "io", "message": f"{path}: there is no such file any more"},
    )
    for name in ("state.db", "state.db-wal"):
        os.rename(f"{state_dir}/{name}.away", f"{state_dir}/{name}")
    desk.tick()
    assert desk.types[-2:] == ["resync", "recovered"]


def test_another_store_is_not_written_to(desk: Desk, state_dir: str) -> None:
    """One that was put in its place is of another session."""
    for suffix in ("", "-wal"):
        os.unlink(f"{state_dir}/state.db{suffix}")
    create(f"{state_dir}/state.db")
    desk.send()
    desk.tick()
    assert "ack" not in desk.types and "resync" not in desk.types
    assert "not the store that was in use" in desk.told[-1][1]["message"]


def test_a_large_store_is_checked_when_there_is_time(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After an I/O error saving goes on soon: what was not looked at then is checked later."""
    monkeypatch.setattr(opening, "_CHECKED_BYTES", 1)
    monkeypatch.setattr(Store, "commit", failing("SQLITE_IOERR", "disk I/O error", times=1))
    desk.send()
    desk.tick()
    assert desk.committer.store is not None and desk.committer.check_later


def test_a_marker_that_cannot_be_written_withholds_the_acknowledgement(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An id floor is acknowledged only when the marker holds it too."""
    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", lambda a, b: (_ for _ in ()).throw(OSError(28, "full")))
        desk.committer.add(1, [codec.encode(("meta", "id_floor"), {"value": 9})], False)
    assert "ack" not in desk.types
    desk.tick()
    assert "ack" in desk.types


def test_a_slow_commit_is_told(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """With its time and its size."""
    monkeypatch.setattr(committer, "SLOW_S", -1.0)
    desk.send()
    type, fields = desk.told[0]
    assert type == "slow" and fields["records"] == 1


def test_no_spare_space_at_the_start_is_trouble(
    state_dir: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the ballast cannot be set aside, new work must wait from the beginning."""
    monkeypatch.setattr(space.Ballast, "make", lambda ballast: False)
    desk = Desk(state_dir)
    assert desk.told[0][1]["kind"] == "no_space"


def test_what_is_complete_is_committed_at_the_end(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the supervisor is gone, a batch that waited for space gets one more chance."""
    monkeypatch.setattr(Store, "commit", failing(*FULL, times=2))
    desk.send()
    desk.committer.last_attempt()
    assert desk.saved()
