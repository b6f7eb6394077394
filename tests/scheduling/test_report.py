"""What the launcher reports, and what becomes of jobs."""

from __future__ import annotations

import pytest

from gflow.model.action import Changed
from gflow.model.event import (
    Adopted,
    Cancel,
    Event,
    Exited,
    Gone,
    Lost,
    NeverStarted,
    Ready,
    Requeue,
    Sampled,
    Started,
    StartFailed,
    Suspend,
)
from gflow.model.job import Process, RetryRule
from gflow.model.state import State
from tests.scheduling.stage import BOOT, Stage, capacity, kills, spec, starts, tasks

_SHIM = Process(BOOT, 77, 1)
_COMMAND = Process(BOOT, 78, 2)


def _adopted(stage: Stage, job_id: int, attempt: int = 1, end_unknown: bool = False) -> Adopted:
    at = stage.now
    return Adopted(job_id, attempt, _SHIM, _COMMAND, at.wall_s, at.boot_s, end_unknown)


# --- ends -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "signal", "state"),
    [
        (0, None, State.COMPLETED),
        (1, None, State.FAILED),
        (137, None, State.FAILED),
        (None, 9, State.FAILED),
    ],
)
def test_the_exit_decides(code: int | None, signal: int | None, state: State) -> None:
    """Only exit code 0 is a success; 137 and SIGKILL are told apart."""
    stage = Stage()
    job = stage.run()
    stage.started(job)
    stage.exit(job, code, signal)
    assert stage.state(job) is State.COMPLETING
    stage.gone(job)
    assert stage.state(job) is state
    assert (stage.job(job).exit_code, stage.job(job).signal) == (code, signal)


def _start(job_id: int) -> Started:
    return Started(job_id, 1, _SHIM, _COMMAND, 1_000_000.5, 100.5)


@pytest.mark.parametrize("code", [0, 1])
def test_what_left_nothing_behind_ends_at_once(code: int) -> None:
    """One step, one record of it, and the next job has its place."""
    stage = Stage()
    job = stage.run(cpus=4)
    after = stage.submit(spec(cpus=4))
    state = State.FAILED if code else State.COMPLETED
    actions = stage.handle(Exited(job, 1, code, None, 1_000_001.0, gone=True, start=_start(job)))
    changed = Changed(job, State.RUNNING, state, "exited")
    assert [one for one in actions if isinstance(one, Changed)][:1] == [changed]
    assert starts(actions) == [after]
    assert stage.saved["transition", job, 2]["to"] == state
    assert stage.job(job).transitions == 2


@pytest.mark.parametrize("retries", [(), (RetryRule("any", 1),)])
@pytest.mark.parametrize("usage", [None, {"oom_killed": True}])
@pytest.mark.parametrize("before", ["", "started", "suspended", "cancelled", "requeued"])
def test_an_end_in_one_is_the_end_in_two(
    before: str, usage: dict[str, object] | None, retries: tuple[RetryRule, ...]
) -> None:
    """Told together or one after the other, the same is known of a job in the end."""
    stages = [Stage(), Stage()]
    for stage in stages:
        job = stage.run(time_limit_s=60, retries=retries)
        if before:
            stage.handle(_start(job))
        if before == "suspended":
            stage.handle(Suspend(job, 1000))
        elif before == "cancelled":
            stage.handle(Cancel(job, 1000))
        elif before == "requeued":
            stage.handle(Requeue(job, 1000))
    one, two = stages
    start = None if before else _start(job)
    one.handle(Exited(job, 1, None, 9, 1_000_001.0, usage, gone=True, start=start))
    two.handle(Exited(job, 1, None, 9, 1_000_001.0, usage, start=start))
    two.gone(job)
    differing = {"transitions", "started_boot_s"}
    records = [{**stage.saved["job", job], **dict.fromkeys(differing)} for stage in stages]
    assert records[0] == records[1]


def test_an_exit_that_was_told_before_stays() -> None:
    """Nothing is left of the tree: that is news; with what it ended is not."""
    stage = Stage()
    job = stage.run()
    stage.exit(job, 3)
    stage.end(job, 0)
    assert (stage.state(job), stage.job(job).exit_code) == (State.FAILED, 3)


