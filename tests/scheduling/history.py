"""Random histories: users, a launcher and a clock that do whatever they may, seeded."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

from gflow.errors import Refused
from gflow.model.event import (
    Cancel,
    CapacityChanged,
    Drain,
    Event,
    Exited,
    Gone,
    Hold,
    Lost,
    NeverStarted,
    Release,
    Requeue,
    Reserve,
    Resume,
    SendSignal,
    SetGroup,
    SetQuota,
    Started,
    StartFailed,
    Submit,
    Suspend,
    Undrain,
    Unreserve,
    Update,
)
from gflow.model.job import ArraySpec, Dependency, Job, Process, RetryRule, Spec
from gflow.model.resources import Capacity, Card
from gflow.model.state import Instant, State
from gflow.scheduling import quota as quotas
from tests.scheduling.promise import pending, true_blockers
from tests.scheduling.stage import BOOT, GB, Stage, capacity, spec

_KINDS = ("after", "afterok", "afterany", "afternotok", "aftercorr", "singleton")


class History:
    """One random history. Equal seeds give equal histories."""

    def __init__(self, seed: int, stage: Stage | None = None) -> None:
        self.random = random.Random(seed)
        self._asking = random.Random(seed)
        self.stage = stage or Stage(
            capacity(cpus=6, gpus=3, license=2),
            starts_per_turn=3,
            steps_per_turn=5,
            starvation_after_s=500,
            keep_finished_s=300,
            backfill_depth=20,
            gpu_strategy=self.random.choice(["sequential", "random", "packed"]),
            gpu_topology=self.random.choice([(), ((0, 1), (2,))]),
            project_share_weight=self.random.choice([0.0, 500.0]),
            default_time_limit_s=self.random.choice([None, None, 300.0]),
        )
        self.refused = 0

    def run(self, events: int) -> None:
        """That many random events."""
        for _ in range(events):
            self.step()

    def step(self) -> None:
        """One random event, and perhaps some time before it."""
        stage = self.stage
        if self.random.random() < 0.5:
            seconds = self.random.choice([0.5, 5.0, 60.0, 400.0])
            stage.now = Instant(stage.now.boot_s + seconds, stage.now.wall_s + seconds)
        try:
            stage.handle(self._event())
        except Refused:
            self.refused += 1
        if self._asking.random() < 0.1:
            self._ask()

    def _ask(self) -> None:
        """What is said about some of those that wait is true."""
        waiting = pending(self.stage.scheduler)
        for item in self._asking.sample(waiting, min(3, len(waiting))):
            true_blockers(self.stage.scheduler, item, self.stage.now)

    def drain(self) -> None:
        """Let everything that can run come to its end, with holds and drains lifted."""
        stage = self.stage
        stage.handle(CapacityChanged(stage.machine))
        for event in self._no_policies():
            stage.handle(event)
        for item in list(stage.scheduler.in_states(frozenset({State.PENDING}))):
            if item.hold is not None:
                stage.handle(Release(item.id, 0, admin=True))
        for _ in range(10_000):
            active = stage.scheduler.active()
            for job in active:
                if job.state is State.SUSPENDED:
                    stage.handle(Resume(job.id, 0))
                if job.state is State.COMPLETING:
                    stage.gone(job.id)
                else:
                    stage.end(job.id)
            due = stage.scheduler.next_wakeup()
            if due is None and not active:
                return
            stage.pass_s(50.0)

    def finish(self) -> None:
        """Let everything end, and see that only what can never start is left."""
        self.drain()
        reasons = {item.id: self.stage.reasons(item.id) for item in pending(self.stage.scheduler)}
        depend = [any("Dependency" in one for one in found) for found in reasons.values()]
        assert all(depend), reasons
        never = any("DependencyNeverSatisfied" in found for found in reasons.values())
        assert never or not reasons, reasons

    def _no_policies(self) -> list[Event]:
        core = self.stage.scheduler._core
        events: list[Event] = [SetQuota(s, n, 0, delete=True) for s, n in core.accounts.quotas]
        events += [SetGroup(user, "g", 0, None) for user in ("ann", "bob")]
        events += [Undrain(0)] if core.drain is not None else []
        return events + [Unreserve(one, 0) for one in core.calendar]

    # --- events -------------------------------------------------------------------------------

    def _event(self) -> Event:
        active = self.stage.scheduler.active()
        if active and self.random.random() < 0.55:
            return self._report(self.random.choice(active))
        if self.random.random() < 0.5:
            return self._submit()
        return self._request()

    def _report(self, job: Job) -> Event:
        draw, now = self.random.random(), self.stage.now
        attempt = job.attempt if self.random.random() < 0.95 else job.attempt - 1
        if job.state is State.COMPLETING and (job.exit_code is not None or draw < 0.5):
            return Gone(job.id, attempt)
        if draw < 0.05:
            return Lost(job.id, attempt, "lost")
        if draw < 0.10:
            return StartFailed(job.id, attempt, "no such thing", self.random.random() < 0.5)
        if draw < 0.13:
            return NeverStarted(job.id, attempt)
        if draw < 0.40:
            process = Process(BOOT, job.id, 1)
            return Started(job.id, attempt, process, process, now.wall_s, now.boot_s)
        code = self.random.choice([0, 0, 0, 1, 75, 137])
        oom = {"oom_killed": True} if code == 137 else None
        start = None
        if job.process is None and self.random.random() < 0.5:
            process = Process(BOOT, job.id, 1)
            start = Started(job.id, attempt, process, process, now.wall_s, now.boot_s)
        gone = self.random.random() < 0.5
        return Exited(job.id, attempt, code, None, now.wall_s, oom, gone, start)

    def _some_id(self) -> int:
        return self.random.randrange(1, self.stage.scheduler.next_id + 1)

    def _request(self) -> Event:
        job_id, admin = self._some_id(), self.random.random() < 0.5
        events: list[Event] = [
            Cancel(job_id, 0),
            Cancel(job_id, 0),
            Hold(job_id, 0, admin),
            Release(job_id, 0, admin),
            Requeue(job_id, 0),
            Suspend(job_id, 0),
            Resume(job_id, 0),
            SendSignal(job_id, 0, 10, self.random.random() < 0.5),
            Update(job_id, 0, self._changes(), admin),
            CapacityChanged(self._machine()),
            *self._policies(),
        ]
        return self.random.choice(events)

    def _policies(self) -> list[Event]:
        draw, now = self.random, self.stage.now.wall_s
        user = draw.choice(["ann", "bob"])
        quota = {draw.choice(quotas.FIELDS): draw.choice([None, 2.0, 30.0])}
        drains: list[Event] = [Drain(0, "work", draw.choice([None, now + 300.0])), Undrain(0)]
        start_at = now + draw.choice([0.0, 100.0, 1000.0])
        gpus, cpus = draw.choice([(1, 0), (2, 2), (0, 4)])
        every_s = draw.choice([None, 2000.0])
        return [
            SetQuota("user", user, 0, quota),
            SetQuota("default_user", "", 0, quota),
            SetQuota("project", "p", 0, quota),
            SetGroup(user, "g", 0, draw.choice([None, 1, 2])),
            draw.choice(drains),
            Undrain(0),
            Reserve(0, user, None, start_at, 200.0, cpus, gpus, every_s=every_s),
            Reserve(0, None, "p", start_at, 500.0, 0, 1, (draw.randrange(3),)),
            Unreserve(draw.randrange(1, 6), 0, draw.random() < 0.5),
            Unreserve(draw.randrange(1, 6), 0),
        ]

    def _machine(self) -> Capacity:
        busy = self.random.choice([None, 0, 1])
        cards = tuple(Card(i, 16 * GB, unusable="busy" if i == busy else None) for i in range(3))
        return replace(self.stage.machine, cards=cards)

    def _changes(self) -> dict[str, Any]:
        return self.random.choice(
            [
                {"priority": self.random.randrange(5)},
                {"cpus": self.random.randrange(0, 7)},
                {"dependencies": self._dependencies()},
                {"dependencies": None},
                {"time_limit_s": self.random.choice([None, 10.0, 100.0])},
                {"begin_at": self.random.choice([None, self.stage.now.wall_s + 50.0])},
                {"name": self.random.choice(["renamed", "x", "x-{lr}"])},
                {"gpus": self.random.randrange(0, 4), "gpu_shared": None, "gpu_memory_bytes": None},
                {"memory_bytes": self.random.choice([None, 8 * GB, 80 * GB])},
                {"gres": self.random.choice([None, (("license", 2),)]), "exclusive": None},
                {"group": self.random.choice([None, "g"]), "project": None},
                {"dependency_mode": self.random.choice(["all", "any"])},
                {"kill_on_invalid_dependency": True},
                {"retries": (RetryRule("any", 1),), "requeue": True},
                {"array_limit": self.random.choice([None, 1, 2])},
                {"top": 1},
            ]
        )

    def _submit(self) -> Event:
        specs = tuple(self._spec() for _ in range(self.random.choice([1, 1, 1, 3])))
        held = self.random.random() < 0.1
        return Submit(specs, 1000, ("user",) * len(specs) if held else ())

    def _spec(self) -> Spec:
        draw = self.random
        asked: dict[str, Any] = {
            "cpus": draw.choice([1, 1, 1, 2, 4, 6]),
            "gpus": draw.choice([0, 0, 0, 1, 2, 3]),
            "priority": draw.choice([10, 10, 20]),
            "time_limit_s": draw.choice([None, 20.0, 100.0, 1000.0]),
            "memory_bytes": draw.choice([0, 1, 20]) * GB,
        }
        if asked["gpus"] and draw.random() < 0.4:
            asked.update(gpu_shared=True, gpu_memory_bytes=draw.choice([4, 8]) * GB)
        elif asked["gpus"] == 1 and draw.random() < 0.3:
            asked["gpus_allowed"] = draw.choice([(0,), (1, 2)])
        if draw.random() < 0.1:
            asked["gres"] = (("license", draw.choice([1, 2])),)
        if draw.random() < 0.03:
            asked["exclusive"] = True
        if draw.random() < 0.3:
            asked["dependencies"] = self._dependencies()
            asked["dependency_mode"] = draw.choice(["all", "any"])
            asked["kill_on_invalid_dependency"] = draw.random() < 0.5
        if draw.random() < 0.2:
            step = draw.choice([1, 2])
            asked["array"] = ArraySpec(((1, draw.randrange(1, 9), step),), draw.choice([None, 2]))
        elif draw.random() < 0.05:
            asked["array"] = ArraySpec(((1, 3, 1),))
            asked["sweep"] = ((("lr",), (("0.1",), ("0.2",), ("0.3",))),)
        if draw.random() < 0.2:
            asked["begin_at"] = self.stage.now.wall_s + draw.choice([-5.0, 30.0, 300.0])
        if draw.random() < 0.2:
            scale = draw.choice([(), (("memory", 1.5),), (("time", 2.0), ("cpus", 2.0))])
            cause = draw.choice(["any", "exit=75", "timeout", "oom"])
            asked["retries"] = (RetryRule(cause, draw.choice([1, 3]), scale),)
            asked["retry_delay_s"] = draw.choice([0.0, 20.0])
        if draw.random() < 0.2:
            asked["group"], asked["group_limit"] = "g", draw.choice([None, None, 1, 3])
        if draw.random() < 0.3:
            asked["project"] = "p"
        asked["requeue"] = draw.random() < 0.2
        return spec(draw.choice("xyz"), draw.choice(["ann", "bob"]), **asked)

    def _dependencies(self) -> tuple[Dependency, ...]:
        found = []
        for _ in range(self.random.choice([1, 1, 2])):
            kind = self.random.choice(_KINDS)
            ids = tuple(self._some_id() for _ in range(self.random.choice([1, 2])))
            delay_s = self.random.choice([0.0, 0.0, 30.0])
            found.append(Dependency(kind, () if kind == "singleton" else ids, delay_s))
        return tuple(found)
