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


def test_requests_are_compared_with_what_was_used(machine: Machine) -> None:
    """A submission far above earlier runs says so on stderr, after a restart too; --like takes what
    they used."""
    job = machine.submit("--memory", "1G", "--", "sleep", "0.01")
    machine.wait(job)
    machine.kill()
    machine.start()
    greedy = ("--time", "2-0", "--", "sleep", "0.02")
    eventually(lambda: "far above" in machine.ctl("submit", "--hold", *greedy).stderr)
    answer = machine.ctl("submit", "--parsable", "--like", str(job), "--", "true")
    assert answer.stdout.strip().isdigit() and f"like job {job}: --mem 64M" in answer.stderr
    record = machine.job(int(answer.stdout))
    assert (record["time_limit_s"], record["resources"]["memory_bytes"]) == (60.0, 64 << 20)


def test_estimates(machine: Machine) -> None:
    """What explain told is compared with when the job began."""
    first = machine.submit("-c", "4", "-t", "1h", "--", "sleep", "60")
    eventually(lambda: machine.in_state(first, "RUNNING"))
    second = machine.submit("-c", "4", "--", "true")
    told = machine.json("explain", str(second))["expected_start_at"]["latest"]
    machine.ctl("cancel", str(first))
    machine.wait(second)
    assert machine.job(second)["predicted_start_at"] == told
    eventually(lambda: machine.json("report", "estimates")["rows"])
    (row,) = machine.json("report", "estimates")["rows"]
    assert (row["jobs"], row["early"]) == (1, 1) and 3000 < row["p90_s"] <= 3600
