"""What is opened, what is refused, and that refusals touch nothing."""

from __future__ import annotations

import os
import shutil
import sqlite3
import struct
from pathlib import Path
from typing import Any

import pytest

from gflow.errors import StoreError
from gflow.persistence import codec, disown, history, marker, opening
from gflow.persistence.opening import Opening, open_store
from gflow.persistence.setting import Settings
from tests.persistence.harness import job
from tests.persistence.test_store import write


def open_in(state_dir: str, **settings: Any) -> Opening:
    """Open the store of a folder."""
    return open_store(Settings(state_dir, **settings))


def close(opened: Opening) -> None:
    """End orderly, as the persister does."""
    opened.store.close(opened.session)
    opened.marker_file.update(clean_session=opened.session)


@pytest.fixture
def used(state_dir: str) -> str:
    """A folder whose store was used and closed orderly."""
    opened = open_in(state_dir)
    write(opened.store, {("job", 1): job(1)})
    opened.marker_file.update(id_floor=100)
    close(opened)
    return state_dir


def refusal(state_dir: str, **settings: Any) -> str:
    """The sentence of a refusal."""
    with pytest.raises(StoreError) as caught:
        open_in(state_dir, **settings)
    return str(caught.value)


def test_a_fresh_folder_gets_a_store(state_dir: str) -> None:
    """Where neither store nor marker is, both are made."""
    assert open_in(state_dir).created
    assert sorted(os.listdir(state_dir)) == ["state.db", "state.db-wal", "state.marker"]


def test_a_missing_store_is_not_replaced_by_an_empty_one(used: str) -> None:
    """With the marker there and the store gone, starting is refused with the way out."""
    os.unlink(f"{used}/state.db")
    sentence = refusal(used)
    assert f"{used}/state.db" in sentence
    assert "gflowctl restore FILE" in sentence and "--init-empty" in sentence
    assert not os.path.exists(f"{used}/state.db")


def test_init_empty_goes_on_above_the_floor(used: str) -> None:
    """Insisting starts empty, and no id is given out again."""
    os.unlink(f"{used}/state.db")
    opened = open_in(used, init_empty=True)
    assert opened.created
    assert opened.marker_file.marker.id_floor == 100


def test_the_log_of_a_lost_store_is_not_played_into_a_new_one(state_dir: str) -> None:
    """Starting empty beside an old log keeps the log, under another name, and nothing of it."""
    opened = open_in(state_dir)
    write(opened.store, {("job", 1): job(1)})
    log = Path(f"{state_dir}/state.db-wal").read_bytes()
    opened.store.abandon()
    os.unlink(f"{state_dir}/state.db")
    Path(f"{state_dir}/state.db-wal").write_bytes(log)
    again = open_in(state_dir, init_empty=True)
    assert again.store.figures()["live"] == 0
    assert Path(f"{state_dir}/state.db-wal.orphan").read_bytes() == log


def test_an_empty_folder_in_the_place_of_a_used_one_is_refused(used: str) -> None:
    """A disk that is not mounted leaves an empty folder: that is no fresh start."""
    shutil.rmtree(used)
    os.mkdir(used, 0o700)
    assert "not mounted" in refusal(used)


def test_a_folder_that_was_just_made_is_a_fresh_start(used: str) -> None:
    """Who deletes the whole folder gets a new one."""
    shutil.rmtree(used)
    os.mkdir(used, 0o700)
    assert open_in(used, folder_is_new=True).created


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    """A vanished state folder is told, not made."""
    assert "No such file" in refusal(str(tmp_path / "gone"))


def _random(path: str) -> None:
    Path(path).write_bytes(os.urandom(5000))


def _foreign(path: str) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE mine(a)")
    connection.close()


@pytest.mark.parametrize(
    ("make", "found"),
    [
        (_random, "not a store of gflow"),
        (lambda path: Path(path).write_bytes(b""), "is empty"),
        (lambda path: Path(path).write_bytes(b"SQLite format 3\0"), "not a store of gflow"),
        (os.mkdir, "a directory"),
        (lambda path: os.symlink("/etc/passwd", path), "a symbolic link"),
        (os.mkfifo, "a FIFO"),
        (_foreign, "another program"),
    ],
    ids=["random", "empty", "short", "directory", "symlink", "fifo", "foreign"],
)
def test_what_is_no_store_is_refused(used: str, make: Any, found: str) -> None:
    """Anything else under the store's name is named, and left as it is."""
    path = f"{used}/state.db"
    os.unlink(path)
    make(path)
    before = os.lstat(path)
    sentence = refusal(used)
    assert path in sentence and found in sentence
    after = os.lstat(path)
    assert (before.st_ino, before.st_mtime_ns, before.st_size) == (
        after.st_ino,
        after.st_mtime_ns,
        after.st_size,
    )


def test_a_link_in_the_place_of_the_log_is_refused(used: str) -> None:
    """SQLite would write through it."""
    os.symlink("/etc/passwd", f"{used}/state.db-wal")
    assert "state.db-wal: it is a symbolic link" in refusal(used)


