"""Loading: tolerant of what is missing, unknown or damaged."""

from __future__ import annotations

from typing import Any

import pytest

from gflow.model.event import Ready, Requeue
from gflow.model.record import Key
from gflow.model.state import Instant, State
from gflow.scheduling.scheduler import Scheduler
from gflow.scheduling.settings import Settings
from tests.scheduling.stage import BOOT, Stage, capacity, spec, starts, tasks

_NOW = Instant(50.0, 5000.0)
_SPEC = {"name": "a", "user": "u", "uid": 1, "gid": 1, "command": ["true"], "cwd": "/"}


def _loaded(*records: tuple[Key, dict[str, Any]], **more: Any) -> Scheduler:
    scheduler = Scheduler(Settings(), capacity(), BOOT)
    scheduler.load(records, _NOW, **more)
    return scheduler


def test_unknown_fields_are_dropped_and_missing_ones_take_defaults() -> None:
    """Neighbouring versions read each other's records."""
    record = {"id": 4, "spec": {**_SPEC, "new": 1}, "submitted_at": 1.0, "newer": [2]}
    scheduler = _loaded((("job", 4), record))
    job = scheduler.job(4)
    assert job is not None and job.state is State.PENDING and job.spec.priority == 10
    assert scheduler.next_id == 5


@pytest.mark.parametrize(
    "record", [{}, {"id": 4, "spec": 7}, {"id": 4, "spec": _SPEC, "state": "SLEEPING"}]
)
def test_a_damaged_record_is_told_and_the_rest_loads(record: dict[str, Any]) -> None:
    """Never guessed at."""
    good = {"id": 5, "spec": _SPEC, "submitted_at": 1.0}
    scheduler = _loaded((("job", 4), record), (("job", 5), good))
    assert scheduler.damaged == [("job", 4)]
    assert scheduler.job(5) is not None and scheduler.job(4) is None


def test_ids_go_on_above_the_saved_floor() -> None:
    """Gaps are fine, repeats are not."""
    scheduler = _loaded((("meta", "id_floor"), {"value": 700}))
    assert (scheduler.next_id, scheduler.id_floor_committed) == (700, 700)
    assert _loaded(id_floor=900).next_id == 900


def test_a_task_without_its_arrays_record_does_not_start_the_others() -> None:
    """The array's row is damaged: what is known goes on, nothing is guessed."""
    spec_of_array = {**_SPEC, "array": {"ranges": [[1, 5, 1]]}}
    record = {"id": 12, "spec": spec_of_array, "submitted_at": 1.0, "array_id": 10, "task": 2}
    scheduler = _loaded((("job", 12), record))
    assert starts(scheduler.handle(Ready(), _NOW)) == [12]
    assert scheduler.next_id == 16


def test_ended_tasks_in_history_are_not_run_again() -> None:
    """What has a record of its own is not pending, whatever the array's record says."""
    stage = Stage(capacity(cpus=1), keep_finished_s=5)
    array = stage.submit(spec(array=tasks(5)))
    for task in (array + 1, array + 2):
        stage.end(task)
        stage.pass_s(10)
    stage.pass_s(10)
    assert stage.scheduler.item(array + 1) is None
    twin = stage.reloaded()
    assert twin.array(array).pending == stage.array(array).pending == [(3, 5)]
    assert twin.scheduler.tally(array) == stage.scheduler.tally(array)


def test_running_jobs_hold_their_resources_before_ready() -> None:
    """Booked from their records, cpus and cards as they were."""
    stage = Stage(capacity(cpus=4, gpus=2))
    stage.run(cpus=1)
    job = stage.run(cpus=2, gpus=1)
    twin = stage.reloaded()
    assert twin.scheduler.free() == stage.scheduler.free()
    assert twin.job(job).cpu_ids == (1, 2) and twin.job(job).gpu_ids == (0,)


def test_a_restored_job_can_be_requeued() -> None:
    """History gives its record back."""
    stage = Stage(keep_finished_s=5)
    job = stage.run()
    stage.end(job)
    stage.pass_s(10)
    assert not stage.scheduler.knows(job)
    stage.scheduler.restore(stage.saved["job", job], stage.now)
    assert starts(stage.handle(Requeue(job, 1000))) == [job]


def test_a_restored_task_finds_its_restored_array() -> None:
    """Array first, then the task; the others stay ended."""
    stage = Stage(keep_finished_s=5)
    array = stage.submit(spec(array=tasks(2)))
    stage.end(array + 1)
    stage.end(array + 2)
    stage.pass_s(10)
    stage.pass_s(1)
    assert not stage.scheduler.knows(array)
    stage.scheduler.restore(stage.saved["array", array], stage.now, {"COMPLETED": 2})
    stage.scheduler.restore(stage.saved["job", array + 2], stage.now)
    assert starts(stage.handle(Requeue(array + 2, 1000))) == [array + 2]
    assert stage.scheduler.tally(array) == {State.COMPLETED: 1, State.RUNNING: 1}


def test_an_array_is_live_again_with_its_next_task() -> None:
    """Run files bring back what the store lost one by one; one task may have ended by then."""
    stage, twin = Stage(), Stage()
    array = stage.submit(spec(array=tasks(2)))
    records = [stage.saved["job", array + number] for number in (1, 2)]
    twin.scheduler.restore(records[0], twin.now)
    twin.end(array + 1)
    assert twin.state(array) is State.CANCELLED
    twin.scheduler.restore(records[1], twin.now)
    assert twin.state(array) is State.PENDING
    twin.end(array + 2)
    assert twin.state(array) is State.COMPLETED
    assert twin.scheduler.tally(array) == {State.COMPLETED: 2}
