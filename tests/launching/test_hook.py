"""Programs of the administrator around the command."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from gflow.launching import request
from gflow.model import event
from tests.launching.driver import Driver, until


@pytest.fixture
def hook(tmp_path: Path) -> Path:
    """An executable whose text a test writes with ``make``."""
    return tmp_path / "hook"


def make(path: Path, text: str) -> str:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o700)
    return str(path)


def test_a_prolog_runs_first(launcher: Driver, hook: Path) -> None:
    """The command finds what it has prepared."""
    prolog = make(hook, f"echo $GFLOW_JOB_ID > {hook}.out")
    launcher.run("cat", f"{hook}.out", prolog=prolog)
    assert launcher.log() == "1\n"


def test_a_failing_prolog_holds_the_job(launcher: Driver, hook: Path) -> None:
    """The command does not run; the reason names what the prolog said."""
    prolog = make(hook, "echo no disk >&2; exit 3")
    launcher.start("touch", f"{hook}.ran", prolog=prolog)
    failed, held = request.events(launcher.wait_for("start_failed"))
    message = f"prolog {hook} failed: exit 3: no disk"
    assert failed == event.StartFailed(1, 1, message, transient=True)
    assert held == event.Hold(1, uid=0, admin=True)
    assert not Path(f"{hook}.ran").exists()


def test_a_held_attempt_can_be_made_again(launcher: Driver, hook: Path) -> None:
    """Once the prolog is mended."""
    launcher.start("true", prolog=make(hook, "exit 1"))
    launcher.wait_for("start_failed")
    assert launcher.run("true", prolog=make(hook, "exit 0"))["exit_code"] == 0


def test_a_hanging_prolog_is_ended(launcher: Driver, hook: Path) -> None:
    """With what it started."""
    launcher.start("true", prolog=make(hook, "sleep 1000 & sleep 1000"), hook_timeout_s=0.3)
    assert "not done within 0.3 s" in launcher.wait_for("start_failed")["message"]
    until(lambda: not launcher.children())


def test_a_missing_prolog_is_told(launcher: Driver) -> None:
    """In the system's words."""
    launcher.start("true", prolog="/no/such")
    assert "/no/such: No such file" in launcher.wait_for("start_failed")["message"]


def test_what_a_hook_prints_is_bounded(launcher: Driver, hook: Path) -> None:
    """Megabytes are read and dropped."""
    launcher.start("true", prolog=make(hook, "yes | head -c 5000000; exit 1"))
    assert len(launcher.wait_for("start_failed")["message"]) < 1000


def test_an_epilog_runs_when_nothing_is_left(launcher: Driver, hook: Path) -> None:
    """It knows the exit, and the job is gone only after it."""
    epilog = make(hook, f"echo $GFLOW_EXIT_CODE > {hook}.out")
    launcher.start("/bin/sh", "-c", "exit 5", epilog=epilog)
    end = launcher.wait_for("exited")
    assert (end["exit_code"], end["gone"]) == (5, False)
    launcher.wait_for("gone")
    assert Path(f"{hook}.out").read_text() == "5\n"


def test_a_failing_epilog_is_told_and_changes_nothing(launcher: Driver, hook: Path) -> None:
    """The exit stays the command's."""
    launcher.start("true", epilog=make(hook, "exit 4"))
    assert launcher.wait_for("exited")["exit_code"] == 0
    assert launcher.wait_for("trouble")["message"] == f"epilog {hook} failed: exit 4"
    launcher.wait_for("gone")


def test_an_epilog_leaves_nothing(launcher: Driver, hook: Path) -> None:
    """What it leaves running is ended before the job is gone."""
    launcher.start("true", epilog=make(hook, "setsid sleep 1000 &"))
    launcher.wait_for("gone")
    until(lambda: not launcher.children())


def test_a_prologs_helper_lives_as_long_as_the_job(launcher: Driver, hook: Path) -> None:
    """What it leaves running belongs to the attempt."""
    prolog = make(hook, f"(sleep 1000 & echo $! > {hook}.pid) >/dev/null 2>&1")
    launcher.run(
        *("/bin/sh", "-c", f"kill -0 $(cat {hook}.pid)"), prolog=prolog, grace_period_s=0.5
    )
    launcher.wait_for("gone")
    until(lambda: not launcher.children())


def test_hooks_do_not_see_the_submitters_variables(launcher: Driver, hook: Path) -> None:
    """They may run as root."""
    prolog = make(hook, f"env > {hook}.out")
    launcher.run(
        "/bin/true", prolog=prolog, env={"PATH": "/tmp/evil", "LD_PRELOAD": "/tmp/evil.so"}
    )
    text = Path(f"{hook}.out").read_text()
    assert "evil" not in text and "GFLOW_JOB_USER=tester" in text


def test_a_prologs_processor_time_is_not_the_jobs(launcher: Driver, hook: Path) -> None:
    """Usage is the command's."""
    prolog = make(hook, f"{sys.executable} -c 'sum(range(10_000_000))'")
    assert launcher.run("true", prolog=prolog)["usage"]["cpu_s"] < 0.1
