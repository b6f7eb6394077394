"""Changes to jobs after submission."""

from __future__ import annotations

from typing import Any

import pytest

from gflow.errors import Refused
from gflow.model.event import Hold, Update
from gflow.model.state import State
from tests.scheduling.stage import Stage, after, kills, spec, starts, tasks


def _update(stage: Stage, job_id: int, admin: bool = False, **changes: Any) -> list[int]:
    return starts(stage.handle(Update(job_id, 1000, changes, admin)))


def test_a_smaller_request_may_start_at_once() -> None:
    """The change is looked at in the same event."""
    stage = Stage()
    stage.run(cpus=3)
    job = stage.submit(spec(cpus=2))
    assert _update(stage, job, cpus=1) == [job]


def test_priority_reorders() -> None:
    """The last becomes the first."""
    stage = Stage()
    first = stage.run(cpus=4)
    a, b = stage.submit(spec(cpus=4)), stage.submit(spec(cpus=4))
    _update(stage, b, priority=11)
    assert starts(stage.end(first)) == [b]
    assert stage.scheduler.explain(a, stage.now).position == 1


def test_none_clears() -> None:
    """A begin time, dependencies, a limit: None takes them away."""
    stage = Stage()
    parent = stage.run()
    later = stage.now.wall_s + 100
    job = stage.submit(spec(begin_at=later, dependencies=after("afterok", parent)))
    assert stage.reasons(job) == ["BeginTime", "Dependency"]
    assert _update(stage, job, begin_at=None) == []
    assert _update(stage, job, dependencies=None) == [job]


def test_a_group_goes_with_its_limit() -> None:
    """What it had set for the group does not keep it in there."""
    stage = Stage()
    stage.run(group="g", group_limit=1)
    job = stage.submit(spec(group="g", group_limit=1))
    assert _update(stage, job, group=None) == [job]
    assert stage.job(job).spec.group_limit is None


def test_top_comes_before_any_priority() -> None:
    """Admins only."""
    stage = Stage()
    first = stage.run(cpus=4)
    stage.submit(spec(cpus=4, priority=1000))
    low = stage.submit(spec(cpus=4, priority=-5))
    with pytest.raises(Refused) as refusal:
        _update(stage, low, top=1)
    assert refusal.value.kind == Refused.FORBIDDEN
    _update(stage, low, admin=True, top=1)
    assert starts(stage.end(first)) == [low]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"cpus": 99}, "99 cpus wanted, 4 available"),
        ({"cpus": 0}, "at least 1 cpu"),
        ({"user": "eve"}, "user cannot be changed"),
        ({"colour": "red"}, "no field 'colour'"),
        ({"name": None}, "name cannot be cleared"),
        ({"dependencies": after("afterok", 77)}, "job 77, which is not known"),
        ({"array_limit": 2}, "only an array"),
        ({"priority": 1 << 40}, "priority"),
    ],
)
def test_refused_changes_change_nothing(changes: dict[str, Any], message: str) -> None:
    """One bad field, and none is changed."""
    stage = Stage()
    job = stage.submit(spec(), hold="user")
    before = dict(stage.saved)
    with pytest.raises(Refused, match=message):
        stage.handle(Update(job, 1000, {"comment": "x", **changes}))
    assert stage.scheduler.take_changes() == [] and stage.saved == before


def test_a_running_jobs_limit_can_be_lowered() -> None:
    """And is enforced from then on."""
    stage = Stage()
    job = stage.run(time_limit_s=1000)
    stage.pass_s(100)
    assert kills(stage.handle(Update(job, 1000, {"time_limit_s": 50.0}))) == [job]


def test_only_an_admin_raises_a_running_jobs_limit() -> None:
    """It was planned with the old one."""
    stage = Stage()
    job = stage.run(time_limit_s=100)
    with pytest.raises(Refused, match="only an admin"):
        _update(stage, job, time_limit_s=200.0)
    _update(stage, job, admin=True, time_limit_s=200.0)
    assert kills(stage.pass_s(150)) == []


def test_a_running_jobs_request_cannot_change() -> None:
    """It holds what it has."""
    stage = Stage()
    job = stage.run()
    with pytest.raises(Refused) as refusal:
        _update(stage, job, cpus=2)
    assert refusal.value.kind == Refused.CONFLICT


def test_an_arrays_update_reaches_its_waiting_tasks() -> None:
    """Those with a Job of their own too."""
    stage = Stage()
    array = stage.submit(spec(array=tasks(3)), hold="user")
    _update(stage, array + 2, comment="mine")
    _update(stage, array, priority=20)
    assert stage.array(array).priority == 20
    assert stage.job(array + 2).priority == 20
    assert stage.job(array + 2).spec.comment == "mine"


def test_a_renamed_job_is_somebody_elses_namesake() -> None:
    """Singletons look at the name of now."""
    stage = Stage()
    job = stage.run(name="a")
    stage.handle(Update(job, 1000, {"name": "b"}))
    assert stage.state(stage.submit(spec(name="b"))) is State.RUNNING


def test_a_renamed_sweep_gives_every_task_its_own_name() -> None:
    """Also those that have a Job of their own, and for the command as well as the name."""
    stage = Stage()
    sweep = ((("lr",), (("0.1",), ("0.2",))),)
    array = stage.submit(spec("a-{lr}", array=tasks(2), sweep=sweep), hold="user")
    stage.handle(Hold(array + 2, 1000))
    _update(stage, array, name="b-{lr}", command=("train", "{lr}"), params=(("x", "1"),))
    task = stage.job(array + 2).spec
    assert (task.name, task.command) == ("b-0.2", ("train", "0.2"))
    assert task.params == (("x", "1"), ("lr", "0.2"))
    assert stage.array(array).spec.name == "b-{lr}"


def test_a_group_limit_may_change_with_a_job() -> None:
    """It holds for the group from now on; a limit of no group is refused."""
    stage = Stage()
    jobs = [stage.submit(spec(group="g", group_limit=1)) for _ in range(3)]
    assert _update(stage, jobs[2], group_limit=2) != []
    lone = stage.submit(spec(cpus=4))
    with pytest.raises(Refused, match="a group limit needs a group"):
        _update(stage, lone, group_limit=2)


def test_a_job_that_can_never_start_is_cancelled_when_that_is_wished() -> None:
    """The wish may come after the parent failed."""
    stage = Stage()
    parent = stage.run()
    job = stage.submit(spec(dependencies=after("afterok", parent)))
    stage.end(parent, 1)
    assert stage.state(job) is State.PENDING
    _update(stage, job, kill_on_invalid_dependency=True)
    assert stage.state(job) is State.CANCELLED
