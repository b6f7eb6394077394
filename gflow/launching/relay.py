"""Output up to a size: a process between a command and its files (``--max-output``).

What comes beyond the size is read and dropped: the command goes on and never waits, the file stays
as large as it is, with a line that says so. The relay ends when nobody holds the pipes any more. It
is not the shim itself, whose death would break them: the command would end by SIGPIPE.
"""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Callable
from functools import partial
from typing import NoReturn

from gflow.process import child

_READ_BYTES = 1 << 16


def interpose(out: int, error: int, limit_bytes: int, title: str) -> tuple[int, int]:
    """Descriptors to be written to in place of ``out`` and ``error``, which are closed.

    They are one if those are. Each file gets ``limit_bytes`` more at most, and a line or two.
    Raises OSError.
    """
    pipes = {target: os.pipe() for target in {out, error}}
    try:
        pid = os.fork()
        if pid == 0:
            _leave({source: target for target, (source, _) in pipes.items()}, limit_bytes, title)
        os.waitpid(pid, 0)
    except OSError:
        for _, writable in pipes.values():
            os.close(writable)
        raise
    finally:
        for target, (source, _) in pipes.items():
            os.close(source)
            os.close(target)
    return pipes[out][1], pipes[error][1]


def _leave(targets: dict[int, int], limit_bytes: int, title: str) -> NoReturn:
    """As a grandchild: no child of the command's, wherever this is called."""
    try:
        if os.fork() == 0:
            os.setsid()
            # Signals for the job's tree are not for this one.
            signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
            child.close_fds_except((*targets, *targets.values()))
            os.chdir("/")
            child.set_title(title)
            run(targets, limit_bytes)
    finally:
        os._exit(0)


def run(targets: dict[int, int], limit_bytes: int) -> None:
    """Carry from each readable descriptor to its file, until all of them have ended."""
    files = {
        source: Capped(partial(_put, target), limit_bytes) for source, target in targets.items()
    }
    poll = select.poll()
    for source in files:
        poll.register(source, select.POLLIN)
    while files:
        for source, _ in poll.poll():
            data = os.read(source, _READ_BYTES)
            if data:
                files[source].write(data)
                continue
            poll.unregister(source)
            files.pop(source).finish()


class Capped:
    """Takes so many bytes for a file, with ``put``, and drops the rest."""

    def __init__(self, put: Callable[[bytes], None], limit_bytes: int) -> None:
        self._put = put
        self._limit_bytes = self._left_bytes = limit_bytes
        self._last = b"\n"
        self.dropped_bytes = 0

    def write(self, data: bytes) -> None:
        """Write what fits, and once the line that says that no more will come."""
        taken = data[: self._left_bytes]
        if taken:
            self._put(taken)
            self._left_bytes -= len(taken)
            self._last = taken[-1:]
        if len(taken) < len(data):
            if not self.dropped_bytes:
                self._say(f"output is cut off here, at {self._limit_bytes} bytes")
            self.dropped_bytes += len(data) - len(taken)

    def finish(self) -> None:
        """Say how much is missing."""
        if self.dropped_bytes:
            self._say(f"{self.dropped_bytes} bytes more were dropped")

    def _say(self, text: str) -> None:
        start = b"" if self._last == b"\n" else b"\n"
        self._put(start + f"--- gflow: {text} ---\n".encode())
        self._last = b"\n"


def _put(fd: int, data: bytes) -> None:
    view = memoryview(data)
    try:
        while view:
            view = view[os.write(fd, view) :]
    except OSError:
        pass  # the disk is full, or the reader of a FIFO is gone: the command goes on
