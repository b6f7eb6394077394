"""Submit, place, start, watch, remember: through the real programs."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import pytest

from tests.system.machine import Machine, eventually, processes


def test_hello(machine: Machine) -> None:
    """A command's output and exit code come back through run."""
    answer = machine.ctl("run", "--", "echo", "hello")
    assert (answer.returncode, answer.stdout) == (0, "hello\n")


def test_processes_are_titled(machine: Machine) -> None:
    """ps shows the design: each child has its title and its own session."""
    pids = machine.note_pids()
    assert {"persister", "launcher", "monitor", "logger"} <= set(pids)
    for name, pid in pids.items():
        with open(f"/proc/{pid}/cmdline") as file:
            assert file.read().rstrip("\0 ") == f"gflow: {name}"
        assert os.getsid(pid) == pid


def test_cancelled_tree_is_gone(machine: Machine) -> None:
    """Children that left their group and ignore SIGTERM are dead before the state is CANCELLED."""
    mark = "86397"
    script = (
        f"setsid sleep {mark} & (trap '' TERM; setsid setsid sleep {mark}) & "
        f"env -i /bin/sleep {mark} & sleep {mark}"
    )
    job_id = machine.submit("--cpus", "4", script)

    def sleepers() -> list[int]:
        found = []
        for pid in processes():
            try:
                with open(f"/proc/{pid}/cmdline", "rb") as file:
                    if file.read().endswith(b"sleep\0" + mark.encode() + b"\0"):
                        found.append(pid)
            except OSError:
                continue
        return found

    eventually(lambda: len(sleepers()) == 4)
    machine.ctl("cancel", str(job_id))
    eventually(lambda: machine.in_state(job_id, "CANCELLED"))
    assert sleepers() == []
    assert machine.status()["resources"]["free"]["cpus"] == 4


def test_resources_are_free_only_when_the_tree_is_gone(
    new_machine: Callable[..., Machine],
) -> None:
    """A job waits until the last process of the cancelled one is dead."""
    machine = new_machine(GFLOW_SCHEDULER__GRACE_PERIOD_S="2")
    machine.start()
    first = machine.submit("--cpus", "4", "trap '' TERM; while :; do sleep 0.1; done")
    eventually(lambda: machine.job(first)["pid"])
    second = machine.submit("--cpus", "1", "--", "true")
    machine.ctl("cancel", str(first))
    assert machine.job(second)["state"] == "PENDING"
    assert machine.wait(second) == 0
    one, two = machine.job(first), machine.job(second)
    assert one["state"] == "CANCELLED"
    assert one["signal"] == signal.SIGKILL
    assert two["started_at"] >= one["finished_at"]


def test_thousand_true(new_machine: Callable[..., Machine]) -> None:
    """1,000 jobs complete with 0; no zombie, idle shim, run file or descriptor is left."""
    machine = new_machine(GFLOW_RESOURCES__CPUS="8")
    pid = machine.start()
    machine.wait(machine.submit("--", "true"))
    before = len(os.listdir(f"/proc/{pid}/fd"))
    array = machine.submit("--array", "1-1000", "--", "true")
    assert machine.wait(array, timeout_s=100) == 0
    records = [r for r in machine.jobs().values() if r["array"] and r["array"]["id"] == array]
    tasks = [record for record in records if record["array"]["task"] is not None]
    assert len(tasks) == 1000
    assert {(r["state"], r["exit_code"]) for r in tasks} == {("COMPLETED", 0)}
    eventually(lambda: len(os.listdir(f"/proc/{pid}/fd")) <= before)
    eventually(lambda: [n for n in os.listdir(machine.state / "runs") if n[0] != "."] == [])
    own = set(machine.note_pids().values())
    eventually(lambda: {p for p in processes() if _parent(p) in own} <= own)


def _parent(pid: int) -> int | None:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return int(file.read().rpartition(")")[2].split()[1])
    except OSError:
        return None


@pytest.mark.parametrize("durable", [True, False])
def test_answer_says_whether_it_is_on_disk(machine: Machine, durable: bool) -> None:
    """submit waits for the commit unless told not to."""
    words = [] if durable else ["--no-wait"]
    answer = machine.json("submit", *words, "--hold", "--", "true")
    assert answer["durable"] is durable or durable is False
    assert len(answer["job_ids"]) == 1
