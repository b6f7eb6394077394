"""A scheduler on a stage: a clock to turn, short ways to say things, checks after every event."""

from __future__ import annotations

import json
from typing import Any

from gflow.model.action import Action, Admitted, Kill, Start
from gflow.model.event import Event, Exited, Gone, Ready, Started, Submit, Wake
from gflow.model.job import Array, ArraySpec, Dependency, Job, Process, Spec
from gflow.model.resources import Capacity, Card, Resources
from gflow.model.state import TERMINAL, Instant, State
from gflow.scheduling.scheduler import Scheduler
from gflow.scheduling.settings import Settings
from tests.scheduling.invariant import check
from tests.scheduling.promise import undelayed

GB = 1 << 30
BOOT = "boot-1"
_WALL_S = 1_000_000.0
_RESOURCES = frozenset(Resources.__dataclass_fields__)


def capacity(cpus: int = 4, gpus: int = 0, memory: int = 64 * GB, **gres: int) -> Capacity:
    """A machine whose cards have 16 GB each."""
    cards = tuple(Card(index, 16 * GB) for index in range(gpus))
    return Capacity(cpus, memory, cards, tuple(sorted(gres.items())))


def spec(name: str = "job", user: str = "ann", **asked: Any) -> Spec:
    """A spec; fields of Resources and of Spec side by side."""
    resources = Resources(**{key: asked.pop(key) for key in list(asked) if key in _RESOURCES})
    return Spec(
        name=name,
        user=user,
        uid=1000,
        gid=1000,
        command=("true",),
        cwd="/",
        resources=resources,
        **asked,
    )


def tasks(last: int, limit: int | None = None) -> ArraySpec:
    """``1-last%limit``."""
    return ArraySpec(((1, last, 1),), limit)


def after(kind: str, *jobs: int, delay_s: float = 0.0) -> tuple[Dependency, ...]:
    """One dependency."""
    return (Dependency(kind, jobs, delay_s),)


