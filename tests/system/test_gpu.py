"""Cards of a stand-in driver, through the real programs."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.monitoring.stand_in import GIB, StandIn, needs_compiler
from tests.system.machine import BIN, Machine, eventually

pytestmark = needs_compiler()

NewMachine = Callable[..., Machine]


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[StandIn]:
    made = StandIn(tmp_path / "driver")
    yield made
    made.close()


@pytest.fixture
def machine(driver: StandIn, new_machine: NewMachine) -> Machine:
    """A started machine with two cards."""
    made = new_machine(GFLOW_MONITOR__INTERVAL_S="0.1", **driver.env)
    made.start()
    return made


def card(machine: Machine, index: int = 0) -> dict[str, Any]:
    """What status shows of a card."""
    cards = {one["index"]: one for one in machine.status()["gpus"]}
    found: dict[str, Any] = cards[index]
    return found


def test_no_driver(new_machine: NewMachine, tmp_path: Path) -> None:
    """Without a driver there are no cards, the process is gone, and status says why."""
    machine = new_machine(LD_LIBRARY_PATH=str(tmp_path))
    machine.start()
    status = machine.status()
    assert status["gpus"] == []
    assert status["processes"]["gpu"]["state"] == "absent"
    assert "libnvidia-ml" in status["processes"]["gpu"]["message"]
    refused = machine.ctl("submit", "--gpus", "1", "--", "true")
    assert (refused.returncode, "1 gpu wanted" in refused.stderr) == (1, True)


def test_job_gets_a_card(driver: StandIn, machine: Machine) -> None:
    """A job sees the cards it holds, and status sees who holds them."""
    script = "echo $CUDA_VISIBLE_DEVICES; read -r _ < go"
    os.mkfifo(machine.work / "go")
    job = machine.submit("--gpus", "1", script)
    eventually(lambda: machine.in_state(job, "RUNNING"))
    assert card(machine)["jobs"] == [job]
    assert card(machine)["uuid"] == driver.uuids[0]
    (machine.work / "go").write_text("\n")
    assert machine.wait(job) == 0
    assert machine.ctl("log", str(job)).stdout == "0\n"


def test_other_variables(driver: StandIn, new_machine: NewMachine) -> None:
    """Cards of other vendors are shown to jobs in their own variables."""
    machine = new_machine(GFLOW_GPUS__VISIBILITY_VARIABLES="ROCR_VISIBLE_DEVICES", **driver.env)
    machine.start()
    answer = machine.ctl("run", "--gpus", "2", "--", "sh", "-c", "echo $ROCR_VISIBLE_DEVICES")
    assert answer.stdout == "0,1\n"


def test_foreign_process(driver: StandIn, machine: Machine) -> None:
    """A card with a stranger on it is not given out, says why, and is when he has left."""
    driver.processes = [(0, os.getpid(), GIB), (1, os.getpid(), GIB)]
    driver.used_bytes = [GIB, GIB]
    driver.tell()
    eventually(lambda: card(machine, 1)["unusable"])
    assert f"busy: process {os.getpid()} (" in card(machine)["unusable"]
    job = machine.submit("--gpus", "1", "--", "true")
    assert machine.job(job)["state"] == "PENDING"
    driver.processes, driver.used_bytes = [], [0, 0]
    driver.tell()
    assert machine.wait(job) == 0


def test_an_ignored_process(driver: StandIn, machine: Machine) -> None:
    """gctl has a stranger's card given out all the same, over restarts, until he is heeded."""
    pid = os.getpid()
    driver.processes, driver.used_bytes = [(0, pid, GIB), (1, pid, GIB)], [GIB, GIB]
    driver.tell()
    eventually(lambda: card(machine)["unusable"])
    which = ("--gpu", "0", "--pid", str(pid))
    refused = gctl(machine, "ignore", "--gpu", "0", "--pid", "1", code=1)
    assert "Failed to ignore GPU process: PID 1 is not currently running on GPU 0" in refused
    said = gctl(machine, "ignore", *which)
    assert said == f"Ignoring GPU process PID {pid} on GPU 0\n"
    machine.stop()
    machine.start()
    eventually(lambda: card(machine)["unusable"] is None and card(machine, 1)["unusable"])
    assert gctl(machine, "list") == f"gpu=0\tpid={pid}\n"
    job = machine.submit("--gpus", "1", "--", "sh", "-c", "echo $CUDA_VISIBLE_DEVICES")
    assert machine.wait(job) == 0
    assert machine.ctl("log", str(job)).stdout == "0\n"
    gctl(machine, "unignore", *which)
    assert "busy" in card(machine)["unusable"]
    assert "was not found" in gctl(machine, "unignore", *which, code=1)


