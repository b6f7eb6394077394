"""``gjob`` and ``gcancel`` of the reference change what the supervisor holds."""

from __future__ import annotations

from tests.compat.reference import Reference
from tests.system.machine import eventually


def test_show(client: Reference) -> None:
    """Everything about a job, as the reference shows it."""
    (job_id,) = client.batch("-g", "1", "-t", "5", "-n", "x", "sleep", "60")
    client.until(job_id, "Running")
    said = client.run("gjob", "show", str(job_id))
    for line in (
        f"ID={job_id}",
        "State=Running (R)",
        "Command=sleep 60",
        "GPUs=1",
        "GPUSharing=exclusive",
        f"TmuxSession=gjob-{job_id}-x",
        "TimeLimit=00:05:00",
    ):
        assert f"  {line}" in said


def test_show_of_a_sweep_has_template_and_command(client: Reference) -> None:
    """A job with parameters shows both."""
    job_id = client.batch("--param", "a=7", "echo", "{a}")[0]
    said = client.run("gjob", "show", str(job_id))
    assert "Command(template)=echo '{a}'" in said
    assert "Command(actual)=echo '7'" in said


def test_unknown_job(client: Reference) -> None:
    """A job that is not there is told."""
    assert "Job 999999 not found" in client.complaint("gjob", "show", "999999")


def test_log_of_the_last_job(client: Reference) -> None:
    """``gjob log @`` prints the newest job's output; --last cuts it."""
    (job_id,) = client.batch("seq", "5")
    client.until(job_id, "Finished")
    assert client.run("gjob", "log", "@") == "1\n2\n3\n4\n5\n"
    assert client.run("gjob", "log", "-l", "2", "@").split() == ["4", "5"]


def test_hold_and_release(client: Reference) -> None:
    """A held job waits until it is released, perhaps not before a time."""
    (job_id,) = client.batch("--begin", "now+1h", "true")
    assert client.run("gjob", "hold", str(job_id)) == f"Job {job_id} put on hold.\n"
    assert client.machine.job(job_id)["hold"] == "user"
    said = client.run("gjob", "release", str(job_id), "--at", "now+2h")
    assert said.startswith(f"Job {job_id} released back to queue (scheduled to start at ")
    record = client.machine.job(job_id)
    assert record["hold"] is None
    assert record["begin_at"] - record["submitted_at"] > 7000


def test_update(client: Reference) -> None:
    """Fields change, and the --clear flags clear."""
    (job_id,) = client.batch("--begin", "now+1h", "-t", "5", "-m", "100", "-n", "keep", "true")
    said = client.run(
        *("gjob", "update", str(job_id), "-p", "99", "-g", "2", "-c", "echo new"),
        *("--max-retries", "3", "-e", "env1"),
    )
    assert f"Job {job_id} updated successfully." in said
    assert "UpdatedFields=command, gpus, conda_env, priority, max_retries" in said
    record = client.machine.job(job_id)
    assert record["priority"] == 99
    assert record["resources"]["gpus"] == 2
    assert "echo new" in record["command"][2]
    assert "conda activate env1" in record["command"][2]
    client.run(
        *("gjob", "update", str(job_id), "--clear-time-limit", "--clear-memory-limit"),
        *("--clear-conda-env", "--clear-max-retries"),
    )
    record = client.machine.job(job_id)
    assert record["time_limit_s"] is None
    assert record["resources"]["memory_bytes"] is None
    assert record["retries"] == []
    assert "conda" not in record["command"][2]
    assert client.get(f"/jobs/{job_id}")["run_name"] == f"gjob-{job_id}-keep"


def test_update_of_dependencies_and_parameters(client: Reference) -> None:
    """New parents and new values replace the old ones."""
    (parent,) = client.batch("sleep", "60")
    (job_id,) = client.batch("--param", "a=1", "--begin", "now+1h", "echo", "{a}")
    client.run("gjob", "update", str(job_id), "-d", str(parent), "--param", "a=2")
    record = client.machine.job(job_id)
    assert record["dependencies"][0]["jobs"] == [parent]
    assert record["params"] == {"a": "2"}
    assert record["command"][2].endswith("echo '2'")