def test_an_oom_kill_is_told_apart() -> None:
    """The shim says so in the usage."""
    stage = Stage()
    job = stage.run()
    stage.handle(Exited(job, 1, None, 9, stage.now.wall_s, {"oom_killed": True}))
    stage.gone(job)
    assert stage.state(job) is State.OUT_OF_MEMORY


def test_a_time_limit_ends_as_timeout() -> None:
    """Counted on the boot clock from the start of the command."""
    stage = Stage()
    job = stage.run(time_limit_s=60)
    stage.pass_s(30)
    stage.started(job)
    assert kills(stage.pass_s(59)) == []
    assert kills(stage.pass_s(2)) == [job]
    stage.exit(job, 0)
    stage.gone(job)
    assert stage.state(job) is State.TIMEOUT


def test_the_default_limit_is_enforced() -> None:
    """A job that names none gets it."""
    stage = Stage(default_time_limit_s=60)
    job = stage.run()
    assert kills(stage.pass_s(61)) == [job]


def test_wakeup_is_at_the_limit() -> None:
    """No polling: the next moment is known."""
    stage = Stage()
    stage.run(time_limit_s=60)
    due = stage.scheduler.next_wakeup()
    assert due is not None and due.boot_s == stage.now.boot_s + 60


# --- failed launches ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("/nope: No such file or directory", 127),
        ("/x: Permission denied", 126),
        ("chdir: Input/output error", None),
    ],
)
def test_a_launch_that_cannot_work_fails_the_job(message: str, code: int | None) -> None:
    """With the system's words as the reason and the shell's exit code for them."""
    stage = Stage()
    job = stage.run()
    stage.handle(StartFailed(job, 1, message))
    assert stage.state(job) is State.FAILED
    assert (stage.job(job).reason, stage.job(job).exit_code) == (message, code)


def test_a_machine_short_of_something_is_asked_again() -> None:
    """Back-off doubles, no retry is spent, other jobs go on."""
    stage = Stage(launch_backoff_s=1, launch_backoff_max_s=3)
    job = stage.run(cpus=4)
    delays = []
    for attempt in range(1, 5):
        stage.handle(StartFailed(job, attempt, "fork: EAGAIN", transient=True))
        assert stage.reasons(job)[0] == "BackOff"
        delays.append((stage.job(job).not_before_at or 0) - stage.now.wall_s)
        assert starts(stage.pass_s(delays[-1])) == [job]
    assert delays == [1, 2, 3, 3]
    assert stage.job(job).retried is None


def test_a_failed_launch_of_a_killed_job_ends_it_as_killed() -> None:
    """It was cancelled before it came to exec."""
    stage = Stage()
    job = stage.run()
    stage.handle(Cancel(job, 1000))
    stage.handle(StartFailed(job, 1, "killed"))
    assert stage.state(job) is State.CANCELLED


# --- stale reports ------------------------------------------------------------------------------


def test_stale_and_duplicate_reports_change_nothing() -> None:
    """Wrong attempt, wrong state, unknown job: as if nothing had been said."""
    stage = Stage()
    job = stage.run()
    stage.started(job)
    stage.end(job)
    before = dict(stage.saved)
    late: list[Event] = [
        Started(job, 1, _SHIM, _COMMAND, 1.0, 1.0),
        StartFailed(job, 1, "x"),
        Exited(job, 1, 5, None, 1.0),
        Gone(job, 1),
        Lost(job, 1, "x"),
        NeverStarted(job, 1),
        Exited(job, 2, 5, None, 1.0),
        Gone(99, 1),
        Sampled(((job, 1, {"cpu_s": 1.0}),)),
    ]
    assert [stage.handle(event) for event in late] == [[]] * len(late)
    assert stage.saved == before


def test_a_second_exit_does_not_change_the_first() -> None:
    """The command ends once."""
    stage = Stage()
    job = stage.run()
    stage.exit(job, 3)
    stage.exit(job, 0)
    stage.gone(job)
    assert stage.job(job).exit_code == 3


