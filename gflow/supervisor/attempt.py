"""What the launcher tells of attempts: taken to the core, and their run files let go in time."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from gflow.errors import Refused
from gflow.launching import request
from gflow.launching.protocol import Message
from gflow.model.action import Signal
from gflow.model.event import Event, Hold
from gflow.model.job import Job
from gflow.model.state import ACTIVE, State
from gflow.supervisor import clock, recovery
from gflow.supervisor.conclusion import Conclusions

if TYPE_CHECKING:
    from gflow.supervisor.reactor import Reactor

log = logging.getLogger("gflow")

_LOOK_UP_AGAIN_S = 0.25


class Attempts:
    """Reports of attempts, those of jobs that are not in memory included."""

    def __init__(self, reactor: Reactor) -> None:
        self._reactor = reactor
        self._conclusions = Conclusions(reactor)
        #: (position, job id, attempt): run files that go once the position is durable.
        self._forgets: deque[tuple[int, int, int]] = deque()
        #: Run files of unknown jobs that are being looked up.
        self._lookups: set[asyncio.Task[None]] = set()
        #: Reports that wait until it is known what their job is, by job id.
        self._unknown: dict[int, list[Message]] = {}

    def on_report(self, report: Message) -> None:
        """A report of the launcher, about an attempt."""
        job_id = report["job_id"]
        if job_id in self._unknown:
            self._unknown[job_id].append(report)
            return
        if not self._is_here(job_id):
            if report["t"] == "found":
                self._look_up(report)
            return  # whatever else is said of it, the next scan finds in its run file
        job = self._reactor.scheduler.job(job_id)
        if report["t"] == "found" and job is not None:
            finding = recovery.judge(report, job)
            events = finding.events
            if finding.kill is not None:
                self._reactor.launcher.kill(finding.kill)
        else:
            events = self._unhooked(report, job)
        if job is not None and events and self._is_leaving_cards(job, report):
            assert self._reactor.gpu is not None
            # The end gives the cards out at once: it waits until their memory is free.
            *events, end = request.events_apart(report)
            self._settle(report, events)
            self._reactor.gpu.release(job, lambda: self._settle(report, [end]))
        else:
            self._settle(report, events)

    def _unhooked(self, report: Message, job: Job | None) -> list[Event]:
        """What a report means, and what a hook that failed does beside."""
        events = request.events(report)
        if report["t"] == "trouble":
            log.warning("job %d: %s", report["job_id"], report["message"])
        if not report.get("hold"):
            return events
        log.warning("job %d: %s", report["job_id"], report["message"])
        gpu_ids = () if job is None or job.attempt != report["attempt"] else job.gpu_ids
        if self._reactor.config["hooks"]["prolog_failure"] != "quarantine" or not gpu_ids:
            return events
        for index in gpu_ids:
            self._reactor.cards.quarantine(index, report["message"])
        self._reactor.count_again()
        return [one for one in events if not isinstance(one, Hold)]

    def _is_leaving_cards(self, job: Job, report: Message) -> bool:
        """Whether a report ends an attempt that holds cards which the driver knows."""
        return (
            self._reactor.gpu is not None
            and report["t"] not in ("found", "start_failed")
            and request.is_over(report)
            and (job.attempt, job.state in ACTIVE) == (report["attempt"], True)
            and bool(self._reactor.cards.uuids(job.gpu_ids))
        )

    def _settle(self, report: Message, events: Sequence[Event]) -> None:
        position = self._reactor.step(*events) if events else self._reactor.persister.link.add(())
        self._after_report(report, position)

    def _after_report(self, report: Message, position: int) -> None:
        job_id, attempt = report["job_id"], report["attempt"]
        job = self._reactor.scheduler.job(job_id)
        if job is not None and job.attempt == attempt and job.state in ACTIVE:
            if report["t"] in ("started", "found") or "start" in report:
                self._keep_suspended_or_going(report, job)
                self._reactor.monitor.watch(job)
                if self._reactor.gpu is not None:
                    self._reactor.gpu.watch(job)
        elif request.is_over(report):
            self._reactor.monitor.unwatch(job_id, attempt)
            self._forgets.append((position, job_id, attempt))
            if self._reactor.persister.link.durable >= position:
                self.forget_saved()

    def _keep_suspended_or_going(self, report: Message, job: Job) -> None:
        """The signal of a suspension, or its record, may have been lost with whoever had it."""
        stopped = report.get("stopped", False)
        if job.state is State.SUSPENDED and not stopped:
            number = signal.SIGSTOP
        elif job.state is State.RUNNING and stopped:
            log.warning("job %d was stopped, and is to run: it goes on", job.id)
            number = signal.SIGCONT
        else:
            return
        self._reactor.launcher.signal(Signal(job.id, job.attempt, number, tree=True))

    def _is_here(self, job_id: int) -> bool:
        scheduler = self._reactor.scheduler
        return scheduler.job(job_id) is not None or scheduler.waiting_task(job_id) is not None

    def _look_up(self, report: Message) -> None:
        self._unknown[report["job_id"]] = [report]
        lookup = self._reactor.loop.create_task(self._on_unknown(report))
        self._lookups.add(lookup)
        lookup.add_done_callback(self._lookups.discard)

    async def _on_unknown(self, report: Message) -> None:
        """A run file of a job that is not in memory: history may know it, else it brings itself."""
        job_id = report["job_id"]
        record = await self._certainly_from_history(job_id)
        if record is None:
            # Of several attempts the last that was not torn knows best.
            told = (one["record"] for one in self._unknown[job_id][::-1] if one.get("record"))
            record = next(told, None)
        array_id = report.get("array_id") or (record or {}).get("array_id")
        array = None if array_id is None else await self._certainly_from_history(array_id)
        for found in (array, record):
            if found is not None:
                self._reactor.scheduler.restore(found, clock.now())
        self._reactor.finish([], self._reactor.scheduler.take_changes())
        waiting = self._unknown.pop(job_id)
        if self._is_here(job_id):
            for one in waiting:
                self.on_report(one)
        else:
            log.error("job %d has run, and nothing says what it is", job_id)
            for attempt in dict.fromkeys(one["attempt"] for one in waiting if request.is_over(one)):
                self._reactor.launcher.forget(job_id, attempt)

    async def _certainly_from_history(self, job_id: int) -> dict[str, Any] | None:
        """As :meth:`from_history`; asks again when the persister dies over it."""
        while True:
            try:
                return await self._reactor.from_history(job_id)
            except Refused as error:
                log.warning("job %d: %s", job_id, error)
                await asyncio.sleep(_LOOK_UP_AGAIN_S)

    async def recovered(self) -> None:
        """Every run file was reported and settled."""
        await self._reactor.launcher.scan()
        while self._lookups:
            await asyncio.wait(self._lookups)

    def forget_saved(self) -> None:
        """Let run files go whose end is durable now."""
        durable = self._reactor.persister.link.durable
        while self._forgets and self._forgets[0][0] <= durable:
            _, job_id, attempt = self._forgets.popleft()
            self._conclusions.over(job_id, attempt)

    def on_ended_waiting(self, job: Job) -> None:
        """A job that had run before ended while it waited for another attempt."""
        if job.attempt and job.spec.on_end is not None:
            position = self._reactor.persister.link.add(())
            self._forgets.append((position, job.id, job.attempt))