def test_update_of_a_running_job_is_refused(client: Reference) -> None:
    """Only what waits can be changed."""
    (job_id,) = client.batch("sleep", "60")
    client.until(job_id, "Running")
    said = client.complaint("gjob", "update", str(job_id), "-g", "1")
    assert "cannot be updated" in said
    assert client.machine.job(job_id)["resources"]["gpus"] == 0


def test_redo(client: Reference) -> None:
    """A finished job is submitted again, with changes, and remembers where it came from."""
    (job_id,) = client.batch("-p", "5", "echo", "again")
    client.until(job_id, "Finished")
    said = client.run("gjob", "redo", str(job_id), "-p", "6")
    again = int(said.split("Submitted batch job ")[1].split()[0])
    assert client.output(again) == "again\n"
    assert client.machine.job(again)["priority"] == 6
    assert client.get(f"/jobs/{again}")["redone_from"] == job_id


def test_redo_cascade(client: Reference) -> None:
    """What was cancelled because of a failure comes along, with its dependencies renumbered."""
    (first,) = client.batch("bash", "-c", "test -e ok")
    (second,) = client.batch("-d", str(first), "echo", "two")
    (third,) = client.batch("-d", str(second), "echo", "three")
    client.until(third, "Cancelled")
    (client.work / "ok").touch()
    said = client.run("gjob", "redo", str(first), "--cascade")
    assert "Cascading to 2 dependent job(s)..." in said
    renewed = {
        int(line.split()[1]): int(line.split()[4])
        for line in said.splitlines()
        if line.startswith("  Job ")
    }
    assert renewed.keys() == {second, third}
    assert client.output(renewed[third]) == "three\n"
    assert client.machine.job(renewed[third])["dependencies"][0]["jobs"] == [renewed[second]]


def test_cancel_of_a_range(client: Reference) -> None:
    """Running and waiting jobs end, with everything they started."""
    ids = [*client.batch("sleep", "60"), *client.batch("--begin", "now+1h", "true")]
    said = client.run("gcancel", f"{ids[0]}-{ids[1]}")
    assert said == f"Job {ids[0]} cancelled.\nJob {ids[1]} cancelled.\n"
    eventually(lambda: all(client.machine.in_state(one, "CANCELLED") for one in ids))


def test_cancel_dry_run(client: Reference) -> None:
    """--dry-run tells what would be hit and changes nothing."""
    (first,) = client.batch("sleep", "60")
    (second,) = client.batch("-d", str(first), "true")
    client.until(first, "Running")
    said = client.run("gcancel", "--dry-run", str(first))
    assert said == f"{first}\tRunning\tok\n{second}\tQueued\tblocked\t{first}\n"
    assert client.state(first) == "Running"


def test_cancel_of_what_has_ended(client: Reference) -> None:
    """A refused transition is told: 409 and exit 1."""
    (job_id,) = client.batch("true")
    client.until(job_id, "Finished")
    said = client.run("gcancel", str(job_id), code=1)
    assert "Failed to cancel job: 409 Conflict: " in said
    assert "already ended" in said


def test_cancel_of_an_unknown_job(client: Reference) -> None:
    """404, as the reference says it."""
    said = client.run("gcancel", "999999", code=1)
    assert "Failed to cancel job: 404 Not Found" in said


def test_finish_and_fail_do_not_overrule_an_exit(client: Reference) -> None:
    """How a job ends is its command's doing."""
    (job_id,) = client.batch("sleep", "60")
    client.until(job_id, "Running")
    assert "409" in client.run("gcancel", "--finish", str(job_id), code=1)
    assert client.state(job_id) == "Running"
