"""Whatever a job leaves behind is found and ended, and only then is it gone."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import pytest

from gflow.launching import tree
from gflow.process import identity, table
from tests.launching.driver import Driver, until

#: Each makes one more process that outlives the command if nobody ends it.
STRAYS = {
    "background": "sleep 1000 &",
    "other session": "setsid sleep 1000 &",
    "daemon": "(setsid sh -c 'sleep 1000 & sleep 1000' >/dev/null 2>&1 &);",
    "no environment": "env -i setsid sleep 1000 &",
    "ignores TERM": "sh -c 'trap \"\" TERM; while :; do sleep 0.1; done' &",
    "stopped": "sleep 1000 & kill -STOP $!;",
}

#: Two lines of processes, each of which lives only until it has forked the next.
STORM = """
import os, signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
os.fork()
while True:
    if os.fork():
        os._exit(0)
    os.setsid()
"""


def until_it_storms(driver: Driver) -> None:
    """Wait until the command's first process has left its place to the ones it forked."""
    first = driver.wait_for("started")["process"][0]
    until(lambda: identity.process_state(first) in (None, "Z"))


def below(pid: int) -> set[int]:
    """Living descendants of a process."""
    parents: dict[int, int] = {}
    for name in os.listdir("/proc"):
        fields = identity.stat_fields(int(name)) if name.isdigit() else None
        if fields and fields[0] != b"Z":
            parents[int(name)] = int(fields[1])
    found = {pid}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found - {pid}


