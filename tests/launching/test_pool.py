"""Shims that take one attempt after the other: what is kept, what is not, and what may fail."""

from __future__ import annotations

import fcntl
import os
import signal
import stat
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gflow.launching import line, protocol, runfile
from gflow.launching.custody import Custody
from gflow.launching.place import Place
from gflow.launching.pool import Handle, Pool
from gflow.process import identity
from tests.launching.driver import Driver, until

#: What a command finds; its own pid and its job's id apart.
PROBE = """
umask; ulimit -H -n; ulimit -n; pwd; nice; ls /proc/$$/fd
env | grep -v -e _ID= -e REASON | sort
"""


def shim_of(launcher: Driver, job_id: int) -> tuple[int, int]:
    """Who started this job."""
    pid, ticks = launcher.wait_for("started", job_id=job_id)["shim"]
    return pid, ticks


def title(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text().strip("\0 ")


def run(launcher: Driver, job_id: int, *command: str, **fields: object) -> tuple[int, int]:
    """Run a job to its end; its shim."""
    launcher.run(*(command or ("/bin/true",)), job_id=job_id, **fields)
    return shim_of(launcher, job_id)


def idle_shim(
    launcher: Driver, job_id: int = 1, *command: str, **fields: object
) -> tuple[int, int]:
    """A shim that has run a job and waits for another."""
    shim = run(launcher, job_id, *command, **fields)
    until(
        lambda: title(shim[0]) == "gflow: shim" and identity.process_state(shim[0]) == "S",
        "an idle shim",
    )
    launcher.drain()  # by now the launcher has heard that it is idle
    return shim


# --- one after the other -------------------------------------------------------------------------


def test_the_next_attempt_is_the_same_shims(launcher: Driver) -> None:
    """No process is forked for a job that follows another closely."""
    shim = idle_shim(launcher)
    assert run(launcher, 2) == shim


def test_a_run_file_goes_from_attempt_to_attempt(launcher: Driver) -> None:
    """Jobs that follow each other make no new file each; the lines are the new attempt's alone."""
    idle_shim(launcher)
    first = launcher.run_file().stat().st_ino
    jobs = iter(range(2, 1000))

    def next_has_it() -> bool:
        launcher.ask("forget", attempts=[(1, 1)])
        job = next(jobs)
        run(launcher, job)
        return launcher.run_file(job).stat().st_ino == first and _tells_of(launcher, job)

    until(next_has_it, "a file that was used before")


def _tells_of(launcher: Driver, job_id: int) -> bool:
    """Whether the run file holds the lines of this job and no other's."""
    contents = runfile.parse(launcher.run_file(job_id).read_bytes(), f"{job_id}.1")
    phases = ["starting", "spawning", "started", "exit"]
    return not contents.damaged and list(contents.phases) == phases


def test_one_attempt_at_a_time(launcher: Driver) -> None:
    """A shim whose command runs takes no other order."""
    shim = idle_shim(launcher)
    launcher.start("sleep", "1000", job_id=2)
    assert shim_of(launcher, 2) == shim
    assert run(launcher, 3) != shim


def test_the_title_follows_the_job(launcher: Driver) -> None:
    """``ps`` shows which job a shim is about."""
    idle_shim(launcher)
    launcher.start("sleep", "1000", job_id=2)
    assert title(shim_of(launcher, 2)[0]) == "gflow: job 2"


def test_an_ended_attempt_is_not_locked(launcher: Driver) -> None:
    """The sign of life of an attempt is gone soon although the process lives."""
    shim = idle_shim(launcher)
    until(lambda: not is_locked(launcher.run_file(1)))
    assert identity.is_alive(*shim)


def test_an_exit_is_settled_beside_the_next_command(launcher: Driver) -> None:
    """An attempt does not keep the exit of the one before from being made last."""
    shim = idle_shim(launcher)
    launcher.start("sleep", "1000", job_id=2)
    assert shim_of(launcher, 2) == shim
    until(lambda: not is_locked(launcher.run_file(1)))
    assert is_locked(launcher.run_file(2))


def test_attempts_do_not_see_each_other(launcher: Driver, tmp_path: Path) -> None:
    """Environment, folder, umask, limits, niceness, output and descriptors are each job's own."""
    fields = {"umask": 0o777, "env": {"A": "1"}, "cwd": str(tmp_path), "output_path": "/dev/null"}
    shim = idle_shim(launcher, 1, "/bin/sh", "-c", PROBE)
    assert idle_shim(launcher, 2, **fields) == shim
    assert idle_shim(launcher, 3, rlimits=[["NOFILE", 50, 60]], nice=5) == shim
    assert idle_shim(launcher, 4, "/bin/sh", "-c", PROBE) == shim
    assert launcher.log("4") == launcher.log("1")
    assert stat.S_IMODE((tmp_path / "logs" / "4.log").stat().st_mode) == 0o600


def test_a_shim_has_nothing_of_its_last_attempt_open(launcher: Driver) -> None:
    """However many it has run, an idle shim has the same descriptors."""
    shim = idle_shim(launcher)
    until(lambda: not is_locked(launcher.run_file(1)))
    before = sorted(os.listdir(f"/proc/{shim[0]}/fd"))
    for job_id in range(2, 6):
        assert idle_shim(launcher, job_id) == shim
    until(lambda: sorted(os.listdir(f"/proc/{shim[0]}/fd")) == before)


def test_affinity_is_not_inherited(tmp_path: Path) -> None:
    """A job without cpus of its own is not bound to those of the one before."""
    launcher = Driver(tmp_path, cpu_affinity=True)
    try:
        look = ("grep", "Cpus_allowed_list", "/proc/self/status")
        shim = idle_shim(launcher, 1, *look)
        assert idle_shim(launcher, 2, cpu_ids=[0]) == shim
        assert idle_shim(launcher, 3, *look) == shim
        assert launcher.log("3") == launcher.log("1")
    finally:
        launcher.close()


# --- not for another one -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fields",
    [
        {"epilog": "/bin/true"},
        {"prolog": "/bin/true"},
        {"command": [sys.executable, "-c", "sum(range(3000000))"]},
    ],
    ids=["epilog", "prolog", "long"],
)
def test_only_plain_short_attempts_are_followed(launcher: Driver, fields: dict) -> None:
    """After hooks, or much processor time, the shim ends with its attempt."""
    command = fields.pop("command", ["/bin/true"])
    shim = run(launcher, 1, *command, **fields)
    until(lambda: not identity.is_alive(*shim), "the end of the shim")


