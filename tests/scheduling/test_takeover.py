"""Jobs, limits, reservations and use of another scheduler."""

from __future__ import annotations

from typing import Any

import pytest

from gflow.errors import Refused
from gflow.model.action import Start, Taken
from gflow.model.event import TakeJobs, TakePolicy
from gflow.model.job import Job
from gflow.model.state import State
from tests.scheduling.stage import GB, Stage, after, capacity, spec


def job(job_id: int, state: State = State.PENDING, **asked: Any) -> Job:
    """A job that was submitted and, unless it waits, ended long ago."""
    ended = None if state is State.PENDING else 900_000.0
    return Job(job_id, spec(**asked), 800_000.0, state=state, finished_at=ended)


def take(stage: Stage, *jobs: Job) -> list[int]:
    """Ids of the jobs that started at once."""
    actions = stage.handle(TakeJobs(jobs, 0))
    return [one.job_id for one in actions if isinstance(one, Start)]


def test_ids_stay_and_ours_go_on_above() -> None:
    """What waits starts as if it had been submitted here; what ended is there."""
    stage = Stage()
    assert take(stage, job(3, State.FAILED), job(7)) == [7]
    assert stage.scheduler.counts()[State.FAILED] == 1
    assert stage.submit(spec()) == 8


def test_an_id_that_is_taken_refuses_all() -> None:
    """Nothing of the list is taken in."""
    stage = Stage()
    stage.submit(spec())
    with pytest.raises(Refused, match="cannot import job 1: its id is taken"):
        stage.handle(TakeJobs((job(2), job(1)), 0))
    assert stage.scheduler.item(2) is None


def test_dependencies_hold() -> None:
    """On jobs of the same list and on those that history alone knows."""
    stage = Stage()
    parents = (job(1, State.COMPLETED), job(2, State.FAILED))
    good = job(3, dependencies=after("afterok", 1))
    bad = job(4, dependencies=after("afterok", 2), kill_on_invalid_dependency=True)
    assert take(stage, *parents, good, bad) == [3]
    assert stage.scheduler.counts()[State.CANCELLED] == 1
    old = job(9, dependencies=after("afterok", 8))
    started = stage.handle(TakeJobs((old,), 0, ended=((8, State.COMPLETED),)))
    assert [one.job_id for one in started if isinstance(one, Start)] == [9]


def test_what_this_machine_could_never_run_is_held() -> None:
    """With the reason: it waited where it comes from, and is not lost."""
    stage = Stage(capacity(gpus=1))
    assert take(stage, job(1, gpus=2)) == []
    found = stage.scheduler.job(1)
    assert found is not None
    assert found.hold == "user"
    assert found.reason is not None
    assert "2 gpus wanted, 1 available" in found.reason


def test_a_group_keeps_its_limit() -> None:
    """One of three at a time."""
    stage = Stage()
    jobs = [job(n, group="g", group_limit=1) for n in (1, 2, 3)]
    assert take(stage, *jobs) == [1]


def policy(stage: Stage, **parts: Any) -> dict[str, str | None]:
    """What was found about each thing; None: it was taken."""
    (answer,) = [one for one in stage.handle(TakePolicy(0, **parts)) if isinstance(one, Taken)]
    return dict(answer.findings)


def test_quotas_count_unless_there_is_one() -> None:
    """A second time nothing changes."""
    stage = Stage()
    quotas = (("user", "ann", {"running_jobs": 1.0}), ("default_user", "", {"pending_jobs": 9.0}))
    assert policy(stage, quotas=quotas) == {
        "quota of user ann": None,
        "quota of default_user": None,
    }
    assert take(stage, job(1), job(2)) == [1]
    other = (("user", "ann", {"running_jobs": 5.0}),)
    assert policy(stage, quotas=quotas)["quota of user ann"] == "it is here already"
    assert policy(stage, quotas=other)["quota of user ann"] == "another one is set here"
    assert stage.scheduler.record(("quota", "user", "ann")) is not None


def test_the_counter_alone() -> None:
    """Ids below were given out there, though no job has them any more."""
    stage = Stage()
    policy(stage, next_id=500)
    assert stage.submit(spec()) == 500


def test_use_decays_from_when_it_was_written() -> None:
    """A week ago is half; what is here already stays."""
    stage = Stage(fair_share_half_life_s=7 * 86400.0, gpu_cost=16.0)
    at = stage.now.wall_s - 7 * 86400.0
    assert policy(stage, use=(("ann", 100.0, at),)) == {"use of ann": None}
    record = stage.scheduler.record(("use", "ann"))
    assert isinstance(record, dict)
    assert record["cost_s"] == pytest.approx(800.0)
    assert policy(stage, use=(("ann", 100.0, at),))["use of ann"] == "there is some here already"


def test_reservations_keep_their_ids() -> None:
    """One that lasts already too; what cannot be kept is told."""
    stage = Stage(capacity(gpus=2, memory=GB))
    now = stage.now.wall_s
    made = {"user": "bob", "duration_s": 3600.0, "gpus": 2, "gpu_ids": ()}
    given = (
        {**made, "id": 4, "start_at": now - 1800},
        {**made, "id": 5, "start_at": now - 9000},
        {**made, "id": 6, "start_at": now + 9000, "gpus": 3},
    )
    found = policy(stage, reservations=given)
    assert found["reservation 4"] is None
    assert found["reservation 5"] == "it is over"
    assert "3 gpus wanted, 2 on this machine" in (found["reservation 6"] or "")
    assert take(stage, job(1, gpus=1)) == []
    assert policy(stage, reservations=given)["reservation 4"] == "it is here already"
