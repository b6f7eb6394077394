"""The supervisor's end of the persister: what changed goes out, acknowledgements wake who waits."""

from __future__ import annotations

import asyncio
import heapq
import logging
import select
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from gflow.errors import Refused, StoreError
from gflow.model.record import Key, Record
from gflow.persistence import message
from gflow.persistence.link import Link
from gflow.persistence.watchdog import Health
from gflow.process.channel import ChannelClosed
from gflow.supervisor.child import Child
from gflow.supervisor.port import Port

log = logging.getLogger("gflow")

#: How often the health of a persister that owes an answer is looked at.
_WATCH_S = 1.0
#: A query that is not answered within this is given up.
_QUERY_TIMEOUT_S = 60.0
#: What goes over the whole store takes as long as it takes: it gives way to every commit.
_LONG_WORK_S = {"backup": 3600.0, "check": 3600.0}
#: A trouble that goes on is logged again after so long.
_TROUBLE_S = 60.0
#: An orderly end is waited for this long (DESIGN, section 2).
_JOIN_S = 30.0


class PersisterPort(Port):
    """Link, waiters, load and the orderly end. ``resync`` must add every key again."""

    def __init__(
        self,
        child: Child,
        loop: asyncio.AbstractEventLoop,
        link: Link,
        resync: Callable[[], None],
        *,
        patient: bool = False,
    ) -> None:
        super().__init__(child, loop)
        self.link = link
        #: Who waits for a commit gathers company as well: the disk is to be spared.
        self._patient = patient
        #: What the persister said about the store when it opened it.
        self.store: dict[str, Any] = {}
        #: What people must know of the store as long as we live: sentences.
        self.warnings: list[str] = []
        #: Rows set aside because they were damaged: {kind, id, table, reason}.
        self.quarantined: list[dict[str, Any]] = []
        #: What it said at the end of loading; empty before.
        self.loaded: dict[str, Any] = {}
        #: Called with jobs whose history ended ({id, array_id, task}): their logs may go.
        self.on_expired: Callable[[list[dict[str, Any]]], None] = lambda jobs: None
        #: Called with what it is about, as long as the store is opened and loaded.
        self.on_loading: Callable[[str], None] = lambda what: None
        #: Called after each acknowledgement.
        self.on_acked: Callable[[], None] = lambda: None
        self._resync = resync
        #: The trouble that was logged last, and until when it is not logged again.
        self._trouble: tuple[str, float] | None = None
        self._waiters: list[tuple[int, int, asyncio.Future[bool]]] = []
        self._waiter_count = 0
        self._answers: dict[int, asyncio.Future[message.Answer]] = {}
        self._pumping = False
        self._timer: asyncio.TimerHandle | None = None
        self._refusal: str | None = None

    # --- load -----------------------------------------------------------------------------------

    def rows(self) -> Iterator[tuple[Key, Record]]:
        """Every row of the store, before the loop runs: waits for the persister.

        Afterwards ``loaded`` holds what it said of the whole. Raises StoreError.
        """
        channel = self.child.channel
        assert channel is not None
        ready = select.poll()
        ready.register(channel.fileno(), select.POLLIN)
        while not self.loaded:
            ready.poll()
            try:
                frames = channel.receive()
            except ChannelClosed:
                raise StoreError(
                    self._refusal
                    or f"cannot open the store: the persister ended "
                    f"({self.link.last_error or 'no reason given'})"
                ) from None
            for frame in frames:
                for found in self.link.receive(frame, time.monotonic()):
                    if isinstance(found, message.Rows):
                        self.on_loading("loading")
                        yield from found.records
                    elif isinstance(found, message.Busy):
                        self.on_loading(found.what)
                    else:
                        self._handle(found)

    # --- changes --------------------------------------------------------------------------------

    def add(self, keys: Iterable[Key], *, atomic: bool = False) -> int:
        """Note changed keys; the position to wait for. They go out at the end of this turn."""
        position = self.link.add(keys, atomic=atomic)
        self.pump_soon()
        return position

    def hurry(self) -> None:
        """Have all that has changed saved at once: somebody waits, or nothing else will come."""
        if not self._patient:
            self.link.flush()
            self.pump_soon()

    def pump_soon(self) -> None:
        """Send at the end of this turn, so that what one turn changes travels together."""
        if not self._pumping:
            self._pumping = True
            self.loop.call_soon(self._pump)

    def _pump(self) -> None:
        self._pumping = False
        now_s = time.monotonic()
        while self.idle and (frame := self.link.next_frame(now_s)) is not None:
            self.send(frame)
        due_s = self.link.due_at_s()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if due_s is not None:
            self._timer = self.loop.call_at(due_s, self._pump)

    def on_writable(self) -> None:
        """The batch is in the kernel: a query may follow."""
        self._pump()

    async def durable(self, position: int, timeout_s: float) -> bool:
        """Whether everything up to ``position`` was committed in time."""
        if self.link.durable >= position:
            return True
        self.hurry()
        future: asyncio.Future[bool] = self.loop.create_future()
        self._waiter_count += 1
        heapq.heappush(self._waiters, (position, self._waiter_count, future))
        timer = self.loop.call_later(timeout_s, _give_up, future)
        try:
            return await future
        finally:
            timer.cancel()

    def _wake(self) -> None:
        waiters, durable = self._waiters, self.link.durable
        while waiters and (waiters[0][0] <= durable or waiters[0][2].done()):
            position, _, future = heapq.heappop(waiters)
            if not future.done():
                future.set_result(position <= durable)

    # --- queries --------------------------------------------------------------------------------

    async def query(self, what: str, args: dict[str, Any]) -> message.Answer:
        """Ask the store. Raises Refused when it cannot answer."""
        number = self.link.query(what, args)
        future: asyncio.Future[message.Answer] = self.loop.create_future()
        self._answers[number] = future
        self.pump_soon()
        try:
            answer = await asyncio.wait_for(future, _LONG_WORK_S.get(what, _QUERY_TIMEOUT_S))
        except TimeoutError:
            raise Refused(
                Refused.UNAVAILABLE, "cannot answer from the store: it is busy or stopped"
            ) from None
        finally:
            self._answers.pop(number, None)
        if answer.error is not None:
            raise Refused(answer.kind or Refused.UNAVAILABLE, answer.error)
        return answer

    # --- what it says ---------------------------------------------------------------------------

    def on_frame(self, frame: bytes) -> None:
        """One message; each has its handler below."""
        for found in self.link.receive(frame, time.monotonic()):
            self._handle(found)
        self._pump()

    def _handle(self, found: message.Message) -> None:
        match found:
            case message.Acked():
                self._wake()
                self.on_acked()
            case message.Answer():
                future = self._answers.get(found.id)
                if future is not None and not future.done():
                    future.set_result(found)
            case message.Loaded():
                self.loaded = found.info
                self.quarantined.extend(found.info.get("quarantined", ()))
            case message.Opened():
                self._on_opened(found.info)
            case message.OpenRefused():
                self._refusal = found.message
                log.error("%s", found.message)
            case message.Trouble():
                self._on_trouble(found.message)
            case message.Recovered():
                self._trouble = None
                log.warning("saving again")
            case message.Resync():
                log.warning("the store was opened anew: saving everything again")
                self._resync()
            case message.SlowCommit():
                log.warning("a commit of %d records took %.3f s", found.records, found.seconds)
            case message.Noticed():
                log.warning("%s", found.text)
                if found.lasting:
                    self._warn((found.text,))
            case message.Quarantined():
                self.quarantined.extend(found.rows)
                log.error("damaged rows set aside: %s", found.rows)
            case message.Expired():
                self.on_expired(found.jobs)
            case message.Crashed():
                log.critical("the persister crashed: %s", found.text)
            case message.Busy() | message.Closed() | message.Rows():
                pass

    def _on_trouble(self, text: str) -> None:
        """Every attempt to save that fails is told; the log gets one line a minute."""
        now_s = time.monotonic()
        if self._trouble is None or self._trouble[0] != text or self._trouble[1] < now_s:
            self._trouble = (text, now_s + _TROUBLE_S)
            log.error("cannot save: %s", text)

    def _on_opened(self, info: dict[str, Any]) -> None:
        self.store = info
        new = self._warn(info.get("warnings", ()))
        # For the one that replaces it.
        self.child.settings.update(device=info.get("device"), session=info.get("session", 0))
        if not self.loaded:
            return
        for warning in new:
            log.error("%s", warning)
        if info.get("created"):
            self._resync()

    def _warn(self, texts: Iterable[str]) -> list[str]:
        """Keep sentences for ``status``; those that are new. Every persister says the lasting."""
        new = [text for text in texts if text not in self.warnings]
        self.warnings += new
        return new

    # --- life -----------------------------------------------------------------------------------

    def on_lost(self) -> None:
        """It died: open questions fail, what was in flight is sent again to the next one."""
        for found in self.link.lost(time.monotonic()):
            self._handle(found)
        self.child.settings["load"] = False

    def on_replaced(self) -> None:
        """Send what is owed."""
        self.link.restarted()
        self._pump()

    def respawn_delay_s(self) -> float:
        """The watchdog's back-off."""
        return self.link.respawn_delay_s(time.monotonic())

    def watch(self) -> None:
        """Look after it from now on, every second."""
        self._look_after()

    def _look_after(self) -> None:
        if self.closing:
            return
        self.loop.call_later(_WATCH_S, self._look_after)
        if self.link.health(time.monotonic()) is not Health.STALLED or not self.child.alive:
            return
        state = self.child.state()
        log.error("the persister gives no sign of life: its process is %s", state)
        if state == "stopped":
            self.child.send_signal(signal.SIGCONT)
        elif state == "running":
            self.child.send_signal(signal.SIGKILL)

    async def close(self) -> int:
        """Save what is left, then the sentinel and the join. How many changes were not saved."""
        end_s = time.monotonic() + _JOIN_S
        self.link.flush()
        self._pump()
        while not self.link.drained:
            left_s = end_s - time.monotonic()
            position = self.link.add(())
            if left_s <= 0 or not await self.durable(position, left_s):
                break
        self.closing = True
        if not self.link.drained or not self.child.alive:
            return self.link.changed
        self.send(self.link.sentinel_frame())
        try:
            await asyncio.wait_for(self.ended, max(0.0, end_s - time.monotonic()))
        except TimeoutError:
            log.error("the persister did not end in time")
        return self.link.changed

    def describe(self) -> dict[str, Any]:
        """What ``status`` shows of it."""
        now_s = time.monotonic()
        return {
            **self.child.describe(),
            "health": self.link.health(now_s).value,
            "seq_sent": self.link.seq_sent,
            "seq_durable": self.link.seq_durable,
            "changed": self.link.changed,
            "oldest_unsaved_s": round(self.link.oldest_unsaved_s(now_s), 3),
            "last_error": self.link.last_error,
            "quarantined": len(self.quarantined),
        }


def _give_up(future: asyncio.Future[bool]) -> None:
    if not future.done():
        future.set_result(False)
