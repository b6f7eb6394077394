"""The supervisor's end of the monitor: which trees to watch, and what they use."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable
from typing import Any

from gflow.model.job import Job
from gflow.supervisor.child import Child
from gflow.supervisor.port import Port

#: What ends within this time is not worth measuring.
_SHORT_S = 0.1

Samples = tuple[tuple[int, int, dict[str, Any]], ...]


class MonitorPort(Port):
    """Tells the monitor what runs; ``active`` is told again to a new one."""

    def __init__(
        self,
        child: Child,
        loop: asyncio.AbstractEventLoop,
        *,
        active: Callable[[], Iterable[Job]],
        on_samples: Callable[[Samples], None],
        on_excess: Callable[[int, int, int, int], None],
        on_claims: Callable[[dict[str, str | None]], None],
    ) -> None:
        super().__init__(child, loop)
        self._active = active
        self._on_samples = on_samples
        #: (job id, attempt, used bytes, limit in bytes) of a tree that is above its limit.
        self._on_excess = on_excess
        #: Gets declared cards → who else gives them out, None for those that are ours.
        self._on_claims = on_claims
        self._wanted: list[str] = []
        #: What the monitor tells about itself: cost of a pass, and the like.
        self.figures: dict[str, Any] = {}
        #: Attempts that the monitor is yet to be told of, and what.
        self._new: dict[tuple[int, int], dict[str, Any]] = {}
        #: Attempts that it was told to watch.
        self._told: set[tuple[int, int]] = set()
        self._timer: asyncio.TimerHandle | None = None

    def watch(self, job: Job) -> None:
        """Measure the tree below the job's shim; where that is gone, the command and its tree."""
        root = job.shim or job.process
        if root is None:
            return
        if self._timer is None:
            self._timer = self.loop.call_later(_SHORT_S, self._tell_new)
        self._new[job.id, job.attempt] = {
            "t": "watch",
            "job_id": job.id,
            "attempt": job.attempt,
            "pid": root.pid,
            "ticks": root.start_ticks,
            "inclusive": job.shim is None,
            "memory_limit_bytes": job.spec.resources.memory_bytes or None,
        }

    def unwatch(self, job_id: int, attempt: int) -> None:
        """The attempt is over."""
        key = (job_id, attempt)
        self._new.pop(key, None)
        if key in self._told:
            self._told.remove(key)
            self._tell(t="unwatch", job_id=job_id, attempt=attempt)

    def claim(self, names: list[str]) -> None:
        """Have declared cards claimed for this supervisor, and no others."""
        if names != self._wanted:
            self._wanted = names
            self._tell(t="claim", job_id=0, attempt=0, names=names)

    async def close(self) -> None:
        """An orderly end."""
        self.closing = True
        if self.child.alive:
            self.send(json.dumps({"t": "stop", "job_id": 0, "attempt": 0}).encode())
            await asyncio.wait({self.ended}, timeout=2.0)

    def _tell_new(self) -> None:
        self._timer = None
        new, self._new = self._new, {}
        self._told.update(new)
        for message in new.values():
            self._tell(**message)

    def _tell(self, **message: Any) -> None:
        self.send(json.dumps(message).encode())

    def on_frame(self, frame: bytes) -> None:
        """Samples, or figures about the monitor itself."""
        message = json.loads(frame)
        if message["t"] == "samples":
            samples = message.pop("samples")
            if samples:
                self._on_samples(tuple((one[0], one[1], one[2]) for one in samples))
            del message["t"]
            self.figures = message
        elif message["t"] == "claims":
            self._on_claims(message["others"])
        elif message["t"] == "over_memory":
            self._on_excess(
                message["job_id"],
                message["attempt"],
                message["used_bytes"],
                message["limit_bytes"],
            )

    def on_replaced(self) -> None:
        """Tell the new one everything."""
        self._told.clear()
        wanted, self._wanted = self._wanted, []
        self.claim(wanted)
        for job in self._active():
            self.watch(job)

    def describe(self) -> dict[str, Any]:
        """What ``status`` shows of it."""
        return {**self.child.describe(), **self.figures}
