"""Quotas, reservations, drains and the outlook, through the real programs."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

from tests.system.machine import Machine, eventually


def submit_list(machine: Machine, count: int) -> subprocess.CompletedProcess[str]:
    """Submit so many jobs as one list."""
    code = f"import gflow; gflow.Client().submit_specs([{{'command': ['true']}}] * {count})"
    return subprocess.run(
        [sys.executable, "-c", code],
        env=machine.env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_list_is_held_to_its_quota_as_a_whole(machine: Machine) -> None:
    """A list that would exceed a quota is refused before any of it is admitted."""
    user = machine.job(machine.submit("true"))["user"]
    assert machine.ctl("quota", "set", "--user", user, "--pending-jobs", "40").returncode == 0
    refused = submit_list(machine, 41)
    assert refused.returncode != 0 and "allows 40 pending jobs" in refused.stderr
    assert len(machine.jobs()) == 1
    assert submit_list(machine, 40).returncode == 0
    eventually(lambda: len(machine.jobs()) == 41)


def test_quotas_are_remembered(machine: Machine) -> None:
    """What was set at run time survives kill -9, and is shown with its use."""
    assert machine.ctl("quota", "set", "--default-user", "--running-jobs", "1").returncode == 0
    first, second = machine.submit("sleep", "60"), machine.submit("sleep", "60")
    eventually(lambda: machine.in_state(first, "RUNNING"))
    assert machine.job(second)["reason"] == "Quota"
    machine.kill()
    machine.start()
    rows = {(row["scope"], row["name"]): row for row in machine.json("quota")}
    user = machine.job(first)["user"]
    assert rows["default_user", ""]["limits"] == {"running_jobs": 1.0}
    assert rows["user", user]["used"]["running_jobs"] == 1
    assert machine.job(second)["reason"] == "Quota"
    machine.ctl("quota", "clear", "--default-user")
    eventually(lambda: machine.in_state(second, "RUNNING"))
    machine.ctl("cancel", "--all")


def test_quotas_of_the_configuration(new_machine: Callable[..., Machine]) -> None:
    """The configuration's limits hold, are shown, and give way to those set at run time."""
    machine = new_machine(GFLOW_QUOTA__DEFAULT_USER="running_jobs=1")
    machine.start()
    first, second = machine.submit("sleep", "60"), machine.submit("true")
    eventually(lambda: machine.in_state(first, "RUNNING"))
    assert machine.job(second)["reason"] == "Quota"
    machine.ctl("quota", "set", "--user", machine.job(first)["user"], "--running-jobs", "2")
    assert machine.wait(second) == 0
    machine.ctl("cancel", "--all")


def test_a_reservation_keeps_others_out(machine: Machine) -> None:
    """A job that would run into it waits and says so; it starts once it is given back."""
    words = ("--user", "nobody", "-c", "4", "--start", "now", "--duration", "1h")
    number = machine.json("reserve", *words)["reservation_id"]
    job = machine.submit("true")
    assert machine.job(job)["reason"] == "Reservation"
    blockers = machine.json("explain", str(job))["blockers"]
    assert [one["reason"] for one in blockers] == ["Reservation"]
    assert "█" in machine.ctl("reservations").stdout
    assert machine.ctl("reserve", *words).returncode == 1, "the cpus are reserved already"
    assert machine.ctl("reservations", "cancel", str(number)).returncode == 0
    assert machine.wait(job) == 0


def test_draining_by_a_time(machine: Machine) -> None:
    """What ends before is started still; what may not stays, and both see why."""
    machine.ctl("drain", "--reason", "new disks", "--by", "now+1h")
    assert machine.wait(machine.submit("-t", "10", "true")) == 0
    job = machine.submit("-t", "3h", "true")
    assert machine.job(job)["reason"] == "Drained"
    drained = machine.status()["drained"]
    assert drained["reason"] == "new disks" and drained["user"] and drained["by_at"] is not None
    assert "new disks" in machine.ctl("explain", str(job)).stdout
    (remedy,) = machine.json("explain", str(job))["remedies"]
    assert machine.ctl("update", str(job), *remedy.split()).returncode == 0
    assert machine.wait(job) == 0, f"{remedy} was said to let it start now"
    job = machine.submit("-t", "3h", "true")
    assert machine.ctl("undrain").returncode == 0
    assert machine.wait(job) == 0


def test_the_outlook(machine: Machine) -> None:
    """When a job would start, whom it would delay, when one will start, what its place is."""
    running = machine.submit("-c", "4", "-t", "1h", "sleep", "60")
    eventually(lambda: machine.in_state(running, "RUNNING"))
    ends_at = machine.job(running)["started_at"] + 3600
    waiting = machine.submit("-c", "4", "-t", "1h", "true")
    expected = machine.json("explain", str(waiting))["expected_start_at"]
    assert abs(expected["earliest"] - ends_at) < 5 and expected["latest"] == expected["earliest"]
    answer = machine.json("simulate", "-p", "20", "-c", "4", "-t", "2h")
    assert abs(answer["starts_at"] - ends_at) < 5
    assert [one["id"] for one in answer["delayed"]] == [waiting]
    (priority,) = machine.json("priority", str(waiting))
    assert priority["position"] == 1 and priority["parts"]["priority"] > 0
    machine.ctl("cancel", "--all")


def test_who_asked_and_why(machine: Machine) -> None:
    """show --events names users, and causes in words."""
    job = machine.submit("sleep", "60")
    user = machine.job(job)["user"]
    eventually(lambda: machine.in_state(job, "RUNNING"))
    machine.ctl("cancel", "--wait", str(job))
    out = machine.ctl("show", "--events", str(job)).stdout
    assert f"new -> PENDING: it was submitted, by {user}" in out
    assert "PENDING -> RUNNING: its turn came\n" in out
    assert f"it was cancelled, by {user}" in out


def test_close_cards_go_together(new_machine: Callable[..., Machine]) -> None:
    """Of declared cards the configuration says which are close: two come from one group."""
    machine = new_machine(GFLOW_GPUS__COUNT="4", GFLOW_GPUS__TOPOLOGY="0,2;1,3")
    machine.start()
    machine.submit("--gpus", "1", "--", "sleep", "60")
    answer = machine.ctl("run", "--gpus", "2", "--", "sh", "-c", "echo $CUDA_VISIBLE_DEVICES")
    assert answer.stdout == "1,3\n"
