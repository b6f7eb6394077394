"""Shims that have nothing to do: the next orders are theirs, which saves a fork and its exit."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from gflow.launching import line
from gflow.launching.line import LauncherEnd

#: An idle shim is for bursts of short jobs; it costs 2 MB.
_IDLE_S = 2.0


class Handle:
    """What the launcher holds of a shim that it forked; outlives the shim's attempts."""

    __slots__ = ("idle_since_s", "line", "pid", "pidfd")

    def __init__(self, pid: int, pidfd: int, line: LauncherEnd | None) -> None:
        self.pid = pid
        self.pidfd = pidfd
        #: None: it takes no other order.
        self.line = line
        #: Monotonic.
        self.idle_since_s = 0.0


class Pool:
    """Idle shims, and those that were told to go and are not gone yet.

    ``watch`` and ``unwatch`` (which closes) are the launcher's loop.
    """

    def __init__(
        self,
        *,
        watch: Callable[[int, Callable[[], None]], None],
        unwatch: Callable[[int], None],
    ) -> None:
        self._watch = watch
        self._unwatch = unwatch
        #: The one that was busy last is at the end: what it needs is in the caches.
        self._idle: list[Handle] = []

    def __len__(self) -> int:
        return len(self._idle)

    def put(self, handle: Handle) -> None:
        """Keep a shim that is idle."""
        handle.idle_since_s = time.monotonic()
        self._idle.append(handle)
        self._watch_over(handle)

    def dismiss(self, handle: Handle) -> None:
        """Have an idle shim end."""
        self._watch_over(handle)
        self._hang_up(handle)

    def hand(
        self, frame: bytes, oom_kills: int | None, spare: str | None, lock_fd: int | None
    ) -> Handle | None:
        """Give a start message to an idle shim, which is the caller's then. None: nobody takes it.

        See ``line.order``.
        """
        if not self._idle:
            return None
        order = line.order(frame, oom_kills, spare)
        while self._idle and len(order) <= line.LARGEST_ORDER_BYTES:
            handle = self._idle.pop()
            assert handle.line is not None
            if handle.line.hand(order, lock_fd):
                return handle
            self.dismiss(handle)
        return None

    def expire(self, now_s: float) -> None:
        """Dismiss those that have waited for long."""
        count = sum(one.idle_since_s + _IDLE_S <= now_s for one in self._idle)
        expired, self._idle = self._idle[:count], self._idle[count:]
        for handle in expired:
            self._hang_up(handle)

    def _watch_over(self, handle: Handle) -> None:
        self._watch(handle.pidfd, lambda: self._on_end(handle))
        if handle.line is not None:
            self._watch(handle.line.fileno(), lambda: self._on_end_of_line(handle))

    def _on_end_of_line(self, handle: Handle) -> None:
        try:
            if handle.line is not None:
                handle.line.hear()
        except EOFError:
            self._hang_up(handle)

    def _hang_up(self, handle: Handle) -> None:
        """Its end is seen by its pidfd."""
        if handle.line is not None:
            self._unwatch(handle.line.detach())
            handle.line = None
        if handle in self._idle:
            self._idle.remove(handle)

    def _on_end(self, handle: Handle) -> None:
        self._hang_up(handle)
        self._unwatch(handle.pidfd)
        os.waitpid(handle.pid, 0)
