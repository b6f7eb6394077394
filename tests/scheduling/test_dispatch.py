"""Who starts when: order, backfill, bounds."""

from __future__ import annotations

from gflow.model.event import CapacityChanged, Drain, Ready, Resume, Submit, Suspend
from gflow.model.resources import Capacity, Card
from gflow.model.state import Instant, State
from tests.scheduling.stage import GB, Stage, capacity, spec, starts, tasks


def test_a_fitting_job_starts_in_the_same_event() -> None:
    """Submission and start are one step: no polling, no debounce."""
    stage = Stage()
    actions = stage.handle(Submit((spec(cpus=2),), 1000))
    assert starts(actions) == [1]
    assert stage.job(1).cpu_ids == (0, 1)


def test_nothing_starts_before_ready() -> None:
    """Before recovery is over nobody knows what runs."""
    stage = Stage(ready=False)
    job = stage.submit(spec())
    assert stage.state(job) is State.PENDING
    assert starts(stage.handle(Ready())) == [job]


def test_more_of_a_request_delays_the_pass() -> None:
    """A list in slices is complete before the first of it starts."""
    stage = Stage()
    assert starts(stage.scheduler.handle(Submit((spec(),), 1000, more=True), stage.now)) == []
    assert starts(stage.handle(Submit((spec(),), 1000))) == [1, 2]


def test_freed_resources_are_offered_in_the_same_event() -> None:
    """The end of one job is the start of the next."""
    stage = Stage()
    first = stage.run(cpus=4)
    second = stage.submit(spec(cpus=4))
    assert stage.state(second) is State.PENDING
    assert starts(stage.end(first)) == [second]


def test_priority_comes_before_submission_order() -> None:
    """Higher priority first; equal ones as they came."""
    stage = Stage()
    first = stage.run(cpus=4)
    low, high, also_high = (stage.submit(spec(cpus=4, priority=p)) for p in (5, 20, 20))
    order = []
    running = first
    for _ in range(3):
        [running] = starts(stage.end(running))
        order.append(running)
    assert order == [high, also_high, low]


def test_a_lower_job_may_start_where_it_does_not_delay_the_reserved_one() -> None:
    """EASY backfill: short enough to end before the wide job starts."""
    stage = Stage()
    stage.run(cpus=3, time_limit_s=1000)
    wide = stage.submit(spec(cpus=4))
    short = stage.submit(spec(time_limit_s=900))
    long = stage.submit(spec(time_limit_s=1100))
    assert [stage.state(j) for j in (wide, short, long)] == [
        State.PENDING,
        State.RUNNING,
        State.PENDING,
    ]
    assert stage.reasons(long) == ["Resources", "Priority"]


def test_backfill_uses_what_the_reserved_job_leaves() -> None:
    """A job of any length may take what the reserved one does not need."""
    stage = Stage(capacity(cpus=4, gpus=2))
    stage.run(gpus=1, time_limit_s=1000)
    stage.submit(spec(gpus=2))
    endless = stage.submit(spec(cpus=1))
    assert stage.state(endless) is State.RUNNING


def test_everybody_who_ends_at_that_moment_is_gone_then() -> None:
    """What the reserved job leaves is counted after all of them, not after as many as it takes."""
    stage = Stage(capacity(cpus=8))
    stage.run(cpus=4, time_limit_s=100)
    stage.run(cpus=2, time_limit_s=100)
    stage.submit(spec(cpus=6, priority=99))
    lower = stage.submit(spec(cpus=2, time_limit_s=1000))
    assert stage.state(lower) is State.RUNNING


def test_without_limits_a_short_job_still_backfills_before_starvation() -> None:
    """Nobody can tell when the wide job starts, so a limited one may run meanwhile."""
    stage = Stage(starvation_after_s=3600)
    stage.run(cpus=3)
    stage.submit(spec(cpus=4))
    short = stage.submit(spec(time_limit_s=60))
    assert stage.state(short) is State.RUNNING


def test_after_the_bound_nothing_lower_takes_what_a_starving_job_waits_for() -> None:
    """The wide job waited for starvation_after: from now on everything freed is kept for it."""
    stage = Stage(starvation_after_s=3600)
    keeper = stage.run(cpus=3)
    wide = stage.submit(spec(cpus=4))
    stage.pass_s(3601)
    short = stage.submit(spec(time_limit_s=60))
    assert stage.state(short) is State.PENDING
    assert stage.reasons(short) == ["Priority"]
    assert starts(stage.end(keeper)) == [wide]


def test_a_turn_starts_a_bounded_number_and_asks_to_go_on() -> None:
    """A thousand startable jobs do not make one long turn."""
    stage = Stage(capacity(cpus=100), starts_per_turn=8)
    actions = stage.scheduler.handle(Submit((spec(array=tasks(100)),), 1000), stage.now)
    assert len(starts(actions)) == 8
    assert stage.scheduler.next_wakeup() == stage.now
    stage.pass_s(0)
    assert stage.scheduler.counts()[State.RUNNING] == 100


def test_gpu_jobs_wait_until_the_cards_are_known() -> None:
    """While nobody has asked the driver, gpu jobs wait with GpusUnknown and others start."""
    stage = Stage(Capacity(4, 64 * GB, None))
    gpu = stage.submit(spec(gpus=1))
    other = stage.submit(spec(cpus=4))
    assert stage.state(other) is State.RUNNING
    assert "GpusUnknown" in stage.reasons(gpu)
    stage.end(other)
    cards = (Card(0, 16 * GB),)
    assert starts(stage.handle(CapacityChanged(Capacity(4, 64 * GB, cards)))) == [gpu]


