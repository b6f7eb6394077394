"""Taking over from the reference: a state that its own daemon made, with jobs in every state."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.compat import program
from tests.compat.daemon import Daemon
from tests.system.machine import Machine, eventually

_LATER = {"secs_since_epoch": 4_000_000_000, "nanos_since_epoch": 0}
_USERS = ("ann", "bob")
_JOBS = 1_000

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="no gcc for a card driver")


class Left:
    """What the reference's daemon left behind."""

    def __init__(self, data: Path, running: list[int], listing: str) -> None:
        self.data = data
        #: Jobs that ran when it stopped.
        self.running = running
        #: What ``gqueue -a`` said last, of everybody.
        self.listing = listing


@pytest.fixture(scope="module")
def left(programs: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Left]:
    """The folder of a daemon that had 1,000 jobs in every state, and stopped."""
    daemon = Daemon(programs, tmp_path_factory.mktemp("left"))
    try:
        daemon.start()
        yield _history(daemon)
    finally:
        daemon.close()


def _history(daemon: Daemon) -> Left:
    known: list[int] = []

    def add(count: int, **fields: Any) -> list[int]:
        """So many jobs, of two users in turn."""
        whole = {
            "command": "true",
            "run_dir": str(daemon.work),
            "auto_cancel_on_dependency_failure": True,
            **fields,
        }
        jobs = [{**whole, "submitted_by": _USERS[number % 2]} for number in range(count)]
        made = [one["id"] for one in daemon.ask("POST", "/jobs/batch", jobs)]
        known.extend(made)
        return made

    def act(action: str, ids: list[int]) -> None:
        for job_id in ids:
            daemon.ask("POST", f"/jobs/{job_id}/{action}")

    failed = add(100, command="false")
    add(200, parameters={"lr": "0.1"}, command="echo {lr}")
    add(20, command="sleep 1000", time_limit={"secs": 1, "nanos": 0})
    running = add(10, command="sleep 1000", memory_limit_mb=100)
    add(4, gpus=1, command="sleep 1", project="vision")
    act("cancel", add(100, scheduled_at=_LATER))
    add(50, depends_on_ids=[failed[0]])
    held = add(100, scheduled_at=_LATER, time_limit={"secs": 90, "nanos": 0})
    act("hold", held)
    group = {"group_id": "9ba23682-a47c-48c4-b597-1cc1f7bb5d31", "max_concurrent": 2}
    add(100, scheduled_at=_LATER, run_name="later", **group)
    add(100, depends_on_ids=[held[0], held[1]], dependency_mode="Any", priority=200)
    add(_JOBS - len(known), gpus=3, depends_on_ids=[held[0]])
    daemon.run("gctl", "set-gpus", "0-2")
    daemon.run("gctl", "quota", "set", "--user", "ann", "--max-running-jobs", "7")
    reserve = ("gctl", "reserve", "create", "--user", "bob", "--gpus", "1")
    daemon.run(*reserve, "--start", "2099-01-01 10:00", "--duration", "1h")

    def settled() -> bool:
        states = daemon.ask("GET", "/debug/metrics")["jobs_by_state"]
        wanted = {"Finished": 204, "Failed": 100, "Timeout": 20, "Running": 10, "Cancelled": 150}
        return all(states.get(state) == count for state, count in wanted.items())

    eventually(settled, 60.0)
    listing = daemon.run("gqueue", "-a", "-u", "all").stdout
    daemon.stop()
    return Left(daemon.data, running, listing)


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    """A supervisor with the same cards that starts nothing."""
    made = Machine(tmp_path, GFLOW_RESOURCES__CPUS="8", GFLOW_GPUS__COUNT="4")
    try:
        made.start()
        made.ctl("drain")
        yield made
    finally:
        made.close()


def _queue(machine: Machine) -> str:
    """What our gqueue says of everybody's jobs."""
    return subprocess.run(
        [sys.executable, "-P", "-m", "gflow.cli.classic.main", "gqueue", "-a", "-u", "all"],
        env={**machine.env, "USER": "ann", "TZ": "UTC"},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    ).stdout


def _rows(listing: str, but: list[int]) -> list[list[str]]:
    """Words of each row, colours and widths apart."""
    rows = [line.split() for line in program.plain(listing).splitlines()]
    return [row for row in rows if row and row[0] not in map(str, but)]


