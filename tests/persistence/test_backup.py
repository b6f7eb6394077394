"""Backups of a store in use, and what restoring makes of them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gflow.errors import Refused, StoreError
from gflow.model.record import Key, Record
from gflow.persistence import message, restore
from gflow.persistence.check import check_file
from gflow.persistence.disown import NO_PID
from tests.persistence.harness import Supervisor, job


def many(first: int, count: int) -> dict[Key, Record]:
    """Jobs with some weight."""
    return {("job", id): job(id, name="x" * 500) for id in range(first, first + count)}


def jobs_in(rows: dict[Key, Record]) -> set[int]:
    """Ids of the jobs among records."""
    return {int(key[1]) for key in rows if key[0] == "job"}


def test_a_backup_under_load_is_a_state_of_its_time(supervisor: Supervisor, tmp_path: Path) -> None:
    """All that was durable before it is in it, and of what came meanwhile a beginning."""
    supervisor.save(many(1, 3000))
    path = str(tmp_path / "backup.db")
    id = supervisor.link.query("backup", {"path": path})
    last = 3000
    answered: list[message.Message] = []

    def is_answered() -> bool:
        answered.extend(m for m in supervisor.messages if isinstance(m, message.Answer))
        supervisor.messages.clear()
        return bool(answered)

    while not is_answered():
        supervisor.save(many(last + 1, 10))
        last += 10
    [answer] = answered
    assert isinstance(answer, message.Answer) and answer.id == id and answer.error is None
    restored = tmp_path / "restored"
    restored.mkdir()
    restore.restore(path, str(restored))
    rows, _ = Supervisor(str(restored)).loaded()
    found = jobs_in(rows)
    assert found >= set(range(1, 3001))
    assert found == set(range(1, len(found) + 1))


def test_a_backup_is_for_its_owner_alone(supervisor: Supervisor, tmp_path: Path) -> None:
    """The copy is 0600: it holds scripts and environments."""
    path = tmp_path / "backup.db"
    supervisor.ask("backup", path=str(path))
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("name", "cause"),
    [("taken", "such a file already"), ("no/such/folder/b", "No such file"), ("../x", "absolute")],
)
def test_a_backup_that_cannot_be_is_refused(
    supervisor: Supervisor, tmp_path: Path, name: str, cause: str
) -> None:
    """An existing file is never overwritten, an impossible path is told."""
    (tmp_path / "taken").write_text("precious")
    path = name if name.startswith("..") else str(tmp_path / name)
    answer = supervisor.ask("backup", path=path)
    assert answer.error is not None and cause in answer.error
    assert answer.kind == Refused.INVALID
    assert (tmp_path / "taken").read_text() == "precious"


def test_the_sentinel_ends_a_backup(supervisor: Supervisor, tmp_path: Path) -> None:
    """An orderly end does not wait for it, and leaves no half file."""
    supervisor.save(many(1, 3000))
    supervisor.link.query("backup", {"path": str(tmp_path / "backup.db")})
    supervisor.pump()
    assert supervisor.stop() == 0
    assert not [name for name in os.listdir(tmp_path) if name.startswith("backup.db.part")]


@pytest.fixture
def backup(supervisor: Supervisor, tmp_path: Path) -> str:
    """A backup with jobs 1 to 5 and an id floor of 6."""
    supervisor.save({**many(1, 5), ("meta", "id_floor"): {"value": 6}})
    path = str(tmp_path / "backup.db")
    assert supervisor.ask("backup", path=path).error is None
    return path


def test_ids_go_on_above_every_floor(supervisor: Supervisor, state_dir: str, backup: str) -> None:
    """Ids given out after the backup are not given out again."""
    supervisor.save({**many(6, 5), ("meta", "id_floor"): {"value": 500}})
    supervisor.stop()
    assert restore.restore(backup, state_dir)["id_floor"] == 500
    rows, info = Supervisor(state_dir).loaded()
    assert info["id_floor"] == 500
    assert jobs_in(rows) == {1, 2, 3, 4, 5}


def test_run_files_and_logs_count_as_given_out(tmp_path: Path, backup: str) -> None:
    """An id that anything in the folder names is below the floor."""
    folder = tmp_path / "other"
    (folder / "runs").mkdir(parents=True)
    (folder / "logs").mkdir()
    (folder / "runs" / "70.1").touch()
    (folder / "logs" / "90.log").touch()
    assert restore.restore(backup, str(folder))["id_floor"] == 91


def test_the_replaced_store_is_kept(supervisor: Supervisor, state_dir: str, backup: str) -> None:
    """What was there before lies beside it, whole, what its log held included."""
    supervisor.save(many(6, 1))
    supervisor.kill()
    kept = restore.restore(backup, state_dir)["previous"]
    assert check_file(kept).rows["live"] == 6


SOMEBODY = {"boot_id": "b", "pid": 1, "start_ticks": 1}


@pytest.mark.parametrize("elsewhere", [True, False])
def test_processes_of_another_folder_are_not_ours(
    supervisor: Supervisor, state_dir: str, tmp_path: Path, elsewhere: bool
) -> None:
    """Restored elsewhere, a running job names no process any more; in its own folder it does."""
    path = str(tmp_path / "backup.db")
    supervisor.save({("job", 1): job(1, "RUNNING", shim=SOMEBODY, process=SOMEBODY)})
    supervisor.ask("backup", path=path)
    supervisor.stop()
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    target = str(folder) if elsewhere else state_dir
    restore.restore(path, target)
    record = Supervisor(target).loaded()[0][("job", 1)]
    assert isinstance(record, dict)
    pids = {record["process"]["pid"], record["shim"]["pid"]}
    assert pids == {NO_PID if elsewhere else 1}


def test_a_damaged_backup_changes_nothing(
    supervisor: Supervisor, state_dir: str, backup: str
) -> None:
    """A backup with a flipped bit in a record is refused; the present store stays."""
    supervisor.stop()
    data = bytearray(Path(backup).read_bytes())
    data[data.rfind(b"PENDING")] ^= 1
    Path(backup).write_bytes(data)
    before = Path(f"{state_dir}/state.db").read_bytes()
    with pytest.raises(StoreError, match="damaged"):
        restore.restore(backup, state_dir)
    assert Path(f"{state_dir}/state.db").read_bytes() == before
    assert not [name for name in os.listdir(state_dir) if "restor" in name]


def test_a_missing_backup_is_told(state_dir: str) -> None:
    """Restoring what is not there is refused."""
    with pytest.raises(StoreError, match="there is no backup"):
        restore.restore("/nowhere/backup.db", state_dir)