# --- retries ------------------------------------------------------------------------------------


def test_retries_are_counted_by_cause() -> None:
    """An exact cause has its own budget, the rest falls to any."""
    stage = Stage()
    job = stage.run(retries=(RetryRule("exit=75", 1), RetryRule("any", 1)))
    stage.end(job, 75)
    stage.end(job, 75)
    assert stage.state(job) is State.RUNNING
    stage.end(job, 1)
    assert stage.state(job) is State.FAILED
    assert stage.job(job).retried == {"exit=75": 1, "any": 1}
    assert [a["cause"] for a in stage.job(job).attempts or []] == ["exit=75", "exit=75"]


def test_a_retry_can_ask_for_more() -> None:
    """memory*1.5 after running out of it, never more than the machine has."""
    stage = Stage(capacity(memory=1000))
    job = stage.run(memory_bytes=600, retries=(RetryRule("oom", 2, (("memory", 1.5),)),))
    for expected in (900, 1000):
        stage.handle(Cancel(job, 0, cause="memory"))
        stage.gone(job)
        assert stage.job(job).spec.resources.memory_bytes == expected


def test_a_longer_limit_after_a_timeout() -> None:
    """time*2, for one more attempt."""
    stage = Stage()
    job = stage.run(time_limit_s=60, retries=(RetryRule("timeout", 1, (("time", 2.0),)),))
    stage.pass_s(61)
    stage.gone(job)
    assert stage.state(job) is State.RUNNING
    assert kills(stage.pass_s(100)) == []
    stage.pass_s(21)
    stage.gone(job)
    assert stage.state(job) is State.TIMEOUT


def test_retry_backoff_doubles() -> None:
    """Each retry waits twice as long as the one before."""
    stage = Stage()
    job = stage.run(retries=(RetryRule("any", 5),), retry_delay_s=10)
    for delay_s in (10, 20, 40):
        stage.end(job, 1)
        assert stage.reasons(job) == ["BackOff"]
        assert starts(stage.pass_s(delay_s - 1)) == []
        assert starts(stage.pass_s(1)) == [job]


def test_a_cancelled_job_is_not_retried() -> None:
    """Somebody wanted it to end."""
    stage = Stage()
    job = stage.run(retries=(RetryRule("any", 5),))
    stage.handle(Cancel(job, 1000))
    stage.end(job, 1)
    assert stage.state(job) is State.CANCELLED


# --- lost and adopted -----------------------------------------------------------------------------


def test_a_lost_attempt_is_never_a_success() -> None:
    """NODE_FAIL with the reason Lost."""
    stage = Stage()
    job = stage.run()
    stage.handle(Lost(job, 1, "its shim died"))
    assert stage.state(job) is State.NODE_FAIL
    assert stage.job(job).reason == "Lost: its shim died"


def test_a_lost_attempt_runs_again_when_that_is_wanted() -> None:
    """requeue in the spec."""
    stage = Stage()
    job = stage.run(requeue=True)
    assert starts(stage.handle(Lost(job, 1, "x"))) == [job]
    assert stage.job(job).attempt == 2


def test_an_exit_that_was_seen_counts_even_when_the_rest_is_lost() -> None:
    """The shim died after it had reported the exit."""
    stage = Stage()
    job = stage.run()
    stage.exit(job, 0)
    stage.handle(Lost(job, 1, "x"))
    assert stage.state(job) is State.COMPLETED


def test_adoption_is_true_whatever_the_store_says() -> None:
    """PENDING in the store, alive in the process table: RUNNING with that attempt."""
    stage = Stage(ready=False)
    job = stage.submit(spec(cpus=2, gpus=0))
    stage.handle(_adopted(stage, job, attempt=3))
    assert stage.state(job) is State.RUNNING
    assert stage.job(job).attempt == 3 and stage.job(job).cpu_ids == (0, 1)
    assert starts(stage.handle(Ready())) == []


