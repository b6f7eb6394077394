"""Reports through the real programs."""

from __future__ import annotations

from tests.system.machine import Machine, eventually


def test_report(machine: Machine) -> None:
    """What ended is summed up by user, project and state, durably."""
    machine.wait(machine.submit("--project", "red", "--cpus", "2", "--", "true"))
    machine.wait(machine.submit("--project", "blue", "--", "false"))

    def rows() -> dict[str, dict[str, int]]:
        answer = machine.json("report", "--by", "project")
        return {row["project"]: row["states"] for row in answer["rows"]}

    eventually(lambda: rows() == {"blue": {"FAILED": 1}, "red": {"COMPLETED": 1}})
    assert machine.json("report", "--by", "day,user")["rows"][0]["jobs"] == 2
    assert machine.ctl("report", "--by", "nonsense").returncode == 1
    assert "red" in machine.ctl("report", "--by", "project").stdout


def test_efficiency(machine: Machine) -> None:
    """A job's share of what it asked for comes from what was measured."""
    job = machine.submit("--cpus", "4", "--memory", "1G", "--", "true")
    machine.wait(job)
    (one,) = machine.json("report", "efficiency", str(job))
    assert one["job_id"] == job
    assert one["measures"]["memory_bytes"]["asked"] == 1 << 30
    assert 0 < one["measures"]["memory_bytes"]["share"] < 0.5
