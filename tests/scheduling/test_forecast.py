"""Expected starts, from playing the queue forward on a copy."""

from __future__ import annotations

from gflow.model.event import Drain
from gflow.model.state import State
from tests.scheduling.history import History
from tests.scheduling.stage import Stage, after, capacity, spec, tasks


def _expected(stage: Stage, job_id: int) -> tuple[float | None, float | None] | None:
    """Seconds from now."""
    forecast = stage.scheduler.forecast(job_id, stage.now)
    while not forecast.step(1):
        pass
    found = forecast.expected_start
    if found is None:
        return None
    earliest, latest = (None if at is None else at - stage.now.wall_s for at in found)
    return earliest, latest


def test_limits_tell_the_start_exactly() -> None:
    """One after the other, each for its whole limit."""
    stage = Stage()
    stage.run(cpus=4, time_limit_s=100)
    second = stage.submit(spec(cpus=4, time_limit_s=50))
    third = stage.submit(spec(cpus=4, time_limit_s=10))
    assert _expected(stage, second) == (100, 100)
    assert _expected(stage, third) == (150, 150)


def test_missing_limits_make_a_range() -> None:
    """At the earliest now, at the latest nobody knows."""
    stage = Stage()
    stage.run(cpus=4)
    second = stage.submit(spec(cpus=4, time_limit_s=50))
    third = stage.submit(spec(cpus=4))
    assert _expected(stage, second) == (0, None)
    assert _expected(stage, third) == (50, None)


def test_backfill_is_played_too() -> None:
    """A short narrow job starts before the wide one ahead of it."""
    stage = Stage()
    stage.run(cpus=3, time_limit_s=100)
    stage.run(cpus=1, time_limit_s=20)
    wide = stage.submit(spec(cpus=4, time_limit_s=100))
    short = stage.submit(spec(time_limit_s=60))
    assert _expected(stage, wide) == (100, 100)
    assert _expected(stage, short) == (20, 20)


def test_it_knows_the_place_in_the_order() -> None:
    """Counted in steps, for queues that are too large to count at once."""
    stage = Stage()
    stage.run(cpus=4, time_limit_s=10)
    jobs = [stage.submit(spec(user=f"u{n}", cpus=4, time_limit_s=1)) for n in range(5)]
    forecast = stage.scheduler.forecast(jobs[3], stage.now)
    while not forecast.step(1):
        pass
    assert forecast.position == 4
    assert forecast.expected_start == (stage.now.wall_s + 13, stage.now.wall_s + 13)
    held = stage.submit(spec(), hold="user")
    forecast = stage.scheduler.forecast(held, stage.now)
    while not forecast.step(1):
        pass
    assert forecast.position is None


def test_the_first_prediction_is_remembered() -> None:
    """It is a fact of the job, for reports on how good predictions are."""
    stage = Stage()
    stage.run(cpus=4)
    job = stage.submit(spec(cpus=4))
    stage.scheduler.note_prediction(job, 5.0)
    stage.scheduler.note_prediction(job, 6.0)
    stage.save()
    assert stage.saved["job", job]["predicted_start_at"] == 5.0


def test_arrays_and_their_limits_are_played() -> None:
    """The next task of an array counts as its start."""
    stage = Stage()
    array = stage.submit(spec(cpus=2, array=tasks(3, limit=1), time_limit_s=30))
    assert _expected(stage, array) == (30, 30)
    last = stage.submit(spec(cpus=4, priority=1, time_limit_s=5))
    assert _expected(stage, last) == (90, 90)


def test_a_begin_time_is_waited_for() -> None:
    """Free or not."""
    stage = Stage()
    job = stage.submit(spec(begin_at=stage.now.wall_s + 300))
    assert _expected(stage, job) == (300, 300)


def test_there_is_no_telling_while_held_or_drained() -> None:
    """Somebody has to act first."""
    stage = Stage()
    held = stage.submit(spec(), hold="user")
    assert _expected(stage, held) is None
    stage.handle(Drain(0, "x"))
    assert _expected(stage, stage.submit(spec())) is None


def test_a_forecast_changes_nothing() -> None:
    """It plays on a copy, whatever is going on."""
    history = History(11)
    history.run(120)
    stage = history.stage
    scheduler = stage.scheduler
    before = [scheduler.record(key) for key in scheduler.keys()]  # noqa: SIM118
    for item in list(stage.scheduler.in_states(frozenset({State.PENDING}))):
        forecast = stage.scheduler.forecast(item.id, stage.now)
        for _ in range(3000):
            if forecast.step(1):
                break
    assert [scheduler.record(key) for key in scheduler.keys()] == before  # noqa: SIM118
    history.run(50)


def test_the_queue_may_change_while_it_is_played() -> None:
    """Steps are taken between events."""
    stage = Stage(capacity(cpus=2))
    stage.run(cpus=2, time_limit_s=10)
    jobs = [stage.submit(spec(cpus=2, time_limit_s=10)) for _ in range(5)]
    forecast = stage.scheduler.forecast(jobs[-1], stage.now)
    forecast.step(2)
    stage.end(1)
    while not forecast.step(1):
        pass
    assert forecast.expected_start is not None


def test_dependencies_leave_the_start_open() -> None:
    """A parent may end in any way."""
    stage = Stage()
    parent = stage.run(time_limit_s=10)
    child = stage.submit(spec(dependencies=after("afterok", parent)))
    assert _expected(stage, child) is None


def test_the_parts_of_a_priority() -> None:
    """Points from priority, fair share and age."""
    stage = Stage()
    stage.run(cpus=4)
    job = stage.submit(spec(cpus=4, priority=12))
    stage.pass_s(7200)
    parts = stage.scheduler.priority(job, stage.now)
    assert parts["priority"] == 12_000 and parts["age"] == 20
    assert 0 < parts["fair_share"] <= 900
    assert parts["points"] == parts["priority"] + parts["fair_share"] + parts["age"]
