"""Parameter sweeps through the real programs."""

from __future__ import annotations

from tests.system.machine import Machine, eventually


def test_each_task_has_its_own_values(machine: Machine) -> None:
    """In its command, its environment, its name, its output path; and history remembers them."""
    words = ("--param", "lr=0.1,0.01", "--param", "n=1..2", "-J", "r{lr}", "-o", "out-{lr}-{n}")
    sweep = machine.submit(*words, "--", "bash", "-c", "echo {lr} $GFLOW_PARAM_N")
    assert machine.wait(sweep) == 0
    found = {path.name: path.read_text() for path in machine.work.glob("out-*")}
    assert found == {f"out-{lr}-{n}": f"{lr} {n}\n" for lr in ("0.1", "0.01") for n in "12"}
    record = machine.job(f"{sweep}_3")
    assert record["params"] == {"lr": "0.01", "n": "1"} and record["name"] == "r0.01"


def test_a_waiting_sweep_survives(machine: Machine) -> None:
    """kill -9 loses no value; waiting tasks show theirs; a limit holds."""
    words = ("--param", "n=1..100", "--array-limit", "1", "-J", "r{n}", "-t", "1h")
    sweep = machine.submit(*words, "sleep", "60")
    eventually(lambda: machine.in_state(f"{sweep}_1", "RUNNING"))
    machine.kill()
    machine.start()
    assert machine.job(f"{sweep}_100")["params"] == {"n": "100"}
    assert machine.job(f"{sweep}_2")["reason"] == "JobArrayTaskLimit"
    machine.ctl("cancel", "--wait", f"{sweep}_1")
    eventually(lambda: machine.in_state(f"{sweep}_2", "RUNNING"))
    assert machine.job(f"{sweep}_2")["name"] == "r2"
    machine.ctl("cancel", "--all")
