"""Prometheus' view of the real programs."""

from __future__ import annotations

import http.client
import socket

from tests.supervisor.test_metric import parse
from tests.system.machine import Machine, eventually


def fetch(machine: Machine) -> tuple[str | None, str]:
    """(content type, text) of /v1/metrics."""
    connection = http.client.HTTPConnection("localhost", timeout=30)
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect(str(machine.runtime / "gflow.sock"))
    try:
        connection.request("GET", "/v1/metrics")
        answer = connection.getresponse()
        assert answer.status == 200
        return answer.getheader("Content-Type"), answer.read().decode()
    finally:
        connection.close()


def test_metrics(machine: Machine) -> None:
    """Jobs, waits, ends, turns and processes are counted."""
    assert machine.wait(machine.submit("--", "true")) == 0
    assert machine.wait(machine.submit("--", "false")) == 1
    machine.submit("--hold", "--", "true")
    kind, text = fetch(machine)
    assert kind == "text/plain; version=0.0.4; charset=utf-8"
    _, samples = parse(text)
    assert samples["gflow_jobs_submitted_total"] == 3
    assert samples["gflow_jobs_started_total"] == samples["gflow_job_wait_seconds_count"] == 2
    assert samples['gflow_jobs_ended_total{state="COMPLETED"}'] == 1
    assert samples['gflow_jobs_ended_total{state="FAILED"}'] == 1
    assert samples['gflow_jobs{state="PENDING"}'] == 1
    assert samples['gflow_process_up{process="persister"}'] == 1
    assert samples["gflow_loop_turn_seconds_count"] > 0


def test_every_turn_stays_counted(machine: Machine) -> None:
    """Looking at status takes nothing away from Prometheus."""
    before = parse(fetch(machine)[1])[1]["gflow_loop_turn_seconds_count"]
    machine.status()
    eventually(lambda: parse(fetch(machine)[1])[1]["gflow_loop_turn_seconds_count"] > before)
