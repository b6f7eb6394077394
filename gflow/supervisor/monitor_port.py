"""The supervisor's end of the monitor: which trees to watch, and what they use."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable
from typing import Any

from gflow.model.job import Job
from gflow.supervisor.child import Child
from gflow.supervisor.port import Port

Samples = tuple[tuple[int, int, dict[str, Any]], ...]

#: Samples handed on in one turn of the loop: about a millisecond.
_SLICE = 40


class MonitorPort(Port):
    """Tells the monitor what runs; ``active`` is told again to a new one."""

    def __init__(
        self,
        child: Child,
        loop: asyncio.AbstractEventLoop,
        *,
        active: Callable[[], Iterable[Job]],
        on_samples: Callable[[Samples], None],
    ) -> None:
        super().__init__(child, loop)
        self._active = active
        self._on_samples = on_samples
        #: What the monitor tells about itself: cost of a pass, and the like.
        self.figures: dict[str, Any] = {}

    def watch(self, job: Job) -> None:
        """Measure the tree below the job's shim."""
        if job.shim is None:
            return
        self._tell(
            t="watch",
            job_id=job.id,
            attempt=job.attempt,
            pid=job.shim.pid,
            ticks=job.shim.start_ticks,
        )

    def unwatch(self, job_id: int, attempt: int) -> None:
        """The attempt is over."""
        self._tell(t="unwatch", job_id=job_id, attempt=attempt)

    async def close(self) -> None:
        """An orderly end."""
        self.closing = True
        if self.child.alive:
            self.send(json.dumps({"t": "stop", "job_id": 0, "attempt": 0}).encode())
            await asyncio.wait({self.ended}, timeout=2.0)

    def _tell(self, **message: Any) -> None:
        self.send(json.dumps(message).encode())

    def on_frame(self, frame: bytes) -> None:
        """Samples, or figures about the monitor itself."""
        message = json.loads(frame)
        if message["t"] == "samples":
            samples = message.pop("samples")
            if samples:
                self._hand_on(samples)
            del message["t"]
            self.figures = message

    def _hand_on(self, samples: list[Any]) -> None:
        """In slices: those of hundreds of jobs would make one long turn."""
        some, rest = samples[:_SLICE], samples[_SLICE:]
        self._on_samples(tuple((one[0], one[1], one[2]) for one in some))
        if rest:
            self.loop.call_soon(self._hand_on, rest)

    def on_replaced(self) -> None:
        """Tell the new one everything."""
        for job in self._active():
            self.watch(job)

    def describe(self) -> dict[str, Any]:
        """What ``status`` shows of it."""
        return {**self.child.describe(), **self.figures}
