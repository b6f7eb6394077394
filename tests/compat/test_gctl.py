"""``ginfo``, ``gstats``, ``gctl`` and the tools server of the reference."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
from pathlib import Path

from tests.compat.reference import Reference
from tests.monitoring.stand_in import GIB, StandIn, needs_compiler
from tests.system.machine import Machine, eventually
from tools.bench.older import free_port


def test_ginfo(client: Reference) -> None:
    """Cards, and who has them."""
    (job_id,) = client.batch("-g", "1", "sleep", "60")
    client.until(job_id, "Running")
    said = client.run("ginfo")
    assert f"{job_id} (gjob-{job_id})" in said
    assert "allocated" in said and "idle" in said


def test_gstats_in_three_formats(client: Reference) -> None:
    """The same figures as table, JSON and CSV."""
    for word in ("true", "true", "false"):
        (job_id,) = client.batch(word)
        client.until(job_id, "Failed" if word == "false" else "Finished")
    figures = json.loads(client.run("gstats", "-o", "json"))
    assert figures["total_jobs"] == 3
    assert figures["completed_jobs"] == 2
    assert figures["failed_jobs"] == 1
    assert round(figures["success_rate"]) == 67
    table = dict(csv.reader(io.StringIO(client.run("gstats", "-o", "csv"))))
    assert table["total_jobs"] == "3"
    assert "Total Jobs:      3" in client.run("gstats")


def test_any_since_is_harmless(client: Reference) -> None:
    """A negative moment, which ends the reference's daemon, is a moment like any other."""
    figures = json.loads(client.run("gstats", "-a", "--since=-1", "-o", "json"))
    assert figures["since"] == 0
    assert client.get("/health")["status"] == "ok"


def test_show_gpus(client: Reference) -> None:
    """One line per card."""
    said = client.run("gctl", "show-gpus").splitlines()
    assert [line.split("\t")[0] for line in said] == ["0", "1", "2", "3"]


def test_set_gpus(client: Reference) -> None:
    """Some cards alone, kept over a reload; all; an error for cards that are not there."""
    said = client.run("gctl", "set-gpus", "0,2")
    assert said == "GPU restriction updated: only GPUs [0, 2] will be used\n"
    (job_id,) = client.batch("-g", "3", "sleep", "60")
    shown = client.run("gctl", "show-gpus").splitlines()
    assert [line.endswith("\trestricted") for line in shown] == [False, True, False, True]
    assert client.get("/info")["allowed_gpu_indices"] == [0, 2]
    assert client.state(job_id) == "Queued"
    assert "all GPUs are now available" in client.run("gctl", "set-gpus", "all")
    client.until(job_id, "Running")
    assert "Invalid GPU indices [9] (only 4 GPUs detected)" in client.run(
        "gctl", "set-gpus", "9", code=1
    )


def test_gpu_processes(client: Reference) -> None:
    """What is not on a card is not ignored."""
    assert client.run("gctl", "gpu-process", "list") == "No ignored GPU processes\n"
    assert "PID 7 is not" in client.run(
        "gctl", "gpu-process", "ignore", "--gpu", "0", "--pid", "7", code=1
    )
    assert "was not found" in client.run(
        "gctl", "gpu-process", "unignore", "--gpu", "0", "--pid", "7", code=1
    )


@needs_compiler()
def test_an_ignored_process(programs: Path, tmp_path: Path) -> None:
    """A foreign process that is ignored keeps its card back no more, and is listed."""
    driver, port, pid = StandIn(tmp_path / "driver"), free_port(), os.getpid()
    driver.processes, driver.used_bytes = [(0, pid, GIB)], [GIB, 0]
    driver.tell()
    machine = Machine(
        tmp_path,
        GFLOW_HTTP__GFLOW_API="true",
        GFLOW_HTTP__LISTEN=f"localhost:{port}",
        **driver.env,
    )
    which = ("--gpu", "0", "--pid", str(pid))
    try:
        machine.start()
        client = Reference(programs, machine, port, user="ann")
        eventually(lambda: not client.get("/info")["gpus"][0]["available"])
        said = client.run("gctl", "gpu-process", "ignore", *which)
        assert said == f"Ignoring GPU process PID {pid} on GPU 0\n"
        assert client.run("gctl", "gpu-process", "list") == f"gpu=0\tpid={pid}\n"
        shown = client.run("gctl", "show-gpus").splitlines()
        assert shown == [f"0\tavailable\tmanual_ignore(gpu=0,pid={pid})", "1\tavailable"]
        body = {"gpu_index": 0, "pid": pid}
        status, again, _ = client.ask("POST", "/gpu-processes/ignore", body)
        assert (status, again) == (200, {"available": True, **body, "inserted": False})
        said = client.run("gctl", "gpu-process", "unignore", *which)
        assert said == f"Removed GPU process ignore override for PID {pid} on GPU 0\n"
        assert "busy" in client.get("/info")["gpus"][0]["reason"]
        refused = client.run("gctl", "gpu-process", "ignore", "--gpu", "9", "--pid", "1", code=1)
        assert "Invalid GPU index 9 (scheduler does not manage that GPU)" in refused
    finally:
        machine.close()
        driver.close()


