"""Reservations."""

from __future__ import annotations

from typing import Any

import pytest

from gflow.errors import Refused
from gflow.model.action import Reserved
from gflow.model.event import Ready, Reserve, Unreserve
from gflow.model.state import State
from gflow.scheduling.calendar import Reservation
from tests.scheduling.stage import Stage, capacity, spec, starts


def _reserve(stage: Stage, after_s: float, duration_s: float, **asked: Any) -> int:
    user = asked.pop("user", "owner" if "project" not in asked else None)
    project = asked.pop("project", None)
    start_at = stage.now.wall_s + after_s
    [made] = [
        action
        for action in stage.handle(Reserve(0, user, project, start_at, duration_s, **asked))
        if isinstance(action, Reserved)
    ]
    return made.reservation_id


def _stage() -> Stage:
    return Stage(capacity(cpus=8, gpus=4))


def test_reserved_cards_are_kept_for_the_owner() -> None:
    """A number of them, from the start to the end."""
    stage = _stage()
    _reserve(stage, 0, 600, gpus=3)
    stage.run(gpus=1)
    other = stage.submit(spec(gpus=1))
    assert stage.reasons(other) == ["Reservation"]
    stage.run(user="owner", gpus=3)
    assert starts(stage.pass_s(601)) == []


def test_when_it_is_over_others_start() -> None:
    """At that very moment."""
    stage = _stage()
    _reserve(stage, 0, 600, gpus=4)
    other = stage.submit(spec(gpus=4))
    due = stage.scheduler.next_wakeup()
    assert due is not None and due.wall_s == stage.now.wall_s + 600
    assert starts(stage.pass_s(600)) == [other]


def test_a_job_that_would_run_into_it_waits() -> None:
    """Unless its time limit fits before."""
    stage = _stage()
    _reserve(stage, 600, 600, gpus=4)
    long, endless = stage.submit(spec(gpus=1, time_limit_s=700)), stage.submit(spec(gpus=1))
    stage.run(gpus=4, time_limit_s=500)
    stage.run(cpus=1)
    assert [stage.state(job) for job in (long, endless)] == [State.PENDING] * 2


def test_an_owners_job_that_lasts_into_it_after_all_makes_room() -> None:
    """Confirmed late, it ends later, and its cards can be shared: what is kept is less."""
    stage = Stage(capacity(cpus=8, gpus=2))
    _reserve(stage, 100, 600, gpus=2)
    half = {"gpu_shared": True, "gpu_memory_bytes": 8 << 30}
    own = stage.submit(spec(user="owner", gpus=2, time_limit_s=90, **half))
    other = stage.submit(spec(gpus=1, **half))
    stage.pass_s(20)
    assert stage.reasons(other) == ["Reservation"]
    assert starts(stage.started(own)) == [other]


def test_particular_cards() -> None:
    """Others get the rest."""
    stage = _stage()
    _reserve(stage, 0, 600, gpu_ids=(0, 1))
    assert stage.job(stage.run(gpus=1)).gpu_ids == (2,)
    assert stage.job(stage.run(user="owner", gpus=2)).gpu_ids == (0, 1)


def test_a_project_can_own_one() -> None:
    """All its users may use it."""
    stage = _stage()
    _reserve(stage, 0, 600, project="p", cpus=8)
    assert stage.state(stage.submit(spec())) is State.PENDING
    stage.run(project="p")
    stage.run(project="p", user="bob")


def test_recurring_ones_come_again() -> None:
    """The next occurrence is held back as the first was."""
    stage = _stage()
    _reserve(stage, 0, 600, gpus=4, every_s=86400.0)
    assert starts(stage.pass_s(601)) == []
    endless = stage.submit(spec(gpus=1))
    assert stage.state(endless) is State.PENDING
    stage.run(gpus=1, time_limit_s=3600)


def test_giving_one_occurrence_back() -> None:
    """The owner is done early; tomorrow it holds again."""
    stage = _stage()
    reservation = _reserve(stage, 0, 600, gpus=4, every_s=86400.0)
    job = stage.submit(spec(gpus=4, time_limit_s=3600))
    assert starts(stage.handle(Unreserve(reservation, 0, once=True))) == [job]
    stage.end(job)
    assert stage.state(stage.submit(spec(gpus=1))) is State.PENDING


