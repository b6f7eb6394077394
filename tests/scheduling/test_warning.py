"""The signal before the time limit: when, what, and how often."""

from __future__ import annotations

from gflow.model.action import Action, Kill, Warn
from gflow.model.event import Ready, Requeue, Resume, Suspend, Update
from gflow.model.job import WarningSignal
from tests.scheduling.stage import Stage

SIGNAL = WarningSignal(10, before_s=60.0, tree=False)


def warnings(actions: list[Action]) -> list[Warn]:
    return [action for action in actions if isinstance(action, Warn)]


def test_once_and_in_time() -> None:
    """It comes its time before the limit, says what is left, and comes once."""
    stage = Stage()
    job = stage.run(time_limit_s=100, warning=SIGNAL)
    stage.started(job)
    assert warnings(stage.pass_s(39)) == []
    assert warnings(stage.pass_s(1)) == [Warn(job, 1, 10, False, "timeout", 60.0)]
    assert warnings(stage.pass_s(30)) == []
    [kill] = [action for action in stage.pass_s(30) if isinstance(action, Kill)]
    assert kill.cause == "timeout"


def test_none_without_a_limit() -> None:
    """Without a time limit there is nothing to announce."""
    stage = Stage()
    job = stage.run(warning=SIGNAL)
    stage.started(job)
    assert warnings(stage.pass_s(1e6)) == []


def test_waits_for_the_command() -> None:
    """A limit shorter than the warning: it comes as soon as there is a command to get it."""
    stage = Stage()
    job = stage.run(time_limit_s=50, warning=SIGNAL)
    assert warnings(stage.pass_s(1)) == []
    [warning] = warnings(stage.started(job))
    assert warning.left_s == 50.0


def test_suspended_seconds_do_not_count() -> None:
    """Suspension moves the warning with the limit."""
    stage = Stage()
    job = stage.run(time_limit_s=100, warning=SIGNAL)
    stage.started(job)
    stage.handle(Suspend(job, 1000))
    assert warnings(stage.pass_s(500)) == []
    stage.handle(Resume(job, 1000))
    assert warnings(stage.pass_s(39)) == []
    assert len(warnings(stage.pass_s(1))) == 1


def test_moves_with_the_limit() -> None:
    """A shorter limit brings it forward."""
    stage = Stage()
    job = stage.run(time_limit_s=1000, warning=SIGNAL)
    stage.started(job)
    stage.handle(Update(job, 1000, {"time_limit_s": 100.0}))
    assert len(warnings(stage.pass_s(40))) == 1


def test_missed_one_comes_late() -> None:
    """A supervisor that was not there at that moment sends it when it is back, once."""
    stage = Stage()
    job = stage.run(time_limit_s=100, warning=SIGNAL)
    stage.started(job)
    again = stage.reloaded()
    assert warnings(again.pass_s(50)) == [], "nothing of it is adopted yet"
    assert [one.left_s for one in warnings(again.handle(Ready()))] == [50.0]
    twice = again.reloaded()
    assert warnings(twice.handle(Ready()) + twice.pass_s(10)) == []


def test_next_attempt_gets_its_own() -> None:
    """A requeued job is warned again."""
    stage = Stage()
    job = stage.run(time_limit_s=100, warning=SIGNAL)
    stage.started(job)
    assert len(warnings(stage.pass_s(50))) == 1
    stage.handle(Requeue(job, 1000))
    stage.end(job)
    stage.started(job)
    assert [one.attempt for one in warnings(stage.pass_s(50))] == [2]
