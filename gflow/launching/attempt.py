"""What the launcher holds of an attempt while somebody watches over it."""

from __future__ import annotations

from gflow.process.table import Identity

#: (job id, attempt).
Key = tuple[int, int]


class Attempt:
    """Runtime handles of one attempt. Lives as long as its shim (or follower)."""

    __slots__ = ("command", "end_reported", "exit_reported", "fd", "key", "kill_at_s", "own", "pid")

    def __init__(self, key: Key, pid: int, fd: int, *, own: bool) -> None:
        self.key = key
        self.pid = pid
        #: pidfd of the shim.
        self.fd = fd
        #: The shim is our child: it must be reaped.
        self.own = own
        #: None until it is reported.
        self.command: Identity | None = None
        self.exit_reported = False
        #: "gone", "lost" or "start_failed" was passed on: its end is no news.
        self.end_reported = False
        #: Monotonic time at which a kill asked for stops being patient; None: no kill asked for.
        self.kill_at_s: float | None = None
