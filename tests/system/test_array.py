"""Arrays in listings: a row for what waits, and one for each task that started."""

from __future__ import annotations

from collections.abc import Callable

from tests.system.machine import Machine, eventually


def rows(machine: Machine, *options: str) -> dict[str, str]:
    """Task (or "rest") → state, as the listing shows it."""
    found = {}
    for record in machine.json("queue", *options):
        array = record["array"]
        found[str(array["task"]) if array["task"] is not None else "rest"] = record["state"]
    return found


def test_waiting_tasks_are_one_row(machine: Machine) -> None:
    """With two of ten tasks running, the other eight share a row; the limit holds."""
    array = machine.submit("--array", "1-10%2", "while [ ! -e go ]; do sleep 0.05; done")
    eventually(lambda: rows(machine) == {"rest": "PENDING", "1": "RUNNING", "2": "RUNNING"})
    row = next(r for r in machine.json("queue") if r["array"]["task"] is None)
    assert (row["array"]["tasks"], row["array"]["pending"], row["array"]["limit"]) == ("3-10", 8, 2)
    (machine.work / "go").touch()
    assert machine.wait(array) == 0
    assert rows(machine, "--all") == {str(task): "COMPLETED" for task in range(1, 11)}


def test_one_task_is_addressed_by_number(machine: Machine) -> None:
    """7_3 is one task: held, cancelled and shown without the others."""
    array = machine.submit("--array", "1-4", "--hold", "--", "true")
    assert machine.ctl("cancel", f"{array}_3").returncode == 0
    assert machine.job(f"{array}_3")["state"] == "CANCELLED"
    assert machine.ctl("release", str(array)).returncode == 0
    machine.wait(array)
    states = rows(machine, "--all")
    assert states == {"1": "COMPLETED", "2": "COMPLETED", "3": "CANCELLED", "4": "COMPLETED"}


def test_cancelled_array_keeps_a_row(machine: Machine) -> None:
    """Tasks that never started are not forgotten: they share a row that says so."""
    array = machine.submit("--array", "5-9", "--hold", "--", "true")
    machine.ctl("cancel", str(array))
    assert rows(machine, "--all") == {"rest": "CANCELLED"}
    assert machine.job(array)["state"] == "CANCELLED"


def test_variables_of_a_task(machine: Machine) -> None:
    """The task's numbers are in its environment, steps and lists are honoured."""
    array = machine.submit(
        "--array",
        "1,10-20:5",
        "echo $GFLOW_ARRAY_JOB_ID $GFLOW_ARRAY_TASK_ID $GFLOW_ARRAY_TASK_COUNT",
    )
    assert machine.wait(array) == 0
    for task in (1, 10, 15, 20):
        assert machine.ctl("log", f"{array}_{task}").stdout == f"{array} {task} 4\n"


def test_array_survives_a_crash_whole(machine: Machine) -> None:
    """10,000 tasks acknowledged with one call are all there after kill -9."""
    array = machine.submit("--array", "1-10000", "--hold", "--", "true")
    machine.kill_at_once()
    machine.start()
    assert machine.job(array)["array"]["pending"] == 10000
    assert machine.submit("--", "true") > array + 10000


def test_the_cap_of_live_jobs_counts_tasks(new_machine: Callable[..., Machine]) -> None:
    """An array that would bring more tasks than there is room for is refused: try later."""
    machine = new_machine(GFLOW_LIMITS__MAX_LIVE_JOBS="10")
    machine.start()
    machine.submit("--array", "1-6", "--hold", "--", "true")
    answer = machine.ctl("submit", "--array", "1-5", "--hold", "--", "true")
    assert (answer.returncode, "max_live_jobs" in answer.stderr) == (75, True), answer
    machine.submit("--array", "1-4", "--hold", "--", "true")