class Stage:
    """The scheduler under test. Every event is followed by a check of all invariants."""

    def __init__(
        self, machine: Capacity | None = None, *, ready: bool = True, **settings: Any
    ) -> None:
        self.settings = Settings(**settings)
        self.machine = machine or capacity()
        self.scheduler = Scheduler(self.settings, self.machine, BOOT)
        self.scheduler.commit_id_floor(1 << 40)
        #: Whether adoption or a shrunk machine may have caused oversubscription.
        self.oversubscribed = False
        self.now = Instant(100.0, _WALL_S)
        self.actions: list[Action] = []
        #: Final records that the store would hold, by key.
        self.saved: dict[tuple[Any, ...], Any] = {}
        if ready:
            self.handle(Ready())

    # --- events -------------------------------------------------------------------------------

    def handle(self, event: Event) -> list[Action]:
        """One event, then as many wake-ups as are due at once; all actions."""
        actions = self._tell(event)
        while self.scheduler.next_wakeup() == self.now:
            actions += self._tell(Wake())
        self.save()
        self.actions += actions
        return actions

    def _tell(self, event: Event) -> list[Action]:
        actions = self.scheduler.handle(event, self.now)
        check(self.scheduler, oversubscribed=self.oversubscribed)
        undelayed(self.scheduler, actions)
        return actions

    def save(self) -> None:
        """Persist all changes, as the supervisor does, through JSON."""
        keys = self.scheduler.take_changes()
        for key in keys:
            record = self.scheduler.record(key)
            if record is None:
                self.saved.pop(key, None)
            else:
                self.saved[key] = json.loads(json.dumps(record))
        self.scheduler.release(keys)

    def pass_s(self, seconds: float) -> list[Action]:
        """Time goes by on both clocks."""
        self.now = Instant(self.now.boot_s + seconds, self.now.wall_s + seconds)
        return self.handle(Wake())

    def submit(self, *specs: Spec, hold: str | None = None) -> int:
        """Submit; the first id."""
        holds = (hold,) * len(specs) if hold else ()
        admitted = self.handle(Submit(specs, 1000, holds))[0]
        assert isinstance(admitted, Admitted)
        return admitted.job_ids[0]

    def run(self, **asked: Any) -> int:
        """Submit a job that must start at once; its id."""
        job_id = self.submit(spec(**asked))
        assert self.state(job_id) is State.RUNNING
        return job_id

    def started(self, job_id: int) -> list[Action]:
        """The launcher reports that the command runs."""
        process = Process(BOOT, 1000 + job_id, job_id)
        attempt = self.job(job_id).attempt
        return self.handle(
            Started(job_id, attempt, process, process, self.now.wall_s, self.now.boot_s)
        )

    def exit(self, job_id: int, code: int | None = 0, signal: int | None = None) -> list[Action]:
        """The command ends, its tree does not yet."""
        attempt = self.job(job_id).attempt
        return self.handle(Exited(job_id, attempt, code, signal, self.now.wall_s))

    def gone(self, job_id: int) -> list[Action]:
        """The tree is empty."""
        return self.handle(Gone(job_id, self.job(job_id).attempt))

    def end(self, job_id: int, code: int | None = 0, signal: int | None = None) -> list[Action]:
        """The command ends and its tree is empty."""
        attempt = self.job(job_id).attempt
        return self.handle(Exited(job_id, attempt, code, signal, self.now.wall_s, gone=True))

    # --- questions ----------------------------------------------------------------------------

    def job(self, job_id: int) -> Job:
        """The Job of that id, which must be there."""
        job = self.scheduler.job(job_id)
        assert job is not None, job_id
        return job

    def array(self, array_id: int) -> Array:
        """The array of that id, which must be there."""
        array = self.scheduler.array(array_id)
        assert array is not None, array_id
        return array

    def state(self, job_id: int) -> State:
        """State of a job, a task or an array."""
        item = self.scheduler.item(job_id)
        if item is None:
            assert self.scheduler.waiting_task(job_id), job_id
            return State.PENDING
        return item.state

    def reasons(self, job_id: int) -> list[str]:
        """The blockers' reasons."""
        return [str(one.reason) for one in self.scheduler.explain(job_id, self.now).blockers]

    def reloaded(self) -> Stage:
        """A stage whose scheduler was loaded from what is saved, before Ready."""
        twin = Stage(self.machine, ready=False)
        twin.settings, twin.now = self.settings, self.now
        twin.scheduler = Scheduler(self.settings, self.machine, BOOT)
        live = {key for key, record in self.saved.items() if not record.get("final")}
        memory = set(self.scheduler.keys())
        wanted = sorted(live | self._parents(live) | (memory & set(self.saved)), key=str)
        ended, positions = self._history(live)
        twin.scheduler.load(
            [(key, self.saved[key]) for key in wanted if key[0] != "transition"],
            self.now,
            array_ended=ended,
            array_ended_positions=positions,
            id_floor=self.scheduler.next_id,
        )
        twin.scheduler.commit_id_floor(1 << 40)
        twin.saved = dict(self.saved)
        return twin

    def _parents(self, live: set[tuple[Any, ...]]) -> set[tuple[Any, ...]]:
        """Keys of ended jobs that live ones depend on, and of their arrays: they come along."""
        named = {
            parent
            for key in live
            for dependency in self.saved[key].get("spec", {}).get("dependencies", ())
            for parent in dependency.get("jobs", ())
        }
        named |= {
            self.saved["job", one].get("array_id") for one in named if ("job", one) in self.saved
        }
        twins = {
            parent
            for key in live
            for dependency in self.saved[key].get("spec", {}).get("dependencies", ())
            for parent in dependency.get("jobs", ())
            if dependency["type"] == "aftercorr"
        }
        named |= {
            key[1]
            for key, record in self.saved.items()
            if key[0] == "job" and record.get("array_id") in twins
        }
        return {(kind, one) for kind in ("job", "array") for one in named} & set(self.saved)

    def _history(
        self, live: set[tuple[Any, ...]]
    ) -> tuple[dict[int, dict[str, int]], dict[int, list[tuple[int, int]]]]:
        ended: dict[int, dict[str, int]] = {}
        positions: dict[int, list[tuple[int, int]]] = {}
        for key, record in sorted(self.saved.items(), key=str):
            array_id = record.get("array_id")
            if key[0] == "job" and record.get("final") and ("array", array_id) in live:
                states = ended.setdefault(array_id, {})
                states[record["state"]] = states.get(record["state"], 0) + 1
                position = key[1] - array_id - 1
                positions.setdefault(array_id, []).append((position, position + 1))
        return ended, positions


def starts(actions: list[Action]) -> list[int]:
    """Ids of the jobs that are to be started, in order."""
    return [action.job_id for action in actions if isinstance(action, Start)]


def kills(actions: list[Action]) -> list[int]:
    """Ids of the jobs that are to be killed, in order."""
    return [action.job_id for action in actions if isinstance(action, Kill)]


def ended(state: State) -> bool:
    """Whether a state is terminal."""
    return state in TERMINAL