def test_an_unusable_card_is_not_given_out() -> None:
    """A card with a foreign process on it waits, and so does who needs it."""
    busy = Capacity(4, 0, (Card(0, GB, unusable="process 4711 is on it"), Card(1, GB)))
    stage = Stage(busy)
    first, second = stage.submit(spec(gpus=1)), stage.submit(spec(gpus=1))
    assert stage.job(first).gpu_ids == (1,)
    assert stage.state(second) is State.PENDING
    stage.handle(CapacityChanged(Capacity(4, 0, (Card(0, GB), Card(1, GB)))))
    assert stage.job(second).gpu_ids == (0,)


def test_an_exclusive_job_runs_alone() -> None:
    """Nothing beside it, and it beside nothing."""
    stage = Stage()
    first = stage.run()
    alone = stage.submit(spec(exclusive=True))
    assert stage.state(alone) is State.PENDING
    stage.end(first)
    other = stage.submit(spec())
    assert stage.state(alone) is State.RUNNING
    assert stage.state(other) is State.PENDING


def test_counters_limit_starts() -> None:
    """Two licences serve two jobs at once."""
    stage = Stage(capacity(license=2))
    jobs = [stage.submit(spec(gres=(("license", 1),))) for _ in range(3)]
    assert [stage.state(j) for j in jobs] == [State.RUNNING, State.RUNNING, State.PENDING]


def test_a_blocked_limit_does_not_hold_up_others() -> None:
    """A job that its array's limit keeps back reserves nothing."""
    stage = Stage()
    stage.submit(spec(cpus=2, array=tasks(3, limit=1), priority=99))
    other = stage.submit(spec(cpus=2))
    assert stage.state(other) is State.RUNNING


def test_many_alike_jobs_of_one_user_leave_tries_for_others() -> None:
    """Behind the reserved job everybody's first few are tried before anybody's many."""
    stage = Stage(backfill_depth=16)
    stage.run(cpus=3, time_limit_s=1000)
    stage.submit(spec(cpus=4))
    for _ in range(40):
        stage.submit(spec(user="many", time_limit_s=5000))
    stage.run(user="few", time_limit_s=500)


def test_tries_that_are_left_go_to_whoever_has_more() -> None:
    """A single user's short job is found behind more long ones than a first share."""
    stage = Stage(backfill_depth=32)
    stage.run(cpus=3, time_limit_s=1000)
    stage.submit(spec(cpus=4))
    for _ in range(20):
        stage.submit(spec(time_limit_s=5000))
    stage.run(time_limit_s=500)


def test_who_cannot_end_before_the_drain_is_not_overtaken_for_good() -> None:
    """The next job in order that can end in time is reserved for, not one of a lower class."""
    stage = Stage(fair_share_weight=0.0)
    stage.run(cpus=2, time_limit_s=100)
    by_at = stage.now.wall_s + 300
    stage.handle(Drain(0, None, by_at))
    stage.submit(spec(cpus=3, priority=30, time_limit_s=1000))
    wide = stage.submit(spec(cpus=3, priority=20, time_limit_s=150))
    lower = stage.submit(spec(cpus=2, time_limit_s=200))
    assert stage.state(lower) is State.PENDING
    assert stage.reasons(wide) == ["Resources"]
    assert stage.reasons(lower) == ["Priority"]


def test_a_start_confirmed_later_makes_room_before_the_reserved_job_at_once() -> None:
    """However little later the end it waits for will be: who ends before that starts now."""
    stage = Stage(fair_share_weight=0.0)
    first = stage.run(cpus=3, time_limit_s=100)
    stage.submit(spec(cpus=4))
    stage.pass_s(0.1)
    lower = stage.submit(spec(time_limit_s=99.95))
    assert stage.state(lower) is State.PENDING
    stage.started(first)
    assert stage.state(lower) is State.RUNNING


def test_a_start_confirmed_later_is_no_pass_where_nobody_counts_on_it() -> None:
    """An end beyond the reservation moves without a look at the queue."""
    stage = Stage(fair_share_weight=0.0)
    stage.run(cpus=3, time_limit_s=100)
    stage.submit(spec(cpus=3))
    other = stage.run(time_limit_s=1000)
    passed_at = stage.scheduler._core.passed_at
    stage.now = Instant(stage.now.boot_s + 1.0, stage.now.wall_s + 1.0)
    stage.started(other)
    assert stage.scheduler._core.passed_at == passed_at


def test_a_resumed_job_ends_in_time_for_others_beside_a_starving_one() -> None:
    """While nobody knows when it ends, nothing lower starts; when it is known again, it does."""
    stage = Stage(fair_share_weight=0.0, starvation_after_s=50)
    first = stage.run(cpus=3, time_limit_s=1000)
    stage.handle(Suspend(first, 0))
    stage.submit(spec(cpus=4))
    stage.pass_s(60.0)
    lower = stage.submit(spec(time_limit_s=100))
    assert stage.state(lower) is State.PENDING
    stage.handle(Resume(first, 0))
    assert stage.state(lower) is State.RUNNING


def test_who_would_not_end_before_the_drain_any_more_keeps_nothing() -> None:
    """The moment comes by itself, without anything else that happens."""
    stage = Stage(fair_share_weight=0.0)
    stage.run(cpus=2, time_limit_s=150)
    stage.handle(Drain(0, None, stage.now.wall_s + 300))
    stage.submit(spec(cpus=3, priority=20, time_limit_s=200))
    lower = stage.submit(spec(cpus=2, time_limit_s=160))
    assert stage.state(lower) is State.PENDING
    due = stage.scheduler.next_wakeup()
    assert due is not None and due.wall_s < stage.now.wall_s + 101
    stage.pass_s(101.0)
    assert stage.state(lower) is State.RUNNING
