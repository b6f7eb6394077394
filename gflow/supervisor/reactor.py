"""The hub: what happened goes into the core, what the core wants goes to the children.

Nothing is decided here and nothing waits here. ``step`` is the one way into the core; its actions
are carried out, its changed keys go to the persister's link, and its next moment becomes a timer.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from gflow.api.feed import Feed
from gflow.config import Config
from gflow.errors import Refused
from gflow.launching import request
from gflow.model import parameter
from gflow.model.action import Action, Admitted, Changed, Kill, Signal, Start, Warn
from gflow.model.event import (
    CapacityChanged,
    Event,
    StartFailed,
    Submit,
    Update,
    Wake,
)
from gflow.model.job import Job, Spec
from gflow.model.record import Key, Record
from gflow.model.resources import Capacity, Card
from gflow.model.state import LIVE, TERMINAL, Instant, State
from gflow.persistence import codec
from gflow.persistence.link import Link
from gflow.scheduling.scheduler import Scheduler
from gflow.supervisor import clock, machine
from gflow.supervisor.attempt import Attempts
from gflow.supervisor.blob import Blobs
from gflow.supervisor.card import Cards
from gflow.supervisor.child import Child
from gflow.supervisor.directory import Directory
from gflow.supervisor.folder import Folders
from gflow.supervisor.gpu_port import GpuPort
from gflow.supervisor.habit import Habits
from gflow.supervisor.id_block import IdBlock
from gflow.supervisor.launcher_port import LauncherPort
from gflow.supervisor.logger_port import LoggerPort
from gflow.supervisor.loop import GapMeter
from gflow.supervisor.metric import Tally
from gflow.supervisor.monitor_port import MonitorPort
from gflow.supervisor.observer import Observer
from gflow.supervisor.persister_port import PersisterPort
from gflow.supervisor.port import Port

log = logging.getLogger("gflow")

#: Timers are looked at this often at least: the wall clock may be set.
_LONGEST_SLEEP_S = 30.0
#: Changes that nobody waits for gather for so long: many short jobs share a transaction.
_GATHER_S = 0.02
#: Objects admitted between two freezes of the collector.
_FREEZE_EVERY = 10_000


class Reactor:
    """Owns the core, the link, the blobs and the ports of the children."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        meter: GapMeter,
        scheduler: Scheduler,
        config: Config,
        folders: Folders,
        children: Mapping[str, Child],
        start_id: str,
    ) -> None:
        self.loop = loop
        #: Turns of the loop since the last look.
        self.meter = meter
        #: Monotonic moment of our beginning.
        self.began_s = time.monotonic()
        self.scheduler = scheduler
        self.config = config
        self.folders = folders
        self.feed = Feed(start_id)
        self.blobs = Blobs(config["limits"]["blob_bytes"])
        relaxed = config["persistence"]["durability"] == "relaxed"
        gather_s = config["persistence"]["save_interval_s"] if relaxed else _GATHER_S
        link = Link(self._record, gather_s=gather_s)
        self.persister = PersisterPort(
            children["persister"], loop, link, self._resync, patient=relaxed
        )
        self.persister.on_acked = self._on_acked
        self.attempts = Attempts(self)
        self.launcher = LauncherPort(
            children["launcher"],
            loop,
            build=self._start_frame,
            active=scheduler.active,
            on_report=self.attempts.on_report,
        )
        self.directory = Directory(loop, self.launcher)
        self.ids = IdBlock(self)
        self.observer = Observer(self)
        self.monitor = MonitorPort(
            children["monitor"],
            loop,
            active=scheduler.active,
            on_samples=self.observer.on_samples,
            on_excess=self.observer.on_excess,
            on_claims=self._on_claims,
        )
        if not config["persistence"]["keep_logs"]:
            self.persister.on_expired = self.launcher.expire
        self.logger = LoggerPort(children["logger"], loop)
        self._topology: tuple[tuple[int, ...], ...] = ()
        self.cards = Cards(config["gpus"], asked="gpu" in children, user_name=self.directory.name)
        #: None when no driver is asked: the configuration says which cards there are.
        self.gpu: GpuPort | None = None
        if "gpu" in children:
            self.gpu = GpuPort(
                children["gpu"],
                loop,
                self.cards,
                active=scheduler.active,
                on_changed=self.count_again,
                on_samples=self.observer.on_gpu_samples,
                stalled_after_s=config["gpus"]["stalled_after_s"],
            )
        #: Held while a list is admitted, so that one list at a time is saved together.
        self.admission = asyncio.Lock()
        #: What happened since the supervisor began.
        self.tally = Tally()
        #: What commands have used before.
        self.habits = Habits()
        #: Ended jobs whose blobs leave memory once their records, and the blobs before, are saved.
        self._releases: deque[int] = deque()
        #: (position, key): what may leave memory once the position is durable.
        self._transitions: deque[tuple[int, Key]] = deque()
        self._ended: dict[int, list[asyncio.Future[None]]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at_s = 0.0
        self._admitted = 0
        #: Keys of a list that is being admitted: they are saved together at its end.
        self._held_back: dict[Key, None] | None = None

    # --- load -----------------------------------------------------------------------------------

    def load(self) -> None:
        """Take in what the store holds, before the loop runs. Raises StoreError."""
        data: dict[str, bytes] = {}
        ended: dict[int, dict[str, int]] = {}
        positions: dict[int, list[tuple[int, int]]] = {}

        def records() -> Iterator[tuple[Key, dict[str, Any]]]:
            for key, record in self.persister.rows():
                if isinstance(record, bytes):
                    data[str(key[1])] = record
                elif key[0] == "card" and record is not None:
                    self.cards.restore(str(key[1]), record)
                elif record is not None:
                    yield key, record
            # Known only at the end, and looked at only after it: the core reads all records first.
            info = self.persister.loaded
            ended.update((one[0], one[1]) for one in info["array_ended"])
            positions.update((one[0], one[1]) for one in info["array_ended_positions"])
            yield ("meta", "id_floor"), {"value": info["id_floor"]}

        self.scheduler.load(
            records(), clock.now(), array_ended=ended, array_ended_positions=positions
        )
        for key in self.scheduler.damaged:
            log.error("cannot read the record of %s: it is left out", key)
        self._claim_blobs(data)
        if self.scheduler.capacity.cards is not None:
            self.count_again()  # the choice of cards was in the store

    def _claim_blobs(self, data: Mapping[str, bytes]) -> None:
        after = -1
        while items := self.scheduler.page(after, 1000):
            after = items[-1].id
            for item in items:
                if item.state in LIVE:
                    self.blobs.claim(item.id, _blob_names(item.spec), data)

    async def prepare_requeue(self, job_id: int) -> None:
        """Have everything that an ended job needs to run again in memory. Raises Refused."""
        job = self.scheduler.job(job_id)
        if job is None or job.state in LIVE:
            return
        data: dict[str, bytes] = {}
        for name in _blob_names(job.spec):
            held = self.blobs.get(name)
            if held is None:
                held = await self.stored_blob(name)
            if held is None:
                raise Refused(
                    Refused.CONFLICT,
                    f"cannot requeue job {job_id}: its script or environment is not kept any more",
                )
            data[name] = held
        if job.state in TERMINAL:
            self.blobs.claim(job_id, _blob_names(job.spec), data)

    async def stored_blob(self, name: str) -> bytes | None:
        """A blob that the store still has. Raises Refused when it cannot be asked."""
        answer = await self.persister.query("blob", {"hash": name})
        return next((r for _, r in answer.records if isinstance(r, bytes)), None)

    # --- into the core --------------------------------------------------------------------------

    def step(self, *events: Event) -> int:
        """Tell the core what happened and carry out what follows. Raises Refused.

        Returns the position that must be durable for the change to be so.
        """
        return self.finish(*self.decide(*events))

    def decide(self, *events: Event) -> tuple[list[Action], list[Key]]:
        """The core's actions and changed keys, nothing of it carried out yet."""
        actions = self.scheduler.handle_all(events, clock.now())
        return actions, self.scheduler.take_changes()

    def finish(self, actions: list[Action], keys: Iterable[Key], *, atomic: bool = False) -> int:
        """Save the keys, carry out the actions, set the timer."""
        if self._held_back is not None and not atomic:
            held = self._held_back
            keys = [key for key in keys if key not in held]
        keys = list(keys)
        position = self.persister.add(keys, atomic=atomic)
        self._transitions += [(position, key) for key in keys if key[0] == "transition"]
        self.perform(actions)
        if keys and not self.scheduler.busy:
            self.persister.hurry()
        self._set_timer(clock.now())
        return position

    def admit(
        self,
        event: Submit,
        data: Mapping[str, bytes],
        gathered: dict[Key, None],
    ) -> tuple[tuple[int, ...], list[Action]]:
        """Admit specs: their ids, and actions for :meth:`finish`. Keys are added to ``gathered``.

        Blobs stand before the records that name them.
        """
        actions, keys = self.decide(event)
        admitted = actions.pop(0)
        assert isinstance(admitted, Admitted)
        for job_id, spec in zip(admitted.job_ids, event.specs):
            for name in self.blobs.claim(job_id, _blob_names(spec), data):
                gathered["blob", name] = None
        gathered.update(dict.fromkeys(keys))
        self._admitted += len(event.specs)
        self.tally.submitted += len(event.specs)
        if self._admitted >= _FREEZE_EVERY:
            self._admitted = 0
            gc.freeze()
        return admitted.job_ids, actions

    def change(self, event: Update, data: Mapping[str, bytes]) -> int:
        """Change a job; the position as of :meth:`step`. ``data``: blobs that it names from now on.

        Those that it named before are held until it ends: some of its tasks may run with them.
        """
        actions, keys = self.decide(event)
        new = self.blobs.add(event.job_id, data)
        return self.finish(actions, [*(("blob", name) for name in new), *keys])

    async def durable(self, position: int, wait: bool) -> bool:
        """Whether a position is durable: now, or as soon as it is, within the patience."""
        if not wait:
            return self.persister.link.durable >= position
        timeout_s: float = self.config["persistence"]["ack_timeout_s"]
        return await self.persister.durable(position, timeout_s)

    def hold_back(self, keys: dict[Key, None] | None) -> None:
        """Keep these keys (of a list that is being admitted) from being saved one by one."""
        self._held_back = keys

    # --- out of the core ------------------------------------------------------------------------

    def perform(self, actions: Iterable[Action]) -> None:
        """Carry out what the core asks for; changed keys are the caller's."""
        for action in actions:
            self._perform(action)

    def _perform(self, action: Action) -> None:
        match action:
            case Changed():
                self._on_changed(action)
            case Start():
                self._count_start(action)
                self._start(action)
            case Kill():
                self.launcher.kill(action)
            case Signal():
                self.launcher.signal(action)
            case Warn():
                self.launcher.warn(action)

    def _count_start(self, order: Start) -> None:
        self.tally.started += 1
        job = self.scheduler.job(order.job_id)
        if job is not None and job.started_at is not None and job.eligible_at is not None:
            self.tally.waits.add(max(0.0, job.started_at - job.eligible_at))

    def _on_changed(self, changed: Changed) -> None:
        item = self.scheduler.item(changed.job_id)
        event = {
            "type": "job",
            "job_id": changed.job_id,
            "state": changed.state.value,
            "before": None if changed.before is None else changed.before.value,
            "cause": changed.cause,
            "at": clock.now().wall_s,
        }
        if isinstance(item, Job) and item.array_id is not None:
            event["array_id"] = item.array_id
        self.feed.publish(event)
        if changed.state in TERMINAL:
            self.tally.ended[changed.state] += 1
            self._releases.append(changed.job_id)
            if isinstance(item, Job):
                self.habits.note(item)
                if changed.before is State.PENDING:
                    self.attempts.on_ended_waiting(item)
            for future in self._ended.pop(changed.job_id, ()):
                if not future.done():
                    future.set_result(None)

    def tell(self, job_id: int, cause: str) -> None:
        """Tell the listeners of something that leaves a job in its state: a hold, an update."""
        item = self.scheduler.item(job_id)
        if item is not None:
            self._on_changed(Changed(job_id, item.state, item.state, cause))

    async def ended(self, job_id: int, timeout_s: float) -> None:
        """Wait until a job ends, or until the time is over."""
        future: asyncio.Future[None] = self.loop.create_future()
        self._ended.setdefault(job_id, []).append(future)
        try:
            await asyncio.wait_for(future, timeout_s)
        except TimeoutError:
            pass
        finally:
            waiting = self._ended.get(job_id, [])
            if future in waiting:
                waiting.remove(future)
                if not waiting:
                    del self._ended[job_id]

    # --- reports --------------------------------------------------------------------------------

    async def from_history(self, job_id: int) -> dict[str, Any] | None:
        """The record of a job or array that has left memory; None when there is none."""
        answer = await self.persister.query("job", {"id": job_id})
        for _, record in answer.records:
            assert isinstance(record, dict)
            return record
        return None

    def _on_acked(self) -> None:
        """What is durable now needs no run file and no transition in memory any more."""
        self.attempts.forget_saved()
        durable = self.persister.link.durable
        while self._releases and self._is_saved(self._releases[0]):
            self._release_blobs(self._releases.popleft())
        released = []
        while self._transitions and self._transitions[0][0] <= durable:
            key = self._transitions.popleft()[1]
            if key not in self.persister.link:  # else it is being saved once more
                released.append(key)
        self.scheduler.release(released)
        self._set_timer(clock.now())

    def _is_saved(self, job_id: int) -> bool:
        unsaved = (self.persister.link, self._held_back or ())
        return not any((kind, job_id) in keys for kind in ("job", "array") for keys in unsaved)

    def _release_blobs(self, job_id: int) -> None:
        """Let go of what an ended job named, unless it is to run again."""
        item = self.scheduler.item(job_id)
        if item is None or item.state in TERMINAL:
            self.blobs.release(job_id)

    # --- the machine ----------------------------------------------------------------------------

    def count_again(self, counted: Capacity | None = None) -> None:
        """Tell the core if the cards have changed, or with ``counted``, anything else."""
        scheduler = self.scheduler
        if changes := self.cards.take_changes():
            self.finish([], [("card", uuid) for uuid in changes])
        holders = {} if self.gpu is None else self.gpu.holders()
        cards = self.cards.cards(holders)
        capacity = replace(counted or scheduler.capacity, cards=cards)
        if self.cards.topology != self._topology:
            self._topology = self.cards.topology
            scheduler.configure(machine.scheduler_settings(self.config, self._topology))
        if capacity != scheduler.capacity:
            _log_cards(scheduler.capacity.cards, cards)
            self.step(CapacityChanged(capacity))

    # --- records --------------------------------------------------------------------------------

    def _record(self, key: Key) -> Record:
        """The newest record of a key, for the link."""
        if key[0] == "blob":
            return self.blobs.get(str(key[1]))
        if key[0] == "card":
            return self.cards.record(str(key[1]))
        record = self.scheduler.record(key)
        assert record is not None or key[0] not in ("job", "array"), f"{key} left memory unsaved"
        return record

    def _resync(self) -> None:
        """Add every key again: the store was opened anew and memory is the good copy."""
        self.persister.add([("blob", name) for name in self.blobs.names()])
        self.persister.add([("card", uuid) for uuid in self.cards.known()])
        keys = self.scheduler.keys()
        self.scheduler.keep(keys)
        position = self.persister.add(keys)
        self._transitions += [(position, key) for key in keys]

    def _start(self, order: Start) -> None:
        """Have an attempt started, unless what it needs was lost: never with something else."""
        if all(self.blobs.get(name) is not None for name in _blob_names(order.spec)):
            self.launcher.start(order)
        else:
            self.loop.call_soon(self._refuse_start, order)

    def _refuse_start(self, order: Start) -> None:
        message = "cannot start: its script or environment is not kept any more"
        self.step(StartFailed(order.job_id, order.attempt, message))

    def _start_frame(self, order: Start) -> bytes:
        spec = order.spec
        return request.start(
            order,
            env=None if spec.env is None else self.blobs.get(spec.env),
            script=None if spec.script is None else self.blobs.get(spec.script),
            record=codec.encode_json(self.scheduler.job_record(order.job_id)),
            grace_period_s=self.config["scheduler"]["grace_period_s"],
            max_output_bytes=self.config["limits"]["max_output_bytes"] or 0,
            prolog=self.config["hooks"]["prolog"],
            epilog=self.config["hooks"]["epilog"],
            hook_timeout_s=self.config["hooks"]["timeout_s"],
            watchers=self.config["access"]["admins"],
            variables=self.variables(spec, order.gpu_ids),
        )

    def variables(self, spec: Spec, gpu_ids: tuple[int, ...]) -> dict[str, str]:
        """What a command of this spec finds in its environment, its cards as their vendors say."""
        visible = self.cards.visible(gpu_ids)
        return {
            **{parameter.variable(name): value for name, value in spec.params},
            **dict.fromkeys(self.config["gpus"]["visibility_variables"], visible),
        }

    # --- life -----------------------------------------------------------------------------------

    def attach(self) -> None:
        """Listen to the children."""
        for port in self._ports().values():
            port.attach()
        self.persister.watch()
        self.monitor.claim(self.cards.to_claim())

    def _on_claims(self, others: dict[str, str | None]) -> None:
        """Other supervisors' claims to the declared cards have changed."""
        self.cards.claimed(others)
        self.count_again()

    def _ports(self) -> dict[str, Port]:
        ports: dict[str, Port] = {
            "persister": self.persister,
            "launcher": self.launcher,
            "monitor": self.monitor,
            "logger": self.logger,
        }
        return ports if self.gpu is None else {**ports, "gpu": self.gpu}

    def processes(self) -> dict[str, dict[str, Any]]:
        """What ``status`` shows of the children."""
        return {name: port.describe() for name, port in self._ports().items()}

    async def close(self) -> int:
        """Save everything, end the children; how many changes could not be saved."""
        self.scheduler.settle_floor()
        self.finish([], self.scheduler.take_changes())
        if self._timer is not None:
            self._timer.cancel()
        unsaved = await self.persister.close()
        await self.launcher.close()
        await self.monitor.close()
        if self.gpu is not None:
            await self.gpu.close()
        return unsaved

    # --- time -----------------------------------------------------------------------------------

    def _set_timer(self, now: Instant) -> None:
        due = self.scheduler.next_wakeup()
        if due is None:
            return
        delay_s = max(0.0, min(due.boot_s - now.boot_s, due.wall_s - now.wall_s, _LONGEST_SLEEP_S))
        at_s = self.loop.time() + delay_s
        if self._timer is not None:
            if self._timer_at_s <= at_s:
                return
            self._timer.cancel()
        self._timer_at_s = at_s
        self._timer = self.loop.call_at(at_s, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self.step(Wake())


def _log_cards(before: tuple[Card, ...] | None, after: tuple[Card, ...] | None) -> None:
    known = {card.index: card for card in before or ()}
    for card in after or ():
        old = known.get(card.index)
        if old is None or old.unusable != card.unusable:
            log.info("gpu %d: %s", card.index, card.unusable or "usable")


def _blob_names(spec: Spec) -> list[str]:
    return [name for name in (spec.script, spec.env) if name is not None]
