from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.api.fake import RunningServer
from tests.cli.conftest import Run


@pytest.fixture
def log(server: RunningServer, tmp_path: Path) -> Path:
    """Job 1's output, in a file that we may read; the server would say something else."""
    path = tmp_path / "1.log"
    path.write_bytes(b"a\nb\nc\n")
    server.operations.add(1, state="RUNNING", output_path=str(path))
    server.operations.logs[1] = b"from the server\n"
    return path


def test_a_log_is_read_from_its_file(log: Path, run: Run) -> None:
    """The command opens what it may and troubles nobody."""
    assert run("log", "1").out == "a\nb\nc\n"


@pytest.mark.parametrize(
    ("lines", "shown"), [("0", ""), ("1", "c\n"), ("2", "b\nc\n"), ("9", "a\nb\nc\n")]
)
def test_the_last_lines(log: Path, run: Run, lines: str, shown: str) -> None:
    """--tail N."""
    assert run("log", "-n", lines, "1").out == shown


def test_what_we_may_not_open_comes_from_the_supervisor(
    server: RunningServer, log: Path, run: Run
) -> None:
    """A file that is not there for us, or is no file, is asked for."""
    log.unlink()
    assert run("log", "1").out == "from the server\n"
    os.mkfifo(log)
    assert run("log", "1").out == "from the server\n"
    assert run("log", "-n", "1", "1").out == "from the server\n"


def test_following_ends_with_the_job(server: RunningServer, log: Path, run: Run) -> None:
    """-f copies everything up to the job's end."""
    with log.open("ab") as file:
        file.write(b"d\n")
    server.run(lambda: server.operations.end(1, "COMPLETED"))
    assert run("log", "-f", "1").out == "a\nb\nc\nd\n"


def test_a_log_as_json(log: Path, run: Run) -> None:
    """Its text, in one object."""
    assert json.loads(run("log", "--json", "1").out)["text"] == "from the server\n"


def test_the_log_of_an_array_needs_a_task(server: RunningServer, run: Run) -> None:
    """The sentence names one."""
    server.operations.add(1, array={"id": 1, "task": None, "tasks": "4-9"})
    result = run("log", "1")
    assert result.code == 1 and "1_4" in result.err


def test_wait_exits_with_the_highest_code(server: RunningServer, run: Run) -> None:
    """Several jobs: the highest."""
    server.operations.add(1, state="COMPLETED", exit_code=0)
    server.operations.add(2, state="FAILED", exit_code=9, reason=None)
    server.operations.add(3, state="CANCELLED", reason=None)
    result = run("wait", "1-3")
    assert result.code == 9 and "Job 2 is FAILED: exit code 9\n" in result.out
    assert run("wait", "1").code == 0
    assert len(json.loads(run("wait", "1-3", "--json").out)) == 3


def test_wait_gives_up(server: RunningServer, run: Run) -> None:
    """--timeout: exit 75."""
    server.operations.add(1)
    assert run("wait", "--timeout", "0.1s", "1").code == 75


def test_wait_for_an_array_is_its_worst_task(server: RunningServer, run: Run) -> None:
    """An array's code is the highest of its tasks'."""
    server.operations.add(1, state="FAILED", array={"id": 1, "task": None, "tasks": ""})
    server.operations.finished = [
        {"id": 2, "state": "FAILED", "exit_code": 5, "array": {"id": 1, "task": 1}},
        {"id": 3, "state": "COMPLETED", "exit_code": 0, "array": {"id": 1, "task": 2}},
    ]
    assert run("wait", "1").code == 5


def test_errors_that_go_with_the_output(log: Path, run: Run) -> None:
    """log --error of a job that has no file for them shows where they are."""
    assert run("log", "--error", "1").out == "a\nb\nc\n"


def test_errors_that_go_elsewhere(
    server: RunningServer, log: Path, run: Run, tmp_path: Path
) -> None:
    """log --error reads their own file."""
    (tmp_path / "err").write_bytes(b"oh\n")
    server.operations.records[1]["error_path"] = str(tmp_path / "err")
    assert run("log", "--error", "1").out == "oh\n"
