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


def found(state_dir: Path) -> tuple[cgroup.Groups | None, str | None]:
    """The groups of a state folder's attempts, and why they do not limit memory."""
    status = state_dir.stat()
    return cgroup.find(f"gflow-{status.st_dev:x}-{status.st_ino:x}", "on")


@pytest.fixture
def grouped(tmp_path: Path) -> Iterator[Driver]:
    """A launcher that makes a group for every attempt."""
    groups, refusal = found(tmp_path)
    if groups is None:
        pytest.skip(f"no control group that we may write to: {refusal}")
    driver = Driver(tmp_path, cgroup="on")
    yield driver
    driver.close()
    until(lambda: not [entry for entry in os.scandir(groups.path) if entry.is_dir()])
    os.rmdir(groups.path)


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
    assert cgroup.find("gflow-test", "off") == (None, "control groups are turned off")


# --- memory -----------------------------------------------------------------------------------


def test_the_kernel_holds_the_limit(grouped: Driver) -> None:
    """A command above its memory is ended by the kernel, all of it, and that is told."""
    _, refusal = found(grouped.state_dir)
    if refusal is not None:
        pytest.skip(f"memory cannot be limited here: {refusal}")
    line = f"{sys.executable} -c 'x = bytearray(300 << 20)' & wait; sleep 1000"
    end = grouped.run("sh", "-c", line, memory_bytes=100 << 20)
    assert (end["signal"], end["usage"]["oom_killed"]) == (signal.SIGKILL, True)
    assert end["usage"]["memory_limit_bytes"] == 100 << 20


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What the kernel shows of a group, in plain files."""
    for name, text in (
        ("memory.max", "max"),
        ("memory.oom.group", "0"),
        ("memory.events", "low 0\nhigh 0\nmax 12\noom 3\noom_kill 2\noom_group_kill 1\n"),
        ("memory.peak", "104857600\n"),
        ("cpu.stat", "usage_usec 2500000\nuser_usec 2000000\nsystem_usec 500000\n"),
    ):
        (tmp_path / name).write_text(text)
    return tmp_path


def test_limit_and_figures(folder: Path) -> None:
    """The limit ends all of a group; what the kernel counted is read. No swap file, no matter."""
    group = cgroup.Group(str(folder))
    group.limit_memory(1000)
    assert group.limited
    assert [(folder / name).read_text() for name in ("memory.max", "memory.oom.group")] == [
        "1000",
        "1",
    ]
    assert (group.oom_kills(), group.peak_bytes(), group.cpu_s()) == (2, 100 << 20, 2.5)


def test_without_the_controller(tmp_path: Path) -> None:
    """Nothing is claimed that the kernel does not do."""
    group = cgroup.Group(str(tmp_path))
    group.limit_memory(1000)
    assert (group.limited, group.oom_kills(), group.peak_bytes(), group.cpu_s()) == (
        *(False, 0),
        *(None, None),
    )


@pytest.fixture
def hierarchy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A delegated group with a supervisor in a subgroup, as systemd makes it, in plain files."""
    top = tmp_path / "gflow.service"
    jobs = top / "gflow-1-2"
    for path in (top / "supervisor", jobs):
        path.mkdir(parents=True)
        (path / "cgroup.procs").touch()
    (jobs / "cgroup.kill").touch()
    for path in (top, jobs):
        (path / "cgroup.subtree_control").touch()
    (top / "cgroup.type").touch()
    (top / "cgroup.controllers").write_text("cpu memory pids\n")
    monkeypatch.setattr(cgroup, "_own", lambda: str(top / "supervisor"))
    monkeypatch.setattr(cgroup, "_is_marked", lambda path: path == str(top))
    return top


def test_memory_is_handed_down(hierarchy: Path) -> None:
    """From the delegated group to those of the attempts."""
    groups, refusal = cgroup.find("gflow-1-2", "auto")
    assert groups is not None and refusal is None
    assert groups.of(1, 2).path == str(hierarchy / "gflow-1-2" / "1.2")
    for path in (hierarchy, hierarchy / "gflow-1-2"):
        assert (path / "cgroup.subtree_control").read_text() == "+memory"


def test_without_a_subgroup(hierarchy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel would refuse: membership remains, and the reason names the way out."""
    (hierarchy / "cgroup.procs").touch()
    monkeypatch.setattr(cgroup, "_own", lambda: str(hierarchy))
    groups, refusal = cgroup.find("gflow-1-2", "auto")
    assert groups is not None and refusal is not None and "DelegateSubgroup" in refusal
    assert (hierarchy / "cgroup.subtree_control").read_text() == ""


def test_without_memory_in_it(hierarchy: Path) -> None:
    """A controller that was not delegated cannot be handed on."""
    (hierarchy / "cgroup.controllers").write_text("cpu pids\n")
    groups, refusal = cgroup.find("gflow-1-2", "auto")
    assert groups is not None and refusal is not None and "no memory controller" in refusal