def test_cancelling_one() -> None:
    """Its record goes and everybody may start."""
    stage = _stage()
    reservation = _reserve(stage, 0, 600, gpus=4)
    job = stage.submit(spec(gpus=4))
    assert starts(stage.handle(Unreserve(reservation, 0))) == [job]
    assert ("reservation", reservation) not in stage.saved
    with pytest.raises(Refused, match="no such reservation"):
        stage.handle(Unreserve(reservation, 0))


@pytest.mark.parametrize(
    ("after_s", "duration_s", "asked", "message"),
    [
        (0, 0, {"gpus": 1}, "duration must be positive"),
        (-600, 10, {"gpus": 1}, "its start has passed"),
        (0, 600, {"gpus": 1, "every_s": 60.0}, "repeat before it has ended"),
        (0, 600, {}, "name a number of cpus or gpus"),
        (0, 600, {"gpus": 5}, "5 gpus wanted, 4 on this machine"),
        (0, 600, {"cpus": 9}, "9 cpus wanted, 8 on this machine"),
        (0, 600, {"gpu_ids": (7,)}, "no gpu 7"),
        (0, 600, {"gpus": 1, "project": "p", "user": "owner"}, "name a user or a project"),
        (500, 600, {"gpus": 2}, "2 gpus wanted, 1 of 4 left beside reservation 1"),
    ],
)
def test_impossible_ones_are_refused(
    after_s: float, duration_s: float, asked: dict[str, Any], message: str
) -> None:
    """Each with its cause; overlapping ones must fit together."""
    stage = _stage()
    _reserve(stage, 800, 100, gpus=3)
    with pytest.raises(Refused, match=message):
        _reserve(stage, after_s, duration_s, **asked)


def test_the_first_in_line_keeps_its_place_beside_a_later_reservation() -> None:
    """It will run into one that has room for it: nothing lower takes that room."""
    stage = Stage(capacity(cpus=6))
    stage.run(cpus=5, time_limit_s=300)
    _reserve(stage, 500, 600, cpus=4)
    first = stage.submit(spec(cpus=2, time_limit_s=1000))
    endless = stage.submit(spec(cpus=1))
    assert [stage.state(job) for job in (first, endless)] == [State.PENDING] * 2
    assert stage.reasons(endless) == ["Priority"]
    stage.run(cpus=1, time_limit_s=400)


def test_reservations_survive_a_restart() -> None:
    """And end in time."""
    stage = _stage()
    _reserve(stage, 0, 600, gpus=4, comment="demo")
    job = stage.submit(spec(gpus=4))
    twin = stage.reloaded()
    assert starts(twin.handle(Ready())) == []
    assert starts(twin.pass_s(600)) == [job]


@pytest.mark.parametrize(
    ("at", "occurrence"),
    [
        (0.0, (100.0, 110.0)),
        (105.0, (100.0, 110.0)),
        (110.0, (150.0, 160.0)),
        (149.0, (150.0, 160.0)),
        (1000.0, (1000.0, 1010.0)),
    ],
)
def test_occurrences(at: float, occurrence: tuple[float, float]) -> None:
    """The one that lasts, or the next."""
    one = Reservation(1, 0, "u", None, 100.0, 10.0, gpus=1, every_s=50.0)
    assert one.occurrence(at) == occurrence


def test_who_never_fits_beside_a_recurring_one_keeps_nothing_from_others() -> None:
    """A job that runs into every occurrence cannot start: it must not stop the queue either."""
    stage = _stage()
    _reserve(stage, 500, 200, gpus=2, every_s=1000)
    stage.run(gpus=1, time_limit_s=300)
    wide = stage.submit(spec(gpus=4, priority=20))
    assert stage.state(wide) is State.PENDING
    stage.run(gpus=1)


def test_a_job_is_planned_between_two_occurrences() -> None:
    """What fits only after the next one is reserved then, and shorter jobs go before."""
    stage = _stage()
    _reserve(stage, 100, 200, gpus=4, every_s=1000)
    wide = stage.submit(spec(gpus=4, priority=20, time_limit_s=700))
    stage.run(gpus=4, time_limit_s=90)
    assert starts(stage.pass_s(299)) == []
    assert starts(stage.pass_s(1)) == []
    stage.end(wide + 1)
    assert stage.state(wide) is State.RUNNING