def test_a_newer_store_is_refused_untouched(used: str) -> None:
    """A store of a later version keeps every byte and its time of change."""
    path = f"{used}/state.db"
    with open(path, "r+b") as file:
        file.seek(60)
        file.write(struct.pack("!i", 99))
    os.utime(path, (1, 1))
    before = Path(path).read_bytes()
    assert "schema version 99" in refusal(used)
    assert Path(path).read_bytes() == before
    assert os.stat(path).st_mtime == 1


def test_a_newer_log_is_refused(used: str) -> None:
    """The version counts even while it stands in the log only."""
    connection = sqlite3.connect(f"{used}/state.db", isolation_level=None)
    connection.execute("PRAGMA user_version=98")
    shutil.copy(f"{used}/state.db-wal", f"{used}/wal")
    connection.close()
    with open(f"{used}/state.db", "r+b") as file:
        file.seek(60)
        file.write(struct.pack("!i", 1))
    os.rename(f"{used}/wal", f"{used}/state.db-wal")
    assert "schema version 98" in refusal(used)


def test_a_folder_of_another_machine_is_refused(used: str) -> None:
    """The marker names the machine; taking over must be asked for."""
    path = marker.inside(used)
    found = marker.read(path)
    assert found is not None
    marker.write(path, marker.Marker("0" * 32, found.id_floor))
    assert "another machine" in refusal(used)
    assert open_in(used, take_over=True).marker_file.marker.id_floor == 100


def test_a_copied_folder_is_noticed(used: str, tmp_path: Path) -> None:
    """A copy tells that it is one, the original does not."""
    copy = str(tmp_path / "copy")
    shutil.copytree(used, copy)
    assert open_in(copy).copied
    assert not open_in(used).copied


def test_a_copied_store_names_no_process(used: str, tmp_path: Path) -> None:
    """Even the file alone, put into another folder: running jobs are disowned, others are not."""
    opened = open_in(used)
    somebody = {"boot_id": "b", "pid": 1, "start_ticks": 1}
    running = job(2, "RUNNING", shim=somebody, process=somebody)
    write(opened.store, {("job", 2): running})
    close(opened)
    folder = tmp_path / "other"
    folder.mkdir()
    shutil.copy(f"{used}/state.db", folder)
    store = open_in(str(folder)).store
    records = [history.job(store, id) for id in (1, 2)]
    first, second = [codec.decode(item) for item in records if item is not None]
    assert first == job(1)
    assert isinstance(second, dict) and second["process"]["pid"] == disown.NO_PID


def test_a_damaged_marker_is_told(used: str) -> None:
    """Garbage in the marker is refused by name."""
    Path(marker.inside(used)).write_bytes(b"\xff garbage")
    assert "state.marker: it is damaged" in refusal(used)


def test_an_older_state_than_the_orderly_end_left_is_told(used: str, tmp_path: Path) -> None:
    """A store that was put back by hand is opened with a warning."""
    shutil.copy(f"{used}/state.db", tmp_path / "old.db")
    close(open_in(used))
    shutil.copy(tmp_path / "old.db", f"{used}/state.db")
    [warning] = open_in(used).warnings
    assert "changes may be missing" in warning


def test_structural_damage_is_refused(used: str) -> None:
    """After an unclean stop the structure is checked, and damage names the ways out."""
    opened = open_in(used)
    write(opened.store, {("job", id): job(id) for id in range(2000)})
    opened.store.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    opened.store.abandon()
    size = os.path.getsize(f"{used}/state.db")
    with open(f"{used}/state.db", "r+b") as file:
        for page in range(2, size // 4096, 3):
            file.seek(4096 * page)
            file.write(bytes(4096))
    sentence = refusal(used)
    assert "damaged" in sentence and "gflowctl restore FILE" in sentence


def test_a_truncated_log_loses_its_end_only(used: str) -> None:
    """Of a log that was cut short, whole transactions from its beginning survive."""
    opened = open_in(used)
    for id in range(2, 12):
        write(opened.store, {("job", id): job(id)})
    log = Path(f"{used}/state.db-wal").read_bytes()
    opened.store.abandon()
    Path(f"{used}/state.db-wal").write_bytes(log[: len(log) * 2 // 3])
    again = open_in(used)
    ids = [id for (id,) in again.store.connection.execute("SELECT id FROM live ORDER BY id")]
    assert ids == list(range(1, len(ids) + 1))
    assert not again.clean_shutdown


def test_a_locked_store_is_told(used: str) -> None:
    """Somebody's open transaction is named as the cause."""
    other = sqlite3.connect(f"{used}/state.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    assert "another program has it locked" in refusal(used)
    other.close()


def test_a_full_disk_at_the_start_costs_the_ballast(
    state_dir: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When opening needs space that is not there, the spare file is given up for it."""
    close(open_in(state_dir))
    Path(f"{state_dir}/ballast").write_bytes(b"x")
    real = opening._open

    def full(*arguments: Any) -> Opening:
        if os.path.exists(f"{state_dir}/ballast"):
            raise OSError(28, "No space left on device")
        return real(*arguments)

    monkeypatch.setattr(opening, "_open", full)
    assert open_in(state_dir).store.version == 1
