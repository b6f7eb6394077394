"""Frames on a non-blocking descriptor."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from multiprocessing import Pipe
from multiprocessing.connection import Connection

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gflow.process.channel import Channel, ChannelClosed


@pytest.fixture
def ends() -> Iterator[tuple[Channel, Connection]]:
    """Our end, and the other as multiprocessing has it."""
    ours, theirs = Pipe()
    channel = Channel(os.dup(ours.fileno()))
    ours.close()
    yield channel, theirs
    channel.close()
    theirs.close()


def test_the_other_side_understands(ends: tuple[Channel, Connection]) -> None:
    """What is sent arrives as multiprocessing frames it."""
    channel, theirs = ends
    channel.send(b"hello")
    assert theirs.recv_bytes() == b"hello"


def test_we_understand_the_other_side(ends: tuple[Channel, Connection]) -> None:
    """Several frames in one read come apart."""
    channel, theirs = ends
    theirs.send_bytes(b"one")
    theirs.send_bytes(b"")
    theirs.send_bytes(b"three")
    assert channel.receive() == [b"one", b"", b"three"]


def test_a_full_pipe_does_not_block(ends: tuple[Channel, Connection]) -> None:
    """What the kernel does not take waits in memory, and arrives whole later."""
    channel, theirs = ends
    frame = os.urandom(1 << 20)
    channel.send(frame)
    assert channel.wants_write and channel.unsent_bytes > 0
    received = bytearray()
    reader = socket.socket(fileno=os.dup(theirs.fileno()))
    while len(received) < len(frame) + 4:
        received += reader.recv(1 << 16)
        channel.flush()
    reader.close()
    assert bytes(received[4:]) == frame
    assert not channel.wants_write and channel.unsent_bytes == 0


def test_nothing_to_read_is_no_frame(ends: tuple[Channel, Connection]) -> None:
    """Reading does not wait."""
    assert ends[0].receive() == []


def test_the_end_is_told_after_the_last_frame(ends: tuple[Channel, Connection]) -> None:
    """What was sent before a death is not lost with it."""
    channel, theirs = ends
    theirs.send_bytes(b"last words")
    theirs.close()
    assert channel.receive() == [b"last words"]
    with pytest.raises(ChannelClosed):
        channel.receive()


def test_sending_to_the_dead_is_told(ends: tuple[Channel, Connection]) -> None:
    """As the one exception, whichever error the kernel chose."""
    channel, theirs = ends
    theirs.close()
    with pytest.raises(ChannelClosed):
        for _ in range(3):
            channel.send(b"x")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(st.lists(st.binary(max_size=300)), st.lists(st.integers(1, 40), min_size=1))
def test_frames_survive_any_cutting(frames: list[bytes], cuts: list[int]) -> None:
    """However the bytes arrive, the frames come out as they went in."""
    ours, theirs = socket.socketpair()
    channel = Channel(ours.detach())
    data = b"".join(len(frame).to_bytes(4, "big") + frame for frame in frames)
    received = []
    while data:
        size = cuts[len(received) % len(cuts)]
        theirs.send(data[:size])
        data = data[size:]
        received += channel.receive()
    theirs.close()
    channel.close()
    assert received == frames
