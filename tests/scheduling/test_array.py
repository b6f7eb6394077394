"""Arrays: one small record until something happens to a task."""

from __future__ import annotations

import pytest

from gflow.errors import Refused
from gflow.model.action import Start
from gflow.model.event import Cancel, Hold, Release, Requeue, Submit, Update
from gflow.model.job import ArraySpec
from gflow.model.state import State
from tests.scheduling.stage import Stage, capacity, spec, starts, tasks


def test_a_million_tasks_are_one_record() -> None:
    """Submission creates no tasks; ids are reserved for them."""
    stage = Stage(capacity(cpus=2))
    array = stage.submit(spec(array=tasks(1_000_000)))
    assert stage.scheduler.next_id == array + 1_000_001
    assert len(stage.scheduler.keys()) == 3
    assert stage.scheduler.counts()[State.PENDING] == 999_998


def test_tasks_start_in_order_with_their_numbers() -> None:
    """Start names array, number and how many there are."""
    stage = Stage()
    actions = stage.handle(Submit((spec(array=ArraySpec(((3, 9, 3),))),), 1000))
    found = [a for a in actions if isinstance(a, Start)]
    assert [(a.job_id, a.array_id, a.task) for a in found] == [(2, 1, 3), (3, 1, 6), (4, 1, 9)]
    assert (found[0].task_min, found[0].task_max, found[0].task_count) == (3, 9, 3)


def test_the_limit_holds_for_all_tasks() -> None:
    """%2: two at once, also of tasks that were requeued."""
    stage = Stage()
    array = stage.submit(spec(array=tasks(5, limit=2)))
    assert stage.scheduler.tally(array)[State.RUNNING] == 2
    assert stage.reasons(array) == ["JobArrayTaskLimit"]
    stage.handle(Requeue(array + 1, 1000))
    assert starts(stage.end(array + 1)) == [array + 3]
    assert starts(stage.end(array + 2)) == [array + 4]


def test_the_limit_can_be_changed() -> None:
    """A higher limit starts more at once."""
    stage = Stage()
    array = stage.submit(spec(array=tasks(5, limit=1)))
    assert starts(stage.handle(Update(array, 1000, {"array_limit": 3}))) == [array + 2, array + 3]
    with pytest.raises(Refused, match="at least 1"):
        stage.handle(Update(array, 1000, {"array_limit": 0}))


def test_one_waiting_task_can_be_cancelled() -> None:
    """It gets a record of its own, the others go on."""
    stage = Stage(capacity(cpus=1))
    array = stage.submit(spec(array=tasks(3)))
    stage.handle(Cancel(array + 2, 1000))
    assert stage.state(array + 2) is State.CANCELLED
    assert starts(stage.end(array + 1)) == [array + 3]
    stage.end(array + 3)
    assert stage.state(array) is State.CANCELLED


def test_one_waiting_task_can_be_held_and_released() -> None:
    """The hold is the task's alone."""
    stage = Stage(capacity(cpus=1))
    array = stage.submit(spec(array=tasks(3)))
    stage.handle(Hold(array + 2, 1000))
    assert starts(stage.end(array + 1)) == [array + 3]
    assert starts(stage.end(array + 3)) == []
    assert stage.reasons(array + 2) == ["JobHeldUser"]
    assert starts(stage.handle(Release(array + 2, 1000))) == [array + 2]


def test_one_waiting_task_can_be_updated() -> None:
    """A task with another request is no longer its array's."""
    stage = Stage(capacity(cpus=2))
    array = stage.submit(spec(cpus=2, array=tasks(3)))
    stage.handle(Update(array + 3, 1000, {"cpus": 1}))
    assert stage.job(array + 3).spec.resources.cpus == 1
    assert stage.array(array).pending == [(1, 2)]


def test_cancelling_an_array_ends_its_waiting_tasks_at_once() -> None:
    """A million waiting tasks cost one record; active ones end with their trees."""
    stage = Stage(capacity(cpus=2))
    array = stage.submit(spec(array=tasks(1000)))
    stage.handle(Cancel(array, 1000))
    assert stage.scheduler.tally(array) == {State.CANCELLED: 998, State.COMPLETING: 2}
    assert stage.state(array) is State.PENDING
    stage.gone(array + 1)
    stage.gone(array + 2)
    assert stage.state(array) is State.CANCELLED
    assert stage.saved["array", array]["final"]


def test_an_array_that_was_cancelled_before_it_started_ends_at_once() -> None:
    """Nothing is left to wait for."""
    stage = Stage()
    array = stage.submit(spec(array=tasks(10)), hold="user")
    stage.handle(Cancel(array, 1000))
    assert stage.state(array) is State.CANCELLED


def test_holding_an_array_keeps_its_waiting_tasks() -> None:
    """What runs goes on."""
    stage = Stage(capacity(cpus=1))
    array = stage.submit(spec(array=tasks(3)))
    stage.handle(Hold(array, 1000))
    assert starts(stage.end(array + 1)) == []
    assert starts(stage.handle(Release(array, 1000))) == [array + 2]


def test_requeueing_a_task_reopens_its_array() -> None:
    """The array is live again until the task has ended."""
    stage = Stage()
    array = stage.submit(spec(array=tasks(2)))
    stage.end(array + 1)
    stage.end(array + 2, 1)
    assert stage.state(array) is State.FAILED
    stage.handle(Requeue(array + 2, 1000))
    assert stage.state(array) is State.PENDING
    assert not stage.saved["array", array].get("final")
    stage.end(array + 2)
    assert stage.state(array) is State.COMPLETED


def test_tasks_are_found_by_number() -> None:
    """``7_3`` is a task id."""
    stage = Stage()
    array = stage.submit(spec(array=ArraySpec(((10, 30, 10),))))
    assert stage.scheduler.task_id(array, 20) == array + 2
    assert stage.scheduler.task_id(array, 15) is None


@pytest.mark.parametrize(
    "ranges", [(), ((5, 1, 1),), ((1, 5, 1), (5, 9, 1)), ((1, 5, 0),), ((-1, 5, 1),)]
)
def test_impossible_arrays_are_refused(ranges: tuple[tuple[int, int, int], ...]) -> None:
    """No tasks, wrong order, overlap, no step, negative numbers."""
    stage = Stage()
    with pytest.raises(Refused):
        stage.submit(spec(array=ArraySpec(ranges)))


def test_too_many_tasks_are_refused() -> None:
    """Ten million is beyond the configured maximum."""
    stage = Stage()
    with pytest.raises(Refused, match="10000000 tasks"):
        stage.submit(spec(array=tasks(10_000_000)))
