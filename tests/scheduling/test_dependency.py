"""What waits for what, and when it no longer does."""

from __future__ import annotations

import pytest

from gflow.errors import Refused
from gflow.model.action import Admitted
from gflow.model.event import Cancel, Requeue, Submit, Update, Wake
from gflow.model.job import ArraySpec, Dependency, RetryRule
from gflow.model.state import State
from tests.scheduling.stage import Stage, after, capacity, spec, starts, tasks


@pytest.mark.parametrize(
    ("kind", "code", "runs"),
    [
        ("afterok", 0, True),
        ("afterok", 1, False),
        ("afterany", 0, True),
        ("afterany", 1, True),
        ("afternotok", 0, False),
        ("afternotok", 1, True),
    ],
)
def test_ends_decide(kind: str, code: int, runs: bool) -> None:
    """Each kind looks at how the parent ended."""
    stage = Stage()
    parent = stage.run()
    child = stage.submit(spec(dependencies=after(kind, parent)))
    assert stage.reasons(child) == ["Dependency"]
    stage.end(parent, code)
    assert stage.state(child) is (State.RUNNING if runs else State.PENDING)
    if not runs:
        assert stage.reasons(child) == ["DependencyNeverSatisfied"]


def test_an_impossible_dependant_is_cancelled_when_it_asked_for_that() -> None:
    """kill_on_invalid_dependency ends the whole chain behind a failure."""
    stage = Stage()
    parent = stage.run()
    ids = [parent]
    for _ in range(400):
        ids.append(
            stage.submit(
                spec(dependencies=after("afterok", ids[-1]), kill_on_invalid_dependency=True)
            )
        )
    stage.end(parent, 1)
    assert {stage.state(one) for one in ids[1:]} == {State.CANCELLED}
    assert stage.job(ids[-1]).reason == "DependencyNeverSatisfied"


def test_after_waits_for_the_start() -> None:
    """after looks at the start, and a cancelled parent counts too."""
    stage = Stage()
    first, parent = stage.run(cpus=4), stage.submit(spec(cpus=2))
    child = stage.submit(spec(dependencies=after("after", parent)))
    assert stage.state(child) is State.PENDING
    stage.end(first)
    assert stage.state(child) is State.RUNNING


def test_a_delay_counts_from_the_condition() -> None:
    """after+min: the start of the parent is so long ago."""
    stage = Stage()
    parent = stage.run()
    child = stage.submit(spec(dependencies=after("after", parent, delay_s=60)))
    stage.pass_s(59)
    assert stage.state(child) is State.PENDING
    assert starts(stage.pass_s(2)) == [child]


def test_one_success_is_enough_beside_a_failure() -> None:
    """In mode any a met condition counts, though the others never come true."""
    stage = Stage()
    a, b = stage.run(), stage.run()
    stage.end(a, 1)
    stage.end(b)
    either = (*after("afterok", a), *after("afterok", b))
    child = stage.submit(
        spec(dependencies=either, dependency_mode="any", kill_on_invalid_dependency=True)
    )
    assert stage.state(child) is State.RUNNING


def test_a_chain_of_many_thousands_is_harmless() -> None:
    """A cycle at the end of a very long chain is found, and the chain falls without recursion."""
    stage = Stage()
    core, now = stage.scheduler, stage.now  # without the stage's checks after every event
    ids = [stage.run()]
    for _ in range(25_000):
        wanted = spec(dependencies=after("afterok", ids[-1]), kill_on_invalid_dependency=True)
        admitted = core.handle(Submit((wanted,), 1000, (None,)), now)[0]
        assert isinstance(admitted, Admitted)
        ids += admitted.job_ids
    with pytest.raises(Refused, match="wait for itself"):
        core.handle(Update(ids[1], 1000, {"dependencies": after("afterok", ids[-1])}), now)
    core.handle(Cancel(ids[1], 1000), now)
    while core.next_wakeup() == now:
        core.handle(Wake(), now)
    assert stage.state(ids[-1]) is State.CANCELLED


def test_a_cycle_is_looked_for_in_short_steps() -> None:
    """What others changed meanwhile shows in a count; a change that was looked at is taken."""
    stage = Stage()
    core, ids = stage.scheduler, [stage.run()]
    for _ in range(1000):
        ids.append(stage.submit(spec(dependencies=after("afterok", ids[-1]))))
    upward = after("afterok", ids[-1])
    rests = 0
    with pytest.raises(Refused, match="wait for itself"):
        for _ in core.check_cycle(ids[1], upward):
            rests += 1
    assert rests >= 5
    edits = core.dependency_edits
    stage.handle(Update(ids[9], 1000, {"priority": 5}))
    assert core.dependency_edits == edits
    looked = after("afterok", ids[0])
    stage.handle(Update(ids[9], 1000, {"dependencies": looked}, acyclic=edits))
    assert core.dependency_edits == edits + 1
    with pytest.raises(Refused, match="wait for itself"):
        stage.handle(Update(ids[9], 1000, {"dependencies": upward}, acyclic=edits))


