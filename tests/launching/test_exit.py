"""How commands end, and that it is told exactly."""

from __future__ import annotations

import signal
import sys
import time

import pytest

from gflow.launching import runfile
from tests.launching.driver import Driver, until


@pytest.mark.parametrize("code", [0, 1, 77, 126, 127, 137, 255])
def test_exit_codes_are_exact(launcher: Driver, code: int) -> None:
    """Whatever a command exits with is reported as that, and as no signal."""
    end = launcher.run("/bin/sh", "-c", f"exit {code}")
    assert (end["exit_code"], end["signal"]) == (code, None)


@pytest.mark.parametrize("name", ["KILL", "TERM", "SEGV", "ABRT", "PIPE"])
def test_deaths_by_signal_are_exact(launcher: Driver, name: str) -> None:
    """A death by signal is told apart from every exit code."""
    end = launcher.run("/bin/sh", "-c", f"kill -{name} $$")
    number = int(getattr(signal, f"SIG{name}"))
    assert (end["exit_code"], end["signal"]) == (None, number)


def test_a_lone_command_is_gone_with_its_exit(launcher: Driver) -> None:
    """With no process left, one message says both."""
    assert launcher.run("/bin/true")["gone"] is True


def test_the_exit_is_in_the_run_file(launcher: Driver) -> None:
    """Whoever comes later finds how the command ended."""
    launcher.run("/bin/sh", "-c", "exit 7")
    contents = runfile.parse(launcher.run_file().read_bytes(), "1.1")
    exit_facts = contents.get("exit")
    assert exit_facts is not None and exit_facts["exit_code"] == 7


def test_the_record_is_in_the_run_file(launcher: Driver) -> None:
    """A store that lost the job can restore it from what the start message held."""
    launcher.run("/bin/true")
    starting = runfile.parse(launcher.run_file().read_bytes(), "1.1").get("starting")
    assert starting is not None and starting["record"] == {"id": 1, "name": "test"}


def test_times_are_those_of_the_command(launcher: Driver) -> None:
    """Start and end lie between the request and its answer."""
    before = time.time()
    end = launcher.run("/bin/true")
    started = launcher.wait_for("started")
    assert before <= started["started_at"] <= end["finished_at"] <= time.time()


def test_usage_counts_processor_time(launcher: Driver) -> None:
    """Processor time of the command and of children that it waited for is reported."""
    end = launcher.run("/bin/sh", "-c", f"{sys.executable} -c 'sum(range(3000000))'; true")
    assert end["usage"]["cpu_s"] > 0.02


def test_usage_has_the_peak_of_memory(launcher: Driver) -> None:
    """A peak above the shim's own memory is the command's, and is marked as measured."""
    end = launcher.run(sys.executable, "-c", "x = b'x' * 100_000_000")
    assert "max_rss_floor" not in end["usage"]
    assert 100_000_000 < end["usage"]["max_rss_bytes"] < 150_000_000


def test_a_peak_below_the_shims_own_memory_is_marked(launcher: Driver) -> None:
    """The kernel cannot tell the memory of a small command from its parent's: it is said so."""
    assert launcher.run("/bin/true")["usage"]["max_rss_floor"] is True


def test_shims_do_not_stay(launcher: Driver) -> None:
    """After many short commands nothing is left but the launcher: no zombie, no descriptor."""
    launcher.run("/bin/true")
    until(lambda: not launcher.children(), "the end of the first shim")
    fds = launcher.fd_count()
    for job_id in range(2, 40):
        launcher.start("/bin/true", job_id=job_id)
    for job_id in range(2, 40):
        assert launcher.wait_for("exited", job_id=job_id)["exit_code"] == 0
    until(lambda: not launcher.children(), "the end of all shims")
    assert launcher.fd_count() == fds


def test_forget_deletes_what_an_attempt_left(launcher: Driver) -> None:
    """Once the final record is durable, run file and script go."""
    launcher.run(script="exit 0")
    launcher.ask("forget", attempts=[[1, 1]])
    launcher.drain()
    assert not launcher.run_file().exists()
    assert not list((launcher.state_dir / "spool").iterdir())


def test_a_signal_may_come_before_the_start_is_told(launcher: Driver) -> None:
    """The run file knows the command by then, whatever its shim has said."""
    launcher.start("/bin/sleep", "1000")
    path = launcher.run_file()
    until(lambda: path.exists() and b'"phase":"started"' in path.read_bytes())
    launcher.ask("signal", signal=signal.SIGUSR1, tree=False)
    assert launcher.wait_for("exited")["signal"] == signal.SIGUSR1


def test_a_kill_without_patience_leaves_a_beginning_shim_alone(launcher: Driver) -> None:
    """Whoever has begun a command and not told it yet ends the tree himself, and tells the end."""
    for job_id in range(1, 9):
        launcher.start("/bin/sleep", "1000", job_id=job_id)
        path = launcher.run_file(job_id)
        until(lambda path=path: path.exists() and b'"phase":"started"' in path.read_bytes())
        launcher.ask("kill", job_id=job_id, grace_period_s=0.0)
        assert launcher.wait_for("exited", job_id=job_id)["signal"] == signal.SIGKILL


def test_a_signal_reaches_the_command(launcher: Driver) -> None:
    """One signal to the command, and nothing else happens."""
    launcher.start("/bin/sh", "-c", "trap 'exit 9' USR1; echo ready; while :; do sleep 0.05; done")
    launcher.wait_for("started")
    until(lambda: "ready" in launcher.log())
    launcher.ask("signal", signal=signal.SIGUSR1, tree=False)
    assert launcher.wait_for("exited")["exit_code"] == 9
