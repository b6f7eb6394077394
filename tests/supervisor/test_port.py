"""The loop's end of a child: how much is taken in at once, what a death leaves, what goes out."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from gflow.process.channel import Channel
from gflow.supervisor import port
from gflow.supervisor.child import Child
from gflow.supervisor.port import Port
from tests.supervisor.test_gpu_port import ScriptedChild

_WORDS = [str(number).encode() for number in range(20)]


class _Noting(Port):
    """Notes what it is told and by which turn of the loop; a turn is over after every frame."""

    def __init__(self, child: Child, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(child, loop)
        self.heard: list[bytes] = []
        self.lost_after: int | None = None

    def on_frame(self, frame: bytes) -> None:
        self.heard.append(frame)
        if frame == b"bad":
            raise ValueError("not understood")

    def on_lost(self) -> None:
        self.lost_after = len(self.heard)
        self.closing = True  # nothing is to be born after it


async def _until(true: Any) -> None:
    async with asyncio.timeout(20):
        while not true():
            await asyncio.sleep(0)


@pytest.fixture
def child(monkeypatch: pytest.MonkeyPatch) -> ScriptedChild:
    """A child that the test speaks for, heard by a loop whose turns are over at once."""
    monkeypatch.setattr(port, "_TURN_S", 0.0)
    return ScriptedChild()


def test_frames_that_came_together_are_taken_in_over_turns(child: ScriptedChild) -> None:
    """What others have to do comes in between, and every frame is heard once, in order."""

    async def run() -> None:
        noting = _Noting(cast(Child, child), asyncio.get_running_loop())
        for word in _WORDS:
            child.theirs.send(word)
        noting.attach()
        await _until(lambda: noting.heard)
        assert noting.heard == _WORDS[:1]
        await _until(lambda: len(noting.heard) == len(_WORDS))
        assert noting.heard == _WORDS
        os.kill(child.pid, signal.SIGKILL)
        await _until(lambda: noting.lost_after is not None)

    asyncio.run(run())


def test_a_dead_child_is_heard_out_before_its_loss_is_told(child: ScriptedChild) -> None:
    """Frames that were read and not taken in yet come before the death."""

    async def run() -> None:
        noting = _Noting(cast(Child, child), asyncio.get_running_loop())
        for word in _WORDS:
            child.theirs.send(word)
        os.kill(child.pid, signal.SIGKILL)
        noting.attach()
        await _until(lambda: noting.lost_after is not None)
        assert (noting.heard, noting.lost_after) == (_WORDS, len(_WORDS))

    asyncio.run(run())


def test_a_frame_that_fails_takes_no_other_along(child: ScriptedChild) -> None:
    """The frames behind it are taken in all the same."""

    async def run() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda loop, context: None)
        noting = _Noting(cast(Child, child), loop)
        for word in (b"bad", *_WORDS):
            child.theirs.send(word)
        noting.attach()
        await _until(lambda: len(noting.heard) > len(_WORDS))
        os.kill(child.pid, signal.SIGKILL)
        await _until(lambda: noting.lost_after is not None)

    asyncio.run(run())


# --- what goes out --------------------------------------------------------------------------------

Ends = tuple[Port, Channel, asyncio.AbstractEventLoop]


@pytest.fixture
def ends() -> Iterator[Ends]:
    """A port, what its child reads from, and the loop."""
    ours, theirs = socket.socketpair()
    silent, _ = os.pipe()
    loop = asyncio.new_event_loop()
    child = cast(Any, SimpleNamespace(channel=Channel(ours.detach()), pidfd=silent))
    port = Port(child, loop)
    port.attach()
    yield port, Channel(theirs.detach()), loop
    loop.close()


def turn(loop: asyncio.AbstractEventLoop) -> None:
    """Let the loop do what is to be done now."""
    loop.run_until_complete(asyncio.sleep(0))


def test_what_is_queued_goes_out_at_the_end_of_the_turn(ends: Ends) -> None:
    """Together, and without anybody's doing."""
    port, child, loop = ends
    port.queue(b"one")
    port.queue(b"two")
    assert child.receive() == []
    turn(loop)
    assert child.receive() == [b"one", b"two"]


def test_what_is_sent_meanwhile_does_not_overtake(ends: Ends) -> None:
    """A kill never arrives before the start that it is about."""
    port, child, loop = ends
    port.queue(b"start")
    port.send(b"kill")
    assert child.receive() == [b"start", b"kill"]
    turn(loop)
    assert child.receive() == []


def test_what_a_full_pipe_does_not_take_goes_out_later(ends: Ends) -> None:
    """Queued or sent, nothing is lost or cut."""
    port, child, loop = ends
    frame = b"x" * (4 << 20)
    port.queue(frame)
    received: list[bytes] = []
    for _ in range(10_000):
        turn(loop)
        received += child.receive()
        if received:
            break
    assert received == [frame]


def test_without_a_child_nothing_is_sent(ends: Ends) -> None:
    """Whoever asks for it asks the next one again."""
    port, child, loop = ends
    child.close()
    port.queue(b"lost")
    turn(loop)
    port.queue(b"lost as well")
    turn(loop)
    assert not port.send(b"and this")
