"""Draining the machine."""

from __future__ import annotations

import pytest

from gflow.errors import Refused
from gflow.model.event import Drain, Ready, Undrain
from gflow.model.state import State
from tests.scheduling.stage import Stage, spec, starts


def test_nothing_starts_while_drained() -> None:
    """What runs goes on."""
    stage = Stage()
    running = stage.run()
    stage.handle(Drain(0, "new disks"))
    waiting = stage.submit(spec())
    assert stage.state(running) is State.RUNNING
    assert stage.reasons(waiting) == ["Drained"]
    assert starts(stage.handle(Undrain(0))) == [waiting]


def test_until_a_moment_what_ends_before_it_still_starts() -> None:
    """Jobs without a limit do not; after the moment nothing does."""
    stage = Stage()
    stage.handle(Drain(0, "new disks", by_at=stage.now.wall_s + 600))
    stage.run(time_limit_s=500)
    long, endless = stage.submit(spec(time_limit_s=700)), stage.submit(spec())
    assert [stage.state(job) for job in (long, endless)] == [State.PENDING] * 2
    stage.pass_s(601)
    assert stage.state(stage.submit(spec(time_limit_s=1))) is State.PENDING


def test_a_drain_survives_a_restart() -> None:
    """With its reason."""
    stage = Stage()
    stage.handle(Drain(7, "new disks"))
    stage.submit(spec())
    twin = stage.reloaded()
    assert starts(twin.handle(Ready())) == []
    [blocker] = twin.scheduler.explain(1, twin.now).blockers
    assert blocker.message == "the machine is being drained: new disks"


def test_what_makes_no_sense_is_refused() -> None:
    """A moment that has passed; nothing to undo."""
    stage = Stage()
    with pytest.raises(Refused, match="has passed"):
        stage.handle(Drain(0, "x", by_at=stage.now.wall_s - 1))
    with pytest.raises(Refused, match="not being drained"):
        stage.handle(Undrain(0))