def test_a_shim_that_ended_an_attempt_is_not_kept(launcher: Driver) -> None:
    """Whatever was sent to end one attempt can never reach another one."""
    launcher.start("sleep", "1000")
    shim = shim_of(launcher, 1)
    launcher.ask("kill", grace_period_s=5.0)
    launcher.wait_for("exited")
    until(lambda: not identity.is_alive(*shim), "the end of the shim")


@pytest.mark.parametrize("asked", [False, True])
def test_a_signal_may_come_after_the_attempt(tmp_path: Path, asked: bool) -> None:
    """A shim that says it is idle, and was asked to end its attempt, is hung up on."""
    watched: dict[int, Callable[[], None]] = {}
    told: list[dict[str, Any]] = []
    pool = Pool(watch=watched.__setitem__, unwatch=os.close)
    custody = Custody(
        Place(str(tmp_path)),
        pool,
        watch=watched.__setitem__,
        unwatch=os.close,
        send=told.append,
        forward=lambda _: None,
        read_reports=lambda: None,
    )
    ours, theirs = line.pair()
    attempt = custody.adopt((1, 1), Handle(os.getpid(), os.pidfd_open(os.getpid()), ours))
    attempt.signalled = asked
    report = {"t": "exited", "job_id": 1, "attempt": 1, "gone": True}
    assert theirs.say(protocol.encode(report), idle=True)
    watched[ours.fileno()]()
    taken = pool.hand(b'{"t":"start","job_id":2,"attempt":1}\n', None, None, None)
    assert (taken is None) is asked
    assert (os.read(theirs.fileno(), 1000) == b"") is asked
    for end in (ours, theirs):
        end.close()
    os.close(attempt.handle.pidfd)


def test_a_large_order_is_for_a_new_shim(launcher: Driver) -> None:
    """What might not fit into the socket at once is not sent through it."""
    shim = idle_shim(launcher)
    assert run(launcher, 2, args=["x" * 70_000]) != shim


# --- given twice ---------------------------------------------------------------------------------


def test_an_attempt_given_twice_runs_once(launcher: Driver, tmp_path: Path) -> None:
    """An idle shim that finds the run file says so, and how it went is told."""
    count = tmp_path / "count"
    command = ("/bin/sh", "-c", f"echo x >> {count}")
    idle_shim(launcher, 1, *command)
    launcher.start(*command)
    assert launcher.wait_for("found", job_id=1)["verdict"] == "ended"
    assert count.read_text() == "x\n"


# --- deaths --------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_idle_shim_harms_nobody(launcher: Driver, number: int) -> None:
    """The next order is another shim's, and nothing is told about the attempt it had run."""
    shim = idle_shim(launcher)
    launcher.drain()
    os.kill(shim[0], number)
    until(lambda: not launcher.children(), "the end of the shim, and that it is reaped")
    assert launcher.drain() == []
    assert run(launcher, 2) != shim


