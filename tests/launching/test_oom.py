"""Who killed it: the kernel for memory, or somebody with a signal."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gflow.launching import oom
from tests.launching.driver import Driver


@pytest.fixture
def tight_group(tmp_path: Path) -> Iterator[Path]:
    """A control group with 40 MB of memory; a process enters by writing to its ``procs``."""
    for root, limit in (
        ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
        ("/sys/fs/cgroup", "memory.max"),
    ):
        path = Path(root) / f"gflow-test-{os.getpid()}"
        try:
            path.mkdir()
            (path / limit).write_text("40000000")
        except OSError:
            continue
        yield path
        path.rmdir()
        return
    pytest.skip("no control group for memory")


GREEDY = """
import os, sys
open(sys.argv[1] + "/cgroup.procs", "w").write("0")
x = []
while True:
    x.append(b"x" * 1_000_000)
"""


def test_a_victim_of_the_kernel_is_told(launcher: Driver, tight_group: Path) -> None:
    """Its end says that memory was the reason."""
    end = launcher.run(sys.executable, "-c", GREEDY, str(tight_group))
    assert (end["signal"], end["usage"].get("oom_killed")) == (signal.SIGKILL, True)


def test_a_killed_command_is_no_victim(launcher: Driver) -> None:
    """SIGKILL from somebody else is nothing but that."""
    end = launcher.run("/bin/sh", "-c", "kill -9 $$")
    assert (end["signal"], "oom_killed" in end["usage"]) == (signal.SIGKILL, False)


def test_others_victims_do_not_count(launcher: Driver, tight_group: Path) -> None:
    """The kernel names whom it killed: one that was killed by hand meanwhile is not that."""
    if not os.access("/dev/kmsg", os.R_OK):
        pytest.skip("the kernel's log cannot be read")
    launcher.start("sleep", "1000")
    process = launcher.wait_for("started")["process"]
    launcher.run(sys.executable, "-c", GREEDY, str(tight_group), job_id=2)
    os.kill(process[0], signal.SIGKILL)
    assert "oom_killed" not in launcher.wait_for("exited")["usage"]


def test_the_kernel_counts() -> None:
    """Linux 4.13 and later say how many they killed."""
    count = oom.kills()
    assert count is None or count >= 0


def test_without_a_count_nobody_is_a_victim() -> None:
    """What is not known is not claimed."""
    assert oom.was_victim(1, None) is False
