"""The scheduler as the supervisor sees it: events in, actions out, records and answers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from gflow.errors import Refused
from gflow.model.action import Action
from gflow.model.event import (
    Adopted,
    Cancel,
    CapacityChanged,
    Drain,
    Event,
    Exited,
    Gone,
    Hold,
    Lost,
    NeverStarted,
    Ready,
    Release,
    Requeue,
    Reserve,
    Resume,
    Sampled,
    SendSignal,
    SetGroup,
    SetQuota,
    Started,
    StartFailed,
    Submit,
    Suspend,
    TakeJobs,
    TakePolicy,
    Undrain,
    Unreserve,
    Update,
    Wake,
)
from gflow.model.job import Array, Dependency, Job, Spec
from gflow.model.record import Key, Record
from gflow.model.resources import Capacity
from gflow.model.state import Instant, Reason, State
from gflow.scheduling import (
    admission,
    calendar,
    codec,
    control,
    cycle,
    drain,
    explanation,
    fact,
    machinery,
    quota,
    report,
    selection,
    settling,
    takeover,
    update,
)
from gflow.scheduling.core import Core
from gflow.scheduling.dispatch import dispatch
from gflow.scheduling.drain import Drained
from gflow.scheduling.explanation import Explanation
from gflow.scheduling.forecast import Forecast, Play
from gflow.scheduling.load import History, load
from gflow.scheduling.remedy import Trials
from gflow.scheduling.settings import Settings
from gflow.scheduling.state import Item
from gflow.scheduling.what_if import WhatIf

_HANDLERS: dict[type, Callable[[Core, Any, Instant], list[Action]]] = {
    Submit: admission.submit,
    Cancel: control.cancel,
    SendSignal: control.send_signal,
    Hold: control.hold,
    Release: control.release,
    Update: update.update,
    Requeue: control.requeue,
    Suspend: control.suspend,
    Resume: control.resume,
    SetQuota: quota.set_quota,
    SetGroup: quota.set_group,
    Drain: drain.drain,
    Undrain: drain.undrain,
    Reserve: calendar.reserve,
    Unreserve: calendar.unreserve,
    TakeJobs: takeover.take_jobs,
    TakePolicy: takeover.take_policy,
    Started: report.started,
    StartFailed: report.start_failed,
    Exited: report.exited,
    Gone: report.gone,
    Lost: report.lost,
    Adopted: report.adopted,
    NeverStarted: report.never_started,
    Sampled: report.sampled,
    CapacityChanged: machinery.capacity_changed,
    Ready: machinery.ready,
    Wake: machinery.woken,
}


class Scheduler:
    """The pure core behind its seam.

    Nothing is started before :class:`~gflow.model.event.Ready`. Calls take the present moment;
    nothing here looks at a clock.
    """

    __slots__ = ("_core", "damaged")

    def __init__(self, settings: Settings, capacity: Capacity, boot_id: str = "") -> None:
        self._core = Core(settings, capacity, boot_id)
        #: Keys of records that ``load`` could not read.
        self.damaged: list[Key] = []

    # --- what happens -------------------------------------------------------------------------

    def load(
        self,
        records: Iterable[tuple[Key, Mapping[str, Any]]],
        now: Instant,
        *,
        array_ended: Mapping[int, Mapping[str, int]] | None = None,
        array_ended_positions: Mapping[int, Iterable[tuple[int, int]]] | None = None,
        id_floor: int = 1,
    ) -> None:
        """Rebuild everything from records, before any event; ids go on from ``id_floor``.

        The other two tell what history knows about the ended tasks of live arrays: how many by
        state, and their positions as half-open ranges.
        """
        # Empty ones may be filled while the records are read: not ``or``.
        history = History(
            {} if array_ended is None else array_ended,
            {} if array_ended_positions is None else array_ended_positions,
        )
        self._core.id_floor = self._core.id_floor_committed = id_floor
        self.damaged += load(self._core, records, history, now)

    def configure(self, settings: Settings) -> None:
        """Decide by these settings from now on; the weights of the order stay as they were."""
        machinery.configure(self._core, settings)

    def handle(self, event: Event, now: Instant) -> list[Action]:
        """Take in what happened; returns what to do, in order.

        Raises :class:`gflow.errors.Refused` for a request that cannot be granted; nothing has
        changed then.
        """
        return self.handle_all((event,), now)

    def handle_all(self, events: Sequence[Event], now: Instant) -> list[Action]:
        """As ``handle``, for events that are no requests: all that one report says."""
        core = self._core
        core.again = False
        core.now = now
        actions: list[Action] = []
        for event in events:
            actions += _HANDLERS[type(event)](core, event, now)
        if core.ready:
            actions += settling.wake(core, now)
        actions += settling.settle(core, now)
        if not (isinstance(event, Submit | TakeJobs) and event.more):
            actions += dispatch(core, now)
        settling.forget(core, now)
        return actions

    def next_wakeup(self) -> Instant | None:
        """When to call with Wake: at whichever of the two clocks comes first; None: not by itself.

        Infinity on a clock means never on that clock. The moment of the last event: at once, work
        is left over.
        """
        core = self._core
        if core.again or core.dependencies.unsettled:
            return core.now
        return core.timers.next() if core.ready else None

    # --- records ------------------------------------------------------------------------------

    def take_changes(self) -> list[Key]:
        """Keys of records that changed since the last call, in order of first change."""
        return self._core.live.take_changes()

    def record(self, key: Key) -> Record:
        """What is to be saved under a key now; None: delete it."""
        core = self._core
        kind = key[0]
        if kind == "job":
            job = core.live.jobs.get(int(key[1]))
            return None if job is None else codec.encode(job)
        if kind == "array":
            array = core.live.arrays.get(int(key[1]))
            return None if array is None else codec.encode(array)
        if kind == "transition":
            return core.live.transitions.get(key)
        if key == ("meta", "id_floor"):
            return {"value": core.id_floor}
        return fact.record(core, key)

    def keep(self, keys: Iterable[Key]) -> None:
        """These keys are saved again: what they name stays in memory until it is released."""
        self._core.live.kept.update(keys)

    def release(self, keys: Iterable[Key]) -> None:
        """These keys are durable: forget their transition records."""
        live = self._core.live
        for key in keys:
            live.transitions.pop(key, None)
            live.kept.discard(key)
        if len(live.finished) > self._core.settings.keep_finished:
            self._core.again = True  # some could not be forgotten before

    def keys(self) -> list[Key]:
        """Every key there is a record for."""
        live = self._core.live
        keys: list[Key] = [("job", job_id) for job_id in live.jobs]
        keys += [("array", array_id) for array_id in live.arrays]
        return keys + list(live.transitions) + fact.keys(self._core)

    def restore(
        self,
        record: Mapping[str, Any],
        now: Instant,
        array_ended: Mapping[str, int] | None = None,
    ) -> None:
        """Take in the record of an ended or unknown job again: from history, or from a run file.

        The record of an array comes before those of its tasks; without it, none of its other
        tasks is started. ``array_ended``: how many tasks of that array ended, by state.
        """
        machinery.restore(self._core, record, now, array_ended)

    # --- ids ----------------------------------------------------------------------------------

    @property
    def next_id(self) -> int:
        """The id that the next submission gets."""
        return self._core.next_id

    @property
    def id_floor(self) -> int:
        """The floor last asked for; ids below it may be given out once it is committed."""
        return self._core.id_floor

    @property
    def id_floor_committed(self) -> int:
        """The floor known to be durable."""
        return self._core.id_floor_committed

    def raise_floor(self, floor: int) -> None:
        """Ask for a higher floor: its record is among the next changes."""
        if floor > self._core.id_floor:
            self._core.id_floor = floor
            self._core.live.changes["meta", "id_floor"] = None

    @property
    def ids_left(self) -> int:
        """How many ids may be given out before a higher floor is committed."""
        return self._core.id_floor_committed - self._core.next_id

    def commit_id_floor(self, floor: int) -> None:
        """The record with this floor is durable."""
        self._core.id_floor_committed = max(self._core.id_floor_committed, floor)

    def settle_floor(self) -> None:
        """At a clean stop: have the exact next id saved; nothing may be submitted any more."""
        self._core.id_floor = self._core.id_floor_committed = self._core.next_id
        self._core.live.changes["meta", "id_floor"] = None

    @staticmethod
    def ids_needed(specs: Iterable[Spec]) -> int:
        """How many ids a submission takes."""
        return sum(map(admission.ids_needed, specs))

    # --- questions ----------------------------------------------------------------------------

    def check(self, specs: tuple[Spec, ...], ended: Mapping[int, State] | None = None) -> None:
        """Raise Refused unless the specs could be admitted now; changes nothing."""
        admission.check(self._core, specs, ended or {})

    @staticmethod
    def pending_counts(specs: tuple[Spec, ...]) -> Mapping[tuple[str, str], int]:
        """How many pending jobs the specs would make, by account."""
        return quota.pending_counts(specs)

    def check_pending(self, counts: Mapping[tuple[str, str], int]) -> None:
        """Raise Refused when so many more pending jobs, by account, would exceed a quota."""
        quota.check_pending(self._core, counts)

    @property
    def dependency_edits(self) -> int:
        """How often dependencies of jobs that wait were changed since the load."""
        return self._core.dependencies.edits

    def check_cycle(self, job_id: int, dependencies: Iterable[Dependency]) -> Iterator[None]:
        """Raise Refused if these would make the job wait for itself, in short steps."""
        return cycle.check(self._core, job_id, dependencies)

    def item(self, item_id: int) -> Item | None:
        """The job or array of that very id."""
        return self._core.live.item(item_id)

    def job_record(self, job_id: int) -> Mapping[str, Any]:
        """The facts of a job as they are now."""
        return codec.encode(self._core.live.jobs[job_id])

    def job(self, job_id: int) -> Job | None:
        """The job (or task with a Job of its own) of that id."""
        return self._core.live.jobs.get(job_id)

    def array(self, array_id: int) -> Array | None:
        """The array of that id."""
        return self._core.live.arrays.get(array_id)

    def tasks(self, array_id: int) -> list[Job]:
        """Tasks of an array that have a Job in memory, ended ones too, by position."""
        array = self._core.live.arrays.get(array_id)
        return [] if array is None else self._core.live.task_jobs(array)

    def unsaved_transitions(self, job_id: int) -> dict[int, dict[str, Any]]:
        """Transitions of a job or array that are not known to be durable, by number."""
        item = self._core.live.item(job_id)
        known = self._core.live.transitions
        numbers = range(1, (0 if item is None else item.transitions) + 1)
        return {n: known[key] for n in numbers if (key := ("transition", job_id, n)) in known}

    def waiting_task(self, task_id: int) -> tuple[Array, int] | None:
        """The array and position of a task that waits without a Job of its own."""
        return self._core.live.waiting_task(task_id)

    def task_id(self, array_id: int, number: int) -> int | None:
        """The id of a task by its number, as in ``7_3``; None when there is no such task."""
        return machinery.task_id(self._core, array_id, number)

    def knows(self, job_id: int) -> bool:
        """Whether memory knows the state of this job, task or array."""
        return admission.known(self._core, job_id)

    def remedies(self, job_id: int, now: Instant) -> Trials:
        """What would let a pending job start now, in steps; raises Refused if unknown."""
        return Trials(self._core, self._item_of(job_id, "explain"), now)

    def explain(self, job_id: int, now: Instant) -> Explanation:
        """Why a job waits; raises Refused when it is not known.

        Only the first in line has an expected start here, and only in a short queue has a job its
        place: a :meth:`forecast` finds out both.
        """
        return explanation.explain(self._core, job_id, self._item_of(job_id, "explain"), now)

    def note_prediction(self, job_id: int, start_at: float) -> None:
        """Remember the first expected start that somebody was told, to measure its error by."""
        job = self._core.live.jobs.get(job_id)
        if job is not None and job.state is State.PENDING and job.predicted_start_at is None:
            job.predicted_start_at = start_at
            self._core.live.change(job)

    def _item_of(self, job_id: int, verb: str) -> Item:
        item = self._core.live.item(job_id)
        if item is not None:
            return item
        found = self._core.live.array_of(job_id)
        if found is None:
            raise Refused(Refused.NOT_FOUND, f"cannot {verb} job {job_id}: there is no such job")
        return found[0]

    def priority(self, job_id: int, now: Instant) -> dict[str, float]:
        """The parts of a pending job's place in the order, in points; raises Refused."""
        return explanation.priority(self._core, self._item_of(job_id, "rank"), now)

    @property
    def drained(self) -> Drained | None:
        """Why the machine is being drained; None: it is not."""
        return self._core.drain

    def outlook(self, now: Instant) -> Play:
        """The queue played forward as limits say, in steps; see its ``starts``."""
        return Play(self._core, now)

    def forecast(self, job_id: int, now: Instant) -> Forecast:
        """When a pending job will start, to be worked out in steps; raises Refused if unknown."""
        return Forecast(self._core, job_id, self._item_of(job_id, "explain"), now)

    def what_if(self, specs: tuple[Spec, ...], now: Instant) -> WhatIf:
        """When specs would start if submitted now and whom they would delay, in steps."""
        return WhatIf(self._core, specs, now)

    def reason(self, item: Item) -> Reason | None:
        """The main reason why an item waits; None when it does not."""
        return explanation.reason(self._core, item)

    def page(self, after_id: int, count: int, user: str | None = None) -> list[Item]:
        """Jobs and arrays in memory with ids above ``after_id``, ascending, at most ``count``."""
        return selection.page(self._core, after_id, count, user)

    def in_states(self, states: frozenset[State]) -> Iterable[Item]:
        """Items in any of these states, active ones first; may be iterated in slices."""
        return selection.in_states(self._core, states)

    def queued(self, count: int) -> list[Item]:
        """The first items of the queue in scheduling order."""
        return selection.queued(self._core, count)

    def active(self) -> list[Job]:
        """Jobs that hold resources."""
        return [self._core.live.jobs[job_id] for job_id in self._core.live.active]

    @property
    def busy(self) -> bool:
        """Whether a job holds resources."""
        return bool(self._core.live.active)

    def counts(self) -> dict[State, int]:
        """Jobs and tasks in memory by state."""
        return dict(self._core.live.counts)

    def tally(self, array_id: int) -> dict[State, int]:
        """Tasks of an array by state; those in history count too."""
        return machinery.tally(self._core, array_id)

    def free(self) -> dict[str, Any]:
        """What may still be given out: cpus, memory_bytes, gpus (wholly free cards), gres."""
        return machinery.free(self._core)

    def quotas(self) -> list[dict[str, Any]]:
        """Limits of users, projects and defaults, and what is used: {scope, name, limits, used}."""
        return quota.listing(self._core)

    def groups(self) -> list[dict[str, Any]]:
        """Groups with a limit or jobs: {user, name, max_running, running, pending}."""
        return quota.groups(self._core)

    def reservations(self) -> list[dict[str, Any]]:
        """Reservations that last or are to come, by id, as they are saved."""
        return calendar.listing(self._core)

    @property
    def capacity(self) -> Capacity:
        """What the machine has."""
        return self._core.capacity
