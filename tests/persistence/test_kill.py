"""kill -9 at random moments, again and again."""

from __future__ import annotations

import os
import random
import signal
import time

import pytest

from gflow.model.record import Key, Record
from gflow.process.channel import ChannelClosed
from tests.persistence.harness import Supervisor, job

ROUNDS = 12


def acknowledged(supervisor: Supervisor, waiting: dict[Key, int]) -> set[Key]:
    """Keys whose position is durable; they wait no more."""
    found = {key for key, position in waiting.items() if position <= supervisor.link.durable}
    for key in found:
        del waiting[key]
    return found


@pytest.mark.parametrize("seed", [1, 2])
def test_a_persister_killed_at_any_moment_loses_nothing(state_dir: str, seed: int) -> None:
    """Records are written while persister after persister dies; all of them end up there."""
    dice = random.Random(seed)
    supervisor = Supervisor(state_dir)
    supervisor.loaded()
    id = 0
    for _ in range(ROUNDS):
        death_s = time.monotonic() + dice.uniform(0.0, 0.03)
        while time.monotonic() < death_s:
            id += 1
            supervisor.put({("job", id): job(id), ("job", max(1, id - 5)): job(max(1, id - 5))})
            supervisor.pump()
        supervisor.kill()
        supervisor.replace()
    supervisor.pump_until(lambda: supervisor.link.drained)
    supervisor.stop()
    rows, _ = Supervisor(state_dir).loaded()
    assert {key for key in rows if key[0] == "job"} == {("job", n) for n in range(1, id + 1)}


@pytest.mark.parametrize("seed", [1, 2])
def test_all_killed_at_once_keep_what_was_acknowledged(state_dir: str, seed: int) -> None:
    """When both processes die together, the next start finds what was acknowledged."""
    dice = random.Random(seed)
    acked: set[Key] = set()
    id = 0
    for _ in range(ROUNDS):
        supervisor = Supervisor(state_dir)
        rows, _ = supervisor.loaded()
        assert acked <= set(rows)
        waiting: dict[Key, int] = {}
        death_s = time.monotonic() + dice.uniform(0.0, 0.03)
        while time.monotonic() < death_s:
            id += 1
            record: dict[Key, Record] = {("job", id): job(id)}
            waiting[("job", id)] = supervisor.put(record)
            supervisor.pump()
            acked |= acknowledged(supervisor, waiting)
        assert supervisor.process.pid is not None
        os.kill(supervisor.process.pid, signal.SIGKILL)
        supervisor.end()
    rows, _ = Supervisor(state_dir).loaded()
    assert acked <= set(rows)
    assert acked


@pytest.mark.parametrize("seed", [1, 2])
def test_an_orphan_finishes_what_it_was_sent(state_dir: str, seed: int) -> None:
    """When the supervisor alone dies, its persister commits whole batches only, then leaves."""
    dice = random.Random(seed)
    supervisor = Supervisor(state_dir)
    supervisor.loaded()
    acked: set[Key] = set()
    waiting: dict[Key, int] = {}
    death_s = time.monotonic() + dice.uniform(0.01, 0.05)
    id = 0
    while time.monotonic() < death_s:
        id += 1
        waiting[("job", id)] = supervisor.put({("job", id): job(id)})
        try:
            supervisor.pump()
        except ChannelClosed:
            break
        acked |= acknowledged(supervisor, waiting)
    assert supervisor.leave() == 0
    rows, _ = Supervisor(state_dir).loaded()
    found = sorted(int(key[1]) for key in rows if key[0] == "job")
    assert acked <= set(rows)
    assert found == list(range(1, len(found) + 1))
