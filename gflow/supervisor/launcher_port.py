"""The supervisor's end of the launcher: orders out, reports in, one-shot readers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import Any

from gflow.errors import Refused
from gflow.launching import protocol, request
from gflow.launching.protocol import Message
from gflow.model.action import Kill, Signal, Start, Warn
from gflow.model.job import Job
from gflow.supervisor.child import Child
from gflow.supervisor.port import Port

log = logging.getLogger("gflow")

#: A reader is ended by the launcher after 5 s; this covers a launcher that is gone itself.
_READ_TIMEOUT_S = 8.0
_KINDS = {
    "not_found": Refused.NOT_FOUND,
    "forbidden": Refused.FORBIDDEN,
    "io": Refused.CONFLICT,
    "timeout": Refused.UNAVAILABLE,
    "again": Refused.UNAVAILABLE,
}


class LauncherPort(Port):
    """Starts, signals and kills; whatever was not answered before a death is sent again.

    ``build`` makes the frame of a start anew; ``active`` are the jobs that should be running;
    ``on_report`` gets every report about an attempt.
    """

    def __init__(
        self,
        child: Child,
        loop: asyncio.AbstractEventLoop,
        *,
        build: Callable[[Start], bytes],
        active: Callable[[], Iterable[Job]],
        on_report: Callable[[Message], None],
    ) -> None:
        super().__init__(child, loop)
        self._build = build
        self._active = active
        self._on_report = on_report
        #: Starts without an answer yet, by (job id, attempt).
        self._unanswered: dict[tuple[int, int], Start] = {}
        self._kills: dict[tuple[int, int], Kill] = {}
        #: Warnings that no launcher has taken yet.
        self._warnings: list[Warn] = []
        self._forgotten: list[tuple[int, int]] = []
        self._reads: dict[int, asyncio.Future[tuple[Message, bytes]]] = {}
        self._read_count = 0
        self._scanned: asyncio.Future[None] | None = None
        self._scan: asyncio.Task[None] | None = None
        #: Attempts under its watch, as it told last.
        self.attempts = 0
        #: Why control groups do not limit memory; None: they do.
        self._polled_because: str | None = "not known yet"

    # --- orders ---------------------------------------------------------------------------------

    def start(self, order: Start) -> None:
        """Start an attempt; sent again after a launcher's death until it is answered."""
        self._unanswered[order.job_id, order.attempt] = order
        if self._scanned is None:
            self.queue(self._build(order))

    def kill(self, order: Kill) -> None:
        """End the tree of an attempt; asked for again of the next launcher."""
        self._kills[order.job_id, order.attempt] = order
        if self._scanned is None:  # else it would overtake a start that waits for the scan
            self.send(request.kill(order))

    def signal(self, order: Signal) -> None:
        """Send a signal once."""
        self.send(request.signal(order))

    def warn(self, order: Warn) -> None:
        """Warn an attempt; one that no launcher knows of now is told by the next."""
        if self._scanned is not None or not self.send(request.warn(order)):
            self._warnings.append(order)

    def forget(self, job_id: int, attempt: int) -> None:
        """The final record of the attempt is durable: what it left may go.

        Those of one turn of the loop go in one message.
        """
        if not self._forgotten:
            self.loop.call_soon(self._send_forgotten)
        self._forgotten.append((job_id, attempt))

    def _send_forgotten(self) -> None:
        if self._forgotten:
            self.send(request.forget(self._forgotten))
            self._forgotten = []

    def conclude(self, frame: bytes) -> None:
        """The same, and the job's own line is to run (:func:`request.conclude`)."""
        self.send(frame)

    def expire(self, jobs: list[dict[str, Any]]) -> None:
        """History has forgotten these jobs: their logs may go."""
        self.send(request.expire(jobs))

    async def scan(self) -> None:
        """Have every run file reported, and everything that should be running looked for."""
        if self._scanned is None:
            self._scanned = self.loop.create_future()
        scanned = self._scanned
        pending = {job_id for job_id, _ in self._unanswered}
        self.send(request.scan(job for job in self._active() if job.id not in pending))
        await scanned

    # --- reports --------------------------------------------------------------------------------

    def on_frame(self, frame: bytes) -> None:
        """One report."""
        report, blobs = protocol.unpack(frame)
        match report["t"]:
            case "heartbeat":
                self.attempts = report["attempts"]
                self._polled_because = report["unlimited"]
            case "read_result":
                future = self._reads.get(report["id"])
                if future is not None and not future.done():
                    future.set_result((report, blobs[0] if blobs and blobs[0] else b""))
            case "scanned":
                self._resend()
            case _:
                self._about_attempt(report)

    def _about_attempt(self, report: Message) -> None:
        key = (report["job_id"], report["attempt"])
        self._unanswered.pop(key, None)
        if request.is_over(report):
            self._kills.pop(key, None)
        self._on_report(report)

    def _resend(self) -> None:
        scanned, self._scanned = self._scanned, None
        for order in tuple(self._unanswered.values()):
            self.send(self._build(order))
        for kill in tuple(self._kills.values()):
            self.send(request.kill(kill))
        warnings, self._warnings = self._warnings, []
        for warning in warnings:
            self.warn(warning)
        if scanned is not None and not scanned.done():
            scanned.set_result(None)

    # --- readers --------------------------------------------------------------------------------

    async def read(self, build: Callable[[int], bytes]) -> tuple[dict[str, Any], bytes]:
        """Facts and content that a one-shot reader found. Raises Refused with its sentence."""
        self._read_count += 1
        number = self._read_count
        future: asyncio.Future[tuple[Message, bytes]] = self.loop.create_future()
        self._reads[number] = future
        try:
            if not self.send(build(number)):
                raise Refused(Refused.UNAVAILABLE, "cannot read: the launcher is being replaced")
            report, content = await asyncio.wait_for(future, _READ_TIMEOUT_S)
        except TimeoutError:
            raise Refused(Refused.UNAVAILABLE, "cannot read: no answer in time") from None
        finally:
            del self._reads[number]
        if "error" in report:
            raise Refused(_KINDS.get(report["kind"], Refused.CONFLICT), report["error"])
        return report, content

    # --- life -----------------------------------------------------------------------------------

    def on_lost(self) -> None:
        """It died: readers are asked for again by whoever needs them."""
        for future in self._reads.values():
            if not future.done():
                future.set_exception(
                    Refused(Refused.UNAVAILABLE, "cannot read: the launcher was replaced")
                )

    def on_replaced(self) -> None:
        """The new one finds what lives; then what was not answered is sent again."""
        self._scan = self.loop.create_task(self.scan())

    async def close(self) -> None:
        """An orderly end; shims and jobs live on."""
        self.closing = True
        self._send_forgotten()
        if self.send(request.stop()):
            try:
                await asyncio.wait_for(self.ended, 5.0)
            except TimeoutError:
                log.error("the launcher did not end in time")

    def describe(self) -> dict[str, Any]:
        """What ``status`` shows of it."""
        return {
            **self.child.describe(),
            "attempts": self.attempts,
            "unanswered": len(self._unanswered),
            "memory_limits": "polling" if self._polled_because else "control groups",
            "memory_limits_reason": self._polled_because,
        }
