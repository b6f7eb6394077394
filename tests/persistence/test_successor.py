"""A store that is deleted while it is in use is written anew from what is open and from memory."""

from __future__ import annotations

import glob
import os
import shutil
import sqlite3
from typing import Any

import pytest

from gflow.errors import StoreError
from gflow.model.record import Key
from gflow.persistence import codec, lock, message, successor
from gflow.persistence.committer import Committer
from gflow.persistence.opening import open_store
from gflow.persistence.setting import Settings
from tests.persistence.harness import Supervisor, job

ENDED: Key = ("job", 1)
NEW: Key = ("job", 2)


class Desk:
    """A committer over a store with one ended job, whose patience with lost files is short."""

    def __init__(self, state_dir: str) -> None:
        self.state_dir = state_dir
        self.path = f"{state_dir}/state.db"
        lock_fds = (lock.take_folder(state_dir, wait_s=0.0),)
        settings = Settings(state_dir, ballast_bytes=1 << 20, lock_fds=lock_fds)
        self.told: list[tuple[str, dict[str, Any]]] = []
        self.committer = Committer(settings, open_store(settings), self._tell)
        self.send(ENDED, job(1, "COMPLETED"))

    def _tell(self, type: str, **fields: Any) -> None:
        self.told.append((type, fields))

    def send(self, key: Key, record: dict[str, Any]) -> None:
        """A batch of one record."""
        self.committer.add(1, [codec.encode(key, record)], False)

    def tick(self) -> None:
        """As if the time for the next look or attempt had come."""
        self.committer._retry_at_s = self.committer._retry_at_s and 0.0
        self.committer._look_at_s = 0.0
        self.committer.tick()

    def delete(self) -> None:
        """The store and its log."""
        for path in glob.glob(f"{self.path}*"):
            os.unlink(path)

    def lose_patience(self) -> None:
        """As if the store had been away for long."""
        while self.committer._gone_since_s is None:
            self.tick()
        self.committer._gone_since_s -= successor.PATIENCE_S
        self.tick()

    def rows(self) -> set[tuple[int, str]]:
        """Ids of all jobs on disk by table, as the next start finds them."""
        self.committer.close()
        with sqlite3.connect(self.path) as connection:
            found = connection.execute(
                "SELECT id, 'live' FROM live UNION SELECT id, 'history' FROM history"
            )
            return set(found)


@pytest.fixture
def desk(state_dir: str) -> Desk:
    """A committer over a fresh store."""
    return Desk(state_dir)


def test_a_deleted_store_is_written_anew_with_its_history(desk: Desk) -> None:
    """What was deleted is there as long as it is open; the rest is asked for."""
    desk.delete()
    desk.lose_patience()
    assert [type for type, _ in desk.told[-3:]] == ["resync", "noticed", "recovered"]
    assert "with its history" in desk.told[-2][1]["text"]
    desk.send(NEW, job(2))
    assert desk.rows() == {(1, "history"), (2, "live")}


def test_it_is_given_time_to_come_back(desk: Desk) -> None:
    """Until then nothing is acknowledged, and nothing is written in its place."""
    desk.delete()
    desk.send(NEW, job(2))
    desk.tick()
    assert desk.told[-1][0] == "trouble" and not os.path.exists(desk.path)


def test_a_store_without_a_log_goes_on(desk: Desk) -> None:
    """What was committed to a deleted log comes into the main file; nothing is lost by kill -9."""
    os.unlink(f"{desk.path}-wal")
    desk.tick()
    assert desk.told[-1][0] == "trouble"
    desk.tick()
    assert [type for type, _ in desk.told[-2:]] == ["resync", "recovered"]
    with sqlite3.connect(f"file:{desk.path}?immutable=1", uri=True) as connection:
        assert connection.execute("SELECT count(*) FROM history").fetchone() == (1,)


def test_the_folder_is_made_again(desk: Desk) -> None:
    """With marker and lock: no other supervisor can begin there."""
    shutil.rmtree(desk.state_dir)
    desk.lose_patience()
    assert desk.told[-1][0] == "recovered"
    assert os.path.exists(f"{desk.state_dir}/state.marker")
    fd = os.open(desk.state_dir, os.O_RDONLY)
    assert not lock._try(fd)
    os.close(fd)


def test_a_disk_that_is_not_mounted_is_waited_for(desk: Desk) -> None:
    """In its mount point nothing is written: what is on it comes back."""
    desk.delete()
    desk.committer._file = (-1, 0)
    desk.lose_patience()
    assert not os.path.exists(desk.path)
    assert "is a disk not mounted?" in desk.told[-1][1]["message"]


def test_the_old_store_is_not_ours_any_more(desk: Desk) -> None:
    """It lacks what was saved since: jobs that have ended would run again."""
    os.rename(desk.path, f"{desk.path}.old")
    desk.lose_patience()
    os.rename(f"{desk.path}.old", desk.path)
    desk.send(NEW, job(2))
    desk.tick()
    assert "not the store that was in use" in desk.told[-1][1]["message"]


def test_an_orderly_end_does_not_wait(desk: Desk) -> None:
    """A store that is missing at the end is written at once."""
    desk.delete()
    assert desk.committer.close()
    assert desk.rows() == {(1, "history")}


def test_what_cannot_be_read_any_more_costs_history_alone(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store that is deleted and damaged is written anew from memory."""
    desk.delete()
    broken = sqlite3.OperationalError("disk I/O error")
    monkeypatch.setattr(successor.backup, "copy_pages", lambda *_: (_ for _ in ()).throw(broken))
    desk.lose_patience()
    assert "without older history (disk I/O error)" in desk.told[-2][1]["text"]


def test_a_replacement_waits_and_begins_from_memory(
    state_dir: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process that had the store open is dead: the supervisor is told to send everything."""
    monkeypatch.setattr(successor, "PATIENCE_S", 0.2)
    supervisor = Supervisor(state_dir)
    supervisor.loaded()
    supervisor.save({("meta", "id_floor"): {"value": 700}})
    supervisor.kill()
    for path in glob.glob(f"{state_dir}/state.db*"):
        os.unlink(path)
    supervisor.settings |= {"load": False, "session": 3}
    supervisor.link.restarted()
    supervisor.start()
    info = supervisor.expect(message.Opened).info
    assert info["created"] and info["session"] == 4
    assert "without older history" in info["warnings"][-1]


def test_a_replacement_refuses_the_folder_of_another(state_dir: str) -> None:
    """A folder that was made anew may have another supervisor by now."""
    own = os.open(os.path.dirname(state_dir), os.O_RDONLY)
    other = lock.take_folder(state_dir, wait_s=0.0)
    settings = Settings(state_dir, lock_fds=(own,))
    with pytest.raises(StoreError, match="in use"):
        successor.hold_folder(settings, [own])
    os.close(own)
    os.close(other)
