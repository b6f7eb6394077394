"""Logs go when history has forgotten their jobs."""

from __future__ import annotations

from gflow.launching import request
from tests.launching.driver import Driver, until


def test_logs_of_forgotten_jobs_are_deleted(launcher: Driver) -> None:
    """Those of single jobs and of tasks; all others stay."""
    logs = launcher.state_dir / "logs"
    until(logs.is_dir)
    for name in ("1.log", "2.log", "7_3.log", "7_4.log"):
        (logs / name).write_text("output")
    forgotten = [
        {"id": 1, "array_id": None, "task": None},
        {"id": 11, "array_id": 7, "task": 3},
        {"id": 99, "array_id": None, "task": None},
    ]
    launcher.channel.send(request.expire(forgotten))
    until(lambda: not (logs / "7_3.log").exists())
    assert sorted(path.name for path in logs.iterdir()) == ["2.log", "7_4.log"]
