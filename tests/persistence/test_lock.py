"""Two locks, against real processes."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from gflow.persistence import lock
from gflow.persistence.lock import LockHeld
from gflow.process import identity
from gflow.process.child import set_title

CONTEXT = multiprocessing.get_context("fork")
DEADLINE_S = 20.0


def _hold(title: str, lock_fd: int) -> None:
    set_title(title)
    while True:
        signal.pause()


@pytest.fixture
def hold(tmp_path: Path) -> Iterator[Callable[[str], BaseProcess]]:
    """Start a process with a title that shares the folder's lock; ours is closed."""
    started: list[BaseProcess] = []

    def start(title: str) -> BaseProcess:
        fd = lock.take_folder(str(tmp_path))
        process = CONTEXT.Process(target=_hold, args=(title, fd))
        process.start()
        started.append(process)
        os.close(fd)
        assert process.pid is not None
        wait(lambda: lock._title(process.pid or 0) == f"gflow: {title}")
        return process

    yield start
    for process in started:
        process.kill()
        process.join()


def wait(condition: Callable[[], bool]) -> None:
    """Wait until something is true."""
    deadline_s = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.005)


def _take_and_report(path: str, answer: multiprocessing.connection.Connection) -> None:
    try:
        lock.take_file(path)
    except LockHeld as error:
        answer.send(str(error))
    else:
        answer.send(None)


def test_a_held_file_names_the_pid(tmp_path: Path) -> None:
    """The second one is refused at once and told who holds it."""
    path = str(tmp_path / "supervisor.lock")
    fd = lock.take_file(path)
    ours, theirs = CONTEXT.Pipe()
    process = CONTEXT.Process(target=_take_and_report, args=(path, theirs))
    process.start()
    assert f"pid {os.getpid()} (" in ours.recv()
    process.join()
    os.close(fd)


def test_a_file_lock_is_not_inherited(tmp_path: Path) -> None:
    """When its process lets go the lock is free, although a forked child lives on."""
    path = str(tmp_path / "supervisor.lock")
    fd = lock.take_file(path)
    child = CONTEXT.Process(target=_hold, args=("job 1", fd))
    child.start()
    os.close(fd)
    os.close(lock.take_file(path))
    child.kill()
    child.join()


def test_a_living_supervisor_is_refused_at_once(
    tmp_path: Path, hold: Callable[[str], BaseProcess]
) -> None:
    """Even without the lock file: the folder's own lock names the one that uses it."""
    process = hold("supervisor")
    with pytest.raises(LockHeld, match=rf"pid {process.pid} \(gflow: supervisor"):
        lock.take_folder(str(tmp_path))


def test_a_stopped_supervisor_is_refused_too(
    tmp_path: Path, hold: Callable[[str], BaseProcess]
) -> None:
    """A supervisor that was stopped is somebody's, not a rest."""
    process = hold("supervisor")
    assert process.pid is not None
    os.kill(process.pid, signal.SIGSTOP)
    wait(lambda: identity.process_state(process.pid or 0) == "T")
    with pytest.raises(LockHeld, match="stopped"):
        lock.take_folder(str(tmp_path))


def test_strangers_are_never_ended(tmp_path: Path, hold: Callable[[str], BaseProcess]) -> None:
    """Whatever else holds the lock is named and left alone."""
    process = hold("something else")
    with pytest.raises(LockHeld, match="something else"):
        lock.take_folder(str(tmp_path), wait_s=0.0)
    assert process.is_alive()


def _finish(lock_fd: int, gate: multiprocessing.connection.Connection) -> None:
    set_title("persister")
    gate.recv()


def test_a_rest_is_waited_for(tmp_path: Path) -> None:
    """A persister that finishes its last commit gets the time for it."""
    fd = lock.take_folder(str(tmp_path))
    gate, theirs = CONTEXT.Pipe()
    process = CONTEXT.Process(target=_finish, args=(fd, theirs))
    process.start()
    os.close(fd)
    wait(lambda: lock._title(process.pid or 0) == "gflow: persister")
    said: list[str] = []

    def say(text: str) -> None:
        said.append(text)
        gate.send("now")

    os.close(lock.take_folder(str(tmp_path), say=say))
    process.join()
    assert process.exitcode == 0
    assert said and f"pid {process.pid}" in said[0]


def test_a_rest_that_is_just_ending_is_waited_for(
    tmp_path: Path, hold: Callable[[str], BaseProcess], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that exits has lost its title before it gives up the lock: it is no stranger."""
    process = hold("persister")
    titles = lock._title

    def title(pid: int) -> str:
        if pid == process.pid:
            process.kill()
            return ""
        return titles(pid)

    monkeypatch.setattr(lock, "_title", title)
    os.close(lock.take_folder(str(tmp_path)))


def test_a_stopped_rest_is_named_then_ended(
    tmp_path: Path, hold: Callable[[str], BaseProcess]
) -> None:
    """An orphan that does not finish in time is named, and killed when the time is over."""
    process = hold("persister")
    said: list[str] = []
    os.close(lock.take_folder(str(tmp_path), wait_s=1.5, say=said.append))
    process.join(DEADLINE_S)
    assert process.exitcode == -signal.SIGKILL
    assert "waiting for" in said[0] and "ending" in said[1]