def test_adoption_books_even_what_oversubscribes() -> None:
    """Nothing else starts until there is room again."""
    stage = Stage(capacity(cpus=2), ready=False)
    stage.oversubscribed = True
    a, b = stage.submit(spec(cpus=2)), stage.submit(spec(cpus=2))
    other = stage.submit(spec())
    stage.handle(_adopted(stage, a))
    stage.handle(_adopted(stage, b))
    stage.handle(Ready())
    assert stage.state(other) is State.PENDING
    stage.end(a)
    assert stage.state(other) is State.PENDING
    stage.end(b)
    assert stage.state(other) is State.RUNNING


def test_a_task_without_a_job_can_be_adopted() -> None:
    """The array's record was older than the start of the task."""
    stage = Stage(ready=False)
    array = stage.submit(spec(array=tasks(3)))
    stage.handle(_adopted(stage, array + 2))
    assert stage.state(array + 2) is State.RUNNING
    assert starts(stage.handle(Ready())) == [array + 1, array + 3]


def test_an_adopted_limit_counts_from_the_real_start() -> None:
    """Enforced right after recovery when it passed meanwhile."""
    stage = Stage(ready=False)
    job = stage.submit(spec(time_limit_s=60))
    at = stage.now
    stage.handle(Adopted(job, 1, _SHIM, _COMMAND, at.wall_s - 90, at.boot_s - 90))
    assert kills(stage.handle(Ready())) == [job]


def test_an_unknown_end_is_never_a_success() -> None:
    """The command lives, its shim is dead: whatever comes, it did not complete."""
    stage = Stage()
    job = stage.run()
    stage.handle(_adopted(stage, job, end_unknown=True))
    assert stage.state(job) is State.RUNNING
    stage.gone(job)
    assert stage.state(job) is State.NODE_FAIL


def test_an_ended_job_that_lives_is_killed_again() -> None:
    """The store said CANCELLED, the tree did not know: the kill is resumed."""
    stage = Stage()
    job = stage.run()
    stage.handle(Cancel(job, 1000))
    stage.gone(job)
    assert kills(stage.handle(_adopted(stage, job))) == [job]
    assert stage.state(job) is State.COMPLETING
    stage.gone(job)
    assert stage.state(job) is State.CANCELLED


def test_what_never_started_is_pending_again() -> None:
    """Nothing is counted and nothing was lost."""
    stage = Stage()
    job = stage.run()
    assert starts(stage.handle(NeverStarted(job, 1))) == [job]
    assert stage.job(job).attempt == 2 and stage.job(job).retried is None


def test_peaks_never_shrink() -> None:
    """Samples replace counters and keep maxima."""
    stage = Stage()
    job = stage.run()
    for cpu_s, rss in ((1.0, 50), (2.0, 30)):
        stage.handle(Sampled(((job, 1, {"cpu_s": cpu_s, "max_rss_bytes": rss}),)))
    assert stage.job(job).usage == {"cpu_s": 2.0, "max_rss_bytes": 50}


def test_what_processes_had_together_is_no_less_than_what_one_had() -> None:
    """wait4 knows the largest process exactly; a sample may have come too early."""
    stage = Stage()
    job = stage.run()
    stage.started(job)
    stage.handle(Sampled(((job, 1, {"max_rss_bytes": 900, "max_pss_bytes": 100}),)))
    attempt = stage.job(job).attempt
    stage.handle(Exited(job, attempt, 0, None, stage.now.wall_s, {"max_rss_bytes": 300}))
    assert stage.job(job).usage == {"max_rss_bytes": 900, "max_pss_bytes": 300}


def test_usage_is_saved_when_its_curve_grows() -> None:
    """Figures of every sample are shown; the disk sees those that come with a longer curve."""
    stage = Stage()
    job = stage.run()
    saved = []
    for cpu_s, points in ((1.0, 7), (2.0, 8), (3.0, 0)):
        curve = {"series": {"step_s": 2.0, "cpus": [0.0] * points}} if points else {}
        stage.handle(Sampled(((job, 1, {"cpu_s": cpu_s, **curve}),)))
        saved.append(stage.saved["job", job].get("usage", {}).get("cpu_s"))
    assert (saved, (stage.job(job).usage or {})["cpu_s"]) == ([None, 2.0, 2.0], 3.0)