def test_any_needs_one_of_them() -> None:
    """In mode any one true condition is enough."""
    stage = Stage()
    a, b = stage.run(), stage.run()
    child = stage.submit(spec(dependencies=after("afterok", a, b), dependency_mode="any"))
    stage.end(a, 1)
    assert stage.reasons(child) == ["Dependency"]
    stage.end(b)
    assert stage.state(child) is State.RUNNING


def test_any_is_impossible_only_when_all_are() -> None:
    """Two failures, and nothing can come true any more."""
    stage = Stage()
    a, b = stage.run(), stage.run()
    child = stage.submit(spec(dependencies=after("afterok", a, b), dependency_mode="any"))
    stage.end(a, 1)
    stage.end(b, 1)
    assert stage.reasons(child) == ["DependencyNeverSatisfied"] * 2


def test_all_needs_every_condition() -> None:
    """Different kinds combine."""
    stage = Stage()
    a, b = stage.run(), stage.run()
    needs = after("afterok", a) + after("afternotok", b)
    child = stage.submit(spec(dependencies=needs))
    stage.end(a)
    assert stage.state(child) is State.PENDING
    stage.end(b, 1)
    assert stage.state(child) is State.RUNNING


def test_an_array_as_parent_is_all_its_tasks() -> None:
    """The child starts when the last task ended well."""
    stage = Stage()
    array = stage.submit(spec(array=tasks(3)))
    child = stage.submit(spec(dependencies=after("afterok", array)))
    stage.end(array + 1)
    stage.end(array + 3)
    assert stage.state(child) is State.PENDING
    stage.end(array + 2)
    assert stage.state(array) is State.COMPLETED
    assert stage.state(child) is State.RUNNING


def test_a_failed_task_fails_its_array() -> None:
    """One bad task is enough against afterok."""
    stage = Stage()
    array = stage.submit(spec(array=tasks(2)))
    child = stage.submit(spec(dependencies=after("afterok", array)))
    stage.end(array + 1, 3)
    stage.end(array + 2)
    assert stage.state(array) is State.FAILED
    assert stage.reasons(child) == ["DependencyNeverSatisfied"]


def test_a_single_task_can_be_a_parent() -> None:
    """Also one that has no Job of its own yet."""
    stage = Stage(capacity(cpus=1))
    array = stage.submit(spec(array=tasks(2)))
    child = stage.submit(spec(dependencies=after("afterok", array + 2), priority=99))
    stage.end(array + 1)
    assert stage.state(child) is State.PENDING
    stage.end(array + 2)
    assert stage.state(child) is State.RUNNING


def test_aftercorr_goes_task_by_task() -> None:
    """Task n waits for task n of the other array, numbers, not positions."""
    stage = Stage(capacity(cpus=8))
    parent = stage.submit(spec(array=tasks(3)))
    child = stage.submit(
        spec(array=ArraySpec(((2, 3, 1),)), dependencies=after("aftercorr", parent))
    )
    stage.end(parent + 1)
    assert stage.state(child + 1) is State.PENDING
    stage.end(parent + 3)
    assert stage.state(child + 2) is State.RUNNING
    assert stage.state(child + 1) is State.PENDING
    stage.end(parent + 2, 1)
    assert stage.reasons(child + 1) == ["DependencyNeverSatisfied"]


def test_aftercorr_after_the_parent_ended() -> None:
    """Submitted late, it is met as a whole."""
    stage = Stage()
    parent = stage.submit(spec(array=tasks(2)))
    stage.end(parent + 1)
    stage.end(parent + 2)
    child = stage.submit(spec(array=tasks(2), dependencies=after("aftercorr", parent)))
    assert stage.state(child + 1) is State.RUNNING


def test_singleton_waits_for_older_namesakes() -> None:
    """One at a time per user and name, in order of submission; other users do not matter."""
    stage = Stage()
    needs = (Dependency("singleton"),)
    jobs = [stage.submit(spec(name="train", dependencies=needs)) for _ in range(3)]
    other = stage.submit(spec(name="train", user="bob", dependencies=needs))
    assert [stage.state(j) for j in jobs] == [State.RUNNING, State.PENDING, State.PENDING]
    assert stage.state(other) is State.RUNNING
    assert starts(stage.end(jobs[0])) == [jobs[1]]
    stage.handle(Cancel(jobs[1], 1000))
    assert stage.state(jobs[2]) is State.PENDING
    stage.gone(jobs[1])
    assert stage.state(jobs[2]) is State.RUNNING


def test_a_retried_parent_keeps_its_dependants_waiting() -> None:
    """An attempt that is tried again has not ended."""
    stage = Stage()
    parent = stage.run(retries=(RetryRule("any", 1),))
    child = stage.submit(spec(dependencies=after("afternotok", parent)))
    stage.end(parent, 1)
    assert stage.state(parent) is State.RUNNING
    assert stage.state(child) is State.PENDING
    stage.end(parent, 1)
    assert stage.state(child) is State.RUNNING


