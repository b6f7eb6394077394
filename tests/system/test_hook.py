"""Programs of the administrator around jobs, through the real programs."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.system.machine import Machine, eventually

NewMachine = Callable[..., Machine]


def make(folder: Path, name: str, text: str) -> str:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o700)
    return str(path)


def test_around_a_job(new_machine: NewMachine, tmp_path: Path) -> None:
    """The prolog runs before the command, the epilog after it, with its exit code."""
    machine = new_machine(
        GFLOW_HOOKS__PROLOG=make(tmp_path, "prolog", f"echo $GFLOW_JOB_ID > {tmp_path}/before"),
        GFLOW_HOOKS__EPILOG=make(tmp_path, "epilog", f"echo $GFLOW_EXIT_CODE > {tmp_path}/after"),
    )
    machine.start()
    answer = machine.ctl("run", "--", "sh", "-c", f"cat {tmp_path}/before; exit 3")
    assert (answer.returncode, answer.stdout) == (3, "1\n")
    assert (tmp_path / "after").read_text() == "3\n"


def test_failing_prolog_holds(new_machine: NewMachine, tmp_path: Path) -> None:
    """The job is held, explain and the log say why; mended and released, it runs."""
    prolog = make(tmp_path, "prolog", "echo no scratch disk; exit 1")
    machine = new_machine(GFLOW_HOOKS__PROLOG=prolog)
    machine.start()
    job = machine.submit("--", "true")
    eventually(lambda: machine.job(job)["hold"] == "admin")
    assert "no scratch disk" in (machine.state / "supervisor.log").read_text()
    assert "an admin holds it: prolog" in machine.ctl("explain", str(job)).stdout
    make(tmp_path, "prolog", "exit 0")
    assert machine.ctl("release", str(job)).returncode == 0
    assert machine.wait(job) == 0


def test_failing_prolog_quarantines_the_card(new_machine: NewMachine, tmp_path: Path) -> None:
    """By configuration the card is kept back and the job runs on another one."""
    text = '[ "$CUDA_VISIBLE_DEVICES" != 0 ] || { echo bad card; exit 1; }'
    machine = new_machine(
        GFLOW_HOOKS__PROLOG=make(tmp_path, "prolog", text),
        GFLOW_HOOKS__PROLOG_FAILURE="quarantine",
        GFLOW_GPUS__COUNT="2",
    )
    machine.start()
    job = machine.submit("--gpus", "1", "--", "true")
    assert machine.wait(job) == 0
    assert machine.job(job)["gpu_ids"] == [1]
    assert "bad card" in machine.status()["gpus"][0]["unusable"]
    assert machine.supervisor is not None
    machine.supervisor.send_signal(signal.SIGHUP)
    eventually(lambda: machine.status()["gpus"][0]["unusable"] is None)


@pytest.mark.parametrize("text", ["exit 1", "sleep 600", "yes", "kill -9 $$"])
def test_bad_epilog(new_machine: NewMachine, tmp_path: Path, text: str) -> None:
    """An epilog that fails, hangs or prints without end changes nothing about the job."""
    machine = new_machine(
        GFLOW_HOOKS__EPILOG=make(tmp_path, "epilog", text), GFLOW_HOOKS__TIMEOUT_S="0.5"
    )
    machine.start()
    job = machine.submit("--", "true")
    assert machine.wait(job) == 0
    assert machine.job(job)["state"] == "COMPLETED"
    log = machine.state / "supervisor.log"
    eventually(lambda: "epilog" in log.read_text())


def test_on_end_runs_at_the_final_end(new_machine: NewMachine, tmp_path: Path) -> None:
    """Not before a retry, and once; also when it is cancelled while it waits for another."""
    machine = new_machine()
    machine.start()
    line = f"echo $GFLOW_JOB_ID.$GFLOW_ATTEMPT $GFLOW_JOB_STATE >> {tmp_path}/ended"
    first = machine.submit("--retries", "1", "--on-end", line, "--", "false")
    assert machine.wait(first) == 1
    second = machine.submit("--retry", "any:1", "--retry-delay", "1h", "--on-end", line, "false")
    eventually(lambda: machine.job(second)["attempts"])
    assert machine.ctl("cancel", str(second)).returncode == 0
    told = tmp_path / "ended"
    eventually(lambda: told.exists() and len(told.read_text().splitlines()) == 2)
    assert told.read_text() == f"{first}.2 FAILED\n{second}.1 CANCELLED\n"


def test_on_end_outlives_a_restart(new_machine: NewMachine, tmp_path: Path) -> None:
    """A job that ended while no supervisor ran has its line run, with its own environment."""
    machine = new_machine(MARK="mine")
    machine.start()
    line = f"echo $MARK $GFLOW_EXIT_CODE > {tmp_path}/new; mv {tmp_path}/new {tmp_path}/ended"
    go = tmp_path / "go"
    wait = f"until [ -e {go} ]; do sleep 0.05; done; exit 5"
    job = machine.submit("--on-end", line, "--", "sh", "-c", wait)
    eventually(lambda: machine.job(job)["state"] == "RUNNING")
    machine.kill()
    go.touch()
    machine.start()
    eventually((tmp_path / "ended").exists)
    assert (tmp_path / "ended").read_text() == "mine 5\n"


def test_relative_path(new_machine: NewMachine) -> None:
    """A hook has an absolute path, or the supervisor does not start."""
    code, words = new_machine(GFLOW_HOOKS__PROLOG="prolog.sh").refuse_to_start()
    assert code == 1 and "hooks.prolog" in words and "absolute" in words
