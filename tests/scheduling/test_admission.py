"""Submissions that can never be granted are refused with the reason; the rest is admitted whole."""

from __future__ import annotations

from typing import Any

import pytest

from gflow.errors import Refused
from gflow.model.event import Submit
from gflow.model.job import Dependency
from gflow.model.resources import Capacity
from gflow.model.state import State
from tests.scheduling.stage import GB, Stage, after, capacity, spec, tasks


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"cpus": 5}, "5 cpus wanted, 4 available on this machine"),
        ({"memory_bytes": 65 * GB}, "65G of memory wanted, 64G available on this machine"),
        ({"gpus": 3}, "3 gpus wanted, 2 available on this machine"),
        ({"gpus": 1, "gpu_memory_bytes": 17 * GB}, "1 gpu with 17G wanted, 0 available"),
        ({"gpus": 1, "gpus_allowed": (7,)}, "there is no gpu 7"),
        ({"gres": (("license", 1),)}, "resource 'license' is not known"),
        ({"gres": (("token", 4),)}, "4 token wanted, 3 available"),
        ({"cpus": 0}, "at least 1 cpu"),
        ({"memory_bytes": -1}, "memory cannot be negative"),
        ({"gpus": -1}, "gpus cannot be negative"),
        ({"gpus": 1, "gpu_shared": True}, "sharing gpus needs"),
        ({"time_limit_s": 0.0}, "time limit must be positive"),
        ({"priority": 1 << 31}, "priority"),
        ({"dependencies": (Dependency("before", (1,)),)}, "'before' is not one of"),
        ({"dependencies": (Dependency("afterok"),)}, "names no job"),
        ({"dependencies": after("afterok", 1)}, "job 1, which is not known"),
    ],
)
def test_what_can_never_be_is_refused(asked: dict[str, Any], message: str) -> None:
    """The sentence names what is wanted and what there is."""
    stage = Stage(capacity(gpus=2, token=3))
    with pytest.raises(Refused, match=message) as refusal:
        stage.submit(spec(**asked))
    assert refusal.value.kind == Refused.INVALID
    assert str(refusal.value).startswith("cannot submit: ")


def test_a_list_is_admitted_whole_or_not_at_all() -> None:
    """The bad one at the end keeps the good ones out."""
    stage = Stage()
    with pytest.raises(Refused):
        stage.submit(spec(), spec(), spec(cpus=99))
    assert stage.scheduler.next_id == 1
    assert stage.scheduler.take_changes() == []


def test_gpus_are_not_refused_while_cards_are_unknown() -> None:
    """Nobody can tell yet."""
    stage = Stage(Capacity(4, GB, None))
    assert stage.state(stage.submit(spec(gpus=8))) is State.PENDING


def test_no_id_is_given_out_beyond_the_saved_floor() -> None:
    """A crash could give it out twice; try again when the floor is saved."""
    stage = Stage()
    scheduler = stage.scheduler
    scheduler._core.id_floor_committed = 5
    assert scheduler.ids_left == 4
    stage.submit(spec(array=tasks(2)))
    with pytest.raises(Refused) as refusal:
        stage.submit(spec(), spec())
    assert refusal.value.kind == Refused.UNAVAILABLE
    assert stage.submit(spec()) == 4


def test_the_floor_is_a_record_of_its_own() -> None:
    """Raised by the supervisor, saved like any other key."""
    stage = Stage()
    stage.scheduler.raise_floor(1 << 41)
    assert stage.scheduler.take_changes() == [("meta", "id_floor")]
    assert stage.scheduler.record(("meta", "id_floor")) == {"value": 1 << 41}
    stage.scheduler.settle_floor()
    assert stage.scheduler.record(("meta", "id_floor")) == {"value": 1}


def test_ids_are_given_in_order_of_specs() -> None:
    """One per spec; an array takes one more for each task."""
    stage = Stage()
    actions = stage.handle(Submit((spec(), spec(array=tasks(3)), spec()), 1000))
    assert getattr(actions[0], "job_ids", None) == (1, 2, 6)


def test_a_begin_time_keeps_a_job_until_then() -> None:
    """On the wall clock."""
    stage = Stage()
    job = stage.submit(spec(begin_at=stage.now.wall_s + 60))
    due = stage.scheduler.next_wakeup()
    assert due is not None and due.wall_s == stage.now.wall_s + 60
    stage.pass_s(60)
    assert stage.state(job) is State.RUNNING
