"""The supervisor's children: born by fork before the loop exists, replaced by exec afterwards."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from multiprocessing.context import ForkContext
from typing import Any

from gflow.process import identity
from gflow.process.channel import Channel
from gflow.process.child import OTHER_PROTOCOL, words

#: A child that lived this long has recovered: its back-off starts again.
_STABLE_S = 10.0
_LONGEST_DELAY_S = 5.0

Main = Callable[[int, dict[str, Any]], None]


class Child:
    """One child process, its channel and its history. The caller watches ``pidfd``.

    ``keep_fds`` are inherited by the child beside its end of the channel, under the same numbers.
    """

    def __init__(
        self, name: str, main: Main, settings: dict[str, Any], keep_fds: tuple[int, ...] = ()
    ) -> None:
        self.name = name
        self.settings = settings
        self._main = main
        self._keep_fds = keep_fds
        self.channel: Channel | None = None
        self.pid = 0
        self.pidfd = -1
        #: How often it was replaced.
        self.restarts = 0
        #: How it ended last, for people; None while it never did.
        self.last_end: str | None = None
        self._born_s = 0.0
        self._delay_s = 0.0

    @property
    def alive(self) -> bool:
        return self.pidfd >= 0

    def fork(self, context: ForkContext) -> None:
        """Be born: only before the event loop exists and while this process is small."""
        ours, theirs = context.Pipe(duplex=True)
        process = context.Process(
            target=self._main, args=(theirs.fileno(), self.settings), name=f"gflow-{self.name}"
        )
        process.start()
        assert process.pid is not None
        theirs.close()
        self._adopt(process.pid, os.dup(ours.fileno()))
        ours.close()

    def replace(self) -> None:
        """Be born again, by exec: forking the grown supervisor would cost milliseconds.

        Raises OSError when the machine is short of processes; try again later.
        """
        assert not self.alive, self.name
        ours, theirs = _socket_pair()
        inherited = (theirs, *self._keep_fds)
        try:
            for fd in inherited:
                os.set_inheritable(fd, True)
            pid = os.posix_spawn(
                sys.executable,
                [sys.executable, "-P", "-m", self._main.__module__, *words(theirs, self.settings)],
                os.environ,
                setsid=True,
                setsigmask=(),
                setsigdef=(signal.SIGTERM, signal.SIGINT, signal.SIGPIPE, signal.SIGXFSZ),
            )
        except OSError:
            os.close(ours)
            raise
        finally:
            for fd in inherited:
                os.set_inheritable(fd, False)
            os.close(theirs)
        self.restarts += 1
        self._adopt(pid, ours)

    def _adopt(self, pid: int, fd: int) -> None:
        self.pid = pid
        self.pidfd = os.pidfd_open(pid)
        self.channel = Channel(fd)
        self._born_s = time.monotonic()

    def reap(self) -> str:
        """Take the dead child's status and close what belonged to it; how it ended, in words."""
        _, status = os.waitpid(self.pid, 0)
        code = os.waitstatus_to_exitcode(status)
        self.last_end = f"exit {code}" if code >= 0 else signal.Signals(-code).name
        if code == OTHER_PROTOCOL:
            self.last_end = "another version of gflow is installed now: restart the supervisor"
        os.close(self.pidfd)
        self.pidfd = -1
        if self.channel is not None:
            self.channel.close()
            self.channel = None
        if time.monotonic() - self._born_s > _STABLE_S:
            self._delay_s = 0.0
        return self.last_end

    def respawn_delay_s(self) -> float:
        """How long to wait before the next birth: nothing at first, longer while it keeps dying."""
        delay_s = self._delay_s
        self._delay_s = min(_LONGEST_DELAY_S, max(0.1, 2 * delay_s))
        return delay_s

    def send_signal(self, number: int) -> None:
        """Signal the child, and nobody who might have its pid by now."""
        if self.alive:
            try:
                signal.pidfd_send_signal(self.pidfd, number)
            except ProcessLookupError:
                pass

    def state(self) -> str:
        """running, stopped, uninterruptible or gone, as /proc says."""
        letter = identity.process_state(self.pid) if self.alive else None
        words = {"T": "stopped", "t": "stopped", "D": "uninterruptible", "Z": "gone", "X": "gone"}
        return "gone" if letter is None else words.get(letter, "running")

    def describe(self) -> dict[str, Any]:
        """What ``status`` shows of it."""
        return {
            "pid": self.pid if self.alive else None,
            "state": self.state(),
            "restarts": self.restarts,
            "last_end": self.last_end,
        }


def _socket_pair() -> tuple[int, int]:
    import socket

    ours, theirs = socket.socketpair()
    return ours.detach(), theirs.detach()
