"""Our own ``gbatch``, ``gqueue``, …: beside the reference's, and where those are broken."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable

import pytest

from tests.compat import program
from tests.compat.reference import Reference, own_name
from tests.system.machine import Machine

Run = Callable[..., str]

_MOMENT = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d[.\d]*(Z|\+00:00)?|\d\d:\d\d:\d\d")
_FRACTION = re.compile(r'("(?:avg|runtime|total_gpu)_[a-z_]+": )[-\d.e]+')


@pytest.fixture
def ours(served: tuple[Machine, int]) -> Run:
    """``ours("gqueue", "-a")``: what our command printed; ``code`` is its exit code."""
    machine = served[0]

    def run(*words: str, code: int = 0, input: str | None = None) -> str:
        command = [sys.executable, "-P", "-m", "gflow.cli.classic.main", *words]
        variables = {**machine.env, "USER": own_name(), "TZ": "UTC"}
        answer = program.finished(command, variables, machine.work, input)
        assert answer.returncode == code, (words, answer)
        assert "Traceback" not in answer.stderr
        return answer.stdout if code == 0 else answer.stdout + answer.stderr

    return run


def masked(text: str) -> str:
    """Without what differs from one moment to the next."""
    return _FRACTION.sub(r"\1N", _MOMENT.sub("T", text)).rstrip()


def submitted(said: str) -> list[int]:
    """Ids in what gbatch printed."""
    return [int(one) for one in re.findall(r"^Submitted batch job (\d+) \(", said, re.M)]


def test_the_same_as_the_reference(client: Reference, ours: Run) -> None:
    """Both sets of commands print the same about the same jobs."""
    client.env["USER"] = own_name()
    (failed,) = client.batch("-n", "bad", "false")
    client.until(failed, "Failed")
    (running,) = submitted(ours("gbatch", "-n", "now", "-g", "1", "-m", "2G", "sleep", "60"))
    (waiting,) = submitted(ours("gbatch", "-d", str(running), "-P", "p", "-t", "5", "echo"))
    (lost,) = client.batch("-d", str(failed), "true")
    client.until(running, "Running")
    client.until(lost, "Cancelled")
    ids = f"{failed},{running},{waiting},{lost}"
    columns = "JOBID,NAME,ST,TIMELIMIT,MEMORY,NODES,NODELIST(REASON),USER,PROJECT,COMMAND"
    for words in (
        ("gqueue",),
        ("gqueue", "-a", "-f", columns),
        ("gqueue", "-s", "R,PD"),
        ("gqueue", "-c", "-u", "all"),
        ("gqueue", "-a", "-t", "-r", "priority"),
        ("gqueue", "-a", "-o", "json"),
        ("gqueue", "-a", "-o", "csv"),
        ("gqueue", "-a", "-o", "yaml"),
        ("gqueue", "-P", "p"),
        ("gqueue", "-j", "4000000"),
        ("ginfo",),
        ("gstats",),
        ("gstats", "-o", "csv"),
        ("gstats", "-a", "-o", "json"),
        ("gctl", "show-gpus"),
        ("gctl", "quota", "list"),
        ("gctl", "reserve", "list"),
        ("gctl", "reserve", "get", "77"),
        ("gcancel", "--dry-run", ids),
        ("gbatch", "--dry-run", "--array", "1-2", "-g", "1", "echo", "a"),
        ("gbatch", "--dry-run", "--param", "x=1,2", "run", "{x}"),
    ):
        theirs = client.run(words[0], *words[1:])
        assert masked(ours(*words)) == masked(theirs), words


def test_show_has_every_line_of_the_references(client: Reference, ours: Run) -> None:
    """And some of its own; a run name stands for the name of a tmux session."""
    (job_id,) = client.batch(
        *("-g", "1", "--shared", "--gpu-memory", "1G", "--param", "a=1", "-t", "5"),
        *("--max-retries", "2", "sleep", "6{a}"),
    )
    client.until(job_id, "Running")
    lines = masked(client.run("gjob", "show", str(job_id))).splitlines()
    shown = masked(ours("gjob", "show", str(job_id))).replace("RunName=", "TmuxSession=")
    assert [line for line in lines if line not in shown.splitlines()] == []


def test_a_line_for_the_shell_is_one(client: Reference, ours: Run) -> None:
    """One quoted word with shell characters runs as it reads."""
    (job_id,) = submitted(ours("gbatch", "echo a && echo b"))
    assert client.output(job_id) == "a\nb\n"


def test_the_index_is_known_on_the_command_line(client: Reference, ours: Run) -> None:
    """``$GFLOW_ARRAY_TASK_ID`` in a word is the index."""
    ids = submitted(ours("gbatch", "--array", "3-4", "echo", "$GFLOW_ARRAY_TASK_ID"))
    assert [client.output(one) for one in ids] == ["3\n", "4\n"]


def test_scripts_are_captured_with_arguments(client: Reference, ours: Run) -> None:
    """What the script said when it was submitted is run, with its arguments and parameters."""
    script = client.work / "captured.sh"
    script.write_text("# GFLOW --priority 7\necho $1 $GFLOW_PARAM_x\n")
    (job_id,) = submitted(ours("gbatch", "--param", "x=5", "--begin", "now+1h", "captured.sh", "w"))
    script.write_text("echo changed\n")
    ours("gjob", "hold", str(job_id))
    client.machine.ctl("update", str(job_id), "--clear", "begin")
    ours("gjob", "release", str(job_id))
    assert client.output(job_id) == "w 5\n"
    assert client.machine.job(job_id)["priority"] == 7


def test_an_unknown_option_is_an_error(ours: Run) -> None:
    """It is no command."""
    assert "--nosuch" in ours("gbatch", "--nosuch", "echo", code=2)


def test_a_wrong_directive_is_named(client: Reference, ours: Run) -> None:
    """With its file and line; directives that the reference passes over count."""
    script = client.work / "wrong.sh"
    script.write_text("#!/bin/bash\n# GFLOW --gpu=1\n")
    said = ours("gbatch", "wrong.sh", code=1)
    assert "wrong.sh, line 2" in said
    assert "--gpu" in said
    script.write_text(
        "#!/bin/bash\n# GFLOW --name 'my job' --max-retries 2\n# GFLOW --signal HUP@30\ntrue\n"
    )
    (job_id,) = submitted(ours("gbatch", "wrong.sh"))
    record = client.machine.job(job_id)
    assert record["labels"]["run_name"] == "my_job"
    assert record["retries"][0]["times"] == 2
    assert record["warning"] == {"signal": 1, "before_s": 30.0, "tree": True}


def test_sbatch_directives(client: Reference, ours: Run) -> None:
    """What has a meaning here is translated, the rest is listed; --strict refuses."""
    script = client.work / "slurm.sh"
    script.write_text(
        "#!/bin/bash\n#SBATCH --job-name=sim -t 1:30:00\n#SBATCH --mem=500\n"
        "#SBATCH -n 2 -c 3 --signal=B:USR1@120\n#SBATCH --partition=long\n"
        "#SBATCH --priority=7 --kill-on-invalid-dep=no\n\necho hello\n"
        "#SBATCH --mem=1\n"
    )
    (job_id,) = submitted(ours("gbatch", "--begin", "now+1h", "slurm.sh"))
    record = client.machine.job(job_id)
    assert record["time_limit_s"] == 5400
    assert record["resources"]["memory_bytes"] == 500 << 20
    assert record["resources"]["cpus"] == 6
    assert record["priority"] == 7
    assert record["kill_on_invalid_dependency"] is False
    assert record["warning"] == {"signal": 10, "before_s": 120.0, "tree": False}
    assert client.get(f"/jobs/{job_id}")["run_name"] == f"gjob-{job_id}-sim"
    said = ours("gbatch", "--strict", "slurm.sh", code=1)
    assert "#SBATCH --partition=long: ignored" in said
    assert "#SBATCH -n 2: approximated" in said
    assert "--strict" in said


def test_jobs_are_held_changed_and_run_again(client: Reference, ours: Run) -> None:
    """gjob's other half."""
    (job_id,) = submitted(ours("gbatch", "--begin", "now+1h", "-t", "5", "echo", "one"))
    assert ours("gjob", "hold", str(job_id)) == f"Job {job_id} put on hold.\n"
    said = ours("gjob", "update", str(job_id), "-c", "echo two", "-p", "3", "--clear-time-limit")
    assert said.splitlines()[1] == "  UpdatedFields=command, priority, time_limit"
    client.machine.ctl("update", str(job_id), "--clear", "begin")
    assert ours("gjob", "release", str(job_id)) == f"Job {job_id} released back to queue.\n"
    assert client.output(job_id) == "two\n"
    assert ours("gjob", "log", str(job_id)) == "two\n"
    (again,) = submitted(ours("gjob", "redo", "@", "-p", "9"))
    assert client.output(again) == "two\n"
    assert client.machine.job(again)["labels"]["redone_from"] == str(job_id)


