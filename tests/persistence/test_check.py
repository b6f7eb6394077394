"""Damage, found and set aside."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from gflow.errors import StoreError
from gflow.persistence import structure
from gflow.persistence.check import check_file
from gflow.persistence.leftover import leftovers
from gflow.persistence.store import Store
from tests.persistence.golden import content
from tests.persistence.harness import Supervisor, job
from tests.persistence.test_store import write


@pytest.fixture
def path(state_dir: str) -> str:
    """A closed store with one record of each kind."""
    path = f"{state_dir}/state.db"
    content.make(path)
    return path


def flip(path: str, text: bytes) -> None:
    """Flip one bit in the last place where some text stands."""
    data = bytearray(Path(path).read_bytes())
    data[data.rindex(text)] ^= 1
    Path(path).write_bytes(data)


def test_a_whole_store_has_no_findings(path: str) -> None:
    """Every row of every table is looked at, and all is well."""
    findings = check_file(path)
    assert findings.problems == []
    assert findings.rows == {
        "meta": 3,
        "fact": 2,
        "live": 3,
        "history": 3,
        "transition": 2,
        "blob": 1,
    }


@pytest.mark.parametrize(
    ("text", "where"),
    [
        (b'"name":"job1"', "live [1, 'job']"),
        (b'"name":"job4"', "history [4, 'job']"),
        (b'"from":"PENDING"', "transition [3, 1]"),
        (b"echo hello", "blob ['script']"),
        (b'"cpu_s":12.5', "fact"),
    ],
)
def test_one_flipped_bit_is_found(path: str, text: bytes, where: str) -> None:
    """SQLite would not notice; the checksum does, and the row is named."""
    flip(path, text)
    assert any(problem.startswith(where) for problem in check_file(path).problems)


def test_a_changed_column_is_found(path: str) -> None:
    """A column beside the record that says something else is named."""
    flip(path, b"bobFAILEDjob4")
    assert any("columns" in problem for problem in check_file(path).problems)


def test_a_changed_index_is_found(path: str) -> None:
    """An index that does not fit its table is a finding about the structure."""
    flip(path, b"bobFAILEDvision")
    assert any(problem.startswith("structure") for problem in check_file(path).problems)


def test_a_missing_blob_is_found(path: str) -> None:
    """A job that names a blob which is not there is told."""
    store = Store(path)
    store.connection.execute("DELETE FROM blob")
    store.abandon()
    assert check_file(path).problems == ["blob script: jobs name it, it is not there"]


def test_what_is_no_store_cannot_be_checked(tmp_path: Path) -> None:
    """A missing file is refused by name."""
    with pytest.raises(StoreError, match="there is no store"):
        check_file(str(tmp_path / "state.db"))


def test_the_check_works_while_the_store_is_in_use(supervisor: Supervisor) -> None:
    """The same checks, asked of the persister."""
    supervisor.save(content.RECORDS)
    found = supervisor.ask("check").value
    assert (found["problems"], found["structure"]) == ([], True)
    assert found["rows"]["history"] == 3


def test_the_structure_is_checked_while_the_store_is_in_use(state_dir: str, path: str) -> None:
    """Of a copy that leaves no file; what is wrong with it is told as by the check of a file."""
    flip(path, b"bobFAILEDvision")
    supervisor = Supervisor(state_dir, load=False)
    found = supervisor.ask("check").value
    assert any(problem.startswith("structure: ") for problem in found["problems"])
    assert not os.path.exists(f"{path}.check")


def test_changes_are_saved_while_the_copy_is_made(path: str) -> None:
    """Each stretch lets commits happen; the copy is whole all the same."""
    store = Store(path)
    write(store, {("blob", f"b{n}"): os.urandom(60_000) for n in range(64)})
    ids = iter(range(100, 1000))
    check = structure.StructureCheck(store, lambda: write(store, {("job", next(ids)): job(1)}))
    for _ in check.slices():
        pass
    assert (check.problems, check.refusal) == ([], None)
    assert next(ids) > 110
    store.abandon()


def test_no_room_for_a_copy(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The structure is not checked then, and the findings say why."""
    monkeypatch.setattr(structure, "_SPARE_BYTES", 1 << 60)
    check = structure.StructureCheck(Store(path), lambda: None)
    assert list(check.slices()) == []
    assert check.refusal is not None and "no room for a copy" in check.refusal


def test_run_files_that_stay(path: str, state_dir: str) -> None:
    """Those of unknown and of ended jobs are named, not those of what runs or was just started."""
    os.mkdir(f"{state_dir}/runs")
    for name in ("2.1", "3.1", "99.1", ".forgotten"):
        Path(state_dir, "runs", name).touch()
    store = Store(path)
    assert list(leftovers(store, time.time())) == []
    assert list(leftovers(store, time.time() + 100)) == [
        "run file runs/3.1: its job has ended",
        "run file runs/99.1: its job is not in the store",
    ]
    store.abandon()


def test_damaged_rows_are_set_aside_and_the_rest_loads(path: str, state_dir: str) -> None:
    """A live row with a wrong checksum is listed, kept in quarantine, and loads no more."""
    flip(path, b'"name":"job1"')
    rows, info = Supervisor(state_dir).loaded()
    assert [entry["key"] for entry in info["quarantined"]] == [["job", 1]]
    assert ("job", 1) not in rows and ("job", 2) in rows


def test_what_was_set_aside_stays_listed(path: str, state_dir: str) -> None:
    """A later check still shows it, as quarantined and not as a new problem."""
    flip(path, b'"name":"job1"')
    supervisor = Supervisor(state_dir)
    supervisor.loaded()
    supervisor.stop()
    findings = check_file(path)
    assert findings.problems == []
    assert [entry["key"] for entry in findings.quarantined] == ['["job",1]']


def test_a_damaged_history_row_is_left_out_of_pages(path: str, state_dir: str) -> None:
    """A page tells which rows it cannot show, and they are set aside."""
    flip(path, b'"name":"job4"')
    supervisor = Supervisor(state_dir)
    supervisor.loaded()
    answer = supervisor.ask("history", users=["bob"])
    assert answer.records == []
    assert [entry["key"] for entry in answer.value["damaged"]] == [["job", 4]]
    assert supervisor.ask("info").value["quarantined"] == 1
