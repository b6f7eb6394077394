"""The submitter's own line at the end of a job."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from gflow.launching import request
from gflow.model.job import Job, Spec
from gflow.model.state import State
from tests.launching.driver import Driver, until


def ended(tmp_path: Path, on_end: str, **facts: object) -> Job:
    spec = Spec("n", "u", os.getuid(), os.getgid(), ("true",), str(tmp_path), on_end=on_end)
    job = Job(1, spec, 0.0, state=State.FAILED, attempt=1, started_at=1.0, exit_code=3)
    for name, value in facts.items():
        setattr(job, name, value)
    return job


def conclude(launcher: Driver, job: Job, timeout_s: float = 20.0) -> None:
    launcher.send(request.conclude(job, env=None, timeout_s=timeout_s, variables={}))


def test_it_knows_the_end(launcher: Driver, tmp_path: Path) -> None:
    """Id, state and exit stand in its environment; it runs in the job's folder, without a card."""
    launcher.run("true")
    line = 'echo "$GFLOW_JOB_ID $GFLOW_JOB_STATE $GFLOW_EXIT_CODE$GFLOW_SIGNAL" '
    conclude(launcher, ended(tmp_path, line + '"$PWD ($CUDA_VISIBLE_DEVICES)" >new; mv new out'))
    until((tmp_path / "out").exists)
    assert (tmp_path / "out").read_text() == f"1 FAILED 3 {tmp_path} ()\n"


def test_it_runs_once(launcher: Driver, tmp_path: Path) -> None:
    """However often it is asked for, and of whichever launcher: the run file is the right to it."""
    launcher.run("true")
    job = ended(tmp_path, "echo once >> out")
    conclude(launcher, job)
    conclude(launcher, job)
    until((tmp_path / "out").exists)
    launcher.kill()
    launcher.spawn()
    conclude(launcher, job)
    conclude(launcher, ended(tmp_path, "touch done", started_at=None))
    until((tmp_path / "done").exists)
    assert (tmp_path / "out").read_text() == "once\n"


def test_a_folder_that_is_gone(launcher: Driver, tmp_path: Path) -> None:
    """It runs all the same: that the job could not start there may be just what it is to tell."""
    launcher.run("true")
    job = ended(tmp_path, f"pwd > {tmp_path}/new; mv {tmp_path}/new {tmp_path}/out")
    job.spec = replace(job.spec, cwd=f"{tmp_path}/none")
    conclude(launcher, job)
    until((tmp_path / "out").exists)
    assert (tmp_path / "out").read_text() == "/\n"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("echo no mail >&2; exit 4", "exit 4: no mail"),
        ("kill -9 $$", "signal 9"),
        ("yes", "not done within 0.3 s"),
        ("sleep 1000 & sleep 1000", "not done within 0.3 s"),
    ],
)
def test_a_bad_line_is_told(launcher: Driver, tmp_path: Path, line: str, words: str) -> None:
    """With what it said first; nothing of it is left."""
    launcher.run("true")
    conclude(launcher, ended(tmp_path, line), timeout_s=0.3)
    assert launcher.wait_for("trouble")["message"] == f"its on-end command failed: {words}"
    until(lambda: not launcher.children())
