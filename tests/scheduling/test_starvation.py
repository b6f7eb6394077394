"""A wide job never starves: the bound of ``starvation_after_s``, shown with random arrivals."""

from __future__ import annotations

import random
from math import inf

import pytest

from gflow.model.state import State
from gflow.scheduling.backfill import reserve
from tests.scheduling.stage import GB, Stage, capacity, spec, tasks

#: No narrow job runs longer.
_LONGEST_S = 300.0
_STARVATION_S = 600.0


def _wait_of_a_wide_job(seed: int, starvation_after_s: float, limited: float) -> float:
    """How long the first in line, which wants the whole machine, waits in a narrow stream."""
    draw = random.Random(seed)
    stage = Stage(
        capacity(cpus=4, gpus=2), starvation_after_s=starvation_after_s, fair_share_weight=0.0
    )
    ends: dict[int, float] = {}
    wide, since = 0, 0.0
    for turn in range(400):
        limit_s = _LONGEST_S if draw.random() < limited else None
        cpus, gpus = draw.choice([1, 1, 2]), draw.choice([0, 0, 1])
        stage.submit(spec(time_limit_s=limit_s, cpus=cpus, gpus=gpus))
        if turn == 20:
            wide = stage.submit(spec("wide", priority=11, cpus=4, gpus=draw.choice([0, 2])))
            since = stage.now.boot_s
        for job in stage.scheduler.active():
            runs_s = draw.uniform(100.0, _LONGEST_S)
            if ends.setdefault(job.id, stage.now.boot_s + runs_s) <= stage.now.boot_s:
                stage.end(job.id)
        if wide and stage.state(wide) is not State.PENDING:
            return stage.now.boot_s - since
        stage.pass_s(10.0)
    return inf


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("limited", [1.0, 0.7, 0.0])
def test_the_wait_of_a_wide_job_is_bounded(seed: int, limited: float) -> None:
    """With limits by the longest of them, else by starvation_after and the longest run."""
    bound_s = _LONGEST_S if limited == 1.0 else _STARVATION_S + _LONGEST_S
    assert _wait_of_a_wide_job(seed, _STARVATION_S, limited) <= bound_s + 20.0


def test_without_reservations_it_would_starve(monkeypatch: pytest.MonkeyPatch) -> None:
    """The canary: the same streams under a greedy policy keep the wide job out for long."""
    monkeypatch.setattr("gflow.scheduling.dispatch.reserve", lambda *_: None)
    waits = [_wait_of_a_wide_job(seed, _STARVATION_S, limited=0.7) for seed in range(4)]
    assert max(waits) > _STARVATION_S + _LONGEST_S + 20.0


@pytest.mark.parametrize("seed", range(12))
def test_the_reserved_job_starts_no_later_than_it_was_told(seed: int) -> None:
    """With limits, no lower job delays the first in line by a second."""
    draw = random.Random(seed)
    stage = Stage(capacity(cpus=6, gpus=3), fair_share_weight=0.0, age_weight=0.0)
    told: dict[int, float] = {}
    for _ in range(250):
        stage.submit(
            spec(
                cpus=draw.choice([1, 2, 4, 6]),
                gpus=draw.choice([0, 0, 1, 3]),
                time_limit_s=draw.choice([20.0, 60.0, 200.0]),
            )
        )
        for job in stage.scheduler.active():
            over = stage.now.boot_s - (job.started_boot_s or 0.0)
            if over >= (job.spec.time_limit_s or 0.0) or draw.random() < 0.05:
                stage.end(job.id)
        core = stage.scheduler._core
        first = None if core.reserved_id is None else core.live.item(core.reserved_id)
        if first is not None and first.id not in told:
            barrier = reserve(core, first, stage.now)
            assert barrier is not None
            told[first.id] = barrier.starts_boot_s
        for job_id, at in told.items():
            begun = stage.scheduler.item(job_id)
            if begun is not None and begun.state is State.PENDING:
                assert stage.now.boot_s <= at + 10.0, job_id
        stage.pass_s(10.0)
    assert told


def test_an_array_starves_no_longer_when_a_task_began() -> None:
    """Its tasks come one after the other: the next one waits since the last one started."""
    stage = Stage(capacity(cpus=4), starvation_after_s=600.0, fair_share_weight=0.0)
    first = stage.run(cpus=3)
    stage.submit(spec(array=tasks(3), cpus=3, priority=11))
    stage.pass_s(590.0)
    stage.end(first)
    stage.pass_s(20.0)
    assert stage.state(stage.submit(spec(time_limit_s=60.0))) is State.RUNNING
    stage.pass_s(580.0)
    assert stage.state(stage.submit(spec(time_limit_s=60.0))) is State.PENDING


@pytest.mark.parametrize("seed", range(6))
def test_several_starving_jobs_have_their_turns(seed: int) -> None:
    """Cards that are shared, counters and arrays: each begins within a bound after the one before.

    Nothing that runs has a limit, so only ``starvation_after_s`` helps.
    """
    draw = random.Random(seed)
    stage = Stage(
        capacity(cpus=8, gpus=2, license=2), starvation_after_s=_STARVATION_S, fair_share_weight=0.0
    )
    kinds = [
        {"gpus": 1, "gpu_shared": True, "gpu_memory_bytes": 12 * GB},
        {"gpus": 2},
        {"gres": (("license", 2),)},
        {"cpus": 8},
        {"cpus": 6, "array": tasks(2)},
        {"exclusive": True},
    ]
    draw.shuffle(kinds)
    starving: list[int] = []
    since = 0.0
    ends: dict[int, float] = {}
    for turn in range(700):
        shared = draw.random() < 0.5
        stage.submit(
            spec(
                cpus=draw.choice([1, 2]),
                gpus=int(shared),
                gpu_shared=shared,
                gpu_memory_bytes=6 * GB if shared else 0,
                gres=() if draw.random() < 0.5 else (("license", 1),),
            )
        )
        if turn == 10:
            starving = [stage.submit(spec(priority=11, **one)) for one in kinds]
            since = stage.now.boot_s
        for job in stage.scheduler.active():
            until = ends.setdefault(job.id, stage.now.boot_s + draw.uniform(50.0, _LONGEST_S))
            if until <= stage.now.boot_s:
                stage.end(job.id)
        waiting = [one for one in starving if stage.state(one) is State.PENDING]
        if turn > 10 and not waiting:
            bound_s = (len(kinds) + 1) * (_STARVATION_S + _LONGEST_S + 20.0)
            assert stage.now.boot_s - since <= bound_s
            return
        stage.pass_s(10.0)
    raise AssertionError(f"still waiting: {waiting}")
