"""How a job ended is reported as what it was, and as nothing else."""

from __future__ import annotations

import signal

from tests.system.machine import Machine, eventually

CODES = [0, 1, 77, 126, 127, 137, 255]
SIGNALS = ["KILL", "TERM", "SEGV", "ABRT", "PIPE"]
Ends = dict[int, tuple[int | None, int | None]]


def submit_all(machine: Machine, first: str = ":") -> Ends:
    """Jobs that end in every way there is after a command: id → (exit code, signal)."""
    ends: Ends = {}
    for code in CODES:
        ends[machine.submit(f"{first}; exit {code}")] = (code, None)
    for name in SIGNALS:
        number = signal.Signals[f"SIG{name}"].value
        ends[machine.submit(f"{first}; kill -{name} $$")] = (None, number)
    return ends


def check(machine: Machine, ends: Ends) -> None:
    """Every job ended as expected; only exit code 0 is a success."""
    machine.wait(*ends)
    for job_id, end in ends.items():
        record = machine.job(job_id)
        assert (record["exit_code"], record["signal"]) == end, record
        assert record["state"] == ("COMPLETED" if end == (0, None) else "FAILED"), record


def test_every_end_is_told_apart(machine: Machine) -> None:
    """Exit codes and signals are exact: exit 137 is not SIGKILL."""
    check(machine, submit_all(machine))


def test_ends_while_the_supervisor_is_down(new_machine: object) -> None:
    """The same for jobs that end between kill -9 and the next start."""
    machine = new_machine(GFLOW_RESOURCES__CPUS="16")  # type: ignore[operator]
    machine.start()
    gate = machine.state.parent / "gate"
    ends = submit_all(machine, f"until [ -e {gate} ]; do sleep 0.05; done")
    eventually(lambda: all(machine.job(one)["state"] == "RUNNING" for one in ends))
    machine.kill()
    gate.touch()
    shims = [p for p in (machine.state / "runs").iterdir() if p.name[0] != "."]
    assert len(shims) == len(ends)
    for path in shims:
        wait_for_end(path)
    machine.start()
    check(machine, ends)


def wait_for_end(run_file: object) -> None:
    """Until the shim of a run file is gone: it holds the file's lock as long as it lives."""
    import fcntl

    with open(str(run_file)) as file:
        fcntl.flock(file, fcntl.LOCK_SH)


def test_exit_code_of_run_is_the_jobs_own(machine: Machine) -> None:
    """run and wait leave with the job's code, or 128 + signal."""
    assert machine.ctl("run", "--", "bash", "-c", "exit 7").returncode == 7
    assert machine.ctl("run", "--", "bash", "-c", "kill -TERM $$").returncode == 128 + 15


def test_timeout_is_a_state_of_its_own(machine: Machine) -> None:
    """A job over its limit gets TERM, then KILL, and is TIMEOUT; wait says 124."""
    job_id = machine.submit("--time", "1s", "--", "sleep", "100")
    assert machine.wait(job_id) == 124
    assert machine.job(job_id)["state"] == "TIMEOUT"


def test_failing_job_is_tried_again(machine: Machine) -> None:
    """--retries gives a failed job another attempt; the record tells both."""
    job_id = machine.submit("--retries", "2", 'test "$GFLOW_ATTEMPT" = 2')
    assert machine.wait(job_id) == 0
    record = machine.job(job_id)
    assert record["attempt"] == 2
    assert record["attempts"][0]["exit_code"] == 1
