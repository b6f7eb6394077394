"""What stays in memory, for how long, and that the collector has nothing to find."""

from __future__ import annotations

import gc

from gflow.model.event import Cancel, Gone, Wake
from gflow.model.state import State
from tests.scheduling.history import History
from tests.scheduling.stage import Stage, after, capacity, spec, tasks


def test_no_cycles_among_state_objects() -> None:
    """Reference counts free everything: a full collection after it finds nothing."""
    history = History(3)
    history.run(150)
    gc.collect()
    gc.disable()
    try:
        del history
        assert gc.collect() == 0
    finally:
        gc.enable()


def test_state_objects_have_slots() -> None:
    """No dictionary per job, array, bucket, account."""
    history = History(4)
    history.run(150)
    core = history.stage.scheduler._core
    objects = [core, core.live, core.queue, core.dependencies, core.pool, core.timers]
    objects += [*core.live.jobs.values(), *core.live.arrays.values(), *core.live.tallies.values()]
    objects += [*core.queue.buckets.values(), *core.accounts.known.values()]
    assert [one for one in objects if hasattr(one, "__dict__")] == []


def test_finished_jobs_are_forgotten_after_a_while() -> None:
    """Without a change to their records: history has them."""
    stage = Stage(keep_finished_s=100)
    job = stage.run()
    stage.end(job)
    stage.pass_s(99)
    assert stage.scheduler.knows(job)
    stage.pass_s(2)
    assert not stage.scheduler.knows(job)
    assert stage.saved["job", job]["final"]


def test_only_so_many_finished_jobs_are_kept() -> None:
    """The oldest go first."""
    stage = Stage(keep_finished=3)
    for job in [stage.run() for _ in range(4)]:
        stage.end(job)
    stage.handle(Wake())
    assert [item.id for item in stage.scheduler.page(0, 10)] == [2, 3, 4]


def test_many_are_forgotten_without_further_events() -> None:
    """As soon as their ends are durable, turn by turn, though nothing happens any more."""
    stage = Stage(capacity(cpus=500), keep_finished=3, steps_per_turn=16)
    jobs = [stage.run() for _ in range(100)]
    for job in jobs:
        stage.exit(job)
    for job in jobs:
        stage.scheduler.handle(Gone(job, 1), stage.now)
    stage.save()
    turns = 0
    while stage.scheduler.next_wakeup() == stage.now:
        stage.scheduler.handle(Wake(), stage.now)
        turns += 1
    assert len(stage.scheduler.page(0, 200)) == 3
    assert turns < 20


def test_a_parent_counts_once() -> None:
    """What something waited for is forgotten in its turn, and not before its time."""
    stage = Stage(keep_finished=4)
    parents = [stage.run() for _ in range(2)]
    children = [
        stage.submit(spec(dependencies=after("afterany", job)), hold="user") for job in parents
    ]
    for job in parents:
        stage.end(job)
    for job in children:
        stage.handle(Cancel(job, 7))
    stage.handle(Wake())
    assert [item.id for item in stage.scheduler.page(0, 10)] == [*parents, *children]


def test_an_end_that_is_not_durable_is_not_forgotten() -> None:
    """While the disk is stuck, memory is the only place that knows."""
    stage = Stage(keep_finished_s=10)
    job = stage.run()
    stage.exit(job)
    scheduler, now = stage.scheduler, stage.now
    scheduler.handle(Gone(job, 1), now)
    later = type(now)(now.boot_s + 100, now.wall_s + 100)
    scheduler.handle(Wake(), later)
    assert scheduler.knows(job)
    keys = scheduler.take_changes()
    assert all(scheduler.record(key) is not None for key in keys)
    scheduler.release(keys)
    scheduler.handle(Wake(), later)
    assert not scheduler.knows(job)


def test_an_array_is_forgotten_after_its_tasks() -> None:
    """Its record is needed as long as one of them is there."""
    stage = Stage(capacity(cpus=8), keep_finished_s=100)
    array = stage.submit(spec(array=tasks(4)))
    for task in range(array + 1, array + 5):
        stage.end(task)
        stage.pass_s(30)
    stage.pass_s(65)
    assert stage.scheduler.array(array) is not None
    stage.pass_s(120)
    stage.handle(Wake())
    assert stage.scheduler.page(0, 10) == []


def test_transitions_are_released_when_durable() -> None:
    """Written once, then nobody needs them in memory."""
    stage = Stage()
    job = stage.submit(spec(), hold="user")
    stage.scheduler.handle(Cancel(job, 7), stage.now)
    keys = stage.scheduler.take_changes()
    assert keys == [("job", 1), ("transition", 1, 1)]
    assert stage.scheduler.record(keys[1]) == {
        "at": stage.now.wall_s,
        "from": "PENDING",
        "to": "CANCELLED",
        "cause": "cancel",
        "uid": 7,
    }
    stage.scheduler.release(keys)
    assert stage.scheduler.record(keys[1]) is None


def test_changes_keep_the_order_of_first_change() -> None:
    """A key changed again keeps its place."""
    stage = Stage(capacity(cpus=1))
    stage.scheduler.take_changes()
    first = stage.run()
    second = stage.submit(spec())
    stage.handle(Cancel(first, 0))
    assert stage.state(second) is State.PENDING
    assert [k for k in stage.saved if k[0] == "job"] == [("job", first), ("job", second)]
