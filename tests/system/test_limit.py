"""Limits that hold, through the real programs."""

from __future__ import annotations

import sys
from collections.abc import Callable

from tests.system.machine import Machine

HOG = "import time; held = bytearray(400 << 20); time.sleep(100)"


def test_job_above_its_memory_is_ended(new_machine: Callable[..., Machine]) -> None:
    """A job that takes 400 MB with --mem 100M is OUT_OF_MEMORY, with the figures in its reason."""
    machine = new_machine(GFLOW_MONITOR__INTERVAL_S="0.3")
    machine.start()
    neighbour = machine.submit("while [ ! -e go ]; do sleep 0.05; done")
    hog = machine.submit("--mem", "100M", "--", sys.executable, "-c", HOG)
    assert machine.wait(hog) == 137
    record = machine.job(hog)
    assert record["state"] == "OUT_OF_MEMORY"
    assert "memory limit exceeded" in record["reason"] and str(100 << 20) in record["reason"]
    assert record["usage"]["max_rss_bytes"] > 100 << 20
    assert machine.job(neighbour)["state"] == "RUNNING"
    (machine.work / "go").touch()
    assert machine.wait(neighbour) == 0


def test_memory_in_children_counts(new_machine: Callable[..., Machine]) -> None:
    """The same when a child that left its group holds the memory."""
    machine = new_machine(GFLOW_MONITOR__INTERVAL_S="0.3")
    machine.start()
    line = f"setsid {sys.executable} -c '{HOG}' & sleep 100"
    assert machine.wait(machine.submit("--mem", "100M", line)) == 137
