"""The supervisor's children: births, deaths and pidfds, without any process."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any, Protocol

from tests.simulation.pipe import Pipe

_fds = itertools.count(1000)


class Process(Protocol):
    """What a simulated child process offers."""

    ended: str | None
    stopped: bool


class IdleProcess:
    """A child that does nothing: the monitor, the logger."""

    def __init__(self) -> None:
        self.ended: str | None = None
        self.stopped = False
        self.wants_turn = False


class SimulatedChild:
    """In the place of ``gflow.supervisor.child.Child``. ``bear`` makes the process."""

    def __init__(
        self, name: str, bear: Callable[[Pipe, dict[str, Any]], Process], settings: dict[str, Any]
    ) -> None:
        self.name = name
        self.settings = settings
        self._bear = bear
        self.restarts = 0
        self.last_end: str | None = None
        self._born()

    def _born(self) -> None:
        self.channel: Pipe | None = Pipe(next(_fds))
        self.pid = self.pidfd = next(_fds)
        #: What ``alive`` is about; also after its end has been noticed.
        self.process = self._bear(self.channel, self.settings)
        self.pipe = self.channel

    @property
    def alive(self) -> bool:
        return self.pidfd >= 0

    @property
    def died(self) -> bool:
        """Whether its pidfd is readable."""
        return self.pidfd >= 0 and self.process.ended is not None

    def replace(self) -> None:
        assert not self.alive, self.name
        self.restarts += 1
        self._born()

    def reap(self) -> str:
        assert self.process.ended is not None
        self.last_end = self.process.ended
        self.pidfd = -1
        if self.channel is not None:
            self.channel.close()
            self.channel = None
        return self.last_end

    def respawn_delay_s(self) -> float:
        return 0.0

    def send_signal(self, number: int) -> None:
        if self.alive and self.process.ended is None:
            if number == 18:
                self.process.stopped = False
            elif number == 9:
                self.kill()

    def kill(self) -> None:
        """SIGKILL."""
        process: Any = self.process
        if process.ended is None:
            if hasattr(process, "kill"):
                process.kill()
            elif hasattr(process, "end"):
                process.end("SIGKILL")
            else:
                process.ended = "SIGKILL"
                self.pipe.child_gone = True

    def state(self) -> str:
        if not self.alive or self.process.ended is not None:
            return "gone"
        return "stopped" if self.process.stopped else "running"

    def describe(self) -> dict[str, Any]:
        return {"pid": self.pid, "state": self.state(), "restarts": self.restarts}
