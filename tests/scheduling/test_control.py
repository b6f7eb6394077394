"""Requests: cancel, signal, hold, release, requeue, suspend, resume."""

from __future__ import annotations

import signal as signals

import pytest

from gflow.errors import Refused
from gflow.model.action import Kill, Signal
from gflow.model.event import Cancel, Hold, Release, Requeue, Resume, SendSignal, Suspend
from gflow.model.job import RetryRule
from gflow.model.state import State
from tests.scheduling.stage import Stage, kills, spec, starts


def test_cancelling_a_pending_job_ends_it_at_once() -> None:
    """Nothing has to be killed."""
    stage = Stage()
    job = stage.submit(spec(), hold="user")
    assert kills(stage.handle(Cancel(job, 1000))) == []
    assert stage.state(job) is State.CANCELLED
    assert stage.job(job).finished_at == stage.now.wall_s


def test_an_active_job_is_cancelled_when_its_tree_is_empty() -> None:
    """Until then it is COMPLETING and holds what it has."""
    stage = Stage()
    job, other = stage.run(cpus=4), stage.submit(spec(cpus=4))
    assert kills(stage.handle(Cancel(job, 1000))) == [job]
    assert stage.state(job) is State.COMPLETING
    stage.exit(job, None, signals.SIGTERM)
    assert stage.state(other) is State.PENDING
    stage.gone(job)
    assert stage.state(job) is State.CANCELLED
    assert stage.job(job).signal == signals.SIGTERM
    assert stage.state(other) is State.RUNNING


def test_a_kill_has_the_jobs_own_grace_period() -> None:
    """The spec's, else the configured one."""
    stage = Stage(grace_period_s=10)
    own, default = stage.run(grace_period_s=3.0), stage.run()
    [order] = [a for a in stage.handle(Cancel(own, 1000)) if isinstance(a, Kill)]
    assert order.grace_period_s == 3.0
    [order] = [a for a in stage.handle(Cancel(default, 1000)) if isinstance(a, Kill)]
    assert order.grace_period_s == 10


def test_cancelling_twice_kills_again_and_changes_nothing() -> None:
    """The first cause stays."""
    stage = Stage()
    job = stage.run()
    stage.handle(Cancel(job, 1000, cause="memory"))
    assert kills(stage.handle(Cancel(job, 1000))) == [job]
    stage.gone(job)
    assert stage.state(job) is State.OUT_OF_MEMORY


def test_an_exit_before_the_kill_stays_the_end() -> None:
    """The command ended by itself; only its remains are killed."""
    stage = Stage()
    job = stage.run()
    stage.exit(job, 0)
    assert kills(stage.handle(Cancel(job, 1000))) == [job]
    stage.gone(job)
    assert stage.state(job) is State.COMPLETED


def test_a_cancelled_attempt_is_not_tried_again() -> None:
    """It had failed by itself and was being cleared away; the cancellation means the job."""
    stage = Stage()
    job_id = stage.run(retries=(RetryRule("any", 3),))
    stage.started(job_id)
    stage.exit(job_id, 1)
    stage.handle(Cancel(job_id, 0))
    stage.gone(job_id)
    assert stage.state(job_id) is State.FAILED


def test_what_is_cancelled_while_it_is_timed_out_is_not_tried_again() -> None:
    """The time limit ended it, the cancellation means the job."""
    stage = Stage()
    job_id = stage.run(time_limit_s=10.0, retries=(RetryRule("timeout", 3),))
    stage.started(job_id)
    stage.pass_s(11.0)
    stage.handle(Cancel(job_id, 0))
    stage.end(job_id, None, 15)
    assert stage.state(job_id) is State.TIMEOUT


@pytest.mark.parametrize("job_id", [0, -1, 99, 1 << 63])
def test_unknown_jobs_are_not_found(job_id: int) -> None:
    """Whatever the number."""
    stage = Stage()
    with pytest.raises(Refused) as refusal:
        stage.handle(Cancel(job_id, 1000))
    assert refusal.value.kind == Refused.NOT_FOUND


