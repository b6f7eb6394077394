from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

from tests.api.fake import RunningServer
from tests.cli.conftest import Run

ROOT = Path(__file__).resolve().parents[2]

#: Stands in for a supervisor: listens, ends at SIGTERM, leaves word.
_LISTENER = """
import json, os, signal, socket, sys
sock = socket.socket(socket.AF_UNIX); sock.bind(sys.argv[1] + "/gflow.sock"); sock.listen()
def end(*_):
    with open(sys.argv[1] + "/last-end", "w") as file:
        json.dump({"pid": os.getpid(), "unsaved": int(sys.argv[2])}, file)
    os._exit(1)
signal.signal(signal.SIGTERM, end)
print(flush=True)
while True: signal.pause()
"""


def listener(folder: Path, unsaved: int) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        [sys.executable, "-c", _LISTENER, str(folder), str(unsaved)], stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    process.stdout.readline()
    return process


def test_ping(server: RunningServer, run: Run) -> None:
    """Whether it answers, and how quickly."""
    assert "answers" in run("ping").out
    assert json.loads(run("ping", "--json").out)["pid"] == os.getpid()


def test_status(server: RunningServer, run: Run) -> None:
    """Processes, jobs and free resources."""
    out = run("status").out
    assert "persister" in out and "1 of 2 cpus" in out and "512M of 1G memory" in out
    assert json.loads(run("status", "--json").out)["version"]


def test_info(server: RunningServer, run: Run) -> None:
    """What the machine has and what is free."""
    out = run("info").out.splitlines()
    assert out[1].split() == ["cpus", "1", "2"] and out[2].split() == ["memory", "512M", "1G"]
    assert set(json.loads(run("info", "--json").out)) == {"resources", "gpus", "drained"}


def test_a_drained_machine(server: RunningServer, run: Run) -> None:
    """Status and info say since when, by whom and why nothing is started."""
    drained = {"reason": "new disks", "since_at": 1.7e9, "uid": 0, "user": "root", "by_at": None}
    server.operations.drained = drained
    for command in ("status", "info"):
        out = run(command).out
        assert "by root: new disks" in out and "is started still" not in out
    server.operations.drained = {**drained, "by_at": 1.8e9}
    assert "is started still: new disks" in run("status").out


def test_start_of_a_running_one(server: RunningServer, run: Run) -> None:
    """Nothing is started twice."""
    assert "runs already" in run("start").out


def test_stop_waits_for_the_end(run: Run, tmp_path: Path) -> None:
    """The process that listens is asked to end, and has ended when stop returns."""
    process = listener(tmp_path, 0)
    result = run("--runtime-dir", str(tmp_path), "stop")
    assert result.code == 0 and str(process.pid) in result.out
    assert process.wait(10) == 1


def test_stop_tells_what_was_not_saved(run: Run, tmp_path: Path) -> None:
    """Records that were not saved are a failure, with their number."""
    process = listener(tmp_path, 42)
    result = run("--runtime-dir", str(tmp_path), "stop")
    assert result.code == 1 and "42 records were not saved" in result.err
    process.wait(10)


def test_stop_of_nothing(run: Run, tmp_path: Path) -> None:
    """No supervisor, or a socket that nobody listens at: exit 69."""
    assert run("--runtime-dir", str(tmp_path), "stop").code == 69
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.bind(str(tmp_path / "gflow.sock"))
    assert run("--runtime-dir", str(tmp_path), "stop").code == 69
