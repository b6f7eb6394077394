"""Ctrl-C, in processes of their own."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.api.fake import RunningServer

ROOT = Path(__file__).resolve().parents[2]


def started(*words: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", "from gflow.cli.program import main; exit(main())", *words],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


#: The program, interrupted when it imports the module that is most of it.
_INTERRUPTED = """
import builtins, os, signal
from gflow.{package}.program import main
real = builtins.__import__
def interrupted(name, *rest):
    if name == "gflow.{package}.main":
        os.kill(os.getpid(), signal.SIGINT)
    return real(name, *rest)
builtins.__import__ = interrupted
main()
"""


@pytest.mark.parametrize("package", ["cli", "supervisor"])
def test_ctrl_c_before_anything_has_begun_says_nothing(package: str) -> None:
    """An end, and no traceback out of an import."""
    program = [sys.executable, "-c", _INTERRUPTED.format(package=package)]
    done = subprocess.run(program, cwd=ROOT, capture_output=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, b"", b"")


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
    server.run(lambda: [c.transport.abort() for c in server.server.gate.open if c.transport])
    server.operations.logs[1] = b"the end\n"
    until(lambda: server.server.connections)
    server.run(lambda: server.operations.end(1, "FAILED", exit_code=4))
    out, _ = process.communicate(timeout=30)
    assert (process.returncode, out) == (4, b"the end\n")
