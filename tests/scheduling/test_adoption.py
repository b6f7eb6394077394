"""An attempt that recovery finds keeps what it was given, whatever the store knows of it."""

from __future__ import annotations

from gflow.model.event import Adopted, Cancel, Ready
from gflow.model.job import Process
from gflow.model.state import State
from tests.scheduling.stage import BOOT, Stage, capacity, kills, spec


def test_it_keeps_its_own_cards_and_cpus() -> None:
    """The start was not saved; the run file says which they were, and nobody else gets them."""
    stage = Stage(capacity(cpus=4, gpus=2), ready=False)
    adopted, waiting = stage.submit(spec(gpus=1)), stage.submit(spec(gpus=1))
    process = Process(BOOT, 7, 7)
    stage.handle(Adopted(adopted, 1, process, process, 100.0, 100.0, cpu_ids=(3,), gpu_ids=(1,)))
    stage.handle(Ready())
    assert (stage.job(adopted).cpu_ids, stage.job(adopted).gpu_ids) == ((3,), (1,))
    assert stage.job(waiting).gpu_ids == (0,)


def test_without_a_run_file_its_beginning_stays() -> None:
    """A run file that was deleted says nothing about when the attempt began."""
    stage = Stage(capacity(cpus=4))
    job_id = stage.run(time_limit_s=100.0)
    stage.started(job_id)
    before = stage.job(job_id).started_at
    process = Process(BOOT, 7, 7)
    stage.handle(Adopted(job_id, 1, process, process, 0.0, 0.0))
    assert stage.job(job_id).started_at == before
    assert stage.job(job_id).kill_cause is None


def test_a_newer_attempt_than_the_store_knows_goes_on() -> None:
    """A requeue that was not saved: its attempt is neither killed nor given the last one's end."""
    stage = Stage(capacity(cpus=4))
    job_id = stage.run()
    stage.started(job_id)
    stage.end(job_id, 3)
    process = Process(BOOT, 7, 7)
    stage.handle(Adopted(job_id, 2, process, process, 100.0, 100.0))
    assert (stage.state(job_id), stage.job(job_id).exit_code) == (State.RUNNING, None)
    stage.end(job_id, 0)
    assert (stage.state(job_id), stage.job(job_id).exit_code) == (State.COMPLETED, 0)


def _found(stage: Stage, job_id: int) -> list[int]:
    """Whom the discovery of a job's first attempt has killed."""
    process = Process(BOOT, 7, 7)
    return kills(stage.handle(Adopted(job_id, 1, process, process, 100.0, 100.0)))


def test_a_kill_is_asked_for_again() -> None:
    """The cancellation was saved; who was to carry it out died before it did."""
    stage = Stage(capacity(cpus=4))
    job_id = stage.run()
    stage.started(job_id)
    stage.handle(Cancel(job_id, 0))
    assert _found(stage.reloaded(), job_id) == [job_id]


def test_what_lingers_is_asked_to_end_again() -> None:
    """Its command had ended before it was cancelled; its end stays the command's."""
    stage = Stage(capacity(cpus=4))
    job_id = stage.run(linger=True)
    stage.started(job_id)
    stage.exit(job_id, 0)
    stage.handle(Cancel(job_id, 0))
    stage = stage.reloaded()
    assert _found(stage, job_id) == [job_id]
    stage.gone(job_id)
    assert stage.state(job_id) is State.COMPLETED


def test_what_was_not_to_end_goes_on() -> None:
    """Being found kills nothing by itself."""
    stage = Stage(capacity(cpus=4))
    job_id = stage.run()
    stage.started(job_id)
    assert _found(stage.reloaded(), job_id) == []
    assert stage.state(job_id) is State.RUNNING
