"""``gqueue`` of the reference reads our listings in all its forms."""

from __future__ import annotations

import csv
import io
import json

from tests.compat.reference import Reference, own_name


def sample(client: Reference) -> dict[str, int]:
    """A job that runs, one that waits for it, one on hold and one that has failed."""
    (failed,) = client.batch("-n", "bad", "false")
    client.until(failed, "Failed")
    (running,) = client.batch("-n", "now", "-t", "90", "-m", "2G", "-g", "1", "sleep", "60")
    (waiting,) = client.batch("-n", "next", "-P", "proj", "-d", str(running), "echo")
    (held,) = client.batch("-n", "held", "--begin", "now+2h", "true")
    client.run("gjob", "hold", str(held))
    client.until(running, "Running")
    return {"failed": failed, "running": running, "waiting": waiting, "held": held}


def rows(text: str) -> list[list[str]]:
    """Cells of a table, its header left out."""
    return [line.split() for line in text.splitlines()[1:] if line.strip()]


def test_table(client: Reference) -> None:
    """What waits and runs, with states and reasons."""
    ids = sample(client)
    table = rows(client.run("gqueue"))
    assert [row[0] for row in table] == [str(ids[name]) for name in ("running", "waiting", "held")]
    assert table[0][1:4] == [f"gjob-{ids['running']}-now", "○", "R"]
    assert table[1][2:] == ["PD", "-", "0", "(Dependency)"]
    assert table[2][2:] == ["H", "-", "0", "(JobHeldUser)"]


def test_all_columns(client: Reference) -> None:
    """Limits, memory, cards, project and command are those that were asked for."""
    ids = sample(client)
    columns = "JOBID,TIMELIMIT,MEMORY,NODES,NODELIST(REASON),USER,PROJECT,COMMAND"
    table = {row[0]: row[1:] for row in rows(client.run("gqueue", "-f", columns))}
    running = table[str(ids["running"])]
    assert running[:3] == ["01:30:00", "2G", "1"]
    assert running[3] in "0123"
    assert running[4:] == [own_name(), "-", "sleep", "60"]
    assert table[str(ids["waiting"])][4:] == [own_name(), "proj", "echo"][0:]


def test_json(client: Reference) -> None:
    """-o json is JSON with every job."""
    ids = sample(client)
    listing = json.loads(client.run("gqueue", "-a", "-o", "json"))
    assert listing["total"] == 4
    jobs = {job["id"]: job for job in listing["jobs"]}
    assert jobs[ids["failed"]]["state"] == "Failed"
    assert jobs[ids["running"]]["memory_mb"] == 2048
    assert jobs[ids["held"]]["reason"] == "JobHeldUser"


def test_csv(client: Reference) -> None:
    """-o csv has one line per job."""
    ids = sample(client)
    table = list(csv.DictReader(io.StringIO(client.run("gqueue", "-o", "csv"))))
    assert [int(row["id"]) for row in table] == [ids["running"], ids["waiting"], ids["held"]]
    assert [row["state"] for row in table] == ["Running", "Queued", "Hold"]


def test_yaml(client: Reference) -> None:
    """-o yaml names project and reason."""
    ids = sample(client)
    said = client.run("gqueue", "-o", "yaml", "-j", str(ids["waiting"]))
    assert f"- id: {ids['waiting']}" in said
    assert "project: proj" in said
    assert "reason: Dependency" in said


def test_tree(client: Reference) -> None:
    """-t puts a job below the one it depends on."""
    ids = sample(client)
    lines = client.run("gqueue", "-t").splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith(f" {ids['running']} "))
    assert lines[at + 1].startswith(f" ╰─{ids['waiting']} ")


def test_groups(client: Reference) -> None:
    """-g -a has one table per state."""
    sample(client)
    said = client.run("gqueue", "-g", "-a")
    assert "Running (1)" in said
    assert "Queued (1)" in said
    assert "Failed (1)" in said


def test_filters(client: Reference) -> None:
    """States, names, projects, users, and a moment narrow the listing."""
    ids = sample(client)

    def listed(*words: str) -> list[int]:
        said = client.run("gqueue", "-f", "JOBID", *words)
        return [int(row[0]) for row in rows(said)] if "JOBID" in said else []

    assert listed("-s", "R") == [ids["running"]]
    assert listed("-s", "Hold,F") == listed("-s", "hold,failed") == [ids["failed"], ids["held"]]
    assert listed("-c") == [ids["failed"]]
    assert listed("-N", f"gjob-{ids['held']}-held") == [ids["held"]]
    assert listed("-P", "proj") == [ids["waiting"]]
    assert set(ids.values()) <= {*listed("-a", "-u", "all")}
    assert ids["running"] in listed("-u", own_name())
    assert listed("-u", "somebody-else") == []
    assert listed("-a", "--since", "1h") == sorted(ids.values())
    assert listed("-a", "--since", "4000000000") == []
    assert listed("-a", "-n", "0", "-r", "name")[0] == min(ids.values())


def test_an_unknown_state_is_an_error(client: Reference) -> None:
    """A misspelt state is refused and does not list everything."""
    assert "gjob" not in client.run("gqueue", "-s", "Nonsense", code=1)
    status, answer, _ = client.ask("GET", "/jobs?state=Nonsense")
    assert status == 400
    assert "'Nonsense' is no state" in answer["error"]