def test_a_captured_script_is_run_again(client: Reference, ours: Run) -> None:
    """With its arguments, as it was when it was submitted, whatever its file holds now."""
    path = client.machine.work / "once.sh"
    path.write_text("#!/bin/bash\necho first $1\n")
    (job_id,) = submitted(ours("gbatch", str(path), "word"))
    assert client.output(job_id) == "first word\n"
    path.write_text("echo second\n")
    (again,) = submitted(ours("gjob", "redo", str(job_id)))
    assert client.output(again) == "first word\n"


def test_a_captured_script_changes_its_environment(client: Reference, ours: Run) -> None:
    """It stays captured, arguments and all: its activation comes before it, and goes again."""
    path = client.machine.work / "once.sh"
    path.write_text("#!/bin/bash\necho first $1\n")
    said = ours("gbatch", "--array", "1-2", "--begin", "now+1h", str(path), "word")
    entered, left = submitted(said)
    path.write_text("echo second\n")
    for job_id in (entered, left):
        said = ours("gjob", "update", str(job_id), "-e", "no-such-environment")
        assert said.splitlines()[1] == "  UpdatedFields=conda_env"
    assert "CondaEnv=no-such-environment" in ours("gjob", "show", str(entered))
    ours("gjob", "update", str(left), "--clear-conda-env")
    assert "CondaEnv" not in ours("gjob", "show", str(left))
    client.machine.ctl("update", f"{entered},{left}", "--clear", "begin")
    assert client.machine.wait(entered) == 1
    assert "first" not in ours("gjob", "log", str(entered))
    assert client.output(left) == "first word\n"