def test_a_requeued_parent_keeps_its_dependants_waiting() -> None:
    """What it came to before counts no more."""
    stage = Stage()
    parent, other = stage.run(), stage.run()
    child = stage.submit(spec(dependencies=after("afterok", parent, other)))
    stage.end(parent)
    stage.handle(Requeue(parent, 1000))
    stage.end(other)
    assert stage.state(child) is State.PENDING
    stage.end(parent)
    assert stage.state(child) is State.RUNNING


def test_an_unknown_parent_is_refused() -> None:
    """Nobody waits for a job that never was."""
    stage = Stage()
    with pytest.raises(Refused, match="depends on job 99, which is not known"):
        stage.submit(spec(dependencies=after("afterok", 99)))
    assert stage.scheduler.next_id == 1


def test_history_may_know_a_parent() -> None:
    """The supervisor passes the end of a job that memory has forgotten."""
    stage = Stage()
    waits = spec(dependencies=after("afterok", 90))
    stage.scheduler._core.next_id = 100
    stage.handle(Submit((waits,), 1000, ended=((90, State.COMPLETED),)))
    assert stage.state(100) is State.RUNNING
    stage.handle(Submit((waits,), 1000, ended=((90, State.FAILED),)))
    assert stage.reasons(101) == ["DependencyNeverSatisfied"]


def test_a_parent_that_is_waited_for_is_not_forgotten() -> None:
    """However old, it stays until nobody needs it."""
    stage = Stage(keep_finished_s=10)
    parent, other = stage.run(), stage.run()
    child = stage.submit(spec(dependencies=after("afterok", parent, other)))
    stage.end(parent)
    stage.pass_s(60)
    assert stage.scheduler.job(parent) is not None
    stage.end(other)
    assert stage.state(child) is State.RUNNING
    stage.pass_s(60)
    stage.pass_s(1)
    assert stage.scheduler.job(parent) is None


def test_a_cycle_is_refused_at_any_length() -> None:
    """Ten thousand jobs in a row cannot be closed to a ring, and nothing recurses."""
    stage = Stage()
    first = stage.submit(spec(), hold="user")
    for n in range(2000):
        waits = spec(dependencies=after("afterok", first + n))
        stage.scheduler.handle(Submit((waits,), 1000), stage.now)
    with pytest.raises(Refused, match="wait for itself"):
        stage.handle(Update(first, 1000, {"dependencies": after("afterany", first + 2000)}))
    with pytest.raises(Refused, match="wait for itself"):
        stage.handle(Update(first, 1000, {"dependencies": after("afterany", first)}))


def test_a_cycle_through_an_array_is_refused() -> None:
    """An array waits for a job that waits for one of its tasks."""
    stage = Stage()
    array = stage.submit(spec(array=tasks(3)), hold="user")
    child = stage.submit(spec(dependencies=after("afterok", array + 2)))
    with pytest.raises(Refused, match="wait for itself"):
        stage.handle(Update(array, 1000, {"dependencies": after("afterok", child)}))


_ONE = (Dependency("singleton", ()),)


def test_a_cycle_through_a_singleton_is_refused() -> None:
    """A task waits for a job that waits for all older ones of the array's name."""
    stage = Stage()
    array = stage.submit(spec(name="x", array=tasks(3)), hold="user")
    single = stage.submit(spec(name="x", dependencies=_ONE))
    with pytest.raises(Refused, match="wait for itself"):
        stage.handle(Update(array + 1, 1000, {"dependencies": after("afterok", single)}))


def test_becoming_a_singleton_may_close_a_cycle() -> None:
    """An older namesake waits for the job already."""
    stage = Stage()
    older = stage.submit(spec(name="x"), hold="user")
    job = stage.submit(spec(name="x"), hold="user")
    stage.handle(Update(older, 1000, {"dependencies": after("afterok", job)}))
    with pytest.raises(Refused, match="wait for itself"):
        stage.handle(Update(job, 1000, {"dependencies": _ONE}))


@pytest.mark.parametrize("renamed", ["older", "single"])
def test_a_name_that_closes_a_cycle_is_refused(renamed: str) -> None:
    """A singleton would wait for a job that waits for it; another name does no harm."""
    stage = Stage()
    names = {"older": "x", "single": "x", renamed: "y"}
    older = stage.submit(spec(name=names["older"]), hold="user")
    single = stage.submit(spec(name=names["single"], dependencies=_ONE), hold="user")
    stage.handle(Update(older, 1000, {"dependencies": after("afterok", single)}))
    job_id = {"older": older, "single": single}[renamed]
    stage.handle(Update(job_id, 1000, {"name": "z"}))
    with pytest.raises(Refused, match="wait for itself"):
        stage.handle(Update(job_id, 1000, {"name": "x"}))


def test_dependants_of_one_parent_are_settled_in_slices() -> None:
    """A thousand dependants do not make one long turn."""
    stage = Stage(capacity(cpus=1), steps_per_turn=50)
    parent = stage.run()
    for _ in range(120):
        stage.submit(spec(dependencies=after("afterok", parent)))
    stage.exit(parent)
    stage.scheduler.handle(Cancel(parent, 0), stage.now)
    stage.gone(parent)
    waiting = [one for one in range(2, 122) if stage.reasons(one)[:1] == ["Dependency"]]
    assert waiting == []
