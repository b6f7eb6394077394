"""What a shim tells the launcher, through a FIFO that outlives every launcher."""

from __future__ import annotations

import errno
import os
import select
from collections import deque
from typing import Any

from gflow.launching import protocol


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
