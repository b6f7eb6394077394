"""Those who had less come first."""

from __future__ import annotations

import pytest

from gflow.model.event import Ready
from gflow.scheduling import fair_share
from tests.scheduling.stage import Stage, capacity, spec, starts

_WEEK_S = 7 * 86400.0


def _use_s(stage: Stage, user: str) -> float:
    account = stage.scheduler._core.accounts.get(("user", user))
    fair_share.accrue(stage.scheduler._core, account, stage.now)
    return account.use_s


def test_who_used_less_comes_first() -> None:
    """Equal priority: the user without use overtakes the one who had the machine."""
    stage = Stage()
    hog = stage.run(user="hog", cpus=4)
    stage.submit(spec(user="hog", cpus=4))
    stage.pass_s(600)
    new = stage.submit(spec(user="new", cpus=4))
    assert starts(stage.end(hog)) == [new]


def test_priority_counts_more_than_fair_share() -> None:
    """One unit of priority is more than all the use there can be."""
    stage = Stage()
    hog = stage.run(user="hog", cpus=4)
    urgent = stage.submit(spec(user="hog", cpus=4, priority=11))
    stage.pass_s(86400)
    stage.submit(spec(user="new", cpus=4))
    assert starts(stage.end(hog)) == [urgent]


def test_use_is_counted_while_jobs_run_and_decays_after() -> None:
    """cpu-seconds, halved every half-life."""
    stage = Stage(fair_share_half_life_s=_WEEK_S)
    job = stage.run(cpus=2)
    stage.pass_s(1000)
    stage.end(job)
    assert _use_s(stage, "ann") == pytest.approx(2000, rel=1e-3)
    stage.pass_s(_WEEK_S)
    assert _use_s(stage, "ann") == pytest.approx(1000, rel=1e-3)


def test_steady_use_approaches_its_limit() -> None:
    """u' = rate - u ln 2 / half-life has its fixed point at rate * half-life / ln 2."""
    stage = Stage(fair_share_half_life_s=100.0)
    stage.run(cpus=1)
    for _ in range(40):
        stage.pass_s(100)
    assert _use_s(stage, "ann") == pytest.approx(100 / 0.6931, rel=1e-3)


def test_gpus_cost_more() -> None:
    """A gpu-second counts gpu_cost cpu-seconds."""
    stage = Stage(capacity(gpus=1), gpu_cost=10)
    stage.run(cpus=1, gpus=1)
    stage.pass_s(100)
    assert _use_s(stage, "ann") == pytest.approx(1100, rel=1e-3)


def test_projects_can_have_their_share_too() -> None:
    """With a weight of its own."""
    stage = Stage(fair_share_weight=0.0, project_share_weight=900.0)
    first = stage.run(project="big", cpus=4)
    stage.submit(spec(project="big", cpus=4))
    stage.pass_s(600)
    small = stage.submit(spec(project="small", cpus=4))
    assert starts(stage.end(first)) == [small]


def test_use_survives_a_restart() -> None:
    """It is a record per user; what passed meanwhile has decayed."""
    stage = Stage()
    hog = stage.run(user="hog", cpus=4)
    stage.pass_s(600)
    stage.end(hog)
    assert stage.saved["use", "hog"]["cost_s"] == pytest.approx(2400, rel=1e-3)
    first = stage.run(user="other", cpus=4)
    stage.submit(spec(user="hog", cpus=4))
    new = stage.submit(spec(user="new", cpus=4))
    twin = stage.reloaded()
    twin.handle(Ready())
    assert starts(twin.end(first)) == [new]


def test_weeks_begin_on_monday() -> None:
    """Thursday 1970-01-01 belongs to the week before Monday 1970-01-05."""
    assert fair_share.week_of(0.0) == -1
    assert fair_share.week_of(4 * 86400.0) == 0
    assert fair_share.week_start(1) == 11 * 86400.0