@pytest.mark.parametrize(
    "event", [Cancel(1, 0), Hold(1, 0), Release(1, 0), Suspend(1, 0), Resume(1, 0)]
)
def test_ended_jobs_refuse_changes(event: Cancel | Hold | Release | Suspend | Resume) -> None:
    """A conflict, and nothing has changed."""
    stage = Stage()
    job = stage.run()
    stage.end(job)
    before = dict(stage.saved)
    with pytest.raises(Refused) as refusal:
        stage.handle(event)
    assert refusal.value.kind == Refused.CONFLICT
    assert stage.scheduler.take_changes() == [] and stage.saved == before


def test_hold_and_release() -> None:
    """A held job waits whatever is free."""
    stage = Stage()
    job = stage.submit(spec(), hold="user")
    assert stage.reasons(job) == ["JobHeldUser"]
    assert starts(stage.handle(Release(job, 1000))) == [job]


def test_only_an_admin_releases_an_admins_hold() -> None:
    """The owner is told so."""
    stage = Stage()
    job = stage.submit(spec(), hold="user")
    stage.handle(Hold(job, 0, admin=True))
    assert stage.reasons(job) == ["JobHeldAdmin"]
    with pytest.raises(Refused) as refusal:
        stage.handle(Release(job, 1000))
    assert refusal.value.kind == Refused.FORBIDDEN
    assert starts(stage.handle(Release(job, 0, admin=True))) == [job]


def test_requeueing_a_running_job_ends_it_first() -> None:
    """The next attempt gets its number when the old one is proved gone."""
    stage = Stage()
    job = stage.run()
    assert kills(stage.handle(Requeue(job, 1000))) == [job]
    assert stage.job(job).attempt == 1
    assert starts(stage.end(job, 1)) == [job]
    assert stage.job(job).attempt == 2
    assert [a["cause"] for a in stage.job(job).attempts or []] == ["requeue"]


def test_requeueing_an_ended_job_runs_it_again() -> None:
    """Its record leaves history."""
    stage = Stage()
    job = stage.run()
    stage.end(job, 3)
    assert stage.saved["job", job]["final"]
    assert starts(stage.handle(Requeue(job, 1000))) == [job]
    assert "final" not in stage.saved["job", job]
    assert stage.job(job).exit_code is None and stage.job(job).finished_at is None


def test_a_cancel_ends_a_requeue() -> None:
    """Who is being ended to run again can still be cancelled."""
    stage = Stage()
    job = stage.run()
    stage.handle(Requeue(job, 1000))
    stage.handle(Cancel(job, 1000))
    stage.gone(job)
    assert stage.state(job) is State.CANCELLED


def test_suspension_stops_the_tree_and_the_limit() -> None:
    """Suspended seconds do not count, resources stay held."""
    stage = Stage()
    job = stage.run(cpus=4, time_limit_s=100)
    [stop] = [a for a in stage.handle(Suspend(job, 1000)) if isinstance(a, Signal)]
    assert (stop.signal, stop.tree) == (signals.SIGSTOP, True)
    assert kills(stage.pass_s(500)) == []
    other = stage.submit(spec())
    assert stage.state(other) is State.PENDING
    [go_on] = [a for a in stage.handle(Resume(job, 1000)) if isinstance(a, Signal)]
    assert go_on.signal == signals.SIGCONT
    assert kills(stage.pass_s(99)) == []
    assert kills(stage.pass_s(2)) == [job]


def test_a_suspended_job_can_be_cancelled() -> None:
    """And ends as usual."""
    stage = Stage()
    job = stage.run()
    stage.handle(Suspend(job, 1000))
    assert kills(stage.handle(Cancel(job, 1000))) == [job]
    stage.gone(job)
    assert stage.state(job) is State.CANCELLED


def test_signals_are_passed_on() -> None:
    """Without any change of state."""
    stage = Stage()
    job = stage.run()
    assert stage.handle(SendSignal(job, 1000, 10)) == [Signal(job, 1, 10, False)]
    assert stage.state(job) is State.RUNNING
    waiting = stage.submit(spec(), hold="user")
    with pytest.raises(Refused, match="not running"):
        stage.handle(SendSignal(waiting, 1000, 10))
