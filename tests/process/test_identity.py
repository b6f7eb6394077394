"""Telling processes apart."""

from __future__ import annotations

import os
import select
import subprocess

from gflow.process import identity


def test_a_process_knows_itself() -> None:
    """Pid and start ticks name a living process."""
    ticks = identity.start_ticks(os.getpid())
    assert ticks is not None and identity.is_alive(os.getpid(), ticks)


def test_other_ticks_are_another_process() -> None:
    """A reused pid is not taken for its predecessor."""
    ticks = identity.start_ticks(os.getpid())
    assert ticks is not None
    assert not identity.is_alive(os.getpid(), ticks - 1)
    assert identity.open_pidfd(os.getpid(), ticks - 1) is None


def test_a_zombie_is_not_alive() -> None:
    """What has only its status left does nothing any more."""
    process = subprocess.Popen(["sleep", "1000"])
    ticks = identity.start_ticks(process.pid)
    assert ticks is not None
    fd = identity.open_pidfd(process.pid, ticks)
    assert fd is not None
    process.kill()
    select.select([fd], [], [])
    assert not identity.is_alive(process.pid, ticks)
    assert identity.process_state(process.pid) == "Z"
    process.wait()
    os.close(fd)


def test_what_is_not_there_is_none() -> None:
    """No error for a process that has vanished."""
    nobody = 2**22 + 1  # above the largest pid_max (proc(5))
    assert identity.start_ticks(nobody) is None
    assert identity.process_state(nobody) is None
    assert identity.open_pidfd(nobody) is None


def test_a_name_with_parentheses_does_not_confuse() -> None:
    """The process's own name is no field separator."""
    script = "import ctypes; ctypes.CDLL(None).prctl(15, b') Z 1 (', 0, 0, 0); input()"
    process = subprocess.Popen(["python3", "-c", script], stdin=subprocess.PIPE)
    try:
        assert identity.process_state(process.pid) != "Z"
        assert identity.start_ticks(process.pid) is not None
    finally:
        process.kill()
        process.communicate()
