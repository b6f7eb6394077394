"""Children are born, told apart, replaced and reaped."""

from __future__ import annotations

import os
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest

from gflow.supervisor.child import Child
from tests.supervisor import echo


@pytest.fixture
def child(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A child that sends back what it gets."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).resolve().parents[2]))
    made = Child("echo", echo.main, {"word": "hello"})
    yield made
    if made.alive:
        made.send_signal(9)
        made.reap()


def answer(child: Child, text: bytes) -> bytes:
    """What the child says to a message."""
    assert child.channel is not None
    os.set_blocking(child.channel.fileno(), True)
    child.channel.send(text)
    frames: list[bytes] = []
    while not frames:
        frames = child.channel.receive()
    return frames[0]


def test_forked_child_speaks_the_stock_framing(child: Child) -> None:
    """The child uses Connection.recv_bytes, we our own frames; both understand."""
    child.fork(get_context("fork"))
    assert answer(child, b"x" * 100_000) == b"hello " + b"x" * 100_000


def test_replacement_is_by_exec(child: Child) -> None:
    """After a death the same module begins again with the same settings."""
    child.fork(get_context("fork"))
    first = child.pid
    child.send_signal(9)
    assert child.reap() == "SIGKILL"
    child.replace()
    assert child.pid != first
    assert child.restarts == 1
    assert answer(child, b"again") == b"hello again"


def test_a_child_of_another_version_does_not_begin(
    child: Child, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After an upgrade, what speaks differently ends at once, and how it ended says what to do."""
    monkeypatch.setattr("gflow.process.child.PROTOCOL", 0)
    child.replace()
    assert "restart the supervisor" in child.reap()


def test_child_has_its_own_session_and_only_its_descriptors(child: Child) -> None:
    """Nothing of ours is open in it but its end of the pipe."""
    leak = os.open("/dev/zero", os.O_RDONLY)
    os.set_inheritable(leak, True)
    try:
        child.fork(get_context("fork"))
        assert answer(child, b"") == b"hello "
        names = os.listdir(f"/proc/{child.pid}/fd")
        targets = {os.readlink(f"/proc/{child.pid}/fd/{name}") for name in names}
        assert "/dev/zero" not in targets
        assert os.getsid(child.pid) == child.pid
    finally:
        os.close(leak)


def test_back_off_grows_and_is_bounded(child: Child) -> None:
    """The first replacement is at once, later ones wait, none longer than 5 s."""
    delays = [child.respawn_delay_s() for _ in range(12)]
    assert delays[0] == 0
    assert delays == sorted(delays)
    assert max(delays) == 5.0


def test_gone_child_is_described_as_gone(child: Child) -> None:
    """status tells the truth about a child that is not there."""
    child.fork(get_context("fork"))
    assert child.describe()["state"] == "running"
    child.send_signal(9)
    child.reap()
    assert child.describe() == {
        "pid": None,
        "state": "gone",
        "restarts": 0,
        "last_end": "SIGKILL",
    }


def test_pipe_end_is_the_childs_end(child: Child) -> None:
    """A child ends by itself when the supervisor's end is closed."""
    child.fork(get_context("fork"))
    assert child.channel is not None
    child.channel.close()
    assert child.reap() == "exit 0"
