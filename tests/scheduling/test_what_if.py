"""Submissions tried on a copy of the queue."""

from __future__ import annotations

import pytest

from gflow.model.event import Drain, Reserve
from gflow.model.job import Spec
from gflow.scheduling import forecast
from gflow.scheduling.what_if import Delay, WhatIf
from tests.scheduling.stage import Stage, after, capacity, spec, tasks


def _played(stage: Stage, *specs: Spec) -> WhatIf:
    play = stage.scheduler.what_if(specs, stage.now)
    for _ in range(1_000_000):
        if play.step(1):
            return play
    raise AssertionError("never done")


def _starts(stage: Stage, play: WhatIf) -> list[tuple[float | None, float | None]]:
    """Seconds from now."""
    at = stage.now.wall_s
    return [
        (early if early is None else early - at, late if late is None else late - at)
        for early, late in play.starts()
    ]


def test_the_start_and_who_is_delayed() -> None:
    """A higher job would start first and push the others back; nothing real has changed."""
    stage = Stage()
    stage.run(cpus=4, time_limit_s=100)
    second = stage.submit(spec(cpus=4, time_limit_s=50))
    play = _played(stage, spec(cpus=4, time_limit_s=30, priority=99))
    assert _starts(stage, play) == [(100, 100)]
    at = stage.now.wall_s
    assert play.delayed() == [Delay(second, at + 100, at + 130)]
    assert stage.scheduler.next_id == second + 1 and play.complete


def test_every_spec_has_its_start() -> None:
    """They wait for each other, too; an array starts with its first task."""
    stage = Stage()
    stage.run(cpus=4, time_limit_s=100)
    play = _played(
        stage,
        spec(cpus=4, time_limit_s=10),
        spec(cpus=4, time_limit_s=10, array=tasks(3)),
        spec(cpus=4, time_limit_s=10),
    )
    assert _starts(stage, play) == [(100, 100), (110, 110), (140, 140)]
    assert play.delayed() == []


def test_missing_limits_make_a_range() -> None:
    """At the earliest at once; at the latest nobody knows. What limits tell stays exact."""
    stage = Stage(capacity(cpus=4))
    stage.run(cpus=2)
    stage.run(cpus=2, time_limit_s=100)
    play = _played(stage, spec(cpus=4), spec(cpus=2, time_limit_s=50, priority=99))
    assert _starts(stage, play) == [(100, None), (0, 100)]


def test_what_depends_on_others_has_no_latest_start() -> None:
    """Nobody can tell when its turn comes."""
    stage = Stage()
    parent = stage.run(time_limit_s=100)
    play = _played(stage, spec(dependencies=after("afterok", parent)))
    assert _starts(stage, play) == [(0, None)]


def test_a_queue_that_is_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """Starts are lower bounds then, and say so."""
    monkeypatch.setattr(forecast, "_MOST_STEPS", 200)
    stage = Stage()
    stage.run(cpus=4, time_limit_s=100)
    stage.submit(spec(cpus=4, time_limit_s=1, array=tasks(100_000)))
    play = _played(stage, spec(cpus=4, time_limit_s=1, priority=11), spec(cpus=4, time_limit_s=1))
    assert not play.complete
    assert _starts(stage, play) == [(100, None), (None, None)]
    [delay] = play.delayed()
    assert delay.id == 2
    assert delay.after_at is not None and delay.after_at - delay.before_at == 1


def test_in_a_drained_machine_the_play_ends_beside_reservations_that_recur() -> None:
    """Nothing starts any more, however often one of them begins: that is certain, not cut short."""
    stage = Stage(capacity(cpus=4))
    stage.handle(Reserve(0, "bob", None, stage.now.wall_s + 100, 10.0, 1, every_s=1000.0))
    stage.handle(Drain(0, None, stage.now.wall_s + 60))
    play = _played(stage, spec(time_limit_s=100))
    assert play.complete
    assert _starts(stage, play) == [(None, None)]
