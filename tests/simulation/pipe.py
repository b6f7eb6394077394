"""The pipe between the supervisor and one child: whole frames, in order, as far as they got."""

from __future__ import annotations

from collections import deque

from gflow.process.channel import ChannelClosed

#: Frames that fit before the writer has to wait.
_CAPACITY = 6


class Doom:
    """The supervisor is killed in the middle of a turn: only so many more frames are sent."""

    def __init__(self) -> None:
        #: Frames that still go out; None: no such death is planned.
        self.frames_left: int | None = None

    @property
    def struck(self) -> bool:
        """Whether it is dead, and the rest of its turn never was."""
        return self.frames_left is not None and self.frames_left < 0

    def next_frame(self) -> bool:
        """Whether this frame is still sent."""
        if self.frames_left is not None:
            self.frames_left -= 1
        return not self.struck


class Pipe:
    """Both ends. The supervisor's has the methods of ``gflow.process.channel.Channel``."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self.to_child: deque[bytes] = deque()
        self.to_supervisor: deque[bytes] = deque()
        self._unsent: deque[bytes] = deque()
        #: Whose end is closed.
        self.child_gone = False
        self.supervisor_gone = False
        self.doom = Doom()

    # --- the supervisor's end -------------------------------------------------------------------

    def fileno(self) -> int:
        return self._fd

    @property
    def wants_write(self) -> bool:
        return bool(self._unsent)

    def send(self, frame: bytes) -> None:
        self.queue(frame)
        self.flush()

    def queue(self, frame: bytes) -> None:
        if not self.supervisor_gone and self.doom.next_frame():
            self._unsent.append(bytes(frame))

    def flush(self) -> None:
        if self.child_gone:
            raise ChannelClosed("broken pipe")
        while self._unsent and self.takes_more:
            self.to_child.append(self._unsent.popleft())

    def receive(self) -> list[bytes]:
        if not self.to_supervisor and self.child_gone:
            raise ChannelClosed("end of file")
        frames = list(self.to_supervisor)
        self.to_supervisor.clear()
        return frames

    def close(self) -> None:
        self.supervisor_gone = True
        self._unsent.clear()

    # --- the kernel -----------------------------------------------------------------------------

    @property
    def takes_more(self) -> bool:
        """Whether a frame for the child would be taken now."""
        return len(self.to_child) < _CAPACITY

    @property
    def readable(self) -> bool:
        """Whether the supervisor would be woken for it."""
        return bool(self.to_supervisor) or self.child_gone

    # --- the child's end ------------------------------------------------------------------------

    @property
    def child_readable(self) -> bool:
        """Whether the child would be woken for it: a frame, or end of file."""
        return bool(self.to_child) or self.supervisor_gone

    def take(self) -> bytes:
        """The next frame for the child. Raises EOFError when there is none and will be none."""
        if not self.to_child:
            assert self.supervisor_gone, "the child would wait"
            raise EOFError
        return self.to_child.popleft()

    def tell(self, frame: bytes) -> None:
        """The child says something. Raises BrokenPipeError when nobody is there."""
        if self.supervisor_gone:
            raise BrokenPipeError("broken pipe")
        self.to_supervisor.append(bytes(frame))