def _digest(folder: Path) -> dict[str, str]:
    return {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_a_thousand_jobs_list_the_same(left: Left, machine: Machine) -> None:
    """Before and after, those apart that ran; the source is untouched, a second time adds none."""
    before = _digest(left.data)
    first = machine.json("import", str(left.data))
    assert (first["imported"], first["known"], first["next_id"]) == (_JOBS, 0, _JOBS + 1)
    assert first["lost"] == left.running
    assert {"quota of user ann", "reservation 1", "cards 0, 1, 2 alone"} < {*first["taken"]}
    assert any(what.startswith("use of ") for what in first["taken"])
    assert _rows(_queue(machine), left.running) == _rows(left.listing, left.running)
    second = machine.json("import", str(left.data / "state.msgpack"))
    assert (second["imported"], second["known"]) == (0, _JOBS)
    assert second["taken"] == []
    assert _digest(left.data) == before
    assert machine.submit("true") == _JOBS + 1
    (reservation,) = machine.json("reservations", "list")
    assert (reservation["id"], reservation["user"], reservation["gpus"]) == (1, "bob", 1)
    for one in left.running:
        assert machine.job(one)["state"] == "NODE_FAIL"
    assert machine.ctl("log", "101").stdout == "0.1\n"


def test_what_was_imported_survives_a_kill(left: Left, machine: Machine) -> None:
    """It was durable when the command said so; no id comes twice."""
    machine.json("import", str(left.data))
    machine.kill()
    machine.start()
    assert [card["index"] for card in machine.status()["gpus"] if card["restricted"]] == [3]
    assert _rows(_queue(machine), left.running) == _rows(left.listing, left.running)
    assert machine.submit("true") > _JOBS


def test_jobs_that_waited_run_here(left: Left, machine: Machine) -> None:
    """With their command and parameters, once what they waited for is there."""
    machine.json("import", str(left.data))
    # Without a time limit a job would run into it, be it in a lifetime.
    assert machine.ctl("reservations", "cancel", "1").returncode == 0
    machine.ctl("undrain")
    held = next(int(row[0]) for row in _rows(left.listing, []) if row[2] == "H")
    machine.ctl("update", str(held), "--clear", "begin")
    machine.ctl("release", str(held))
    assert machine.wait(held) == 0
    waiting = [one["id"] for one in machine.json("queue") if one["resources"]["gpus"] == 3]
    assert machine.wait(waiting[0]) == 0


def test_ids_that_are_taken_refuse_everything(left: Left, machine: Machine) -> None:
    """Before anything of it is taken in."""
    machine.submit("--hold", "true")
    answer = machine.ctl("import", str(left.data))
    assert answer.returncode == 1
    assert "cannot import job 1: another job has that id here" in answer.stderr
    assert [*machine.jobs()] == [1]
    assert machine.json("reservations", "list") == []


def test_a_dry_run_changes_nothing(left: Left, machine: Machine) -> None:
    """It says what would come."""
    said = machine.ctl("import", "--dry-run", str(left.data)).stdout
    assert f"{_JOBS} jobs would be imported" in said
    assert machine.jobs() == {}


def test_while_its_daemon_lives(programs: Path, tmp_path: Path, machine: Machine) -> None:
    """It would write over what is read, and jobs that run then are not lost yet."""
    daemon = Daemon(programs, tmp_path)
    try:
        pid = daemon.start()
        (job_id,) = (one["id"] for one in daemon.ask("POST", "/jobs/batch", [_sleeper(daemon)]))
        eventually(lambda: (daemon.data / "runners" / f"{job_id}.json").exists())
        answer = machine.ctl("import", str(daemon.data))
        assert answer.returncode == 1
        # The file is written before the first job starts.
        assert f"its daemon runs (pid {pid}); stop it first" in answer.stderr
        daemon.stop(signal.SIGKILL)
        answer = machine.ctl("import", str(daemon.data))
        assert answer.returncode == 1
        assert "1 jobs still run: 1 (pid " in answer.stderr
        os.killpg(json.loads((daemon.data / f"runners/{job_id}.json").read_text())["pgid"], 9)
        found = eventually(lambda: machine.ctl("import", "--json", str(daemon.data)).stdout)
        assert json.loads(found)["lost"] == [job_id]
    finally:
        daemon.close()


def _sleeper(daemon: Daemon) -> dict[str, Any]:
    return {"command": "sleep 1000", "run_dir": str(daemon.work), "submitted_by": "ann"}


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("state.msgpack", b"\x81", "it is damaged or no state file"),
        ("state.msgpack", b"\x81\xa7version\x05", "its version is 5"),
        ("state.json", b"[]x", "it is damaged or no state file"),
        ("other", None, "there is no such file"),
        (".", None, "there is no state.msgpack and no state.json"),
    ],
)
def test_bad_files(name: str, data: bytes | None, words: str, tmp_path: Path) -> None:
    """One sentence, exit 1, before any supervisor is asked."""
    machine = Machine(tmp_path)
    folder = tmp_path / "bad"
    folder.mkdir()
    if data is not None:
        (folder / name).write_bytes(data)
    answer = machine.ctl("import", str(folder / name))
    assert answer.returncode == 1
    assert words in answer.stderr
