"""The supervisor's end of the gpu process: which cards there are, who is on them, what they do.

It may hang in its driver. Then nothing else does: what was known of the cards stays, ``status``
says ``stalled``, and the process is replaced as soon as the kernel lets it die.
"""

from __future__ import annotations

import asyncio
import json
import logging
import signal
from collections.abc import Callable, Iterable
from typing import Any

from gflow.model.job import Job
from gflow.model.state import State
from gflow.supervisor import card
from gflow.supervisor.card import Cards, Release
from gflow.supervisor.child import Child
from gflow.supervisor.port import Port

log = logging.getLogger("gflow")

Samples = tuple[tuple[int, int, dict[str, Any]], ...]

#: How often its silence is looked at.
_WATCH_S = 1.0
#: How often a card is looked at whose holder has ended while its memory is not free.
_LOOK_S = 0.1
#: After this an ended job holds its cards no longer; they are kept back themselves.
_RELEASE_S = 10.0
#: Longest pause between two replacements of one that does not answer.
_LONGEST_DELAY_S = 60.0
#: Longest gap that counts as use of a card; after it nothing is known.
_LONGEST_SAMPLE_S = 30.0


class _Leaving:
    """A job that has ended and whose cards are being looked at."""

    def __init__(self, job: Job, uuids: list[str], done: Callable[[], None]) -> None:
        self.job_id = job.id
        self.gpu_ids = job.gpu_ids
        self.uuids = uuids
        self.done = done
        self.timer: asyncio.TimerHandle | None = None