def command_of(pid: int) -> str:
    """The program that a process runs."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def test_a_kill_wakes_a_shim_that_its_job_has_stopped(launcher: Driver, tmp_path: Path) -> None:
    """A job that stops its parent can still be ended."""
    told = tmp_path / "told"
    script = f"until [ -e {told} ]; do sleep 0.02; done; kill -STOP $PPID; sleep 1000"
    launcher.start("/bin/sh", "-c", script)
    shim = launcher.wait_for("started")["shim"][0]
    told.touch()
    until(lambda: identity.process_state(shim) == "T")
    launcher.ask("kill", grace_period_s=5.0)
    assert launcher.wait_for("exited")["signal"] == signal.SIGTERM


@pytest.mark.parametrize("stray", STRAYS.values(), ids=STRAYS.keys())
def test_a_kill_ends_the_whole_tree(launcher: Driver, stray: str) -> None:
    """After a kill nothing of the job lives, whatever its children did to get away."""
    launcher.start("/bin/sh", "-c", f"{stray} echo ready; sleep 1000")
    shim = launcher.wait_for("started")["shim"][0]
    until(lambda: "ready" in launcher.log() and len(below(shim)) >= 2)
    tree = below(shim)
    launcher.ask("kill", grace_period_s=0.2)
    end = launcher.wait_for("exited")
    if not end["gone"]:
        launcher.wait_for("gone")
    assert not [pid for pid in tree if identity.process_state(pid) not in (None, "Z")]


@pytest.mark.parametrize("stray", STRAYS.values(), ids=STRAYS.keys())
def test_the_rest_of_a_tree_ends_after_the_command(launcher: Driver, stray: str) -> None:
    """A command that ends by itself leaves nothing: the rest is ended, its exit stays its own."""
    launcher.start("/bin/sh", "-c", f"{stray} exit 3", grace_period_s=0.2)
    end = launcher.wait_for("exited")
    assert (end["exit_code"], end["gone"]) == (3, False)
    launcher.wait_for("gone")
    assert launcher.processes() == []


def test_with_linger_the_rest_is_waited_for(launcher: Driver) -> None:
    """What a lingering job leaves behind ends by itself."""
    launcher.start("/bin/sh", "-c", "(sleep 0.3; echo late) & exit 0", linger=True)
    launcher.wait_for("exited")
    launcher.wait_for("gone")
    assert launcher.log() == "late\n"


def test_a_lingering_job_can_be_killed(launcher: Driver) -> None:
    """Lingering does not protect from a kill."""
    launcher.start("/bin/sh", "-c", "sleep 1000 & exit 0", linger=True)
    launcher.wait_for("exited")
    launcher.ask("kill", grace_period_s=0.2)
    launcher.wait_for("gone")
    assert launcher.processes() == []


def test_the_grace_period_is_granted(launcher: Driver) -> None:
    """A handler that needs a moment to save its work gets it."""
    trap = "trap 'sleep 0.5; echo saved; exit 5' TERM"
    launcher.start("/bin/sh", "-c", f"{trap}; echo ready; while :; do sleep 0.05; done")
    until(lambda: "ready" in launcher.log())
    launcher.ask("kill", grace_period_s=10.0)
    assert launcher.wait_for("exited")["exit_code"] == 5
    assert "saved" in launcher.log()


def test_the_grace_period_ends(launcher: Driver) -> None:
    """Whoever ignores SIGTERM is killed when it is over."""
    launcher.start("/bin/sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.05; done")
    until(lambda: "ready" in launcher.log())
    launcher.ask("kill", grace_period_s=0.3)
    assert launcher.wait_for("exited")["signal"] == signal.SIGKILL


def test_a_shorter_grace_period_counts(launcher: Driver) -> None:
    """A second kill without patience ends what the first one still waits for."""
    launcher.start("/bin/sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.05; done")
    until(lambda: "ready" in launcher.log())
    began_s = time.monotonic()
    launcher.ask("kill", grace_period_s=1000.0)
    launcher.ask("kill", grace_period_s=0.0)
    assert launcher.wait_for("exited")["signal"] == signal.SIGKILL
    assert time.monotonic() - began_s < 10  # the grace period of the start message


def test_a_kill_survives_the_launcher(launcher: Driver) -> None:
    """Once asked, the shim carries the kill through alone."""
    launcher.start("/bin/sh", "-c", "trap '' TERM; echo ready; sleep 1000", grace_period_s=0.5)
    shim = launcher.wait_for("started")["shim"]
    until(lambda: "ready" in launcher.log())
    launcher.ask("kill", grace_period_s=5.0)
    launcher.drain()
    launcher.kill()
    until(lambda: not identity.is_alive(*shim), "the end of the shim")
    assert launcher.processes() == []
    launcher.spawn()


def test_a_fork_storm_is_ended(launcher: Driver) -> None:
    """Processes that fork faster than they are killed one by one are ended all the same."""
    launcher.start(sys.executable, "-c", STORM)
    until_it_storms(launcher)
    launcher.ask("kill", grace_period_s=0.0)
    if not launcher.wait_for("exited")["gone"]:
        launcher.wait_for("gone", limit_s=90.0)
    assert launcher.processes() == []


def test_a_signal_can_go_to_the_whole_tree(launcher: Driver) -> None:
    """Suspending stops every process, resuming continues them."""
    launcher.start("/bin/sh", "-c", "setsid sleep 1000 & sleep 1000")
    shim = launcher.wait_for("started")["shim"][0]
    until(lambda: [command_of(pid) for pid in below(shim)].count("sleep") == 2)
    tree = below(shim)
    launcher.ask("signal", signal=signal.SIGSTOP, tree=True)
    until(lambda: {identity.process_state(pid) for pid in tree} == {"T"})
    launcher.ask("signal", signal=signal.SIGCONT, tree=True)
    until(lambda: {identity.process_state(pid) for pid in tree} == {"S"})


def test_a_suspended_job_can_be_killed(launcher: Driver) -> None:
    """Stopped processes are continued so that they can handle SIGTERM."""
    launcher.start("/bin/sh", "-c", "trap 'exit 4' TERM; echo ready; while :; do sleep 0.05; done")
    launcher.wait_for("started")
    until(lambda: "ready" in launcher.log())
    launcher.ask("signal", signal=signal.SIGSTOP, tree=True)
    launcher.ask("kill", grace_period_s=10.0)
    assert launcher.wait_for("exited")["exit_code"] == 4


def test_killing_what_is_not_there_is_answered(launcher: Driver) -> None:
    """Whoever waits for an end hears that nothing was found."""
    launcher.ask("kill", job_id=99, grace_period_s=1.0)
    assert launcher.wait_for("found", job_id=99)["verdict"] == "lost"


def test_nothing_above_us_is_ever_a_member() -> None:
    """Whatever a run file claims, init, its session and our ancestors belong to no job."""
    processes = table.read()
    own = os.getpid()
    above = {1, *processes.above(own)}
    claims = [(0, 5), (1, processes.entries[1].ticks), (os.getsid(0), 1)]
    known = [processes.entries[pid] for pid in above if pid in processes.entries]
    for claim in claims:
        found = tree.members(processes, claim, known, exclude=own)
        assert not above & {entry.pid for entry in found}, claim
    assert tree.members(processes, (0, 5), known, exclude=own) == []