def test_all_ids_are_cancelled_though_one_is_unknown(client: Reference, ours: Run) -> None:
    """The others end; the exit code is 1."""
    (job_id,) = submitted(ours("gbatch", "sleep", "60"))
    said = ours("gcancel", f"{job_id},4000000", code=1)
    assert f"Job {job_id} cancelled." in said
    assert "4000000" in said


def test_quotas_and_reservations(ours: Run) -> None:
    """gctl sets, lists and removes."""
    ours("gctl", "quota", "set", "--project", "q", "--max-running-gpus", "2")
    assert "project         q" in ours("gctl", "quota", "list")
    ours("gctl", "quota", "remove", "--project", "q")
    start = ("--start", "2100-01-01 10:00", "--duration", "1h")
    said = ours("gctl", "reserve", "create", "--user", "bob", "--gpus", "2", *start)
    number = said.split("ReservationID=")[1].strip()
    assert "Duration=1h" in ours("gctl", "reserve", "get", number)
    assert "cancelled successfully" in ours("gctl", "reserve", "cancel", number)


def test_without_a_supervisor(ours: Run, served: tuple[Machine, int]) -> None:
    """Exit 1 and the two lines that the reference prints."""
    answer = subprocess.run(
        [sys.executable, "-P", "-m", "gflow.cli.classic.main", "gqueue"],
        env={**served[0].env, "GFLOW_RUNTIME_DIR": "/nonexistent"},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert answer.returncode == 1
    assert answer.stderr.startswith("Could not connect to gflowd server. Is the server running?")