def test_set_limit_counts_at_once(client: Reference) -> None:
    """A group's limit is raised, and more of it run."""
    ids = client.batch("--param", "x=1,2,3", "--max-concurrent", "1", "sleep", "60")
    assert [client.state(one) for one in ids].count("Running") == 1
    said = client.run("gctl", "set-limit", str(ids[0]), "2")
    assert "Updated max_concurrency to 2" in said
    assert "(3 jobs affected)" in said
    states = [client.machine.job(one)["state"] for one in ids]
    assert sorted(states) == ["PENDING", "RUNNING", "RUNNING"]


def test_quotas(client: Reference) -> None:
    """A quota is set, shown, holds, and is removed."""
    said = client.run(
        *("gctl", "quota", "set", "--project", "small", "--max-running-jobs", "1"),
        *("--max-queued-jobs", "2"),
    )
    assert said.splitlines()[0] == "Updated project quota 'small'"
    ids = [client.batch("-P", "small", "sleep", "60")[0] for _ in range(3)]
    assert [client.machine.job(one)["reason"] for one in ids[1:]] == ["Quota", "Quota"]
    assert client.get(f"/jobs/{ids[1]}")["reason"] == "WaitingForQuota"
    assert "quota" in client.run("gbatch", "-P", "small", "true", code=1)
    row = next(line for line in client.run("gctl", "quota", "list").splitlines() if "small" in line)
    assert row.split() == ["project", "small", "1/1", "0/-", "2/2"]
    client.run("gctl", "quota", "remove", "--project", "small")
    assert client.machine.job(ids[1])["state"] == "RUNNING"
    client.run("gctl", "quota", "remove", "--project", "small", code=1)


def test_reservations(client: Reference) -> None:
    """Cards are kept, shown and given back."""
    said = client.run(
        *("gctl", "reserve", "create", "--user", "bob", "--gpus", "3"),
        *("--start", "2100-01-01 10:00", "--duration", "1h30m"),
    )
    assert "Reservation created successfully." in said
    number = said.split("ReservationID=")[1].strip()
    row = client.run("gctl", "reserve", "list").splitlines()[-1].split()
    assert row[:3] == [number, "bob", "3"]
    assert row[-1] == "Pending"
    assert "GPUCount=3" in client.run("gctl", "reserve", "get", number)
    assert "No reservations" in client.run("gctl", "reserve", "list", "--active")
    again = ("--start", "2100-01-01 10:30", "--duration", "1h")
    refused = client.run(
        "gctl", "reserve", "create", "--user", "eve", "--gpus", "2", *again, code=1
    )
    assert "cannot reserve" in refused
    client.run("gctl", "reserve", "cancel", number)
    assert client.run("gctl", "reserve", "list") == "No reservations found.\n"


def test_tools_server(client: Reference) -> None:
    """``gflow mcp serve`` lists its tools, submits, lists, and reads a log."""
    (job_id,) = client.batch("echo", "spoken")
    client.until(job_id, "Finished")
    asked = [
        {
            "method": "initialize",
            "params": {
                "protocolVersion": "2025-03-26",
                "capabilities": {},
                "clientInfo": {"name": "test", "version": "1"},
            },
        },
        {"method": "tools/list", "params": {}},
        call("submit_jobs", jobs=[{"command": "true", "run_name": "by tool"}]),
        call("list_jobs", limit=5),
        call("get_job_log", job_id=job_id),
    ]
    answers = talk(client, asked)
    assert len(answers[1]["result"]["tools"]) == 17
    submitted = answers[2]["result"]["structuredContent"]
    assert submitted["submitted"] == 1
    new = submitted["results"][0]["job_id"]
    assert client.machine.job(new)["labels"]["run_name"] == "by_tool"
    listed = answers[3]["result"]["structuredContent"]["jobs"]
    assert new in [job["id"] for job in listed]
    assert "spoken" in answers[4]["result"]["structuredContent"]["text"]


def call(name: str, **arguments: object) -> dict[str, object]:
    """A call of a tool."""
    return {"method": "tools/call", "params": {"name": name, "arguments": arguments}}


def talk(client: Reference, asked: list[dict[str, object]]) -> list[dict[str, object]]:
    """Answers of a tools server to requests, one after the other."""
    process = subprocess.Popen(
        [str(client.programs / "gflow"), "mcp", "serve"],
        env=client.env,
        cwd=client.work,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdin is not None and process.stdout is not None
    answers = []
    try:
        for number, message in enumerate(asked):
            line = json.dumps({"jsonrpc": "2.0", "id": number, **message})
            process.stdin.write(line + "\n")
            process.stdin.flush()
            answers.append(json.loads(process.stdout.readline()))
            if number == 0:
                ready = {"jsonrpc": "2.0", "method": "notifications/initialized"}
                process.stdin.write(json.dumps(ready) + "\n")
    finally:
        process.stdin.close()
        process.wait(10)
        process.stdout.close()
    return answers
