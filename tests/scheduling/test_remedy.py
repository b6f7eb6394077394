"""What is said to let a job start now does so."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from gflow.api.quantity import parse_duration, parse_size
from gflow.model.event import CapacityChanged, Drain, Hold, Reserve, SetQuota, Update, Wake
from gflow.model.job import Array
from gflow.model.state import State
from tests.scheduling.history import History
from tests.scheduling.stage import GB, Stage, capacity, spec, tasks


def remedies(stage: Stage, job: int) -> list[str]:
    """All that is found, step by step."""
    trials = stage.scheduler.remedies(job, stage.now)
    for _ in range(100_000):
        if trials.step(1):
            return trials.found
    raise AssertionError("never done")


def changes(words: str) -> dict[str, Any]:
    """What ``update`` with these options would change."""
    found: dict[str, Any] = {}
    left = iter(words.split())
    for word in left:
        if word == "--shared":
            found["gpu_shared"] = True
            continue
        value = next(left)
        name = {"--mem": "memory_bytes", "--gpu-memory": "gpu_memory_bytes"}.get(word)
        if name is not None:
            found[name] = parse_size(value)
        elif word == "--time":
            found["time_limit_s"] = parse_duration(value)
        else:
            found[word.removeprefix("--")] = int(value)
    return found


def check(stage: Stage, job: int, words: str) -> None:
    """Make the change and see it start at once."""
    stage.handle(Update(job, 1000, changes(words)))
    item = stage.scheduler.item(job)
    active = stage.scheduler.active()
    started = [one for one in active if job in (one.id, one.array_id)]
    assert started, f"{words}: {item}"
    assert all(one.started_at == stage.now.wall_s for one in started[-1:])


@pytest.mark.parametrize(
    ("running", "wanted", "found"),
    [
        ({"cpus": 3}, {"cpus": 2}, ["--cpus 1"]),
        ({"cpus": 4}, {"cpus": 2}, []),
        ({"memory_bytes": 60 * GB}, {"memory_bytes": 8 * GB}, ["--mem 4G"]),
        ({"gpus": 1}, {"gpus": 2}, ["--gpus 1"]),
        ({"gpus": 2}, {"gpus": 1}, []),
        ({"gpus": 1, "cpus": 3}, {"gpus": 2, "cpus": 2}, ["--cpus 1 --gpus 1"]),
        ({"gpus": 1}, {"gpus": 2, "memory_bytes": 65 * GB}, []),
        (
            {"gpus": 1, "gpu_shared": True, "gpu_memory_bytes": 4 * GB},
            {"gpus": 2},
            ["--gpus 1", "--shared --gpu-memory 12G"],
        ),
        (
            {"gpus": 2, "gpu_shared": True, "gpu_memory_bytes": 14 * GB},
            {"gpus": 2, "gpu_shared": True, "gpu_memory_bytes": 8 * GB},
            ["--gpu-memory 2G"],
        ),
    ],
)
def test_smaller_requests(
    running: dict[str, Any], wanted: dict[str, Any], found: list[str]
) -> None:
    """As much as is free, and only where there is something; all that is short at once."""
    stage = Stage(capacity(gpus=2, memory=64 * GB))
    stage.run(**running)
    if wanted.get("memory_bytes", 0) > 64 * GB:
        wanted = {**wanted, "memory_bytes": 64 * GB, "exclusive": True}
    job = stage.submit(spec(**wanted))
    assert remedies(stage, job) == found
    for words in found[:1]:
        check(stage, job, words)


def test_a_limit_that_ends_before_the_reserved_job() -> None:
    """Nine tenths of what is left, so that there is time to say it."""
    stage = Stage(capacity(cpus=4))
    stage.run(cpus=3, time_limit_s=6000)
    stage.submit(spec(cpus=4))
    job = stage.submit(spec(cpus=1))
    assert remedies(stage, job) == ["--time 90m"]
    check(stage, job, "--time 90m")


def test_of_two_limits_the_longer_is_told() -> None:
    """It needs no shorter one beside it."""
    stage = Stage(capacity(cpus=4, gpus=1))
    now_s = stage.now.wall_s
    stage.handle(Reserve(0, "bob", None, now_s + 1100, 100.0, 4, 0))
    stage.handle(Drain(0, "repair", by_at=now_s + 1000))
    job = stage.submit(spec())
    assert remedies(stage, job) == ["--time 16m"]


def test_a_smaller_request_that_starts_nothing_is_not_told() -> None:
    """It would fit, and still be kept back for the job before it."""
    stage = Stage(capacity(cpus=4))
    stage.run(cpus=3)
    stage.submit(spec(cpus=4))
    job = stage.submit(spec(cpus=4, priority=5))
    assert remedies(stage, job) == []


def test_drains_and_limits_of_people() -> None:
    """What ends before the drain may start; what stays below the limit too."""
    stage = Stage(capacity(cpus=4))
    stage.handle(Drain(0, "repair", by_at=stage.now.wall_s + 1000))
    job = stage.submit(spec())
    assert remedies(stage, job) == ["--time 15m"]
    stage = Stage(capacity(cpus=4, gpus=4))
    stage.handle(SetQuota("user", "ann", 0, {"running_gpus": 3}))
    stage.run(gpus=1)
    job = stage.submit(spec(gpus=4 - 1))
    assert remedies(stage, job) == ["--gpus 2"]
    check(stage, job, "--gpus 2")


def test_who_waits_for_something_else_has_none() -> None:
    """Nor who waits for cards that are not known."""
    stage = Stage(capacity(cpus=4))
    stage.run(cpus=3)
    job = stage.submit(spec(cpus=2))
    stage.handle(Hold(job, 1000))
    assert remedies(stage, job) == []
    stage.handle(CapacityChanged(replace(stage.scheduler.capacity, cards=None)))
    assert remedies(stage, stage.submit(spec(gpus=1))) == []


def test_a_task_that_waits() -> None:
    """What would start its array."""
    stage = Stage(capacity(cpus=4))
    stage.run(cpus=3)
    array = stage.submit(spec(cpus=2, array=tasks(3)))
    assert remedies(stage, array + 2) == ["--cpus 1"]
    check(stage, array, "--cpus 1")


@pytest.mark.parametrize("seed", range(400, 410))
def test_remedies_are_true(seed: int) -> None:
    """In random histories with everything on, what is told of a job starts it."""
    history = History(seed)
    tried = 0
    for _ in range(8):
        history.run(10)
        stage = history.stage
        stage.scheduler._core.pass_wanted = True
        stage.handle(Wake())
        for item in list(stage.scheduler.in_states(frozenset({State.PENDING}))):
            if isinstance(item, Array) and not item.pending:
                continue
            found = remedies(stage, item.id)
            if found:
                tried += 1
                check(stage, item.id, found[tried % len(found)])
    assert tried, "no remedy was ever found"
