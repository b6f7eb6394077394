"""``gbatch`` of the reference: what it prints, and what the supervisor then holds."""

from __future__ import annotations

from tests.compat.reference import Reference, own_name


def test_single_command_runs(client: Reference) -> None:
    """A command is submitted, run, and belongs to who really sent it."""
    said = client.run("gbatch", "--name", "my run!", "echo", "hello world")
    job_id = int(said.split()[3])
    assert said == f"Submitted batch job {job_id} (gjob-{job_id}-my_run)\n"
    assert client.output(job_id) == "hello world\n"
    record = client.machine.job(job_id)
    assert record["state"] == "COMPLETED"
    assert record["user"] == own_name()
    assert record["cwd"] == str(client.work)
    assert record["labels"]["submitted_by"] == client.env["USER"]


def test_resources_limits_and_project_arrive(client: Reference) -> None:
    """Every option becomes what we know it as."""
    (job_id,) = client.batch(
        *("--gpus", "2", "--gpu-memory", "1G", "--shared", "--memory", "300", "--time", "1:30"),
        *("--priority", "77", "--project", "p1", "--max-retries", "2", "sleep", "60"),
    )
    record = client.machine.job(job_id)
    assert record["resources"]["gpus"] == 2
    assert record["resources"]["gpu_shared"]
    assert record["resources"]["gpu_memory_bytes"] == 1 << 30
    assert record["resources"]["memory_bytes"] == 300 << 20
    assert record["time_limit_s"] == 90
    assert record["priority"] == 77
    assert record["project"] == "p1"
    assert record["retries"][0]["times"] == 2


def test_array_is_one_job_per_index(client: Reference) -> None:
    """Each job of --array knows its index."""
    ids = client.batch("--array", "3-5", "bash", "-c", "echo task $GFLOW_ARRAY_TASK_ID")
    assert [client.output(one) for one in ids] == ["task 3\n", "task 4\n", "task 5\n"]
    assert client.get(f"/jobs/{ids[0]}")["task_id"] == 3


def test_parameters_are_put_in(client: Reference) -> None:
    """A sweep makes one job per combination, with the values in place and in the name."""
    said = client.run(
        *("gbatch", "--param", "lr=0.1,it's", "--param", "n=1,2"),
        *("--name-template", "lr_{lr}", "echo", "lr={lr}", "{n}"),
    )
    ids = [int(line.split()[3]) for line in said.splitlines()]
    assert len(ids) == 4
    assert f"(gjob-{ids[0]}-lr_0_1)" in said
    expected = ["lr=0.1 1\n", "lr=0.1 2\n", "lr=it's 1\n", "lr=it's 2\n"]
    assert [client.output(one) for one in ids] == expected
    assert client.machine.job(ids[0])["params"] == {"lr": "0.1", "n": "1"}


def test_group_limits_how_many_run(client: Reference) -> None:
    """--max-concurrent makes a group of which so many run at once."""
    said = client.run("gbatch", "--param", "x=1,2,3", "--max-concurrent", "1", "sleep", "60")
    assert said.startswith("Submitted 3 batch jobs with group_id: ")
    group = said.split("group_id: ")[1].split()[0]
    records = [r for r in client.machine.jobs().values() if r["group"] == group]
    assert sorted(r["state"] for r in records) == ["PENDING", "PENDING", "RUNNING"]


def test_parameter_file(client: Reference) -> None:
    """Rows of a CSV file become jobs."""
    (client.work / "sweep.csv").write_text("a,b\n1,x\n2,y z\n")
    ids = client.batch("--param-file", "sweep.csv", "echo", "{a}-{b}")
    assert [client.output(one) for one in ids] == ["1-x\n", "2-y z\n"]


def test_script_with_directives(client: Reference) -> None:
    """A script runs by its first line, with what its directives ask for."""
    script = client.work / "job.py"
    script.write_text("#!/usr/bin/env python3\n# GFLOW --gpus=1\n# GFLOW --time=5\nprint(6 * 7)\n")
    (job_id,) = client.batch("job.py")
    assert client.output(job_id) == "42\n"
    record = client.machine.job(job_id)
    assert record["resources"]["gpus"] == 1
    assert record["time_limit_s"] == 300
    assert client.get(f"/jobs/{job_id}")["script"] == str(script)


def test_script_from_standard_input(client: Reference) -> None:
    """``gbatch -`` submits what it reads."""
    (job_id,) = client.batch("-", input="# GFLOW --priority=3\necho from stdin\n")
    assert client.output(job_id) == "from stdin\n"
    assert client.machine.job(job_id)["priority"] == 3


def test_dry_run_submits_nothing(client: Reference) -> None:
    """--dry-run shows the jobs and leaves none."""
    before = len(client.get("/jobs"))
    said = client.run("gbatch", "--dry-run", "--param", "s=1,2", "run", "{s}")
    assert said.splitlines()[0] == "Would submit 2 batch job(s):"
    assert "  [2] run '2' (GPUs: 0)" in said
    assert len(client.get("/jobs")) == before


def test_last_job_as_dependency(client: Reference) -> None:
    """``-d @`` means the newest job; what depends on a failure is cancelled, with its cause."""
    (first,) = client.batch("sleep", "60")
    (second,) = client.batch("-d", "@", "echo", "never")
    record = client.machine.job(second)
    assert record["dependencies"] == [{"type": "afterok", "jobs": [first], "delay_s": 0.0}]
    assert record["kill_on_invalid_dependency"]
    client.run("gcancel", str(first))
    client.until(second, "Cancelled")
    assert client.get(f"/jobs/{second}")["reason"] == {"DependencyFailed": first}


def test_any_of_several(client: Reference) -> None:
    """--depends-on-any starts with the first success."""
    (bad,) = client.batch("false")
    (good,) = client.batch("true")
    (job_id,) = client.batch("--depends-on-any", f"{bad},{good}", "echo", "on")
    assert client.output(job_id) == "on\n"


def test_refusals_are_told(client: Reference) -> None:
    """An unknown dependency, or more cards than there are: exit 1 and our sentence."""
    assert "depends on job 999999, which is not known" in client.run(
        "gbatch", "-d", "999999", "true", code=1
    )
    assert "gpus" in client.run("gbatch", "-g", "9", "true", code=1)


def test_begin_time(client: Reference) -> None:
    """--begin keeps a job until then."""
    (job_id,) = client.batch("--begin", "now+1h", "true")
    record = client.machine.job(job_id)
    assert record["reason"] == "BeginTime"
    assert 3500 < record["begin_at"] - record["submitted_at"] <= 3600
