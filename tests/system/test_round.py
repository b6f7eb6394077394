"""Parallel submitters while processes are killed: nothing acknowledged is lost, no id is reused.

CI runs 20 rounds from a fresh seed, which is printed; GFLOW_TEST_SEED replays one.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable

from gflow import Client
from gflow.api.wire import Broken, Refusal, Unreachable
from tests.system.machine import Machine, eventually

ROUNDS = 20
SUBMITTERS = 8
#: Jobs that one submitter submits in one round at most.
EACH = 8
ORDERLY_STOPS = 10
VICTIMS = (
    ("supervisor",),
    ("persister",),
    ("launcher",),
    ("supervisor", "persister"),
    ("supervisor", "persister", "launcher"),
)


class Submitters:
    """Threads that submit as fast as they are answered, and note every id they were given."""

    def __init__(self, machine: Machine) -> None:
        self.ids: list[int] = []
        self._machine = machine
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._submit) for _ in range(SUBMITTERS)]
        for thread in self._threads:
            thread.start()

    def _submit(self) -> None:
        folder = str(self._machine.work)
        left = EACH
        while not self._stop.is_set() and left:
            with contextlib.suppress(Unreachable, Broken, Refusal, OSError):
                with Client(runtime_dir=str(self._machine.runtime)) as client:
                    while not self._stop.is_set() and left:
                        left -= 1
                        job_id = client.submit(
                            "echo x >> started.$GFLOW_JOB_ID", cwd=folder, env={}
                        )
                        self.ids.append(job_id)
            time.sleep(0.01)

    def stop(self) -> list[int]:
        """End them; every id that was acknowledged as durable."""
        self._stop.set()
        for thread in self._threads:
            thread.join()
        return self.ids


def test_rounds_of_kills_lose_nothing(new_machine: Callable[..., Machine]) -> None:
    """Every acknowledged job is there once, none starts twice, ids only rise."""
    seed = int(os.environ.get("GFLOW_TEST_SEED") or random.randrange(1 << 32))
    print(f"seed {seed}")
    chance = random.Random(seed)
    machine = new_machine(GFLOW_RESOURCES__CPUS="3")
    machine.start()
    acknowledged: list[int] = []
    for number in range(ROUNDS):
        pids = {**machine.note_pids(), "supervisor": machine.supervisor_pid}
        submitters = Submitters(machine)
        time.sleep(chance.uniform(0.02, 0.25))
        victims = VICTIMS[number % len(VICTIMS)]
        for name in victims:
            os.kill(pids[name], signal.SIGKILL)
        if "supervisor" in victims:
            machine.kill_at_once()
            new_ids = submitters.stop()
            machine.start()
        else:
            time.sleep(0.05)
            new_ids = submitters.stop()
        jobs = machine.jobs()
        missing = set(new_ids) - set(jobs)
        assert not missing, f"seed {seed}, round {number} ({victims}): lost {sorted(missing)}"
        acknowledged += new_ids
    twice = [job_id for job_id, count in Counter(acknowledged).items() if count > 1]
    assert not twice, f"seed {seed}: given out twice: {twice}"
    eventually(
        lambda: not {"PENDING", "RUNNING", "COMPLETING"} & set(machine.status()["jobs"]), 100
    )
    for path in machine.work.glob("started.*"):
        assert path.read_text() == "x\n", f"seed {seed}: {path.name} started twice"
    jobs = machine.jobs()
    assert set(acknowledged) <= set(jobs), f"seed {seed}"
    wrong = [jobs[job_id] for job_id in acknowledged if jobs[job_id]["state"] != "COMPLETED"]
    assert wrong == [], f"seed {seed}: {wrong}"


def test_orderly_stops_change_nothing(machine: Machine) -> None:
    """Stopped and started again and again, the listing stays the same, and every end is clean."""
    machine.wait(machine.submit("exit 3"), machine.submit("--array", "1-3", "--", "true"))
    machine.submit("--hold", "--", "true")
    machine.submit("--hold", "--array", "1-5", "--", "true")
    machine.submit("--begin", "now+1h", "--", "true")
    before = machine.jobs()
    for _ in range(ORDERLY_STOPS):
        assert machine.stop() == 0
        machine.start()
        assert machine.status()["store"]["clean_shutdown"] is True
        assert machine.jobs() == before
