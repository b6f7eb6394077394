"""Control groups: nobody leaves by forking."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gflow.launching import cgroup
from gflow.process import identity
from tests.launching.driver import Driver, until
from tests.launching.test_tree import STORM, until_it_storms


@pytest.fixture
def grouped(tmp_path: Path) -> Iterator[Driver]:
    """A launcher that makes a group for every attempt."""
    status = tmp_path.stat()
    base = cgroup.base(f"gflow-{status.st_dev:x}-{status.st_ino:x}", "on")
    if base is None:
        pytest.skip("no control group that we may write to")
    driver = Driver(tmp_path, cgroup="on")
    yield driver
    driver.close()
    until(lambda: not [entry for entry in os.scandir(base) if entry.is_dir()])
    os.rmdir(base)


def group_of(pid: int) -> str:
    lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    return next(line for line in lines if line.startswith("0::"))


def test_a_command_is_born_in_its_group(grouped: Driver) -> None:
    """The command is inside, the shim is not."""
    grouped.start("sleep", "1000")
    started = grouped.wait_for("started")
    assert group_of(started["process"][0]).endswith("/1.1")
    assert group_of(started["shim"][0]) == group_of(os.getpid())
    grouped.ask("kill", grace_period_s=1.0)
    grouped.wait_for("exited")


def test_a_forked_start_is_born_in_it_too(grouped: Driver) -> None:
    """Whichever way it is started."""
    grouped.start("sleep", "1000", nice=3)
    started = grouped.wait_for("started")
    assert group_of(started["process"][0]).endswith("/1.1")
    grouped.ask("kill", grace_period_s=1.0)
    grouped.wait_for("exited")


def test_a_storm_is_over_in_one_stroke(grouped: Driver) -> None:
    """However fast they fork."""
    grouped.start(sys.executable, "-c", STORM)
    until_it_storms(grouped)
    grouped.ask("kill", grace_period_s=0.0)
    if not grouped.wait_for("exited")["gone"]:
        grouped.wait_for("gone")
    assert grouped.processes() == []


def test_without_a_shim_members_are_still_found(grouped: Driver) -> None:
    """A process that left session, parent and environment is known by its group."""
    stray = "env -i setsid sh -c 'setsid sleep 1000 & echo $! > stray; exit' &"
    grouped.start("/bin/sh", "-c", f"{stray} sleep 1000", cwd=str(grouped.state_dir))
    started = grouped.wait_for("started")
    path = grouped.state_dir / "stray"
    until(lambda: path.exists() and path.read_text().endswith("\n"))
    os.kill(started["shim"][0], signal.SIGKILL)
    grouped.wait_for("found", verdict="follow")
    grouped.ask("kill", grace_period_s=0.5)
    grouped.wait_for("lost")
    assert identity.process_state(int(path.read_text())) in (None, "Z")


def test_a_failed_start_leaves_no_group(grouped: Driver) -> None:
    """Nothing to clean up by hand (the fixture looks)."""
    grouped.start("/no/such")
    assert "No such file" in grouped.wait_for("start_failed")["message"]


def test_off_means_off() -> None:
    """Whatever the kernel would allow."""
    assert cgroup.base("gflow-test", "off") is None
