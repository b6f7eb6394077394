"""What shims tell the launcher: on their line, or through a FIFO that outlives every launcher."""

from __future__ import annotations

import errno
import os
import select
from collections import deque
from collections.abc import Callable
from typing import Any

from gflow.launching import protocol
from gflow.launching.line import ShimEnd
from gflow.launching.place import Place
from gflow.launching.protocol import Message

_READ_BYTES = 1 << 16


class Reporter:
    """Sends reports to whichever launcher listens; the run file tells those that come later.

    A shim has a line to the launcher that forked it, as long as that lives; everybody else, and
    afterwards, takes the FIFO. That is open only while something is written, so that nothing of the
    scheduler's stays open. A report is written whole or not at all (pipe(7), PIPE_BUF).
    """

    def __init__(self, path: str, job_id: int, attempt: int, line: ShimEnd | None = None) -> None:
        self._path = path
        self._line = line
        self._about = {"job_id": job_id, "attempt": attempt}
        #: Reports that a stopped launcher has no room for.
        self.waiting: deque[bytes] = deque()

    def send(self, what: str, facts: dict[str, Any], *, idle: bool = False) -> None:
        """``idle``: the sender waits for an order on its line from now on, if that takes it."""
        report = protocol.encode({"t": what, **self._about, **facts})
        assert len(report) < select.PIPE_BUF, "a report must be written whole"
        self.waiting.append(report)
        self.flush(idle=idle)

    def flush(self, *, idle: bool = False) -> None:
        """Say what there is room for. With no launcher alive nothing needs to be said."""
        while self.waiting and self._line is not None:
            try:
                said = self._line.say(self.waiting[0], idle=idle and len(self.waiting) == 1)
            except BlockingIOError:
                return
            if said:
                self.waiting.popleft()
            else:
                self._line = None
        if self.waiting:
            self._flush_to_fifo()

    def _flush_to_fifo(self) -> None:
        try:
            fd = os.open(self._path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            self.waiting.clear()
            return
        try:
            while self.waiting:
                os.write(fd, self.waiting[0] + b"\n")
                self.waiting.popleft()
        except OSError as error:
            if error.errno != errno.EAGAIN:
                self.waiting.clear()
        finally:
            os.close(fd)


class Reports:
    """The launcher's end. ``deliver`` gets (job id, attempt), the report, and it as it came."""

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
        self.deliver: Callable[[tuple[int, int], Message, bytes], None] = lambda *_: None

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
                self.deliver(key, report, line)
            if len(data) < _READ_BYTES:
                return


def _is_same_file(fd: int, path: str) -> bool:
    try:
        return os.path.samestat(os.fstat(fd), os.stat(path))
    except OSError:
        return False
