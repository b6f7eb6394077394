"""What must hold after every step, seen from beside: nobody here changes anything.

Each check is an assertion that says what was promised and what happened instead.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from gflow.model.action import Action, Admitted, Changed, Start
from gflow.model.event import Event
from gflow.model.job import Array, Job
from gflow.model.state import TERMINAL, Instant, State
from gflow.persistence import codec
from gflow.persistence.codec import Item
from gflow.scheduling.machine import TABLE
from gflow.scheduling.scheduler import Scheduler
from tests.scheduling.invariant import check
from tests.simulation.disk import Content, Disk
from tests.simulation.machine import Machine

if TYPE_CHECKING:
    from gflow.supervisor.reactor import Reactor

#: Records in one batch: in flight, they may have left memory meanwhile.
BATCH = 256
#: Environments that users have.
BLOBS = 5
_LEGAL = {(before, after) for before, moves in TABLE.items() for after in moves.values()}


class Witness:
    """Remembers what was promised, across all restarts."""

    def __init__(self, disk: Disk, machine: Machine) -> None:
        self.disk = disk
        self.machine = machine
        #: Every id that was ever given out, even where the answer was lost.
        self.ids: set[int] = set()
        #: Something was killed: transitions that were not saved may be missing.
        self.unrest = False
        #: Jobs that brought themselves along in their run files: never saved, never acknowledged.
        self.restored: set[int | None] = set()

    # --- the core -------------------------------------------------------------------------------

    def saw(self, scheduler: Scheduler, actions: Iterable[Action]) -> None:
        """The core has decided."""
        for action in actions:
            match action:
                case Admitted():
                    self._saw_admitted(scheduler, action)
                case Changed():
                    self._saw_changed(scheduler, action)
                case Start():
                    key = (action.job_id, action.attempt)
                    assert not self.machine.has_begun(key), f"{key} is to be started again"

    def _saw_admitted(self, scheduler: Scheduler, admitted: Admitted) -> None:
        for job_id in admitted.job_ids:
            array = scheduler.array(job_id)
            taken = range(job_id, job_id + 1 + (0 if array is None else array.size))
            again = self.ids.intersection(taken)
            assert not again, f"ids {sorted(again)[:3]} were given out twice"
            assert taken[-1] < scheduler.id_floor_committed, f"id {taken[-1]} is above the floor"
            self.ids.update(taken)

    def _saw_changed(self, scheduler: Scheduler, changed: Changed) -> None:
        before, after = changed.before, changed.state
        job = scheduler.job(changed.job_id)
        if before is None or job is None:
            return
        assert (before, after) in _LEGAL, f"job {job.id} went from {before} to {after}"
        if after in TERMINAL and job.state is after:
            self._saw_end(job)

    def _saw_end(self, job: Job) -> None:
        """An end is what really happened, or unknown; and nothing of the attempt is left."""
        command = self.machine.commands.get((job.id, job.attempt))
        completed = job.state is State.COMPLETED
        if command is None or (command.forgotten and not completed):
            assert not completed, f"job {job.id} never ran and succeeded"
            return  # of a forgotten one the store may have known the end: then it is the truth
        if job.attempts and job.attempts[-1].get("attempt") == job.attempt:
            return  # pending again when it was cancelled: told by the attempt's own record
        assert not command.alive, f"job {job.id} has ended ({job.state}) and lives"
        said, truth = (job.exit_code, job.signal), (command.exit_code, command.signal)
        assert said in (truth, (None, None)), f"job {job.id} ended with {truth}, not {said}"
        if completed:
            assert truth == (0, None), f"job {job.id} ended with {truth} and counts as success"
        if said != truth:
            assert command.unwatched, f"job {job.id}: its end {truth} was seen and is not known"

    def looked_over(self, reactor: Reactor, *, thoroughly: bool) -> None:
        """Between two turns of the supervisor."""
        scheduler, link = reactor.scheduler, reactor.persister.link
        if thoroughly:
            check(scheduler, oversubscribed=self.unrest)
        most = len(scheduler.keys()) + BLOBS + BATCH
        assert link.changed <= most, f"{link.changed} changes wait, there are {most} records"

    # --- the store ------------------------------------------------------------------------------

    def acknowledged(self, items: Iterable[Item]) -> None:
        """The persister says that these are committed."""
        newest = {item.key: item for item in items}
        for item in newest.values():
            if item.key[0] != "blob":
                assert self.disk.committed(item), f"{item.key} was acknowledged, not committed"

    def stored(self, job_id: int) -> dict[str, Any] | None:
        """The committed record of a job or array."""
        content = self.disk.content
        payload = content.get(("job", job_id)) or content.get(("array", job_id))
        return None if payload is None else codec.decode_json(payload)

    def settled(self, reactor: Reactor, content: Content, blobs: set[str]) -> None:
        """Everything is saved: the store equals memory, and its records agree with each other."""
        scheduler = reactor.scheduler
        keys = scheduler.keys()
        for key in keys:
            if key[0] == "transition":
                continue
            item = codec.encode(key, scheduler.record(key))
            assert content.get(key) == item.payload, f"{key} differs: {content.get(key)!r}"
        assert not scheduler._core.live.transitions, "transitions stay in memory"
        for key, payload in content.items():
            if key[0] in ("job", "array"):
                self._check_record(key[1], codec.decode_json(payload), content, blobs)

    def _check_record(
        self, job_id: Any, record: dict[str, Any], content: Content, blobs: set[str]
    ) -> None:
        env = record["spec"].get("env")
        known = job_id not in self.restored
        assert env is None or env in blobs or not known, f"job {job_id}: {env} is not stored"
        state: str | None = "PENDING"
        for n in range(1, record.get("transitions", 0) + 1):
            payload = content.get(("transition", job_id, n))
            if payload is None:
                assert not known, f"transition {n} of job {job_id} is missing"
                state = None
                continue
            transition = codec.decode_json(payload)
            assert state in (None, transition["from"]), f"transition {n} of {job_id} leaves {state}"
            state = transition["to"]
        now = record.get("state", "PENDING")
        assert state in (None, now), f"job {job_id} is {now} and went to {state}"
        beyond = ("transition", job_id, record.get("transitions", 0) + 1)
        assert beyond not in content, f"job {job_id} has a transition that it does not know of"


class WitnessedScheduler(Scheduler):
    """The real core, with a witness of what goes in and out."""

    witness: Witness

    def handle(self, event: Event, now: Instant) -> list[Action]:
        actions = super().handle(event, now)
        self.witness.saw(self, actions)
        return actions

    def restore(self, record: Mapping[str, Any], now: Instant, *args: Any, **more: Any) -> None:
        super().restore(record, now, *args, **more)
        # An array comes along with its task, as far as the task knows it.
        self.witness.restored |= {record["id"], record.get("array_id")}


def listing(scheduler: Scheduler) -> dict[int, Any]:
    """Everything in memory, as records."""
    items: list[Job | Array] = scheduler.page(-1, 1 << 30)
    return {
        item.id: scheduler.record(("array" if isinstance(item, Array) else "job", item.id))
        for item in items
    }
