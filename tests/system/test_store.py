"""A damaged, foreign, newer or missing store: a clear refusal that touches nothing."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.system.machine import Machine, eventually


@pytest.fixture
def stopped(machine: Machine) -> Machine:
    """A machine with one held job and one finished one, stopped orderly."""
    machine.submit("--hold", "--", "true")
    machine.wait(machine.submit("exit 3"))
    assert machine.stop() == 0
    return machine


def damage(machine: Machine, make: Callable[[Path], None]) -> Path:
    """Replace the store's file; the write-ahead log goes too."""
    path = machine.state / "state.db"
    for name in ("state.db", "state.db-wal", "state.db-shm"):
        (machine.state / name).unlink(missing_ok=True)
    make(path)
    return path


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: None, "--init-empty"),
        (lambda path: path.write_bytes(b""), "empty"),
        (lambda path: path.write_bytes(os.urandom(65536)), "state.db"),
        (lambda path: path.mkdir(), "directory"),
        (lambda path: path.symlink_to("/etc/passwd"), "symbolic link"),
        (lambda path: os.mkfifo(path), "FIFO"),
    ],
    ids=["missing", "empty", "random", "folder", "link", "fifo"],
)
def test_strange_store_is_refused(
    stopped: Machine, make: Callable[[Path], None], said: str
) -> None:
    """The file is named, what was found, what to do; it stays as it was."""
    path = damage(stopped, make)
    before = path.lstat() if os.path.lexists(path) else None
    code, words = stopped.refuse_to_start()
    assert code == 1
    assert "state.db" in words and said.lower() in words.lower(), words
    assert "Traceback" not in words
    after = path.lstat() if os.path.lexists(path) else None
    if before is not None and after is not None:
        assert (before.st_ino, before.st_size, before.st_mtime_ns) == (
            after.st_ino,
            after.st_size,
            after.st_mtime_ns,
        )


def test_newer_store_is_refused_untouched(stopped: Machine) -> None:
    """A store of a later version is not opened; its bytes and times stay."""
    path = stopped.state / "state.db"
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 9999")
    connection.close()
    before = (path.read_bytes(), path.stat().st_mtime_ns)
    code, words = stopped.refuse_to_start()
    assert code == 1 and "9999" in words
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before


def test_starting_empty_needs_insisting_and_gives_no_id_twice(stopped: Machine) -> None:
    """--init-empty starts anew, above every id that was ever given out."""
    damage(stopped, lambda path: None)
    stopped.start("--init-empty")
    assert stopped.jobs() == {}
    assert stopped.submit("--", "true") > 2


def test_flipped_bits_are_never_silent(stopped: Machine) -> None:
    """With single bits flipped the store loads what is whole, or refuses; it never lies."""
    path = stopped.state / "state.db"
    whole = path.read_bytes()
    for number in range(6):
        data = bytearray(whole)
        data[(number * 7919 + 4321) % len(data)] ^= 1 << (number % 8)
        path.write_bytes(data)
        (stopped.state / "state.db-wal").unlink(missing_ok=True)
        try:
            stopped.start()
        except AssertionError as error:
            assert "state.db" in str(error) and "Traceback" not in str(error)
            continue
        jobs = stopped.jobs()
        for job_id, record in jobs.items():
            assert (job_id, record["state"]) in {(1, "PENDING"), (2, "FAILED")}
        stopped.kill_at_once()


def test_backup_under_load_and_restore(machine: Machine) -> None:
    """A backup of a running supervisor, restored into its place, holds what was acknowledged."""
    job_id = machine.submit("--hold", "--", "true")
    target = machine.folder / "copy.db"
    assert machine.ctl("backup", str(target)).returncode == 0
    later = machine.submit("--hold", "--", "true")
    assert machine.stop() == 0
    shutil.rmtree(machine.state / "runs")
    assert machine.ctl("restore", str(target)).returncode == 0
    machine.start()
    assert set(machine.jobs()) == {job_id}
    assert machine.submit("--hold", "--", "true") > later


def test_copied_folder_signals_nothing(
    machine: Machine, new_machine: Callable[..., Machine]
) -> None:
    """A copy of a live state folder does not touch the first one's jobs."""
    job_id = machine.submit("while [ ! -e go ]; do sleep 0.05; done")
    eventually(lambda: machine.job(job_id)["pid"])
    other = new_machine()
    shutil.copytree(machine.state, other.state, ignore=shutil.ignore_patterns(".reports", "*.lock"))
    other.start()
    assert other.job(job_id)["state"] == "NODE_FAIL"
    assert machine.job(job_id)["state"] == "RUNNING"
    assert os.path.exists(f"/proc/{machine.job(job_id)['pid']}")
    (machine.work / "go").touch()
    assert machine.wait(job_id) == 0


def test_deleted_run_files(machine: Machine) -> None:
    """With the folder of run files deleted jobs finish; their end is exact or unknown."""
    script = "while [ ! -e go ]; do sleep 0.05; done; touch finished; exit 3"
    job_id = machine.submit(script)
    eventually(lambda: machine.job(job_id)["pid"])
    shutil.rmtree(machine.state / "runs")
    machine.kill_at_once()
    machine.start()
    (machine.work / "go").touch()
    machine.wait(job_id)
    record = machine.job(job_id)
    assert (record["state"], record["exit_code"]) in {("FAILED", 3), ("NODE_FAIL", None)}
    assert (machine.work / "finished").exists()
    assert machine.wait(machine.submit("--", "true")) == 0