class GpuPort(Port):
    """Asks about cards; watches for silence.

    ``active``: jobs that hold resources; ``on_changed``: cards, or what may be done with them, may
    have changed; ``on_samples`` gets what jobs use of their cards.
    """

    def __init__(
        self,
        child: Child,
        loop: asyncio.AbstractEventLoop,
        cards: Cards,
        *,
        active: Callable[[], Iterable[Job]],
        on_changed: Callable[[], None],
        on_samples: Callable[[Samples], None],
        stalled_after_s: float,
    ) -> None:
        super().__init__(child, loop)
        self.cards = cards
        self._active = active
        self._on_changed = on_changed
        self._on_samples = on_samples
        self._stalled_after_s = stalled_after_s
        #: It has been silent for too long and has not been heard since.
        self.stalled = False
        #: There is no driver: its sentence.
        self.absent: str | None = None
        self.answered: asyncio.Future[None] = loop.create_future()
        self._figures: dict[str, Any] = {}
        self._heard_s = loop.time()
        #: When it was heard last, or born.
        self._waiting_since_s = loop.time()
        self._reported_s = loop.time()
        self._killed_pid = 0
        self._delay_s = 0.0
        self._number = 0
        #: Cards that are not claimed, as told last.
        self._renounced: list[str] = []
        self._leaving: dict[int, _Leaving] = {}
        self._watch: asyncio.TimerHandle | None = None

    # --- orders ---------------------------------------------------------------------------------

    def attach(self) -> None:
        """Start listening, and watching for silence."""
        super().attach()
        self._waiting_since_s = self.loop.time()
        if self._watch is None:
            self._watch = self.loop.call_later(_WATCH_S, self._look_for_silence)

    def watch(self, job: Job) -> None:
        """Processes below the job's shim are the job's."""
        if job.gpu_ids:
            roots = [(p.pid, p.start_ticks) for p in (job.shim, job.process) if p is not None]
            self._tell(t="watch", job_id=job.id, roots=roots)

    def release(self, job: Job, done: Callable[[], None]) -> None:
        """Call ``done`` once the memory of an ended job's cards is free, at once if it can be.

        When it does not become free in time, the cards are kept back, and ``done`` is called.
        """
        self._tell(t="unwatch", job_id=job.id)
        uuids = self.cards.uuids(job.gpu_ids)
        if not uuids or self.absent is not None:
            done()
            return
        leaving = _Leaving(job, uuids, done)
        self._look(leaving)
        self.loop.call_later(_RELEASE_S, self._give_up, leaving)

    def holders(self) -> dict[int, set[int]]:
        """Card index → ids of the jobs that hold it; those that are leaving do not."""
        leaving = {one.job_id for one in self._leaving.values()}
        return card.holders(job for job in self._active() if job.id not in leaving)

    async def first_answer(self, timeout_s: float) -> None:
        """Wait until it is known which cards there are, but not for long."""
        await asyncio.wait({self.answered}, timeout=timeout_s)

    async def close(self) -> None:
        """An orderly end, or another one."""
        if self._watch is not None:
            self._watch.cancel()
        if self.closing:
            return
        self.closing = True
        if self.child.alive:
            self._tell(t="stop")
            await asyncio.wait({self.ended}, timeout=0.5)
            self.child.send_signal(signal.SIGKILL)

    def _tell(self, **message: Any) -> None:
        self.send(json.dumps(message).encode())

    # --- what it says ---------------------------------------------------------------------------

    def on_frame(self, frame: bytes) -> None:
        """A sign of life, and perhaps more."""
        self._heard_s = self._waiting_since_s = self.loop.time()
        if self.stalled:
            self.stalled, self._delay_s = False, 0.0
            log.warning("the gpu process answers again")
        message = json.loads(frame)
        match message["t"]:
            case "cards":
                self._on_cards(message)
            case "looked":
                self._on_looked(message)
            case "failed":
                self.cards.failed(message["message"])
                self._figures = {"message": message["message"]}
                self._on_changed()
            case "absent":
                self.absent = message["message"]
                self.closing = True
                self.cards.absent()
                self._know()

    def _know(self) -> None:
        self._on_changed()
        if not self.answered.done():
            self.answered.set_result(None)

    def _on_cards(self, message: dict[str, Any]) -> None:
        self.cards.report(message["cards"], message["groups"])
        if (renounced := self.cards.not_wanted()) != self._renounced:
            self._renounced = renounced
            self._tell(t="renounce", uuids=renounced)
        if not self.answered.done():
            self.cards.forget_absent(self.holders())
        self._figures = {"driver": message["driver"], "round_s": message["round_s"]}
        now_s = self.loop.time()
        passed_s, self._reported_s = now_s - self._reported_s, now_s
        self._know()
        self._sample(min(passed_s, _LONGEST_SAMPLE_S))

    def _sample(self, passed_s: float) -> None:
        samples = []
        for job in self._active():
            if job.state is State.SUSPENDED:
                continue  # it cannot use them
            facts = [self.cards.figures(index) for index in job.gpu_ids]
            facts = [one for one in facts if one]
            if facts:
                samples.append((job.id, job.attempt, _usage(job, facts, passed_s)))
        if samples:
            self._on_samples(tuple(samples))

    # --- cards of jobs that have ended ----------------------------------------------------------

    def _look(self, leaving: _Leaving) -> None:
        self._number += 1
        self._leaving[self._number] = leaving
        leaving.timer = None
        self._tell(t="look", number=self._number, uuids=leaving.uuids)

    def _on_looked(self, message: dict[str, Any]) -> None:
        self.cards.looked(message["cards"])
        leaving = self._leaving.get(message["number"])
        if leaving is None:
            return
        holders = self.holders()
        if any(self.cards.release(uuid, holders) is Release.PENDING for uuid in leaving.uuids):
            if leaving.timer is None:
                leaving.timer = self.loop.call_later(_LOOK_S, self._look_again, leaving)
            return
        self._finish(leaving)

    def _look_again(self, leaving: _Leaving) -> None:
        self._forget(leaving)
        self._look(leaving)

    def _give_up(self, leaving: _Leaving) -> None:
        if leaving not in self._leaving.values():
            return
        silent = self.loop.time() - self._heard_s >= _RELEASE_S or not self.child.alive
        reason = (
            f"its driver does not tell whether the memory of job {leaving.job_id} is free"
            if silent
            else f"the memory of job {leaving.job_id} is not free yet"
        )
        for index in leaving.gpu_ids:
            self.cards.doubt(index, reason)
        log.warning("gpus %s: %s", ",".join(map(str, leaving.gpu_ids)), reason)
        self._finish(leaving)

    def _finish(self, leaving: _Leaving) -> None:
        # First what may not be given out, then the end: it gives out what it frees.
        self._on_changed()
        self._forget(leaving)
        leaving.done()

    def _forget(self, leaving: _Leaving) -> None:
        if leaving.timer is not None:
            leaving.timer.cancel()
        for number in [n for n, one in self._leaving.items() if one is leaving]:
            del self._leaving[number]

    # --- silence --------------------------------------------------------------------------------

    def _look_for_silence(self) -> None:
        self._watch = None
        if self.closing:
            return
        self._watch = self.loop.call_later(_WATCH_S, self._look_for_silence)
        silent_s = self.loop.time() - self._waiting_since_s
        if not self.child.alive or silent_s < self._stalled_after_s:
            return
        if not self.stalled:
            log.error("the gpu process has not answered for %.0f s: its driver hangs", silent_s)
        self.stalled = True
        # In an uninterruptible call it cannot die before the call returns.
        if self._killed_pid != self.child.pid and self.child.state() != "uninterruptible":
            self._killed_pid = self.child.pid
            self.child.send_signal(signal.SIGKILL)

    def respawn_delay_s(self) -> float:
        """Longer and longer while the driver hangs."""
        if not self.stalled:
            return super().respawn_delay_s()
        self._delay_s = min(_LONGEST_DELAY_S, max(1.0, 2 * self._delay_s))
        return self._delay_s

    def on_replaced(self) -> None:
        """Tell the new one everything; ask it again what the old one did not answer."""
        self._renounced = []
        for job in self._active():
            self.watch(job)
        for leaving in tuple(self._leaving.values()):
            self._look_again(leaving)

    def describe(self) -> dict[str, Any]:
        """What ``status`` shows of it."""
        found = {**self.child.describe(), **self._figures}
        if self.absent is not None:
            return {**found, "state": "absent", "message": self.absent}
        if self.stalled:
            found.update(state="stalled", process_state=found["state"])
        found["silent_s"] = round(self.loop.time() - self._heard_s, 1)
        return found


def _usage(job: Job, facts: list[dict[str, Any]], passed_s: float) -> dict[str, Any]:
    """What a job uses of its cards; ``gpu_s`` counts full use of one card for one second as 1.

    ``gpu_idle_s``: since when it has used none of them.
    """
    used_bytes = sum(
        process["memory_bytes"] or 0
        for one in facts
        for process in one["processes"]
        if process["job_id"] == job.id
    )
    known = [one["utilisation"] for one in facts if one["utilisation"] is not None]
    figures = {"gpu_memory_bytes": used_bytes, "max_gpu_memory_bytes": used_bytes}
    if known:
        before_s = (job.usage or {}).get("gpu_s") or 0.0
        figures["gpu_utilisation"] = round(sum(known) / len(known), 3)
        figures["gpu_s"] = round(before_s + sum(known) * passed_s, 2)
        idle_s = (job.usage or {}).get("gpu_idle_s") or 0.0
        figures["gpu_idle_s"] = 0.0 if any(known) else round(idle_s + passed_s, 2)
    return figures
