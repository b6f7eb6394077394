"""What shims tell the launcher, through a FIFO that outlives every launcher: both of its ends."""

from __future__ import annotations

import errno
import os
import select
from collections import deque
from collections.abc import Callable
from typing import Any

from gflow.launching import protocol
from gflow.launching.place import Place
from gflow.launching.protocol import Message

_READ_BYTES = 1 << 16


class Reporter:
    """Sends lines to whichever launcher listens; the run file tells those that come later.

    The FIFO is open only while something is written, so that nothing of the scheduler's stays open
    in a shim. A line is written whole or not at all (pipe(7), PIPE_BUF).
    """

    def __init__(self, path: str, job_id: int, attempt: int) -> None:
        self._path = path
        self._about = {"job_id": job_id, "attempt": attempt}
        #: Lines that the full FIFO of a stopped launcher did not take.
        self.waiting: deque[bytes] = deque()

    def send(self, what: str, facts: dict[str, Any]) -> None:
        line = protocol.encode({"t": what, **self._about, **facts}) + b"\n"
        assert len(line) <= select.PIPE_BUF, "a report must be written whole"
        self.waiting.append(line)
        self.flush()

    def flush(self) -> None:
        """Write what the FIFO takes now. With no launcher alive nothing needs to be said."""
        try:
            fd = os.open(self._path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            self.waiting.clear()
            return
        try:
            while self.waiting:
                os.write(fd, self.waiting[0])
                self.waiting.popleft()
        except OSError as error:
            if error.errno != errno.EAGAIN:
                self.waiting.clear()
        finally:
            os.close(fd)


class Reports:
    """The launcher's end. ``deliver`` gets (job id, attempt) and the report, oldest first."""

    def __init__(
        self,
        place: Place,
        *,
        watch: Callable[[int, Callable[[], None]], None],
        unwatch: Callable[[int], None],
    ) -> None:
        self._place = place
        self._watch = watch
        self._unwatch = unwatch
        self._fd = -1
        self._rest = b""
        self.deliver: Callable[[tuple[int, int], Message], None] = lambda key, report: None

    def open(self) -> None:
        """Hold the FIFO that shims look for; make it again when somebody deleted it."""
        if self._fd >= 0 and _is_same_file(self._fd, self._place.reports):
            return
        if self._fd >= 0:
            self.read()
            self._unwatch(self._fd)
            self._fd = -1
        try:
            self._place.prepare()
            # Also open for writing: it never ends then, however shims come and go.
            fd = os.open(self._place.reports, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return  # the folder is gone or the disk is full: tried again with the next heartbeat
        self._fd = fd
        self._watch(fd, self.read)

    def read(self) -> None:
        """Deliver what is there."""
        while self._fd >= 0:
            try:
                data = os.read(self._fd, _READ_BYTES)
            except BlockingIOError:
                return
            *lines, self._rest = (self._rest + data).split(b"\n")
            for line in lines:
                try:
                    report = protocol.decode(line)
                    key = (report["job_id"], report["attempt"])
                except (ValueError, TypeError, KeyError):
                    continue  # not from a shim
                self.deliver(key, report)
            if len(data) < _READ_BYTES:
                return


def _is_same_file(fd: int, path: str) -> bool:
    try:
        return os.path.samestat(os.fstat(fd), os.stat(path))
    except OSError:
        return False
