"""The core alone with many pending jobs, in a process of its own: ``python -m``.

A process per size, because memory that was used once is never given back whole. Prints one JSON
object: seconds of each event by kind, and bytes per pending job.
"""

from __future__ import annotations

import gc
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gflow.model.action import Admitted, Start
from gflow.model.event import Cancel, Event, Exited, Gone, Ready, Started, Submit
from gflow.model.job import ArraySpec, Job, Process, Spec
from gflow.model.resources import Capacity, Card, Resources
from gflow.model.state import Instant, State
from gflow.scheduling.scheduler import Scheduler
from gflow.scheduling.settings import Settings
from tools.bench import machine

ROOT = Path(__file__).resolve().parents[2]
_USERS, _REQUESTS = 100, 200
_BATCH = 100
_GB = 1 << 30
#: Events of each kind that are measured.
_EVENTS = 2_000


def measure(pending: int, events: int = _EVENTS) -> dict[str, Any]:
    """Run in a process of its own."""
    answer = subprocess.run(
        [sys.executable, "-m", "tools.bench.queue", str(pending), str(events)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    found: dict[str, Any] = json.loads(answer.stdout)
    return found


def request(number: int) -> Resources:
    """One of two hundred requests: cpus, memory, and cards for one in two."""
    return Resources(
        cpus=1 + number % 8,
        memory_bytes=(1 + number % 25) * _GB,
        gpus=number % 4 if number % 2 else 0,
    )


def new_spec(number: int, dice: random.Random) -> Spec:
    """A spec as the API makes it: nothing but the request is shared with others."""
    user = dice.randrange(_USERS)
    return Spec(
        name=f"job-{number}",
        user=f"user{user}",
        uid=1000 + user,
        gid=1000 + user,
        command=("python", "train.py", f"--seed={number}"),
        cwd=f"/home/user{user}/run{number % 50}",
        env="5f" * 16,
        resources=_REQUEST[dice.randrange(_REQUESTS)],
        time_limit_s=600.0 * (1 + dice.randrange(100)),
        priority=dice.choice((10, 10, 10, 20)),
    )


_REQUEST = [request(number) for number in range(_REQUESTS)]


class Queue:
    """A scheduler on a machine of 64 cpus and 8 cards that is full all the time."""

    def __init__(self) -> None:
        capacity = Capacity(64, 512 * _GB, tuple(Card(n, 80 * _GB) for n in range(8)))
        self.scheduler = Scheduler(Settings(), capacity, "boot")
        self.scheduler.commit_id_floor(1 << 40)
        self.dice = random.Random(7)
        self.running: list[int] = []
        self.now_s = 1000.0
        self.last_id = 0
        self._made = 0
        self.tell(Ready())

    def tell(self, event: Event) -> float:
        """Seconds of processor time that one event takes, its changed keys included."""
        self.now_s += 0.01
        now = Instant(self.now_s, 1_750_000_000.0 + self.now_s)
        began_s = time.thread_time()
        actions = self.scheduler.handle(event, now)
        keys = self.scheduler.take_changes()
        took_s = time.thread_time() - began_s
        self.scheduler.release(keys)
        for action in actions:
            if isinstance(action, Admitted):
                self.last_id = action.job_ids[-1]
            elif isinstance(action, Start):
                self.running.append(action.job_id)
        return took_s

    def submit(self, count: int = 1, *, more: bool = False) -> float:
        """Submit so many."""
        specs = tuple(new_spec(self._made + n, self.dice) for n in range(count))
        self._made += count
        return self.tell(Submit(specs, 1000, more=more))

    def fill(self, pending: int) -> None:
        """Submit until so many wait; everything that can run does."""
        for start in range(0, pending, _BATCH):
            self.submit(min(_BATCH, pending - start), more=True)
        self.submit()
        self.confirm()

    def refill(self, pending: int) -> None:
        """Replace what left the queue."""
        while self.scheduler.counts().get(State.PENDING, 0) < pending:
            self.submit()

    def confirm(self) -> None:
        """The launcher says that what was started runs."""
        for job_id in self.running:
            job = self.scheduler.job(job_id)
            assert job is not None
            if job.process is None:
                self._started(job)

    def _started(self, job: Job) -> None:
        process = Process("boot", job.id, job.id)
        self.tell(Started(job.id, job.attempt, process, process, self.now_s, self.now_s))

    def end(self) -> tuple[float, float]:
        """A running job ends: seconds of the exit, and of its last process with a whole pass."""
        self.confirm()
        job_id = self.running.pop(self.dice.randrange(len(self.running)))
        job = self.scheduler.job(job_id)
        assert job is not None
        exited = self.tell(Exited(job_id, job.attempt, 0, None, self.now_s))
        return exited, self.tell(Gone(job_id, job.attempt))

    def cancel(self) -> float:
        """Some pending job is cancelled."""
        while True:
            job_id = self.dice.randrange(1, self.last_id)
            job = self.scheduler.job(job_id)
            if job is not None and job.state == "PENDING":
                return self.tell(Cancel(job_id, 1000))

    def array(self, tasks: int) -> float:
        """One array of so many tasks."""
        spec = Spec(
            name="sweep",
            user="user1",
            uid=1001,
            gid=1001,
            command=("true",),
            cwd="/",
            resources=_REQUEST[0],
            array=ArraySpec(((0, tasks - 1, 1),)),
        )
        return self.tell(Submit((spec,), 1001))


def main(pending: int, events: int) -> None:
    """Fill, measure, print."""
    gc.disable()
    queue = Queue()
    queue.fill(min(100, pending))
    before = machine.resident_bytes(os.getpid())
    queue.fill(pending - 100)
    memory = (machine.resident_bytes(os.getpid()) - before) / max(1, pending - 100)
    gc.collect()
    gc.freeze()
    kinds: dict[str, Callable[[], float]] = {"submit": queue.submit, "cancel": queue.cancel}
    found: dict[str, Any] = {kind: [] for kind in (*kinds, "exit", "pass")}
    for _ in range(events):
        for kind, work in kinds.items():
            found[kind].append(work())
        exited, passed = queue.end()
        found["exit"].append(exited)
        found["pass"].append(passed)
        queue.refill(pending)
    before = machine.resident_bytes(os.getpid())
    found["array"] = queue.array(1_000_000)
    found["array_bytes"] = machine.resident_bytes(os.getpid()) - before
    found["bytes_per_job"] = memory
    print(json.dumps(found))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
