"""Recovery: the store is older than what runs, and what runs is right."""

from __future__ import annotations

import pytest

from gflow.model.event import Adopted, CapacityChanged, Exited, Gone, Lost, NeverStarted, Ready
from gflow.model.job import Job, Process
from gflow.model.state import ACTIVE, State
from tests.scheduling.history import History
from tests.scheduling.stage import BOOT, Stage, starts


def _crash(seed: int) -> tuple[Stage, Stage]:
    """What really runs, and a scheduler that was loaded from an older snapshot."""
    history = History(seed)
    history.run(80)
    old = dict(history.stage.saved)
    history.run(25)
    stage = history.stage
    newest, stage.saved = stage.saved, old
    twin = stage.reloaded()
    stage.saved = newest
    twin.oversubscribed = True
    twin.scheduler._core.next_id = stage.scheduler.next_id
    twin.handle(CapacityChanged(stage.scheduler.capacity))
    return stage, twin


def _known(twin: Stage, job_id: int) -> bool:
    scheduler = twin.scheduler
    return scheduler.job(job_id) is not None or scheduler.waiting_task(job_id) is not None


def _adopt(stage: Stage, twin: Stage, job: Job) -> None:
    """As the supervisor does for a run file whose lock is held."""
    if not _known(twin, job.id):
        twin.scheduler.restore(stage.saved["job", job.id], twin.now)
    process = Process(BOOT, job.id, 1)
    began_s = job.started_boot_s or 0.0
    twin.handle(Adopted(job.id, job.attempt, process, process, job.started_at or 0.0, began_s))
    if job.state is State.COMPLETING and job.exit_code is not None:
        code = job.exit_code
        twin.handle(Exited(job.id, job.attempt, code, None, twin.now.wall_s))


def _recover(stage: Stage, twin: Stage) -> None:
    real = {job.id: job for job in stage.scheduler.active()}
    for job in real.values():
        _adopt(stage, twin, job)
    for job in twin.scheduler.active():
        if job.id in real:
            continue
        ended = stage.scheduler.job(job.id)
        if ended is not None and ended.attempt == job.attempt and ended.exit_code is not None:
            code = ended.exit_code
            twin.handle(Exited(job.id, job.attempt, code, None, twin.now.wall_s))
            twin.handle(Gone(job.id, job.attempt))
        elif job.id % 2:
            twin.handle(Lost(job.id, job.attempt, "nothing is left of it"))
        else:
            twin.handle(NeverStarted(job.id, job.attempt))


@pytest.mark.parametrize("seed", range(400, 430))
def test_what_runs_is_running_and_starts_no_second_time(seed: int) -> None:
    """Whatever the snapshot says about it; invariants hold all along."""
    stage, twin = _crash(seed)
    _recover(stage, twin)
    for job in stage.scheduler.active():
        found = twin.job(job.id)
        assert found.state in ACTIVE and found.attempt == job.attempt, job.id
    running = {job.id for job in stage.scheduler.active()}
    assert not running & set(starts(twin.handle(Ready())))


@pytest.mark.parametrize("seed", range(430, 440))
def test_after_recovery_everything_ends_as_usual(seed: int) -> None:
    """Adopted jobs end, and their resources serve others."""
    stage, twin = _crash(seed)
    _recover(stage, twin)
    twin.handle(Ready())
    for job in stage.scheduler.active():
        if twin.job(job.id).attempt != job.attempt or twin.state(job.id) not in ACTIVE:
            continue
        if twin.state(job.id) is not State.COMPLETING:
            twin.exit(job.id)
        twin.gone(job.id)
    held = sum(job.spec.resources.cpus for job in twin.scheduler.active())
    assert twin.scheduler.free()["cpus"] == max(0, twin.machine.cpus - held)
