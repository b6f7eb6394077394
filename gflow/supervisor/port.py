"""The loop's end of one child: frames in and out, its death, its replacement."""

from __future__ import annotations

import asyncio
import logging
import signal
import time
from collections import deque
from typing import Any

from gflow.process.channel import Channel, ChannelClosed
from gflow.supervisor.child import Child

log = logging.getLogger("gflow")

#: A child that closed its pipe but lives on is ended after this.
_EOF_GRACE_S = 1.0
#: Frames are taken in for so long in one turn of the loop; one read may hold hundreds.
_TURN_S = 0.001


class Port:
    """Connects a child to the loop. Subclasses say what frames mean and what a death costs."""

    def __init__(self, child: Child, loop: asyncio.AbstractEventLoop) -> None:
        self.child = child
        self.loop = loop
        #: An orderly end is under way: a death is expected and nothing is replaced.
        self.closing = False
        self.ended = loop.create_future()
        self._channel: Channel | None = None
        self._writing = False
        #: Frames that were read and are to be taken in, oldest first.
        self._frames: deque[bytes] = deque()
        #: Something is queued that goes out at the end of this turn.
        self._flushing = False

    # --- what subclasses say --------------------------------------------------------------------

    def on_frame(self, frame: bytes) -> None:
        """One message of the child."""
        raise NotImplementedError

    def on_writable(self) -> None:
        """The channel has taken everything: there may be more to send."""

    def on_lost(self) -> None:
        """The child is dead; what was under way did not reach it, or did, unknown to us."""

    def on_replaced(self) -> None:
        """A new child is there and knows nothing."""

    def respawn_delay_s(self) -> float:
        """How long to wait before the next birth."""
        return self.child.respawn_delay_s()

    def describe(self) -> dict[str, Any]:
        """What ``status`` shows of the child."""
        return self.child.describe()

    # --- frames ---------------------------------------------------------------------------------

    def attach(self) -> None:
        """Start listening to the child."""
        channel = self.child.channel
        assert channel is not None
        self._channel = channel
        self.loop.add_reader(channel.fileno(), self._readable, channel)
        self.loop.add_reader(self.child.pidfd, self._died)

    @property
    def idle(self) -> bool:
        """Whether a frame sent now would go straight to the kernel."""
        return self._channel is not None and not self._channel.wants_write

    def send(self, frame: bytes) -> bool:
        """Queue a frame; False when there is no child to take it."""
        channel = self._channel
        if channel is None:
            return False
        try:
            channel.send(frame)
        except ChannelClosed:
            self._detach()
            return False
        self._watch_writable(channel)
        return True

    def queue(self, frame: bytes) -> None:
        """Send a frame at the end of this turn, in one call with others; lost if no child is there.

        What is sent meanwhile goes after it.
        """
        channel = self._channel
        if channel is None:
            return
        channel.queue(frame)
        if not self._flushing:
            self._flushing = True
            self.loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        if self._channel is not None:
            self._writable(self._channel)

    def _watch_writable(self, channel: Channel) -> None:
        if channel.wants_write and not self._writing:
            self._writing = True
            self.loop.add_writer(channel.fileno(), self._writable, channel)

    def _writable(self, channel: Channel) -> None:
        try:
            channel.flush()
        except ChannelClosed:
            self._detach()
            return
        if channel.wants_write:
            self._watch_writable(channel)
        elif self._writing:
            self._writing = False
            self.loop.remove_writer(channel.fileno())
            self.on_writable()

    def _readable(self, channel: Channel) -> None:
        if self._frames:
            return  # first what was read before; the kernel keeps the rest
        try:
            self._frames += channel.receive()
        except ChannelClosed:
            self._detach()
            self.loop.call_later(_EOF_GRACE_S, self._end_silent, self.child.pid)
            return
        self._take_in()

    def _take_in(self) -> None:
        """Take in frames until the turn has been long enough; the next turn goes on."""
        end_s = time.monotonic() + _TURN_S
        try:
            while self._frames:
                self.on_frame(self._frames.popleft())
                if time.monotonic() >= end_s:
                    break
        finally:
            if self._frames:
                self.loop.call_soon(self._take_in)

    def _detach(self) -> None:
        channel = self._channel
        if channel is None:
            return
        self._channel = None
        self.loop.remove_reader(channel.fileno())
        if self._writing:
            self._writing = False
            self.loop.remove_writer(channel.fileno())

    def _end_silent(self, pid: int) -> None:
        if self.child.alive and self.child.pid == pid and self._channel is None:
            self.child.send_signal(signal.SIGKILL)

    # --- death and replacement ------------------------------------------------------------------

    def _died(self) -> None:
        self._drain()
        self._detach()
        self.loop.remove_reader(self.child.pidfd)
        pid = self.child.pid
        end = self.child.reap()
        if self.closing:
            if not self.ended.done():
                self.ended.set_result(end)
            return
        log.error("%s (pid %d) ended: %s", self.child.name, pid, end)
        self.on_lost()
        self.loop.call_later(self.respawn_delay_s(), self._replace)

    def _drain(self) -> None:
        """Take in what the child still said before it died."""
        while True:
            while self._frames:
                self.on_frame(self._frames.popleft())
            try:
                frames = [] if self._channel is None else self._channel.receive()
            except ChannelClosed:
                return
            if not frames:
                return
            self._frames += frames

    def _replace(self) -> None:
        if self.closing:
            if not self.ended.done():
                self.ended.set_result("gone")
            return
        try:
            self.child.replace()
        except OSError as error:
            log.error("cannot replace %s: %s", self.child.name, error)
            self.loop.call_later(1.0, self._replace)
            return
        log.warning("%s replaced (pid %d)", self.child.name, self.child.pid)
        self.attach()
        self.on_replaced()
