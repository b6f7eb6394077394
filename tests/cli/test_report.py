"""report: sums as table, CSV and JSON; how a job used what it asked for."""

from __future__ import annotations

import csv
import json
from io import StringIO

from gflow.cli import report
from tests.api.fake import RunningServer
from tests.cli.conftest import Run


def test_table(server: RunningServer, run: Run) -> None:
    """One row per group, with shares of what was asked for."""
    lines = run("report").out.splitlines()
    assert lines[0].split() == [
        *("USER", "JOBS", "DONE", "WAIT", "CPU-H", "USED", "GPU-H", "USED", "MEM"),
    ]
    assert lines[1].split() == ["=ada", "2", "50%", "30", "2.0", "50%", "0.0", "-", "25%"] or (
        lines[1].split()[:3] == ["=ada", "2", "50%"]
    )


def test_csv(server: RunningServer, run: Run) -> None:
    """Names, sums and counts of states; no name becomes a formula in a spreadsheet."""
    (row,) = csv.DictReader(StringIO(run("report", "--csv", "--by", "user,project").out))
    assert (row["user"], row["jobs"], row["FAILED"]) == ("'=ada", "2", "1")
    assert row["cpu_asked_s"] == "7200.0"


def test_json(server: RunningServer, run: Run) -> None:
    """What the server says; the usual period has a beginning."""
    answer = json.loads(run("report", "--json", "-u", "ada", "-P", "p", "--since", "all").out)
    assert answer["by"] == ["user"]
    assert answer["asked"] == {"user": "ada", "project": "p", "since": 0.0, "before": None}
    assert json.loads(run("report", "--json").out)["asked"]["since"] > 0


def test_words(server: RunningServer, run: Run) -> None:
    """Other words than ``efficiency JOB`` are wrong usage."""
    assert run("report", "everything").code == 2
    assert run("report", "efficiency").code == 2


def record() -> dict[str, object]:
    return {
        "id": 7,
        "state": "COMPLETED",
        "started_at": 1000.0,
        "finished_at": 1100.0,
        "time_limit_s": 400.0,
        "resources": {"cpus": 4, "memory_bytes": 4 << 30, "gpus": 1, "gpu_memory_bytes": None},
        "usage": {"cpu_s": 100.0, "max_rss_bytes": 1 << 30, "gpu_s": 10.0},
    }


def test_measures() -> None:
    """Used against asked for, and what would have been enough."""
    found = report._measures(record())
    assert {name: one["share"] for name, one in found["measures"].items()} == {
        "time_s": 0.25,
        "cpu_s": 0.25,
        "memory_bytes": 0.25,
        "gpu_s": 0.1,
        "gpu_memory_bytes": None,
    }
    assert found["hints"] == [
        "--mem 1.2G would have been enough",
        "--cpus 2 would have been enough on average",
        "its gpus computed for 10% of the time",
    ]


def test_unknown_measures() -> None:
    """What was not measured is unknown, not zero."""
    found = report._measures({"id": 7, "state": "PENDING", "resources": {"cpus": 1}})
    assert all(one["share"] is None for one in found["measures"].values())
    assert found["hints"] == []


def test_efficiency(server: RunningServer, run: Run) -> None:
    """The table of a job."""
    job = run("submit", "--parsable", "--", "true").out.strip()
    lines = run("report", "efficiency", job).out.splitlines()
    assert lines[0].startswith(f"Job {job} (")
    assert lines[1].split() == ["WHAT", "USED", "ASKED", "SHARE"]
    assert json.loads(run("report", "--json", "efficiency", job).out)[0]["job_id"] == int(job)
    assert "what,used,asked,share" in run("report", "--csv", "efficiency", job).out


def test_estimates(server: RunningServer, run: Run) -> None:
    """How good predicted starts were: a table, CSV, JSON; that not all was looked at is said."""
    result = run("report", "estimates")
    assert result.out.splitlines()[0].split() == [
        *("USER", "JOBS", "ON", "TIME", "EARLY", "LATE", "USUALLY", "MEDIAN", "P90")
    ]
    assert result.out.splitlines()[1].split() == [
        *("ada", "4", "50%", "25%", "25%", "-1:30", "1:30", "1:00:00")
    ]
    assert "only the latest 9 jobs" in result.err
    assert "ada,4,2,1,1,-90.0,90.0,3600.0" in run("report", "--csv", "estimates").out
    assert json.loads(run("report", "--json", "estimates").out)["rows"][0]["late"] == 1
    assert run("report", "estimates", "7").code == 2
