"""kill -9 of any process loses nothing, starts nothing twice and ends no job."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

from gflow.api.client import Client
from gflow.process import identity
from tests.system.machine import Machine, eventually


def test_supervisor_killed_under_load(new_machine: Callable[..., Machine]) -> None:
    """50 running and 100 pending jobs: none dies, none starts twice, ids go on from above."""
    machine = new_machine(GFLOW_RESOURCES__CPUS="50")
    machine.start()
    script = "echo x >> started.$GFLOW_JOB_ID; while [ ! -e go ]; do sleep 0.1; done; exit 3"
    running = [machine.submit(script) for _ in range(50)]
    pending = [machine.submit("true") for _ in range(100)]
    eventually(lambda: all(machine.job(j)["pid"] for j in (running[0], running[-1])))
    pids = {j: machine.job(j)["pid"] for j in running}
    machine.kill()
    assert all(os.path.exists(f"/proc/{pid}") for pid in pids.values())
    machine.start()
    jobs = machine.jobs()
    assert set(running) | set(pending) <= set(jobs)
    assert {jobs[j]["state"] for j in running} == {"RUNNING"}
    assert {j: jobs[j]["pid"] for j in running} == pids
    assert machine.submit("true") > max(pending)
    (machine.work / "go").touch()
    machine.wait(*running, *pending)
    jobs = machine.jobs()
    assert {jobs[j]["exit_code"] for j in running} == {3}
    assert {jobs[j]["state"] for j in pending} == {"COMPLETED"}
    for job_id in running:
        assert (machine.work / f"started.{job_id}").read_text() == "x\n"


def test_acknowledged_job_survives_at_once(machine: Machine) -> None:
    """kill -9 right after the answer: same id, command, directory and environment."""
    machine.env["SOME_VARIABLE"] = "some value"
    job_id = machine.submit("--hold", "--", "printenv", "SOME_VARIABLE")
    before = machine.job(job_id)
    machine.kill_at_once()
    machine.start()
    assert machine.job(job_id) == before
    machine.ctl("release", str(job_id))
    assert machine.wait(job_id) == 0
    assert machine.ctl("log", str(job_id)).stdout == "some value\n"


def test_changed_script_survives(machine: Machine) -> None:
    """Once its change is acknowledged a script is what runs, whoever is killed; arguments stay."""
    (machine.work / "job.sh").write_text("echo before $1\n")
    job = machine.submit("--hold", "./job.sh", "word")
    with Client(str(machine.runtime)) as client:
        change = {"script": "echo after $1\n", "args": client.job(job)["args"]}
        assert client.update(job, change)["durable"]
    machine.kill_at_once()
    machine.start()
    machine.ctl("release", str(job))
    assert machine.wait(job) == 0
    assert machine.ctl("log", str(job)).stdout == "after word\n"


def test_launcher_killed(machine: Machine) -> None:
    """Running jobs go on, new ones start, exit codes are recorded."""
    job_id = machine.submit("while [ ! -e go ]; do sleep 0.05; done; exit 9")
    eventually(lambda: machine.job(job_id)["pid"])
    os.kill(machine.note_pids()["launcher"], signal.SIGKILL)
    assert machine.ctl("run", "--", "echo", "new").stdout == "new\n"
    (machine.work / "go").touch()
    assert machine.wait(job_id) == 9
    assert machine.note_pids()


def test_persister_killed(machine: Machine) -> None:
    """No client sees an error, everything is saved by the next one."""
    for _ in range(5):
        pid = machine.note_pids()["persister"]
        os.kill(pid, signal.SIGKILL)
        job_id = machine.submit("--hold", "--", "true")
    machine.kill_at_once()
    machine.start()
    assert machine.job(job_id)["state"] == "PENDING"


def test_shim_killed(machine: Machine) -> None:
    """The end of a job whose shim is gone is unknown: never a success, dependants do not run."""
    job_id = machine.submit("while [ ! -e go ]; do sleep 0.05; done")
    eventually(lambda: machine.job(job_id)["pid"])
    dependant = machine.submit("--dependency", f"afterok:{job_id}", "--", "touch", "ran")
    with open(f"/proc/{machine.job(job_id)['pid']}/stat") as file:
        shim = int(file.read().rpartition(")")[2].split()[1])
    os.kill(shim, signal.SIGKILL)
    (machine.work / "go").touch()
    eventually(lambda: machine.in_state(job_id, "NODE_FAIL"))
    assert machine.job(dependant)["reason"] == "DependencyNeverSatisfied"
    assert not (machine.work / "ran").exists()


def test_job_whose_suspension_was_lost_goes_on(machine: Machine) -> None:
    """To the store it runs, its processes are stopped: the next supervisor has them continued."""
    job_id = machine.submit("while [ ! -e go ]; do sleep 0.05; done; exit 4")
    pid = eventually(lambda: machine.job(job_id)["pid"])
    machine.kill()
    os.kill(pid, signal.SIGSTOP)
    (machine.work / "go").touch()
    machine.start()
    assert machine.wait(job_id) == 4


def test_suspended_job_that_goes_on_is_stopped_again(machine: Machine) -> None:
    """The order to stop it may be lost with the launcher; its cpus are another's by then."""
    job_id = machine.submit("while [ ! -e go ]; do sleep 0.05; done")
    pid = eventually(lambda: machine.job(job_id)["pid"])
    machine.ctl("suspend", str(job_id))
    eventually(lambda: identity.process_state(pid) == "T")
    launcher = machine.note_pids()["launcher"]
    os.kill(pid, signal.SIGCONT)
    os.kill(launcher, signal.SIGKILL)
    eventually(lambda: identity.process_state(pid) == "T")
    machine.ctl("resume", str(job_id))
    (machine.work / "go").touch()
    assert machine.wait(job_id) == 0


def test_orderly_stop_and_start(machine: Machine) -> None:
    """SIGTERM: exit 0, jobs live on, listings are the same after the next start."""
    running = machine.submit("while [ ! -e go ]; do sleep 0.05; done")
    eventually(lambda: machine.job(running)["pid"])
    machine.submit("--hold", "--", "true")
    machine.wait(machine.submit("exit 3"))
    before = machine.jobs()
    for record in before.values():
        record.pop("usage")
    assert machine.stop() == 0
    machine.start()
    after = machine.jobs()
    for record in after.values():
        record.pop("usage")
    assert after == before
    (machine.work / "go").touch()
    assert machine.wait(running) == 0


def test_second_supervisor_is_refused(machine: Machine) -> None:
    """Two on one folder: the second leaves with 1 and names the first."""
    code, words = machine.refuse_to_start()
    assert code == 1
    assert machine.supervisor is not None
    assert str(machine.supervisor.pid) in words
    assert machine.ctl("ping").returncode == 0


def test_killed_and_started_at_once(machine: Machine) -> None:
    """A start within a millisecond of kill -9 waits for the orphans and sees the last answer."""
    for _ in range(5):
        job_id = machine.submit("--hold", "--", "true")
        machine.kill_at_once()
        machine.start()
        assert machine.job(job_id)["state"] == "PENDING"
