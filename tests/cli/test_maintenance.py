from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.api.fake import RunningServer
from tests.cli.conftest import Run

_HOLD = """
import sys; from gflow.persistence import lock
held = lock.take_file(sys.argv[1]); print(flush=True); sys.stdin.read()
"""


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state folder of its own, empty."""
    folder = tmp_path / "state"
    folder.mkdir(mode=0o700)
    monkeypatch.setenv("GFLOW_STATE_DIR", str(folder))
    monkeypatch.setenv("GFLOW_CONFIG", "")
    return folder


def test_backup_drain_and_undrain(server: RunningServer, run: Run, tmp_path: Path) -> None:
    """Each asks for what it is called."""
    assert run("backup", str(tmp_path / "b")).out == f"Wrote {tmp_path / 'b'} (4K)\n"
    assert run("drain", "--reason", "repair").out == "No more jobs are started\n"
    assert json.loads(run("undrain", "--json").out) == {"drained": False}


def test_drain_by_a_time(server: RunningServer, run: Run) -> None:
    """What ends before is started still; a moment that is none is refused."""
    assert run("drain", "--by", "@1800000000").out.startswith("Only jobs that end before ")
    assert server.operations.calls == [("drain", (None, 1.8e9))]
    assert run("drain", "--by", "soon").code == 2


def test_restore_of_nothing(run: Run, state: Path, tmp_path: Path) -> None:
    """A file that is not there is told, and nothing is made."""
    assert run("restore", str(tmp_path / "none")).code == 1
    assert [*state.iterdir()] == []


def test_restore_of_something_else(run: Run, state: Path, tmp_path: Path) -> None:
    """A file that is no store is refused in one sentence."""
    (tmp_path / "b").write_text("this is no store\n")
    result = run("restore", str(tmp_path / "b"))
    assert result.code == 1 and "not a store" in result.err and len(result.err.splitlines()) == 1
    assert not (state / "state.db").exists()


def test_restore_while_a_supervisor_runs(run: Run, state: Path, tmp_path: Path) -> None:
    """Who holds the lock is named; the file is not even looked at."""
    (tmp_path / "b").write_text("this is no store\n")
    holder = subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(state / "supervisor.lock")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert holder.stdin is not None and holder.stdout is not None
    holder.stdout.readline()
    result = run("restore", str(tmp_path / "b"))
    assert result.code == 1 and f"pid {holder.pid}" in result.err
    holder.communicate(timeout=30)


def test_restore(run: Run, state: Path) -> None:
    """A backup becomes the store."""
    backup = Path(__file__).resolve().parents[1] / "persistence" / "golden" / "v1.db"
    answer = json.loads(run("restore", "--json", str(backup)).out)
    assert answer["path"] == str(state / "state.db") and (state / "state.db").exists()
