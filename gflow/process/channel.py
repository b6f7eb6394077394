"""Frames on a non-blocking descriptor, as ``multiprocessing.Connection`` writes and reads them.

The supervisor's end of every pipe to a child. The child uses the stock blocking ``recv_bytes`` and
``send_bytes``; here nothing ever blocks: ``Connection.send`` would (2,958 ms for a reader stopped
for 3 s), and with ``O_NONBLOCK`` it tears frames.
"""

from __future__ import annotations

import os
import struct
from collections import deque
from itertools import islice

_HEADER = struct.Struct("!i")
_LONG_HEADER = struct.Struct("!iQ")
_LONGEST_SHORT = 0x7FFFFFFF
#: What one read takes at most, so that one turn of the loop stays short.
_READ_BYTES = 1 << 16
_FRAMES_AT_ONCE = 64


class ChannelClosed(Exception):
    """The other side is gone: EOF, EPIPE or ECONNRESET. Says nothing about an orderly end."""


class Channel:
    """One end of a pipe, without waiting. Owns the descriptor."""

    def __init__(self, fd: int) -> None:
        os.set_blocking(fd, False)
        self._fd = fd
        self._incoming = bytearray()
        self._outgoing: deque[memoryview] = deque()
        #: Bytes accepted by ``send`` and not yet by the kernel.
        self.unsent_bytes = 0

    def fileno(self) -> int:
        return self._fd

    @property
    def wants_write(self) -> bool:
        """Whether ``flush`` has something to do once the descriptor is writable."""
        return bool(self._outgoing)

    def send(self, frame: bytes) -> None:
        """Queue one frame and write what the kernel takes now. Raises ChannelClosed."""
        self.queue(frame)
        self.flush()

    def queue(self, frame: bytes) -> None:
        """Queue one frame; ``flush`` writes it, with others in one call."""
        if len(frame) > _LONGEST_SHORT:
            header = _LONG_HEADER.pack(-1, len(frame))
        else:
            header = _HEADER.pack(len(frame))
        self._outgoing.append(memoryview(header + frame))
        self.unsent_bytes += len(header) + len(frame)

    def flush(self) -> None:
        """Write what the kernel takes. Raises ChannelClosed."""
        while self._outgoing:
            try:
                written = os.writev(self._fd, list(islice(self._outgoing, _FRAMES_AT_ONCE)))
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                raise ChannelClosed(str(error)) from error
            self.unsent_bytes -= written
            while written:
                head = self._outgoing.popleft()
                if written < len(head):
                    self._outgoing.appendleft(head[written:])
                    break
                written -= len(head)

    def receive(self) -> list[bytes]:
        """Frames that are complete by now. Raises ChannelClosed at EOF, after the last frame."""
        try:
            data = os.read(self._fd, _READ_BYTES)
        except (BlockingIOError, InterruptedError):
            return []
        except OSError as error:
            raise ChannelClosed(str(error)) from error
        if not data:
            raise ChannelClosed("end of file")
        self._incoming += data
        return self._split()

    def _split(self) -> list[bytes]:
        frames = []
        buffer = self._incoming
        start = 0
        while len(buffer) - start >= _HEADER.size:
            (length,) = _HEADER.unpack_from(buffer, start)
            body = start + _HEADER.size
            if length == -1:
                if len(buffer) - start < _LONG_HEADER.size:
                    break
                _, length = _LONG_HEADER.unpack_from(buffer, start)
                body = start + _LONG_HEADER.size
            if len(buffer) - body < length:
                break
            frames.append(bytes(buffer[body : body + length]))
            start = body + length
        del buffer[:start]
        return frames

    def close(self) -> None:
        """Close the descriptor; queued frames are dropped."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
            self._outgoing.clear()
            self.unsent_bytes = 0