def gctl(machine: Machine, *words: str, code: int = 0) -> str:
    """What ``gctl gpu-process`` printed; what it complains about, when it does not exit 0."""
    answer = subprocess.run(
        [str(BIN / "gctl"), "gpu-process", *words],
        env=machine.env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert answer.returncode == code, answer
    return answer.stderr if code else answer.stdout


def test_process_of_a_job_is_no_stranger(driver: StandIn, machine: Machine) -> None:
    """What a job's own tree does on its card is the job's use of it."""
    job = machine.submit("--gpus", "1", "sleep 600 & wait")
    pid = eventually(lambda: machine.job(job)["pid"])
    children = eventually(
        lambda: subprocess.run(["pgrep", "-P", str(pid)], capture_output=True).stdout
    )
    driver.processes = [(0, int(children.split()[0]), 3 * GIB)]
    driver.used_bytes, driver.utilisation = [3 * GIB, 0], [80, 0]
    driver.tell()
    usage = eventually(lambda: _with(machine.job(job)["usage"], "gpu_s"))
    assert usage["max_gpu_memory_bytes"] == 3 * GIB
    assert usage["gpu_utilisation"] == 0.8
    assert card(machine)["unusable"] is None


def _with(usage: dict[str, Any] | None, name: str) -> dict[str, Any] | None:
    return usage if usage and usage.get(name) else None


def test_release_waits_for_memory(driver: StandIn, machine: Machine) -> None:
    """The next job gets the cards when their memory is back, not when the last process is dead."""
    first = machine.submit("--gpus", "2", "sleep 600")
    eventually(lambda: machine.job(first)["pid"])
    driver.used_bytes = [9 * GIB, 9 * GIB]
    driver.tell()
    second = machine.submit("--gpus", "2", "--", "true")
    machine.ctl("cancel", str(first))
    eventually(lambda: machine.job(first)["exit_code"] is not None or machine.job(first)["signal"])
    assert machine.job(first)["state"] == "COMPLETING"
    assert machine.job(second)["state"] == "PENDING"
    driver.used_bytes = [0, 0]
    driver.tell()
    assert machine.wait(second) == 0
    assert machine.job(first)["state"] == "CANCELLED"


def test_card_disappears(driver: StandIn, machine: Machine) -> None:
    """A job on a lost card runs on; nothing new is put there; the other keeps its index."""
    job = machine.submit("--gpus", "1", "sleep 600")
    eventually(lambda: machine.job(job)["pid"])
    driver.there = [1]
    driver.tell()
    eventually(lambda: card(machine)["unusable"] == "it has disappeared")
    answer = machine.ctl("run", "--gpus", "1", "--", "sh", "-c", "echo $CUDA_VISIBLE_DEVICES")
    # The driver counts what is left from 0.
    assert answer.stdout == "0\n"
    assert machine.job(job)["state"] == "RUNNING"
    machine.ctl("cancel", str(job))
    eventually(lambda: machine.in_state(job, "CANCELLED"))
    assert card(machine, 1)["unusable"] is None


def test_hanging_driver(driver: StandIn, new_machine: NewMachine) -> None:
    """While a driver call hangs everything else goes on; status says so; it recovers by itself."""
    machine = new_machine(
        GFLOW_MONITOR__INTERVAL_S="0.1", GFLOW_GPUS__STALLED_AFTER_S="1", **driver.env
    )
    machine.start()
    pid = machine.status()["processes"]["gpu"]["pid"]
    driver.hang = True
    driver.tell()
    eventually(lambda: machine.status()["processes"]["gpu"]["state"] == "stalled")
    assert machine.wait(machine.submit("--", "true")) == 0
    assert machine.status()["processes"]["monitor"]["state"] == "running"
    driver.hang = False
    driver.tell()
    eventually(lambda: machine.status()["processes"]["gpu"]["state"] == "running")
    gpu = machine.status()["processes"]["gpu"]
    assert gpu["pid"] != pid and gpu["restarts"] >= 1
    assert machine.wait(machine.submit("--gpus", "2", "--", "true")) == 0


def test_unknown_cards(driver: StandIn, new_machine: NewMachine) -> None:
    """A driver that has not answered yet: jobs for its cards wait and say so, others run."""
    driver.hang = True
    driver.tell()
    machine = new_machine(GFLOW_MONITOR__INTERVAL_S="0.1", **driver.env)
    machine.start()
    job = machine.submit("--gpus", "1", "--", "true")
    assert machine.job(job)["reason"] == "GpusUnknown"
    assert machine.wait(machine.submit("--", "true")) == 0
    driver.hang = False
    driver.tell()
    assert machine.wait(job) == 0


def test_running_job_keeps_its_card_over_a_restart(driver: StandIn, machine: Machine) -> None:
    """After kill -9 of the supervisor its job's card is the job's, not a stranger's."""
    job = machine.submit("--gpus", "1", "sleep 600")
    pid = eventually(lambda: machine.job(job)["pid"])
    driver.processes, driver.used_bytes = [(0, pid, GIB)], [GIB, 0]
    driver.tell()
    machine.kill()
    machine.start()
    assert card(machine)["jobs"] == [job]
    assert eventually(lambda: _with(machine.job(job)["usage"], "gpu_memory_bytes"))
    eventually(lambda: card(machine)["unusable"] is None)
    other = machine.submit("--gpus", "1", "--", "sh", "-c", "echo $CUDA_VISIBLE_DEVICES")
    assert machine.wait(other) == 0
    assert machine.ctl("log", str(other)).stdout == "1\n"


def test_two_supervisors(driver: StandIn, machine: Machine, new_machine: NewMachine) -> None:
    """A second supervisor on the machine gives out no card of the first one's."""
    other = new_machine(GFLOW_MONITOR__INTERVAL_S="0.1", **driver.env)
    other.start()
    assert "another supervisor" in card(other)["unusable"]
    assert card(machine)["unusable"] is None
    job = other.submit("--gpus", "1", "--", "true")
    assert other.job(job)["state"] == "PENDING"
    assert machine.stop() == 0
    assert other.wait(job) == 0


def test_simulated_cards(new_machine: NewMachine) -> None:
    """Cards can be tried out where there is none."""
    machine = new_machine(GFLOW_GPUS__COUNT="0", GFLOW_GPUS__SIMULATED="2")
    machine.start()
    assert "gpu" not in machine.status()["processes"]
    assert [one["name"] for one in machine.status()["gpus"]] == ["simulated", "simulated"]
    answer = machine.ctl("run", "--gpus", "2", "--", "sh", "-c", "echo $CUDA_VISIBLE_DEVICES")
    assert answer.stdout == "0,1\n"


def test_info(driver: StandIn, machine: Machine) -> None:
    """The cards, what is on them and who holds them, for people."""
    job = machine.submit("--gpus", "1", "--name", "train", "sleep 600")
    eventually(lambda: machine.job(job)["pid"])
    driver.processes, driver.used_bytes = [(1, os.getpid(), GIB)], [3 * GIB, GIB]
    driver.utilisation = [42, 0]
    driver.tell()
    eventually(lambda: card(machine, 1)["unusable"] and card(machine)["used_bytes"])
    out = " ".join(machine.ctl("info").stdout.split())
    assert f"3G 24G 42% 40° {job} (" in out
    assert ", train) held" in out
    assert f"gpu 1 is kept back: busy: process {os.getpid()} (" in out


def test_card_lost_while_the_supervisor_was_away(driver: StandIn, machine: Machine) -> None:
    """A job's card keeps its index over a restart after which the driver counts differently."""
    first = machine.submit("--gpus", "1", "--", "sleep", "600")
    second = machine.submit("--gpus", "1", "--", "sleep", "600")
    eventually(lambda: machine.job(second)["pid"])
    machine.ctl("cancel", str(first))
    machine.wait(first)
    machine.kill()
    driver.there = [1]
    driver.tell()
    machine.start()
    assert machine.job(second)["gpu_ids"] == [1]
    (left,) = machine.status()["gpus"]
    assert (left["index"], left["uuid"], left["jobs"]) == (1, driver.uuids[1], [second])
    waiting = machine.submit("--gpus", "1", "--", "sh", "-c", "echo $CUDA_VISIBLE_DEVICES")
    assert machine.job(waiting)["state"] == "PENDING"
    machine.ctl("cancel", str(second))
    assert machine.wait(waiting) == 0
    assert machine.ctl("log", str(waiting)).stdout == "0\n"


def test_idle_job_is_ended(driver: StandIn, new_machine: NewMachine) -> None:
    """By policy, a job that does not use its card is warned and loses it; one that does, not."""
    machine = new_machine(
        GFLOW_MONITOR__INTERVAL_S="0.1",
        GFLOW_GPUS__IDLE_END_S="3",
        GFLOW_GPUS__IDLE_WARNING_S="2",
        GFLOW_GPUS__IDLE_SIGNAL="HUP",
        **driver.env,
    )
    driver.utilisation = [0, 60]
    driver.tell()
    machine.start()
    listen = "trap 'cat $GFLOW_SIGNAL_REASON_FILE' HUP TERM; while :; do sleep 0.05; done"
    idle = machine.submit("--gpus", "1", "--grace", "1", listen)
    busy = machine.submit("--gpus", "1", "--", "sleep", "600")
    eventually(lambda: machine.in_state(idle, "CANCELLED"))
    assert "its gpus were not used" in machine.job(idle)["reason"]
    told = [line for line in machine.ctl("log", str(idle)).stdout.splitlines() if line[0] in "i012"]
    assert told[0::2] == ["idle gpu", "idle gpu"] and int(told[1]) <= 2 and told[3] == "1"
    assert machine.job(busy)["state"] == "RUNNING"
    assert machine.job(busy)["usage"]["gpu_idle_s"] == 0
