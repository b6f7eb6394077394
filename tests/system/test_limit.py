"""Limits that hold, through the real programs."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest

from tests.system.machine import Machine, eventually

#: Eight processes that read one array of 400 MB: 3.2 GB as a sum of their resident sizes.
READERS = """
import os, time
held = b"x" * (400 << 20)
for _ in range(3):
    os.fork()
while not os.path.exists("go"):
    assert held[::4096]
    time.sleep(0.1)
"""
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


@pytest.mark.parametrize("start", ["setsid {hog} &", "( setsid {hog} & );"])
def test_memory_in_children_counts(new_machine: Callable[..., Machine], start: str) -> None:
    """The same when a child holds the memory that left its group, or its parent as well."""
    machine = new_machine(GFLOW_MONITOR__INTERVAL_S="0.3")
    machine.start()
    line = start.format(hog=f"{sys.executable} -c '{HOG}'") + " sleep 100"
    job = machine.submit("--mem", "100M", line)
    assert machine.wait(job) == 137
    assert machine.job(job)["state"] == "OUT_OF_MEMORY"


def test_shared_memory_counts_once(new_machine: Callable[..., Machine]) -> None:
    """Eight forked readers of one array live, although their sum is above the limit."""
    machine = new_machine(GFLOW_MONITOR__INTERVAL_S="0.3")
    machine.start()
    machine.env["READERS"] = READERS
    job = machine.submit("--mem", "1G", f'{sys.executable} -c "$READERS"')

    def usage() -> dict[str, Any]:
        return dict(machine.job(job)["usage"] or {})

    def points() -> int:
        return len(usage().get("series", {"cpus": ()})["cpus"])

    eventually(lambda: usage().get("rss_bytes", 0) > 2400 << 20)
    seen = points()
    eventually(lambda: points() > seen + 1)
    (machine.work / "go").touch()
    assert machine.wait(job) == 0
