"""A persister that is stopped, slow or dead stalls nothing."""

from __future__ import annotations

import os
import signal
import time

from tests.system.machine import Machine, eventually


def test_stopped_persister_stalls_nothing(machine: Machine) -> None:
    """Jobs start and end, ping answers, and after SIGCONT everything is saved."""
    persister = machine.note_pids()["persister"]
    os.kill(persister, signal.SIGSTOP)
    ids = []
    end_s = time.monotonic() + 4
    while time.monotonic() < end_s:
        answer = machine.json("submit", "--no-wait", "--", "true")
        assert answer["durable"] is False
        ids += answer["job_ids"]
        assert machine.ctl("ping").returncode == 0
    eventually(lambda: machine.in_state(ids[-1], "COMPLETED"))
    assert machine.status()["processes"]["persister"]["changed"] > 0
    os.kill(persister, signal.SIGCONT)
    eventually(lambda: machine.status()["processes"]["persister"]["changed"] == 0)
    machine.kill_at_once()
    machine.start()
    jobs = machine.jobs()
    assert {jobs[job_id]["state"] for job_id in ids} == {"COMPLETED"}


def test_submission_to_a_stopped_persister_is_answered(machine: Machine) -> None:
    """A submission that waits for its commit is told the truth after ack_timeout_s."""
    machine.stop()
    machine.env["GFLOW_PERSISTENCE__ACK_TIMEOUT_S"] = "0.5"
    machine.start()
    persister = machine.note_pids()["persister"]
    os.kill(persister, signal.SIGSTOP)
    answer = machine.json("submit", "--", "true")
    assert answer["durable"] is False
    os.kill(persister, signal.SIGCONT)
    assert machine.wait(*answer["job_ids"]) == 0


def test_stopped_and_killed_persister_is_replaced(machine: Machine) -> None:
    """What the dead one held is saved by its successor."""
    persister = machine.note_pids()["persister"]
    os.kill(persister, signal.SIGSTOP)
    ids = machine.json("submit", "--no-wait", "--hold", "--", "true")["job_ids"]
    os.kill(persister, signal.SIGKILL)
    eventually(lambda: machine.status()["processes"]["persister"]["changed"] == 0)
    assert machine.status()["processes"]["persister"]["restarts"] == 1
    machine.kill_at_once()
    machine.start()
    assert machine.job(ids[0])["state"] == "PENDING"


def test_signals_to_children_end_nothing(machine: Machine) -> None:
    """Signals that end ordinary processes reach neither the persister's work nor the supervisor."""
    pids = machine.note_pids()
    for name in ("TERM", "INT", "HUP", "TSTP", "USR1", "PIPE"):
        for pid in pids.values():
            os.kill(pid, signal.Signals[f"SIG{name}"])
    assert machine.wait(machine.submit("--", "true")) == 0
    assert machine.note_pids() == pids


def test_job_has_none_of_our_descriptors(machine: Machine) -> None:
    """A job's descriptors are 0, 1 and 2; its signals are as a shell would set them."""
    answer = machine.ctl("run", "--", "bash", "-c", "ls /proc/self/fd; cat /proc/self/status")
    lines = answer.stdout.splitlines()
    assert [line for line in lines if line.isdigit()] == ["0", "1", "2", "3"]  # 3: ls itself
    assert "SigBlk:\t0000000000000000" in lines
    assert "SigIgn:\t0000000000000000" in lines