def test_an_order_that_dies_with_its_idle_shim_is_told(launcher: Driver) -> None:
    """Nothing of the attempt began: it may be made again."""
    shim = idle_shim(launcher)
    os.kill(shim[0], signal.SIGSTOP)
    launcher.start("/bin/true", job_id=2)
    launcher.drain()
    os.kill(shim[0], signal.SIGKILL)
    failed = launcher.wait_for("start_failed", job_id=2)
    assert failed["transient"] is True
    assert run(launcher, 2)[0] != shim[0]


def test_a_kill_reaches_the_attempt_whose_order_is_on_its_way(launcher: Driver) -> None:
    """The signal overtakes the order, and is about it all the same."""
    shim = idle_shim(launcher)
    os.kill(shim[0], signal.SIGSTOP)
    launcher.start("sleep", "1000", job_id=2)
    launcher.ask("kill", job_id=2, grace_period_s=20.0)  # which continues the shim
    assert launcher.wait_for("exited", job_id=2)["signal"] == signal.SIGTERM


def test_idle_shims_end_with_their_launcher(launcher: Driver) -> None:
    """Nobody could give them work any more."""
    shim = idle_shim(launcher)
    launcher.kill()
    until(lambda: not identity.is_alive(*shim), "the end of the shim")
    launcher.spawn()


def test_idle_shims_end_with_the_supervisor(launcher: Driver) -> None:
    """The launcher follows the supervisor, and they follow the launcher."""
    shim = idle_shim(launcher)
    launcher.channel.close()
    until(lambda: not identity.is_alive(*shim), "the end of the shim")
    launcher.spawn()


def test_a_busy_shim_outlives_its_launcher_and_takes_no_other_order(launcher: Driver) -> None:
    """Its second attempt goes on without a launcher, is found, and is its last one."""
    shim = idle_shim(launcher)
    os.mkfifo(launcher.state_dir / "fifo")
    launcher.start("/bin/sh", "-c", f"read line < {launcher.state_dir}/fifo; exit 5", job_id=2)
    assert shim_of(launcher, 2) == shim
    launcher.kill()
    launcher.spawn()
    launcher.ask("scan", known=[])
    assert launcher.wait_for("found", job_id=2)["verdict"] == "running"
    (launcher.state_dir / "fifo").write_text("go\n")
    assert launcher.wait_for("exited", job_id=2)["exit_code"] == 5
    until(lambda: not identity.is_alive(*shim), "the end of the shim")


def test_a_busy_shim_does_not_vouch_for_an_earlier_attempt(launcher: Driver) -> None:
    """An attempt without a run file is lost, although the process that ran it lives."""
    shim = idle_shim(launcher)
    launcher.start("sleep", "1000", job_id=2)
    assert shim_of(launcher, 2) == shim
    launcher.run_file(1).unlink()
    boot_id = identity.boot_id()
    known = [1, 1, [boot_id, *shim], None, boot_id, None]
    launcher.send(protocol.pack({"t": "scan", "known": [known]}))
    assert launcher.wait_for("found", job_id=1)["verdict"] == "lost"


@pytest.fixture
def locked(tmp_path: Path) -> Iterator[tuple[Driver, Path]]:
    """A launcher that was given a lock on its folder, which nobody else holds."""
    fd = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(fd, fcntl.LOCK_EX)
    driver = Driver(tmp_path, lock_fd=fd)
    driver.drain()
    os.close(fd)
    yield driver, tmp_path
    driver.close()


def is_locked(folder: Path) -> bool:
    fd = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def test_an_order_on_its_way_holds_the_folder_lock(locked: tuple[Driver, Path]) -> None:
    """A new supervisor waits until it is clear what became of it: nothing, without a launcher."""
    launcher, folder = locked
    shim = idle_shim(launcher)
    os.kill(shim[0], signal.SIGSTOP)
    launcher.start("/bin/true", job_id=2)
    launcher.drain()
    launcher.process.kill()
    launcher.process.wait()
    assert is_locked(folder)
    os.kill(shim[0], signal.SIGCONT)
    until(lambda: not is_locked(folder), "the release of the lock")
    until(lambda: not identity.is_alive(*shim), "the end of the shim")
    assert not launcher.run_file(2).exists()


def test_a_busy_shim_does_not_hold_the_folder_lock(locked: tuple[Driver, Path]) -> None:
    """Its run file is there: a new supervisor finds it."""
    launcher, folder = locked
    shim = idle_shim(launcher)
    launcher.start("sleep", "1000", job_id=2)
    assert shim_of(launcher, 2) == shim
    launcher.process.kill()
    launcher.process.wait()
    until(lambda: not is_locked(folder), "the release of the lock")
