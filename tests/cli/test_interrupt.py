"""Ctrl-C, in processes of their own."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tests.api.fake import RunningServer

ROOT = Path(__file__).resolve().parents[2]


def started(*words: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "gflow.cli.main", *words],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_ctrl_c_in_run_cancels_the_job(server: RunningServer) -> None:
    """The job is cancelled and the command exits 130, in one sentence."""
    process = started("run", "--", "sleep", "100")
    until(lambda: 1 in server.operations._changed)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (130, b"gflowctl: job 1 is cancelled\n")
    assert server.operations.records[1]["state"] == "CANCELLED"


def test_ctrl_c_in_wait_leaves_the_job_alone(server: RunningServer) -> None:
    """Waiting is given up, quietly."""
    server.operations.add(1)
    process = started("wait", "1")
    until(lambda: 1 in server.operations._changed)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (130, b"")
    assert server.operations.records[1]["state"] == "PENDING"


def test_run_outlives_a_supervisor_that_goes_away(server: RunningServer) -> None:
    """Connections that break while a job is followed are made again."""
    process = started("run", "--", "sleep", "100")
    until(lambda: 1 in server.operations._changed)
    server.run(lambda: [c.transport.abort() for c in server.server._gate.open if c.transport])
    server.operations.logs[1] = b"the end\n"
    until(lambda: server.server.connections)
    server.run(lambda: server.operations.end(1, "FAILED", exit_code=4))
    out, _ = process.communicate(timeout=30)
    assert (process.returncode, out) == (4, b"the end\n")
